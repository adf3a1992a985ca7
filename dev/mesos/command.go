package mesos

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/master"
)

// RunMaster is a master as a process of its own: it reads the flags in args, prints
// one line "ready URL" to out once the port is open, logs to diagnostics, and serves
// until ctx ends.
func RunMaster(ctx context.Context, args []string, out, diagnostics io.Writer) error {
	cfg := master.Config{Logger: slog.New(slog.NewTextHandler(diagnostics, nil))}
	flags := flag.NewFlagSet("mesos-master", flag.ContinueOnError)
	flags.SetOutput(diagnostics)
	flags.StringVar(&cfg.Listen, "listen", "", "address of API, page and agents (default 127.0.0.1:0)")
	flags.DurationVar(&cfg.AllocationInterval, "allocation-interval", 0, "time between two rounds of offers (default 1s)")
	flags.DurationVar(&cfg.HeartbeatInterval, "heartbeat-interval", 0, "time between two heartbeats to schedulers (default 15s)")
	flags.DurationVar(&cfg.AgentTimeout, "agent-timeout", 0, "silence that makes an agent unreachable (default 1m15s)")
	flags.BoolVar(&cfg.BatchReleases, "batch-releases", false, "offer freed resources in the next round only, as Mesos does")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("run mesos-master: %w", err)
	}
	m, err := master.New(cfg)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "ready", m.URL()); err != nil {
		return fmt.Errorf("run mesos-master: %w", err)
	}
	return m.Run(ctx)
}

// RunAgent is an agent as a process of its own, like RunMaster. It may be killed with
// -9: started again with the same --work-dir it takes its executors up again.
func RunAgent(ctx context.Context, args []string, out, diagnostics io.Writer) error {
	cfg := agent.Config{Logger: slog.New(slog.NewTextHandler(diagnostics, nil)), ExecutorEnvironment: map[string]string{}}
	flags := flag.NewFlagSet("mesos-agent", flag.ContinueOnError)
	flags.SetOutput(diagnostics)
	flags.StringVar(&cfg.Master, "master", "", "URL of the master")
	flags.StringVar(&cfg.WorkDir, "work-dir", "", "directory of sandboxes and of the agent's own state")
	flags.StringVar(&cfg.Listen, "listen", "", "address of executor API and files (default 127.0.0.1:0, or as before)")
	flags.StringVar(&cfg.Hostname, "hostname", "", "name in offers (default localhost)")
	flags.StringVar(&cfg.Resources, "resources", "", `such as "cpus:4;mem:4096;disk:10240;ports:[31000-31099]"`)
	flags.StringVar(&cfg.Attributes, "attributes", "", `such as "zone:a;rack:r1"`)
	flags.DurationVar(&cfg.UpdateRetryInterval, "update-retry-interval", 0, "when an unacknowledged update is sent again (default 10s)")
	flags.DurationVar(&cfg.MemoryPollInterval, "memory-poll-interval", 0, "how often memory is looked at (default 500ms; negative: never)")
	flags.DurationVar(&cfg.RecoveryTimeout, "recovery-timeout", 0, "how long executors wait for an agent to come back (default 15m)")
	flags.DurationVar(&cfg.GCDelay, "gc-delay", 0, "how long sandboxes of ended executors are kept (default 1h)")
	flags.IntVar(&cfg.MaxEndedSandboxes, "max-ended-sandboxes", 0, "how many of them at most (default 50)")
	flags.BoolVar(&cfg.KeepExecutors, "keep-executors", false, "let executors live when the agent is stopped")
	flags.Func("executor-env", "NAME=VALUE for all executors; may be repeated", func(text string) error {
		return setVariable(cfg.ExecutorEnvironment, text)
	})
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("run mesos-agent: %w", err)
	}
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "ready", a.URL()); err != nil {
		return fmt.Errorf("run mesos-agent: %w", err)
	}
	return a.Run(ctx)
}

func setVariable(variables map[string]string, text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", text)
	}
	variables[name] = value
	return nil
}
