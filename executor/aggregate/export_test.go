package aggregate

import (
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/executor/task"
)

// NewCutting is New with splits as small as bytes.
func NewCutting(bytes int64) task.Kind { return kind{smallestSplit: bytes} }

// ReadFooters makes the plan read only some footers, of more than so many Parquet files, until the test is over.
func ReadFooters(t interface{ Cleanup(func()) }, most, some int) {
	was := footers
	footers = source.Footers{Most: most, Some: some}
	t.Cleanup(func() { footers = was })
}
