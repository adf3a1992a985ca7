package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/cmd/tidemill-dev/platform"
	"github.com/tidemill/tidemill/dev/result"
)

// nextVersion is the second executor version of the demo, built from the same checkout.
const nextVersion = "0.2.0-dev"

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Start everything on loopback, run the example jobs, show the results, leave nothing behind",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "tidemill-demo-")
			if err != nil {
				return fmt.Errorf("make directory for the demo: %w", err)
			}
			err = demo(c.Context(), c.OutOrStdout(), dir)
			return errors.Join(err, os.RemoveAll(dir))
		},
	}
}

func demo(ctx context.Context, out io.Writer, dir string) (err error) {
	begun := time.Now()
	s, err := begin(ctx, out, platform.Config{
		DataDir: dir, Listen: "127.0.0.1:0", Agents: 2,
		AgentResources: platform.AgentResources, AllocationInterval: time.Second, Logger: logger(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()

	flights, err := s.runExample(ctx, "flights-by-carrier")
	if err != nil {
		return err
	}
	if _, err := s.runExample(ctx, "requests-by-status"); err != nil {
		return err
	}
	if err := s.runOnNextVersion(ctx, "flights-by-carrier", flights); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe dashboard was at %s/ and the Mesos view at %s/\n", s.platform.API, s.platform.Mesos)
	fmt.Fprintf(out, "All done in %s. `go run ./cmd/tidemill-dev up` keeps the platform running.\n", time.Since(begun).Round(100*time.Millisecond))
	return nil
}

// runExample submits examples/<name>.json, runs it and prints its result.
func (s *session) runExample(ctx context.Context, name string) (*result.Table, error) {
	file := filepath.Join("examples", name+".json")
	spec, err := os.ReadFile(filepath.Join(s.checkout, file))
	if err != nil {
		return nil, fmt.Errorf("read example spec: %w", err)
	}
	fmt.Fprintf(s.out, "\nPOST /v1/jobs with %s, POST /v1/jobs/%s/runs\n", file, name)
	if _, _, err := s.client.Submit(ctx, spec); err != nil {
		return nil, fmt.Errorf("submit %s: %w", file, err)
	}
	return s.runJob(ctx, name)
}

// runJob runs a job's newest revision and prints its result.
func (s *session) runJob(ctx context.Context, name string) (*result.Table, error) {
	run, err := s.client.Start(ctx, name, nil, "")
	if err != nil {
		return nil, fmt.Errorf("start a run of %s: %w", name, err)
	}
	bar := newBar(s.out, name)
	ended, err := s.client.Watch(ctx, run.ID, func(r wire.Run) error { bar.show(r); return nil })
	bar.done()
	if err != nil {
		return nil, fmt.Errorf("watch run %s: %w", run.ID, err)
	}
	if ended.State != "succeeded" {
		return nil, fmt.Errorf("run %s %s: %s", run.ID, ended.State, reason(ended))
	}
	store, err := s.platform.Objects(ctx, ended.Output.URI)
	if err != nil {
		return nil, err
	}
	table, err := result.Read(ctx, store, ended.Output.Manifest)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(s.out, "  %d rows in %s, by executor %s, at %s\n", ended.Output.Rows,
		ended.Ended.Sub(ended.Created).Round(10*time.Millisecond), ended.ExecutorVersion, ended.Output.URI)
	showResult(s.out, table)
	return table, nil
}

// runOnNextVersion registers a second executor version next to the first, pins the job to it, and compares the results.
func (s *session) runOnNextVersion(ctx context.Context, name string, want *result.Table) error {
	fmt.Fprintf(s.out, "\nThe same job on a second executor version, side by side with the first\n")
	file, err := buildExecutor(ctx, s.out, s.checkout, nextVersion)
	if err != nil {
		return err
	}
	if err := s.register(ctx, nextVersion, file); err != nil {
		return err
	}
	job, err := s.client.Job(ctx, name)
	if err != nil {
		return err
	}
	var spec map[string]json.RawMessage // the order of measures counts, so the rest stays as it is
	if err := json.Unmarshal(job.Spec, &spec); err != nil {
		return fmt.Errorf("read spec of %s: %w", name, err)
	}
	spec["executor"] = json.RawMessage(`{"version": "` + nextVersion + `"}`)
	pinned, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("pin %s to %s: %w", name, nextVersion, err)
	}
	if _, _, err := s.client.Update(ctx, name, pinned); err != nil {
		return fmt.Errorf("pin %s to %s: %w", name, nextVersion, err)
	}
	got, err := s.runJob(ctx, name)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(got.Rows, want.Rows, slices.Equal[[]string]) {
		return fmt.Errorf("executor %s gives other rows than %s", nextVersion, version)
	}
	fmt.Fprintf(s.out, "Both versions gave the same %d rows.\n", len(got.Rows))
	return nil
}

func reason(run wire.Run) string {
	if run.Error == nil {
		return "no reason was given"
	}
	text := run.Error.Message
	if run.Error.Pointer != "" {
		text += " (" + run.Error.Pointer + ")"
	}
	return text
}
