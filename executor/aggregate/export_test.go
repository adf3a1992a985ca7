package aggregate

import "github.com/tidemill/tidemill/executor/task"

// NewCutting is New with splits as small as bytes.
func NewCutting(bytes int64) task.Kind { return kind{smallestSplit: bytes} }

// ReadFooters makes the plan read only some footers, of more than so many Parquet files, until the test is over.
func ReadFooters(t interface{ Cleanup(func()) }, most, some int) {
	wasMost, wasSome := mostFooters, someFooters
	mostFooters, someFooters = most, some
	t.Cleanup(func() { mostFooters, someFooters = wasMost, wasSome })
}
