package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/wire"
)

func newInfoCommand() *cobra.Command {
	return verb(&cobra.Command{
		Use:   "info",
		Short: "Show what the service is connected to",
		Args:  cobra.NoArgs,
	}, func(ctx context.Context, s *shell, _ []string) error {
		info, err := s.Info(ctx)
		switch {
		case err != nil:
			return err
		case s.json:
			return writeJSON(s.out, info)
		}
		connected := "not connected"
		if info.Mesos.Connected {
			connected = "connected"
		}
		leader := info.Leader
		if leader == "" {
			leader = "none at present"
		}
		if info.FrameworkProblem != "" {
			info.FrameworkID += " (Mesos refuses a change: " + info.FrameworkProblem + ")"
		}
		err = writeFields(s.out, [][2]string{
			{"version", info.Version}, {"role", info.Role}, {"leader", leader}, {"framework", info.FrameworkID},
			{"mesos", strings.TrimSpace(info.Mesos.Master + " " + connected)},
			{"queue", fmt.Sprintf("%d tasks wait, %d are launched", info.Queue.Pending, info.Queue.Launched)},
		})
		if err != nil {
			return err
		}
		if len(info.Instances) > 1 {
			if err := showInstances(s, info); err != nil {
				return err
			}
		}
		if len(info.Agents) == 0 {
			return nil
		}
		if _, err := fmt.Fprintln(s.out); err != nil {
			return err
		}
		return showList(s, info.Agents, table.Row{"agent", "url", "tasks", "versions", "attributes"}, func(a wire.Agent) table.Row {
			return table.Row{a.Host, a.URL, a.Tasks, pairs(a.Versions, "×"), pairs(a.Attributes, "=")}
		})
	})
}

// showInstances lists the schedulers that share a store.
func showInstances(s *shell, info wire.Info) error {
	if _, err := fmt.Fprintln(s.out); err != nil {
		return err
	}
	return showList(s, info.Instances, table.Row{"scheduler", "url", "version", "since", ""}, func(i wire.Instance) table.Row {
		role := "standby"
		if i.Leads {
			role = "leads"
		}
		return table.Row{i.Host, i.URL, i.Version, formatTime(&i.Since), role}
	})
}

// pairs lists a map, by key.
func pairs[V any](m map[string]V, between string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s%s%v", key, between, m[key]))
	}
	return strings.Join(parts, ", ")
}
