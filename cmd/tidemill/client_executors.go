package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/proto/describe"
)

func newExecutorsCommand() *cobra.Command {
	command := verb(&cobra.Command{
		Use:   "executors",
		Short: "List, register and delete executor versions",
		Args:  cobra.NoArgs,
	}, listExecutors)
	command.AddCommand(
		verb(&cobra.Command{Use: "list", Short: "List executor versions, newest first", Args: cobra.NoArgs}, listExecutors),
		verb(&cobra.Command{Use: "get VERSION", Short: "Show an executor version and what runs on it", Args: cobra.ExactArgs(1)}, getExecutor),
		newRegisterCommand(),
		verb(&cobra.Command{Use: "delete VERSION", Short: "Delete an executor version that nothing uses", Args: cobra.ExactArgs(1)}, deleteExecutor),
	)
	return command
}

func listExecutors(ctx context.Context, s *shell, _ []string) error {
	executors, err := collect(s.Executors(ctx), 0)
	if err != nil {
		return err
	}
	return showList(s, executors, table.Row{"version", "platforms", "channels", "runs", "tasks", "registered"}, func(e wire.Executor) table.Row {
		return table.Row{e.Version, platforms(e), strings.Join(e.Channels, ", "), e.Runs, e.Tasks, formatTime(&e.Registered)}
	})
}

func platforms(e wire.Executor) string {
	names := make([]string, len(e.Artifacts))
	for i, a := range e.Artifacts {
		names[i] = a.OS + "-" + a.Arch
	}
	return strings.Join(names, ", ")
}

func getExecutor(ctx context.Context, s *shell, args []string) error {
	executor, err := s.Executor(ctx, args[0])
	if err != nil {
		return err
	}
	if s.json {
		return writeJSON(s.out, executor)
	}
	fields := [][2]string{
		{"version", executor.Version}, {"registered", formatTime(&executor.Registered)}, {"channels", strings.Join(executor.Channels, ", ")},
		{"tasks", fmt.Sprint(executor.Tasks)}, {"runs", fmt.Sprint(executor.Runs)},
	}
	for _, run := range executor.Running {
		fields = append(fields, [2]string{"", run})
	}
	for _, a := range executor.Artifacts {
		fields = append(fields, [2]string{a.OS + "-" + a.Arch, fmt.Sprintf("%s, SHA-256 %s, protocol %d to %d, kinds %s",
			formatBytes(a.Size), a.SHA256, a.Protocol.Min, a.Protocol.Max, strings.Join(a.Kinds, ", "))})
	}
	return writeFields(s.out, fields)
}

func newRegisterCommand() *cobra.Command {
	var version string
	command := verb(&cobra.Command{
		Use:   "register FILE",
		Short: "Register an executor version",
		Long: `Register an executor version. FILE is the executor; version and platform are read from the file itself.

A version never changes: other bytes under the same version and platform are refused.`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		return register(ctx, s, args[0], version)
	})
	command.Flags().StringVar(&version, "version", "", "the version that the file must have")
	return command
}

func register(ctx context.Context, s *shell, name, version string) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return usageError(fmt.Errorf("read executor: %w", err))
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read executor: %w", err)
	}
	description, err := describe.Read(file, info.Size())
	if err != nil {
		return fmt.Errorf("read executor %s: %w", name, err)
	}
	if version != "" && version != description.Version {
		return usageError(fmt.Errorf("%s is version %s, not %s", name, description.Version, version))
	}
	platform := description.OS + "-" + description.Arch
	executor, created, err := s.Register(ctx, client.Upload{Version: description.Version, Platform: platform, File: file})
	switch {
	case err != nil:
		return err
	case s.json:
		return writeJSON(s.out, executor)
	}
	what := "was there already"
	if created {
		what = "is registered"
	}
	_, err = fmt.Fprintf(s.out, "executor version %s for %s %s\n", executor.Version, platform, what)
	return err
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

func newChannelsCommand() *cobra.Command {
	command := verb(&cobra.Command{
		Use:   "channels",
		Short: "List channels, or point one at an executor version",
		Args:  cobra.NoArgs,
	}, listChannels)
	command.AddCommand(
		verb(&cobra.Command{Use: "list", Short: "List channels, by name", Args: cobra.NoArgs}, listChannels),
		verb(&cobra.Command{
			Use: "set CHANNEL VERSION", Short: "Point a channel at an executor version, at once",
			Long: "Point a channel at an executor version, at once. Runs finish on the version that they began with.", Args: cobra.ExactArgs(2),
		}, setChannel),
	)
	return command
}

func listChannels(ctx context.Context, s *shell, _ []string) error {
	channels, err := collect(s.Channels(ctx), 0)
	if err != nil {
		return err
	}
	return showList(s, channels, table.Row{"channel", "version", "updated"}, func(c wire.Channel) table.Row {
		return table.Row{c.Name, c.Version, formatTime(&c.Updated)}
	})
}

func setChannel(ctx context.Context, s *shell, args []string) error {
	channel, err := s.SetChannel(ctx, args[0], wire.SetChannel{Version: args[1]})
	switch {
	case err != nil:
		return err
	case s.json:
		return writeJSON(s.out, channel)
	}
	_, err = fmt.Fprintf(s.out, "channel %s points at %s\n", channel.Name, channel.Version)
	return err
}
