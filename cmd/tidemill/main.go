// Command tidemill is the scheduler service (serve) and the client for people and scripts (validate, submit, run, …).
//
// It builds without cgo: no engine and nothing of the executor or of dev is linked into it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
