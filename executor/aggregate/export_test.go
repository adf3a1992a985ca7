package aggregate

import "github.com/tidemill/tidemill/executor/task"

// NewCutting is New with splits as small as bytes.
func NewCutting(bytes int64) task.Kind { return kind{smallestSplit: bytes} }
