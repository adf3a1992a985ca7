package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/wire"
)

func newExecutorsCommand() *cobra.Command {
	command := verb(&cobra.Command{
		Use:   "executors",
		Short: "List, register and delete executor versions",
		Args:  cobra.NoArgs,
	}, listExecutors)
	command.AddCommand(
		verb(&cobra.Command{
			Use: "list", Short: "List executor versions, newest first",
			Long: `List executor versions, newest first: jobs that pin each, runs and tasks on it now, the share of its runs that failed,
when it was first and last used, and what keeps it from being deleted.`,
			Args: cobra.NoArgs,
		}, listExecutors),
		verb(&cobra.Command{Use: "get VERSION", Short: "Show an executor version and what runs on it", Args: cobra.ExactArgs(1)}, getExecutor),
		newPushCommand(),
		verb(&cobra.Command{Use: "delete VERSION", Short: "Delete an executor version that nothing uses", Args: cobra.ExactArgs(1)}, deleteExecutor),
	)
	return command
}

func listExecutors(ctx context.Context, s *shell, _ []string) error {
	executors, err := collect(s.Executors(ctx), 0)
	if err != nil {
		return err
	}
	header := table.Row{"version", "channels", "pinned", "runs", "tasks", "failed", "first, last use", "kept by"}
	return showList(s, executors, header, func(e wire.Executor) table.Row {
		failed := ""
		if e.FailureRatio != nil {
			failed = formatRatio(*e.FailureRatio)
		}
		used := ""
		if e.FirstUsed != nil && e.LastUsed != nil {
			used = formatAge(*e.FirstUsed) + ", " + formatAge(*e.LastUsed) + " ago"
		}
		return table.Row{shortVersion(e.Version), elide(strings.Join(e.Channels, ", "), 12), len(e.Jobs), e.Runs, e.Tasks, failed,
			used, elide(strings.Join(e.KeptBy, ", "), 18)}
	})
}

func getExecutor(ctx context.Context, s *shell, args []string) error {
	executor, err := s.Executor(ctx, args[0])
	if err != nil {
		return err
	}
	if s.json {
		return writeJSON(s.out, executor)
	}
	keptBy := strings.Join(executor.KeptBy, "; ")
	if keptBy == "" {
		keptBy = "nothing: it can be deleted"
	}
	fields := [][2]string{
		{"version", executor.Version}, {"registered", byWhom(formatTime(&executor.Registered), executor.RegisteredBy)},
		{"channels", strings.Join(executor.Channels, ", ")}, {"rollouts", strings.Join(executor.Rollouts, ", ")},
		{"pinned by", text.WrapSoft(strings.Join(executor.Jobs, ", "), valueWidth)}, {"kept by", text.WrapSoft(keptBy, valueWidth)},
		{"used", describeUse(executor)}, {"tasks", fmt.Sprint(executor.Tasks)}, {"runs", fmt.Sprint(executor.Runs)},
	}
	for _, run := range executor.Running {
		fields = append(fields, [2]string{"", run})
	}
	for _, a := range executor.Artifacts {
		name := a.OS + "-" + a.Arch
		signed := "no signature verified"
		if a.SignedBy != "" {
			signed = "signed by " + a.SignedBy
		}
		fields = append(fields,
			[2]string{name, fmt.Sprintf("%s, protocol %d to %d, %s", formatBytes(a.Size), a.Protocol.Min, a.Protocol.Max, byWhom(signed+", registered", a.RegisteredBy))},
			[2]string{"SHA-256", a.SHA256}, [2]string{"kinds", strings.Join(a.Kinds, ", ")}, [2]string{"features", text.WrapSoft(strings.Join(a.Features, ", "), valueWidth)})
	}
	return writeFields(s.out, fields)
}

// describeUse is "2026-11-01 09:00:00 to 2026-11-23 16:00:00: 842 runs, 12 failed (1.4 %)".
func describeUse(e wire.Executor) string {
	if e.FirstUsed == nil {
		return "never"
	}
	sample := wire.Sample{Runs: int(e.Succeeded + e.Failed), Failed: int(e.Failed)}
	return fmt.Sprintf("%s to %s: %s", formatTime(e.FirstUsed), formatTime(e.LastUsed), formatSample(sample))
}

func deleteExecutor(ctx context.Context, s *shell, args []string) error {
	executor, err := s.DeleteExecutor(ctx, args[0])
	switch {
	case err != nil:
		return err
	case s.json:
		return writeJSON(s.out, executor)
	}
	_, err = fmt.Fprintf(s.out, "executor version %s is deleted\n", executor.Version)
	return err
}
