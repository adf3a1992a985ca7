package mesos_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/dev/mesos"
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
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			if err := mesos.RunAgent(ctx, os.Args[2:], os.Stdout, os.Stderr); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m)
}
