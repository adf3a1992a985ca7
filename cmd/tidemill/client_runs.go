package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
)

func newRunCommand() *cobra.Command {
	var params map[string]string
	var key string
	var watch bool
	command := verb(&cobra.Command{
		Use:   "run JOB",
		Short: "Start a run of a job",
		Long: `Start a run of a job's newest revision and print its ID.

With --watch it is followed until it has ended. Parameters are stored, shown with the run and handed to its tasks; kind
aggregate uses none.`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		return startRun(ctx, s, args[0], params, key, watch)
	})
	command.Flags().StringToStringVar(&params, "param", nil, "parameter name=value; may be repeated")
	command.Flags().StringVar(&key, "key", "", "idempotency key: a repeat with the same key gives the first run")
	command.Flags().BoolVar(&watch, "watch", false, "follow the run until it has ended")
	return command
}

// startRun prints the new run's ID, or follows it.
func startRun(ctx context.Context, s *shell, job string, params map[string]string, key string, watch bool) error {
	run, err := s.Start(ctx, job, params, key)
	if err != nil {
		return err
	}
	switch {
	case watch:
		return watchRun(ctx, s, run.ID)
	case s.json:
		return writeJSON(s.out, run)
	}
	_, err = fmt.Fprintln(s.out, run.ID)
	return err
}

func newRunsCommand() *cobra.Command {
	var filter client.RunFilter
	var limit int
	command := verb(&cobra.Command{
		Use:   "runs [RUN]",
		Short: "List runs, newest first, or show one with its stages and tasks",
		Args:  cobra.MaximumNArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		if limit < 0 {
			return usageError(fmt.Errorf("--limit is %d; want 0 or more", limit))
		}
		if len(args) == 1 {
			return showRun(ctx, s, args[0])
		}
		runs, err := collect(s.Runs(ctx, filter), limit)
		if err != nil && !errors.As(err, new(*client.Incomplete)) {
			return err
		}
		header := table.Row{"run", "state", "progress", "stages", "version", "created", "took", "rows"}
		return errors.Join(err, showList(s, runs, header, func(r wire.Run) table.Row {
			rows := ""
			if r.Output != nil {
				rows = formatCount(r.Output.Rows)
			}
			return table.Row{r.ID, r.State, formatPercent(r.Progress), formatStages(r.Stages), formatVersion(r), formatTime(&r.Created), formatTook(r.Started, r.Ended), rows}
		}))
	})
	command.Flags().StringVar(&filter.Job, "job", "", "only runs of this job")
	command.Flags().StringSliceVar(&filter.States, "state", nil, "only runs in this state: pending, running, succeeded, failed or cancelled; may be repeated")
	command.Flags().IntVar(&limit, "limit", 20, "how many at most; 0: all")
	command.AddCommand(verb(&cobra.Command{
		Use:   "show RUN",
		Short: "Show a run with its stages and tasks",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error { return showRun(ctx, s, args[0]) }))
	return command
}

// runWithTasks is what runs RUN shows to programs.
type runWithTasks struct {
	wire.Run
	Tasks []wire.Task `json:"tasks"`
}

func showRun(ctx context.Context, s *shell, id string) error {
	run, err := s.Run(ctx, id)
	if err != nil {
		return err
	}
	tasks, err := collect(s.Tasks(ctx, id), 0)
	if err != nil {
		return err
	}
	if run.Waiting == "" && !wire.Ended(run.State) {
		// A standby does not know why tasks wait; the leader, which it asks, does.
		if explanation, err := s.Explain(ctx, id); err == nil && len(explanation.Waiting) > 0 {
			run.Waiting = explanation.Summary
		}
	}
	if s.json {
		return writeJSON(s.out, runWithTasks{run, tasks})
	}
	fields := [][2]string{
		{"run", run.ID}, {"job", fmt.Sprintf("%s, revision %d", run.Job, run.Revision)}, {"state", run.State},
		{"progress", formatPercent(run.Progress)}, {"time left", formatLeft(run.TimeLeft)}, {"version", run.ExecutorVersion}, {"channel", formatFollowed(run)},
		{"started by", run.By}, {"cancelled by", run.CancelledBy},
		{"created", formatTime(&run.Created)}, {"started", formatTime(run.Started)}, {"ended", formatTime(run.Ended)},
		{"waiting", run.Waiting},
	}
	if err := writeFields(s.out, append(fields, outcome(run)...)); err != nil {
		return err
	}
	if err := writeStages(s.out, run.Stages); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(s.out); err != nil {
		return err
	}
	header := table.Row{"task", "state", "progress", "host", "attempts", "took", "rows", "read", "rows out", "out", "cpu", "memory"}
	return showList(s, tasks, header, func(t wire.Task) table.Row {
		c := t.Counters
		return table.Row{t.ID, t.State, formatPercent(t.Progress), t.Host, formatAttempts(t), formatTaskTook(t), formatCount(c.Rows), formatBytes(c.Bytes),
			formatCount(c.OutRows), formatBytes(c.OutBytes), fmt.Sprintf("%.1fs", c.CPUSeconds), formatBytes(c.PeakMemory)}
	})
}

// formatVersion is a run's executor version, and of which channel's rollout it tries it out.
func formatVersion(run wire.Run) string {
	if run.Canary {
		return run.ExecutorVersion + ", canary of " + run.Channel
	}
	return run.ExecutorVersion
}

// formatFollowed is the channel that gave a run its version, and for which rollout it counts.
func formatFollowed(run wire.Run) string {
	switch {
	case run.Rollout == 0:
		return run.Channel
	case run.Canary:
		return fmt.Sprintf("%s, rollout %d, canary", run.Channel, run.Rollout)
	}
	return fmt.Sprintf("%s, rollout %d", run.Channel, run.Rollout)
}

// outcome is what a run has come to: its output or its error.
func outcome(run wire.Run) [][2]string {
	var fields [][2]string
	if o := run.Output; o != nil {
		fields = append(fields, [2]string{"output", o.URI}, [2]string{"manifest", o.Manifest},
			[2]string{"result", fmt.Sprintf("%s in %s, %s", plural(o.Rows, "row"), plural(o.Files, "file"), formatBytes(o.Bytes))}, [2]string{"bad rows", formatSome(o.BadRows)})
	}
	if e := run.Error; e != nil {
		fields = append(fields, [2]string{"error", e.Kind + ": " + e.Message}, [2]string{"at", e.Pointer}, [2]string{"task", e.Task})
		for _, p := range e.Problems {
			fields = append(fields, [2]string{"at", p.Pointer + ": " + p.Detail})
		}
	}
	return fields
}

func newCancelCommand() *cobra.Command {
	var watch bool
	command := verb(&cobra.Command{
		Use:   "cancel RUN",
		Short: "Stop a run; one that has ended stays as it is",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		run, err := s.Cancel(ctx, args[0])
		if err == nil && watch && !wire.Ended(run.State) {
			run, err = s.Watch(ctx, run.ID, func(wire.Run) error { return nil })
		}
		switch {
		case err != nil:
			return err
		case s.json:
			return writeJSON(s.out, run)
		}
		_, err = fmt.Fprintf(s.out, "run %s is %s\n", run.ID, run.State)
		return err
	})
	command.Flags().BoolVar(&watch, "watch", false, "wait until the run has ended")
	return command
}

func newExplainCommand() *cobra.Command {
	return verb(&cobra.Command{
		Use:   "explain RUN",
		Short: "Say why a run's tasks wait",
		Args:  cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		explanation, err := s.Explain(ctx, args[0])
		switch {
		case err != nil:
			return err
		case s.json:
			return writeJSON(s.out, explanation)
		}
		if _, err := fmt.Fprintf(s.out, "run %s is %s: %s\n", explanation.Run, explanation.State, explanation.Summary); err != nil {
			return err
		}
		for _, w := range explanation.Waiting {
			_, err := fmt.Fprintf(s.out, "\n%s of stage %s, each %g cpus, %s memory, %s disk, since %s\n  %s\n  offers looked at: %d%s\n",
				plural(int64(w.Tasks), "task"), w.Stage, w.Resources.CPUs, formatBytes(w.Resources.Memory), formatBytes(w.Resources.Disk), formatTime(&w.Since),
				w.Reason, w.Offers, listReasons(w.Reasons))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// listReasons gives each reason a line, with the number of offers that were turned down for it.
func listReasons(reasons []wire.Turndown) string {
	var out strings.Builder
	for _, r := range reasons {
		number := ""
		if r.Offers > 0 {
			number = strconv.Itoa(r.Offers)
		}
		fmt.Fprintf(&out, "\n%8s  %s", number, r.Text)
	}
	return out.String()
}
