package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidemill/tidemill/executor/agent"
	own "github.com/tidemill/tidemill/executor/describe"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/proto/describe"
)

// taskVerb is the argument that makes this program a task process.
const taskVerb = "task"

const usage = `tidemill-executor is what Mesos agents start to run the tasks of tidemill jobs.
It takes no arguments then, and learns everything from the agent (MESOS_* variables).

  --describe   print what this build can do, as JSON
  --version    print the version
  --help       print this

The file is registered with a scheduler by
  curl -T tidemill-executor -H "X-Checksum-Sha256: SUM" URL/v1/executors/VERSION/OS-ARCH
`

// Main is the program but for its kinds: it looks at the arguments and the environment, runs, and returns the exit status.
func Main(kinds process.Kinds) int {
	description := own.Own()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case taskVerb:
			return process.Serve(kinds)
		case "--describe":
			fmt.Printf("%s\n", describe.JSON(description))
			return 0
		case "--version":
			fmt.Println(description.Version)
			return 0
		case "--help", "-h":
			fmt.Print(usage)
			return 0
		}
		fmt.Fprintf(os.Stderr, "tidemill-executor: unknown argument %q\n\n%s", os.Args[1], usage)
		return 2
	}
	environment, err := agent.ReadEnvironment(os.Getenv)
	if errors.Is(err, agent.ErrNotStarted) {
		fmt.Fprintf(os.Stderr, "tidemill-executor %s: %v.\n\n%s", description.Version, err, usage)
		return 2
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("executor", environment.ExecutorID, "version", description.Version)
	if err != nil {
		log.Error("cannot start", "error", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err = New(Config{
		Environment: environment, Description: description, Kinds: kinds,
		File: self, Environ: os.Environ(), Log: log,
	}).Run(ctx)
	if err != nil {
		log.Error("ended", "error", err)
		return 1
	}
	return 0
}
