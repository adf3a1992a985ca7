package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
)

func newLogsCommand() *cobra.Command {
	var options client.LogOptions
	command := verb(&cobra.Command{
		Use:   "logs TASK|RUN",
		Short: "Print the log of a task, or the logs of all tasks of a run",
		Long: `Print the log of a task, or the logs of all tasks of a run one after another.

"tidemill runs RUN" lists a run's tasks. A task's newest attempt is shown unless --attempt names another.`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		if options.Stream != "stdout" && options.Stream != "stderr" {
			return usageError(fmt.Errorf("--stream is %q; want stdout or stderr", options.Stream))
		}
		err := s.Logs(ctx, args[0], options, s.out)
		if !isNotFound(err) {
			return err
		}
		run, notRun := s.Run(ctx, args[0])
		if notRun != nil {
			return err
		}
		return logsOfRun(ctx, s, run.ID, options)
	})
	command.Flags().BoolVarP(&options.Follow, "follow", "f", false, "wait until the task has a log, and go on until it has ended")
	command.Flags().StringVar(&options.Stream, "stream", "stdout", "stdout or stderr")
	command.Flags().Uint32Var(&options.Attempt, "attempt", 0, "number of the attempt, from 1; 0: the newest")
	return command
}

func isNotFound(err error) bool {
	var refused *wire.Error
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound
}

func logsOfRun(ctx context.Context, s *shell, run string, options client.LogOptions) error {
	if options.Follow || options.Attempt != 0 {
		return usageError(errors.New("--follow and --attempt need a task, not a run"))
	}
	for task, err := range s.Tasks(ctx, run) {
		if err != nil {
			return err
		}
		if len(task.Attempts) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(s.out, "==> %s (%s) <==\n", task.ID, task.State); err != nil {
			return err
		}
		if err := s.Logs(ctx, task.ID, options, s.out); isNotFound(err) {
			_, err = fmt.Fprintln(s.out, err)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	return nil
}
