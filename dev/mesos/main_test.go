package mesos_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
)

// TestMain is also the program of the other processes that the tests need: called
// with a verb it is that instead.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "demo-executor":
			os.Exit(demoExecutor())
		case "eat-memory":
			eatMemory()
		case "mesos-agent":
			os.Exit(run(mesos.RunAgent))
		case "mesos-master":
			os.Exit(run(mesos.RunMaster))
		}
	}
	goleak.VerifyTestMain(withZooKeeper{m})
}

// withZooKeeper runs tests that share a ZooKeeper, and stops it.
type withZooKeeper struct{ m *testing.M }

func (w withZooKeeper) Run() int { return zookeepertest.Main(w.m) }

// run is a master or agent as a process of its own.
func run(verb func(ctx context.Context, args []string, out, diagnostics io.Writer) error) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := verb(ctx, os.Args[2:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
