package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/cmd/internal/service"
	"github.com/tidemill/tidemill/scheduler/store"
)

const operatorHelp = `

It takes the settings of "tidemill serve", which say where the store is: --config, TIDEMILL_* and flags.

Exit codes:
  0  done
  1  refused, or failed; the text says what was changed, which is nothing unless it says so
  2  wrong use of the command line
  130  interrupted`

// newOperatorCommands are the verbs that work on a store while no scheduler leads it.
func newOperatorCommands() []*cobra.Command {
	records := &cobra.Command{
		Use:   "store",
		Short: "Export and import what the scheduler has stored",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	records.AddCommand(newStoreExportCommand(), newStoreImportCommand())
	framework := &cobra.Command{
		Use:   "framework",
		Short: "Show or give up the framework that is registered with Mesos",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	framework.AddCommand(newFrameworkShowCommand(), newFrameworkForgetCommand())
	return []*cobra.Command{records, framework, newTeardownCommand()}
}

// operator makes do the work of a command that takes the settings of serve.
func operator(command *cobra.Command, do func(ctx context.Context, cfg service.Config) error) *cobra.Command {
	var file string
	command.Long += operatorHelp
	command.Args = usage(cobra.NoArgs)
	command.Flags().SortFlags = false
	command.Flags().StringVar(&file, "config", "", "configuration `file`, YAML; else TIDEMILL_CONFIG is used, if set")
	addFlags(command.Flags())
	command.RunE = func(command *cobra.Command, _ []string) error {
		if file == "" {
			file = os.Getenv(configVariable)
		}
		cfg, err := readConfig(command.Flags(), file)
		if err != nil {
			return usageError(err)
		}
		err = do(command.Context(), cfg)
		if err != nil && command.Context().Err() != nil {
			return &exitError{code: exitInterrupted, err: errors.New("interrupted")}
		}
		return advised(err)
	}
	return command
}

// advised adds what to do to an error that has a next step.
func advised(err error) error {
	switch {
	case errors.Is(err, store.ErrInUse):
		return fmt.Errorf("%w: stop the scheduler first (its API gives an export while it runs: GET /v1/store/export)", err)
	case errors.Is(err, service.ErrLed):
		return fmt.Errorf("%w: stop all schedulers that share the store first", err)
	case errors.Is(err, service.ErrNotEmpty):
		return fmt.Errorf("%w: --replace removes them", err)
	}
	return err
}

func newStoreExportCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "export",
		Short: "Write all records to a file, as a backup or for another store",
		Long: `Write all records to a file: a line of JSON each, between a header and a line with the sum of all before it. A name that
ends in .gz compresses it. The file appears under its name when it is whole.

With a store in ZooKeeper it works beside the schedulers. One in a file must not be in use: a scheduler that runs gives the
same with GET /v1/store/export.`,
	}
	operator(command, func(ctx context.Context, cfg service.Config) error {
		if output == "-" {
			return service.Export(ctx, cfg, command.OutOrStdout())
		}
		return writeWhole(output, func(w io.Writer) error { return service.Export(ctx, cfg, w) })
	})
	command.Flags().StringVarP(&output, "output", "o", "-", "`file` to write; - is standard output")
	return command
}

// writeWhole makes a file that has its name only when all of it is there and durable. Others cannot read it.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	if err := compressed(file, strings.HasSuffix(path, ".gz"), write); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return file.Close()
}

func compressed(w io.Writer, compress bool, write func(io.Writer) error) error {
	if !compress {
		return write(w)
	}
	out := gzip.NewWriter(w)
	return errors.Join(write(out), out.Close())
}

func newStoreImportCommand() *cobra.Command {
	var input string
	var replace bool
	command := &cobra.Command{
		Use:   "import",
		Short: "Put the records of an export into a store",
		Long: `Put the records of an export into a store that is empty: all of them or, if the file is damaged or of a newer version,
none. No scheduler may lead the store meanwhile.

An export brings the framework's ID with it: a scheduler that starts on it takes over what runs. Two schedulers with
copies of one store would take the framework away from one another: see that the old one never starts again.`,
	}
	operator(command, func(ctx context.Context, cfg service.Config) (err error) {
		in := command.InOrStdin()
		if input != "-" {
			file, err := os.Open(input)
			if err != nil {
				return err
			}
			defer file.Close() // only read from
			in = file
		}
		header, err := service.Import(ctx, cfg, in, replace)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "%d records, exported %s by version %s, are in the store\n",
			header.Records, header.Exported.Format("2006-01-02 15:04:05 MST"), header.Version)
		return err
	})
	command.Flags().StringVarP(&input, "input", "i", "-", "`file` to read; - is standard input")
	command.Flags().BoolVar(&replace, "replace", false, "remove what the store holds")
	return command
}

func newFrameworkShowCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "show",
		Short: "Show the framework's ID and what runs under it",
		Long:  "Show the framework's ID, since when it is registered, and what has not ended under it as far as is known.",
	}
	return operator(command, func(ctx context.Context, cfg service.Config) error {
		f, err := service.ShowFramework(ctx, cfg)
		if err != nil {
			return err
		}
		return showFramework(command.OutOrStdout(), f)
	})
}

func showFramework(w io.Writer, f service.Framework) error {
	var b strings.Builder
	fmt.Fprintf(&b, "framework %s, registered %s\n", f.ID, f.Registered.UTC().Format("2006-01-02 15:04:05 MST"))
	fmt.Fprintf(&b, "%s and %s have not ended, as far as is known\n",
		plural(int64(f.Runs), "run"), plural(int64(len(f.Attempts)), "attempt"))
	for _, a := range f.Attempts {
		fmt.Fprintf(&b, "  %s on %s (agent %s, executor %s)\n", a.MesosID, a.Host, a.AgentID, a.ExecutorID)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func newFrameworkForgetCommand() *cobra.Command {
	var sure bool
	command := &cobra.Command{
		Use:   "forget",
		Short: "Give up a framework ID that Mesos has removed, so that the next scheduler registers anew",
		Long: `Give up a framework ID that Mesos has removed ("Framework has been removed"): the next scheduler registers anew, and
what had not ended runs again. If Mesos has not removed it, what runs under it is orphaned: it goes on until Mesos'
failover timeout, unknown to any scheduler; what it writes never becomes visible. To end it, use "tidemill teardown".

Without --yes-orphan-tasks it only says what would be orphaned.`,
	}
	operator(command, func(ctx context.Context, cfg service.Config) error {
		act := service.ShowFramework
		if sure {
			act = service.ForgetFramework
		}
		f, err := act(ctx, cfg)
		if err != nil {
			return err
		}
		if err := showFramework(command.OutOrStdout(), f); err != nil {
			return err
		}
		said := "nothing was changed; --yes-orphan-tasks forgets the framework and orphans what still runs\n"
		if sure {
			said = "the framework is forgotten: the next scheduler registers anew\n"
		}
		_, err = io.WriteString(command.OutOrStdout(), said)
		return err
	})
	command.Flags().BoolVar(&sure, "yes-orphan-tasks", false, "do it")
	return command
}

func newTeardownCommand() *cobra.Command {
	var sure bool
	command := &cobra.Command{
		Use:   "teardown",
		Short: "Make Mesos kill everything that runs under the framework, and remove it",
		Long: `Make Mesos kill everything that runs under the framework and remove it, and give up its ID. Nothing else ever does that:
stopping schedulers leaves everything running. What had not ended runs again when a scheduler starts: cancel it before, or
keep the schedulers stopped.`,
	}
	operator(command, func(ctx context.Context, cfg service.Config) error {
		if !sure {
			return usageError(errors.New("nothing was changed: --yes-kill-everything says that you mean it"))
		}
		f, err := service.Teardown(ctx, cfg)
		if err != nil {
			return err
		}
		if err := showFramework(command.OutOrStdout(), f); err != nil {
			return err
		}
		_, err = io.WriteString(command.OutOrStdout(), "the framework is torn down, and forgotten\n")
		return err
	})
	command.Flags().BoolVar(&sure, "yes-kill-everything", false, "do it")
	return command
}
