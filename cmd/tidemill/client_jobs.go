package main

import (
	"context"
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/wire"
)

func newJobsCommand() *cobra.Command {
	command := verb(&cobra.Command{
		Use:   "jobs",
		Short: "List, show and delete jobs",
		Args:  cobra.NoArgs,
	}, listJobs)
	command.AddCommand(
		verb(&cobra.Command{Use: "list", Short: "List jobs, by name", Args: cobra.NoArgs}, listJobs),
		verb(&cobra.Command{Use: "get JOB", Short: "Show a job and its spec", Args: cobra.ExactArgs(1)}, getJob),
		verb(&cobra.Command{Use: "revisions JOB", Short: "List a job's revisions, oldest first", Args: cobra.ExactArgs(1)}, listRevisions),
		verb(&cobra.Command{Use: "delete JOB", Short: "Delete a job and cancel what runs of it", Args: cobra.ExactArgs(1)}, deleteJob),
	)
	return command
}

func listJobs(ctx context.Context, s *shell, _ []string) error {
	jobs, err := collect(s.Jobs(ctx), 0)
	if err != nil {
		return err
	}
	return showList(s, jobs, table.Row{"job", "kind", "revision", "checks", "updated"}, func(j wire.Job) table.Row {
		return table.Row{j.Name, j.Kind, j.Revision, j.Checks, formatTime(j.Updated)}
	})
}

func getJob(ctx context.Context, s *shell, args []string) error {
	job, err := s.Job(ctx, args[0])
	if err != nil {
		return err
	}
	if s.json {
		return writeJSON(s.out, job)
	}
	fields := [][2]string{
		{"job", job.Name}, {"kind", job.Kind}, {"revision", fmt.Sprint(job.Revision)}, {"checks", job.Checks},
		{"created", formatTime(job.Created)}, {"updated", formatTime(job.Updated)},
	}
	for _, p := range job.Problems {
		fields = append(fields, [2]string{"problem", p.Pointer + ": " + p.Detail})
	}
	if err := writeFields(s.out, fields); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(s.out); err != nil {
		return err
	}
	return writeJSON(s.out, job.Spec)
}

func listRevisions(ctx context.Context, s *shell, args []string) error {
	revisions, err := collect(s.Revisions(ctx, args[0]), 0)
	if err != nil {
		return err
	}
	return showList(s, revisions, table.Row{"revision", "kind", "checks", "created"}, func(r wire.Revision) table.Row {
		return table.Row{r.Number, r.Kind, r.Checks, formatTime(&r.Created)}
	})
}

func deleteJob(ctx context.Context, s *shell, args []string) error {
	job, err := s.DeleteJob(ctx, args[0])
	switch {
	case err != nil:
		return err
	case s.json:
		return writeJSON(s.out, job)
	}
	message := "job " + job.Name + " is deleted"
	for _, warning := range job.Warnings {
		message += "\nwarning: " + warning
	}
	_, err = fmt.Fprintln(s.out, message)
	return err
}
