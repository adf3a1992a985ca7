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
		err = writeFields(s.out, [][2]string{
			{"version", info.Version}, {"leader", info.Leader}, {"framework", info.FrameworkID},
			{"mesos", strings.TrimSpace(info.Mesos.Master + " " + connected)},
			{"queue", fmt.Sprintf("%d tasks wait, %d are launched", info.Queue.Pending, info.Queue.Launched)},
		})
		if err != nil || len(info.Agents) == 0 {
			return err
		}
		if _, err := fmt.Fprintln(s.out); err != nil {
			return err
		}
		return showList(s, info.Agents, table.Row{"agent", "url", "tasks", "versions", "attributes"}, func(a wire.Agent) table.Row {
			return table.Row{a.Host, a.URL, a.Tasks, pairs(a.Versions, "×"), pairs(a.Attributes, "=")}
		})
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
