package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/cmd/tidemill-dev/platform"
	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/master"
)

func newMasterCommand() *cobra.Command {
	var cfg master.Config
	c := &cobra.Command{
		Use:   "mesos-master",
		Short: "Only a Mesos master; prints `ready URL`",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Logger = logger()
			m, err := master.New(cfg)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "ready", m.URL())
			return m.Run(c.Context())
		},
	}
	c.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "loopback address")
	c.Flags().DurationVar(&cfg.AllocationInterval, "allocation-interval", time.Second, "between two rounds of offers")
	c.Flags().BoolVar(&cfg.BatchReleases, "batch-releases", false, "what an ended task held waits for the next round, as in Mesos")
	return c
}

func newAgentCommand() *cobra.Command {
	var cfg agent.Config
	c := &cobra.Command{
		Use:   "mesos-agent --master URL --work-dir DIR",
		Short: "Only a Mesos agent; prints `ready URL`",
		Long: "Only a Mesos agent; prints `ready URL`. An agent that was killed and is started again on the same work\n" +
			"directory finds its executors again.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if cfg.Master == "" || cfg.WorkDir == "" {
				return errors.New("--master and --work-dir must be given")
			}
			cfg.Logger = logger()
			a, err := agent.New(cfg)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "ready", a.URL())
			return a.Run(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.Master, "master", "", "the master's URL")
	f.StringVar(&cfg.WorkDir, "work-dir", "", "sandboxes, fetcher cache and the agent's state")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "loopback address")
	f.StringVar(&cfg.Hostname, "hostname", "localhost", "as shown in offers")
	f.StringVar(&cfg.Resources, "resources", platform.AgentResources, "in Mesos' notation")
	f.StringVar(&cfg.Attributes, "attributes", "", `such as "zone:a;rack:r1"`)
	f.BoolVar(&cfg.KeepExecutors, "keep-executors", false, "let executors live when the agent is stopped")
	return c
}

// logger writes warnings to standard error, or everything with TIDEMILL_DEBUG set.
func logger() *slog.Logger {
	level := slog.LevelWarn
	if os.Getenv("TIDEMILL_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
