package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/dev/mesos"
)

func newMasterCommand() *cobra.Command {
	return bare("mesos-master", "Only a Mesos master; prints `ready URL`", mesos.RunMaster)
}

func newAgentCommand() *cobra.Command {
	return bare("mesos-agent", "Only a Mesos agent; prints `ready URL`, and finds its executors again after a kill -9", mesos.RunAgent)
}

// bare is a command whose flags are read by run itself.
func bare(name, short string, run func(ctx context.Context, args []string, out, diagnostics io.Writer) error) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              short,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			err := run(c.Context(), args, c.OutOrStdout(), c.ErrOrStderr())
			if errors.Is(err, flag.ErrHelp) {
				return nil // it has been printed
			}
			return err
		},
	}
}

// logger writes warnings to standard error, or everything with TIDEMILL_DEBUG set.
func logger() *slog.Logger {
	level := slog.LevelWarn
	if os.Getenv("TIDEMILL_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
