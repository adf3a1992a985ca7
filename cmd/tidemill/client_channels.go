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

func newChannelsCommand() *cobra.Command {
	command := verb(&cobra.Command{
		Use:   "channels",
		Short: "Show channels, and move them at once or by rollouts",
		Args:  cobra.NoArgs,
	}, listChannels)
	command.AddCommand(
		verb(&cobra.Command{Use: "list", Short: "List channels, by name", Args: cobra.NoArgs}, listChannels),
		verb(&cobra.Command{Use: "get CHANNEL", Short: "Show a channel, its newest rollout and what it pointed at", Args: cobra.ExactArgs(1)}, getChannel),
		newSetChannelCommand(),
		verb(&cobra.Command{Use: "delete CHANNEL", Short: "Delete a channel that no job follows", Args: cobra.ExactArgs(1)}, deleteChannel),
		newSteerCommand("pause", "Pause a rollout: runs still go to both versions, and no step is taken", "is paused"),
		newSteerCommand("resume", "Let a paused rollout go on", "goes on"),
		newSteerCommand("promote", "Point the channel at a rollout's new version, now", "is promoted"),
		newSteerCommand("abort", "End a rollout: no further runs are started on its new version, those that run finish", "is aborted"),
		newWatchChannelCommand(),
		verb(&cobra.Command{Use: "rollouts CHANNEL", Short: "List a channel's rollouts, newest first", Args: cobra.ExactArgs(1)}, listRollouts),
	)
	return command
}

func listChannels(ctx context.Context, s *shell, _ []string) error {
	channels, err := collect(s.Channels(ctx), 0)
	if err != nil {
		return err
	}
	return showList(s, channels, table.Row{"channel", "version", "updated", "by", "rollout"}, func(c wire.Channel) table.Row {
		rollout := ""
		if r := c.Rollout; r != nil {
			rollout = fmt.Sprintf("%d to %s: %s", r.Number, shortVersion(r.To), stateText(r.State))
			if r.State == "running" || r.State == "paused" {
				rollout += fmt.Sprintf(", %d %%", r.Share)
			}
		}
		return table.Row{elide(c.Name, 16), shortVersion(c.Version), formatTime(&c.Updated), elide(c.UpdatedBy, 12), rollout}
	})
}

func getChannel(ctx context.Context, s *shell, args []string) error {
	channel, err := s.Channel(ctx, args[0])
	if err != nil {
		return err
	}
	if s.json {
		return writeJSON(s.out, channel)
	}
	fields := [][2]string{
		{"channel", channel.Name}, {"version", channel.Version}, {"previous", channel.Previous},
		{"updated", byWhom(formatTime(&channel.Updated), channel.UpdatedBy)},
	}
	if channel.Rollout != nil {
		fields = append(fields, rolloutFields(*channel.Rollout)...)
	}
	if err := writeFields(s.out, fields); err != nil {
		return err
	}
	if err := showRolloutDetails(s, channel.Rollout); err != nil {
		return err
	}
	return showSection(s, channel.Moves, table.Row{"moved", "from", "to", "rollout", "by"}, func(m wire.ChannelMove) table.Row {
		rollout := "at once"
		if m.Rollout > 0 {
			rollout = fmt.Sprint(m.Rollout)
		}
		return table.Row{formatTime(&m.At), m.From, m.To, rollout, m.By}
	})
}

// byWhom adds a name to a moment.
func byWhom(when, name string) string {
	if name == "" {
		return when
	}
	return when + " by " + name
}

func rolloutFields(r wire.Rollout) [][2]string {
	fields := [][2]string{
		{"rollout", fmt.Sprintf("%d, %s to %s", r.Number, r.From, r.To)}, {"state", stateText(r.State)}, {"reason", text.WrapSoft(r.Reason, valueWidth)},
		{"step", strings.TrimPrefix(describeStep(r), "step ")}, {"waiting", text.WrapSoft(r.Waiting, valueWidth)}, {"until", formatTime(r.Until)},
		{"begun", byWhom(formatTime(&r.Created), r.By)}, {"ended", formatTime(r.Ended)},
		{"plan", describePlan(r.Plan)}, {"jobs", text.WrapSoft(strings.Join(r.Plan.Jobs, ", "), valueWidth)},
	}
	return append(fields, [2]string{"new", r.To + ": " + formatSample(r.New)}, [2]string{"old", r.From + ": " + formatSample(r.Old)})
}

// describePlan is a plan in one line, without the jobs.
func describePlan(p wire.RolloutPlan) string {
	steps := strings.Trim(strings.ReplaceAll(fmt.Sprint(p.Steps), " ", ", "), "[]")
	line := fmt.Sprintf("steps %s %%, each %s and %s at least, failures up to %g×", steps, p.Interval, plural(int64(p.MinRuns), "run"), p.MaxFailureRatio)
	if p.MaxDurationRatio > 0 {
		line += fmt.Sprintf(", duration up to %g×", p.MaxDurationRatio)
	}
	if p.MinRateRatio > 0 {
		line += fmt.Sprintf(", rows a second from %g×", p.MinRateRatio)
	}
	return line
}

// reasonWidth wraps reasons, so that lines stay below a hundred columns.
const reasonWidth = 46

func showRolloutDetails(s *shell, r *wire.Rollout) error {
	if r == nil {
		return nil
	}
	header := table.Row{"job, old → new", "runs", "failed", "seconds", "rows/s"}
	err := showSection(s, r.Jobs, header, func(j wire.RolloutJob) table.Row {
		return table.Row{elide(j.Job, 30), formatChange(float64(j.Old.Runs), float64(j.New.Runs)), formatChange(float64(j.Old.Failed), float64(j.New.Failed)),
			formatMeans(j.Old.Seconds, j.New.Seconds), formatMeans(j.Old.RowsPerSecond, j.New.RowsPerSecond)}
	})
	if err != nil {
		return err
	}
	return showSection(s, r.Events, table.Row{"at", "event", "step", "by", "reason"}, func(e wire.RolloutEvent) table.Row {
		return table.Row{formatTime(&e.At), stateText(e.Event), e.Step, e.By, text.WrapSoft(e.Reason, reasonWidth)}
	})
}

// showSection is a table below others; without rows there is none.
func showSection[T any](s *shell, items []T, header table.Row, row func(T) table.Row) error {
	if len(items) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(s.out); err != nil {
		return err
	}
	return showList(s, items, header, row)
}

// formatChange is "412 → 38".
func formatChange(from, to float64) string { return formatShort(from) + " → " + formatShort(to) }

// formatMeans is the same for what may be unknown, and empty if nothing is known.
func formatMeans(from, to *float64) string {
	if from == nil && to == nil {
		return ""
	}
	side := func(v *float64) string {
		if v == nil {
			return "–"
		}
		return formatShort(*v)
	}
	return side(from) + " → " + side(to)
}

func listRollouts(ctx context.Context, s *shell, args []string) error {
	rollouts, err := collect(s.Rollouts(ctx, args[0]), 0)
	if err != nil {
		return err
	}
	return showList(s, rollouts, table.Row{"rollout", "from", "to", "state", "step", "begun", "reason"}, func(r wire.Rollout) table.Row {
		return table.Row{r.Number, shortVersion(r.From), shortVersion(r.To), stateText(r.State), fmt.Sprintf("%d/%d", r.Step, len(r.Plan.Steps)),
			formatTime(&r.Created), text.WrapSoft(r.Reason, 26)}
	})
}

func newSetChannelCommand() *cobra.Command {
	var m move
	var command *cobra.Command
	command = verb(&cobra.Command{
		Use:   "set CHANNEL VERSION",
		Short: "Point a channel at an executor version, at once or by a rollout",
		Long: `Point a channel at an executor version: at once, or by a rollout as soon as a flag describes one. Runs finish on the
version that they began with. A repeat changes nothing.

With --wait the rollout is followed until it is decided, with a line for each change. The server may restart or be away
for some minutes meanwhile.

` + rolloutExitCodes,
		Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, s *shell, args []string) error {
		if err := m.check(command); err != nil {
			return err
		}
		channel, err := m.carryOut(ctx, s, args[0], args[1])
		return showOutcome(s, channel, channel, err)
	})
	m.flags(command)
	return command
}

func deleteChannel(ctx context.Context, s *shell, args []string) error {
	channel, err := s.DeleteChannel(ctx, args[0])
	switch {
	case err != nil:
		return err
	case s.json:
		return writeJSON(s.out, channel)
	}
	_, err = fmt.Fprintf(s.out, "channel %s is deleted\n", channel.Name)
	return err
}

// newSteerCommand does something to a channel's newest rollout; done is what it then says of the rollout.
func newSteerCommand(action, short, done string) *cobra.Command {
	var steer wire.SteerRollout
	command := verb(&cobra.Command{Use: action + " CHANNEL", Short: short, Args: cobra.ExactArgs(1)},
		func(ctx context.Context, s *shell, args []string) error {
			rollout, err := s.SteerRollout(ctx, args[0], action, steer)
			switch {
			case err != nil:
				return err
			case s.json:
				return writeJSON(s.out, rollout)
			}
			_, err = fmt.Fprintf(s.out, "rollout %d of channel %s to %s %s\n", rollout.Number, rollout.Channel, rollout.To, done)
			return err
		})
	command.Flags().Uint32Var(&steer.Rollout, "number", 0, "of the rollout that is meant, as a precaution; 0: the newest")
	command.Flags().StringVar(&steer.Reason, "reason", "", "why, for people")
	return command
}
