package main

import (
	"os"

	"github.com/tidemill/tidemill/executor"
	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/executor/sql"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/kinds"
)

// work is what this executor can do: a new kind is one more line here, and in the block of executor/describe.
func work() []task.Kind { return []task.Kind{aggregate.New(), sql.New()} }

func main() { os.Exit(executor.Main(process.Kinds{Jobs: kinds.All(), Work: work()})) }
