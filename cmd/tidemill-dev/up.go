package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/cmd/tidemill-dev/platform"
)

// platformName is how the API names the platform that this program runs on.
const platformName = runtime.GOOS + "-" + runtime.GOARCH

func newUpCommand() *cobra.Command {
	var cfg platform.Config
	c := &cobra.Command{
		Use:   "up",
		Short: "Start everything on loopback and leave it running until Ctrl-C",
		Long: "Start everything on loopback and leave it running until Ctrl-C. One line `ready URL` goes to standard output once\n" +
			"everything answers and the channel stable points at the executor built from this checkout; the rest goes to\n" +
			"standard error.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if cfg.Agents < 1 || cfg.Agents > 100 {
				return errors.New("--agents must be 1 to 100")
			}
			cfg.Logger = logger()
			keep := cfg.DataDir != ""
			if !keep {
				dir, err := os.MkdirTemp("", "tidemill-up-")
				if err != nil {
					return fmt.Errorf("make data directory: %w", err)
				}
				cfg.DataDir = dir
			}
			err := up(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), cfg)
			if !keep {
				err = errors.Join(err, os.RemoveAll(cfg.DataDir))
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "address of the API and dashboard")
	f.IntVar(&cfg.Agents, "agents", 2, "how many Mesos agents")
	f.StringVar(&cfg.DataDir, "data-dir", "", "keeps objects, job records and executor versions for the next start")
	f.StringVar(&cfg.Token, "token", "", "bearer token that the API asks for; none if empty")
	f.StringVar(&cfg.MesosListen, "mesos-listen", "", "address of the Mesos master; a free port if empty")
	f.StringVar(&cfg.S3Listen, "s3-listen", "", "address of the S3; a free port if empty")
	f.StringVar(&cfg.AgentResources, "agent-resources", platform.AgentResources, "of each agent, in Mesos' notation")
	f.DurationVar(&cfg.AllocationInterval, "allocation-interval", time.Second, "between two rounds of Mesos offers")
	f.DurationVar(&cfg.ExecutorLinger, "executor-linger", 30*time.Second, "how long an executor stays after its last task")
	return c
}

func up(ctx context.Context, out, info io.Writer, cfg platform.Config) (err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	s, err := begin(ctx, info, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := writeHints(info, s, cfg.Token); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "ready", s.platform.API); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		fmt.Fprintln(info, "stopping")
		return nil
	case err := <-s.platform.Failed():
		return err
	}
}

// writeHints prints lines to try.
func writeHints(info io.Writer, s *session, token string) error {
	auth := ""
	if token != "" {
		auth = "-H 'Authorization: Bearer " + token + "' "
	}
	spec := filepath.Join(s.checkout, "examples", "flights-by-carrier.json")
	if relative, err := filepath.Rel(s.workingDir, spec); err == nil {
		spec = relative
	}
	api := s.platform.API
	_, err := fmt.Fprintf(info, `
dashboard  %[1]s/
Mesos      %[2]s/
S3         %[3]s (keys: curl %[4]s-s %[1]s/v1/info)

Try:
  curl %[4]s-s %[1]s/v1/jobs -d @%[5]s
  curl %[4]s-s -X POST %[1]s/v1/jobs/flights-by-carrier/runs
  curl %[4]s-s "%[1]s/v1/runs?job=flights-by-carrier"
  curl %[4]s-sN %[1]s/v1/runs/ID/events
Ctrl-C stops all of it.

`, api, s.platform.Mesos, s.platform.S3.URL(), auth, spec)
	return err
}
