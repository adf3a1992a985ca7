// Command tidemill-executor is what Mesos agents start to run the tasks of jobs. A new kind of work is one more line here.
package main

import (
	"os"

	"github.com/tidemill/tidemill/executor"
	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/kinds"
)

func work() []task.Kind { return []task.Kind{aggregate.New()} }

func main() { os.Exit(executor.Main(process.Kinds{Jobs: kinds.All(), Work: work()})) }
