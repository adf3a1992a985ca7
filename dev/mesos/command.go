package mesos

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/election"
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
	flags.DurationVar(&cfg.AgentReregisterTimeout, "agent-reregister-timeout", 0,
		"how long the agents in the registry may take to come back to a new leader (default 10m)")
	flags.BoolVar(&cfg.BatchReleases, "batch-releases", false, "offer freed resources in the next round only, as Mesos does")
	flags.StringVar(&cfg.Registry, "registry", "", "file of the agents and of what operators ordered; masters of one election share it")
	zk := flags.String("zk", "", "where masters are elected, as in zk://user:password@host1,host2/mesos; none: this one leads")
	session := flags.Duration("zk-session-timeout", election.DefaultSessionTimeout, "time after which a dead leader is replaced")
	serving := certificateFlags(flags)
	flags.Func("credentials", credentialsUsage("schedulers"), credentialsFile(&cfg.Credentials))
	flags.Func("agent-credentials", credentialsUsage("agents"), credentialsFile(&cfg.AgentCredentials))
	flags.Func("operator-credentials", credentialsUsage("operators"), credentialsFile(&cfg.OperatorCredentials))
	err := flags.Parse(args)
	if err == nil {
		cfg.TLS, err = serving()
	}
	if err == nil && *zk != "" {
		var z *election.ZooKeeper
		if z, err = election.ParseZooKeeper(*zk); err == nil {
			z.SessionTimeout, z.Logger = *session, cfg.Logger
			cfg.Election = z
		}
	}
	if err != nil {
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
	flags.StringVar(&cfg.Master, "master", "", "URL of the master, several with commas between them, or zk://host1,host2/path")
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
	serving := certificateFlags(flags)
	flags.StringVar(&cfg.CAFile, "ca-file", "", "PEM file that the master's certificate is checked against; told to executors too")
	flags.StringVar(&cfg.DomainSocket, "domain-socket", "", "path where the executor API is served too")
	flags.Func("credential", "file with the agent's own principal and secret, on one line", func(file string) error {
		return readCredential(file, &cfg)
	})
	flags.Func("executor-key", "file with the key that executors' tokens are signed with; without one they need none", func(file string) (err error) {
		cfg.ExecutorKey, err = os.ReadFile(file)
		return err
	})
	err := flags.Parse(args)
	if err == nil {
		cfg.TLS, err = serving()
	}
	if err != nil {
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

// certificateFlags adds the flags of TLS; read gives nil if they are not set.
func certificateFlags(flags *flag.FlagSet) (read func() (*tls.Config, error)) {
	certificate := flags.String("cert-file", "", "PEM certificate to serve HTTPS with; needs --key-file")
	key := flags.String("key-file", "", "PEM key of the certificate")
	return func() (*tls.Config, error) {
		if *certificate == "" && *key == "" {
			return nil, nil
		}
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			return nil, err
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
	}
}

func credentialsUsage(whose string) string {
	return "file of the credentials of " + whose + ", a principal and its secret on each line; without one they need none"
}

func credentialsFile(into *map[string]string) func(file string) error {
	return func(file string) (err error) {
		*into, err = readCredentials(file)
		return err
	}
}

// readCredentials reads lines of a principal and its secret, as Mesos does. Its errors do
// not repeat them.
func readCredentials(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	credentials := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		switch len(fields) {
		case 0:
		case 2:
			credentials[fields[0]] = fields[1]
		default:
			return nil, fmt.Errorf("read credentials %q: line %d is not a principal and a secret", file, n)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(credentials) == 0 {
		return nil, fmt.Errorf("read credentials %q: there are none", file)
	}
	return credentials, nil
}

func readCredential(file string, cfg *agent.Config) error {
	credentials, err := readCredentials(file)
	if err != nil {
		return err
	}
	if len(credentials) != 1 {
		return fmt.Errorf("read credential %q: want one principal, got %d", file, len(credentials))
	}
	for cfg.Principal, cfg.Secret = range credentials { // the only one
	}
	return nil
}
