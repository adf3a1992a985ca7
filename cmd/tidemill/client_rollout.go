package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/api/wire"
)

const rolloutExitCodes = `Exit codes:
  0  done; with a wait: the channel points at the version
  1  refused by the server, not valid, or failed
  2  wrong use of the command line
  3  the server cannot be reached
  4  the rollout was taken back or aborted
  5  the rollout is paused
  6  not decided within --timeout; the rollout goes on
  130  interrupted; the rollout goes on`

const (
	exitTakenBack = 4 // or aborted
	exitPaused    = 5
	exitUndecided = 6 // within --timeout
)

// move says how a channel is to be moved, as flags.
type move struct {
	plan wire.RolloutPlan
	file string // of a plan

	allowIncompatible, again, wait bool
	timeout                        time.Duration

	rollout bool // some flag asks for a rollout
}

// planFlags are those that describe a rollout.
var planFlags = []string{"steps", "interval", "min-runs", "max-failure-ratio", "max-duration-ratio", "min-rate-ratio", "jobs"}

func (m *move) flags(command *cobra.Command) {
	f := command.Flags()
	f.Var((*steps)(&m.plan.Steps), "steps", "move by steps: shares of runs on the new version in `percent`, such as 10,50,100, which is the default if another flag asks for a rollout")
	f.StringVar(&m.plan.Interval, "interval", "", "rollout: the least `duration` of a step; 30m if missing")
	f.IntVar(&m.plan.MinRuns, "min-runs", 0, "rollout: how many runs on the new version must have ended in a step; 20 if missing")
	f.Float64Var(&m.plan.MaxFailureRatio, "max-failure-ratio", 0, "rollout: take it back when the new version fails more than so many times as often; 1.5 if missing")
	f.Float64Var(&m.plan.MaxDurationRatio, "max-duration-ratio", 0, "rollout: pause when runs take more than so many times as long; not looked at if missing")
	f.Float64Var(&m.plan.MinRateRatio, "min-rate-ratio", 0, "rollout: pause when runs read less than this share of the rows a second; not looked at if missing")
	f.StringSliceVar(&m.plan.Jobs, "jobs", nil, "rollout: names, or patterns with *, of jobs that take part; all that follow the channel if missing")
	f.StringVar(&m.file, "rollout", "", "move by the rollout in this JSON `file`, as in the API; {} is one with all defaults")
	f.BoolVar(&m.allowIncompatible, "allow-incompatible", false, "move also when jobs that follow the channel need what the version does not have")
	f.BoolVar(&m.again, "again", false, "also when the last rollout has taken this version back")
	f.BoolVar(&m.wait, "wait", false, "follow the rollout until it is decided")
	f.DurationVar(&m.timeout, "timeout", 0, "how long to wait with --wait; 0: without limit")
}

// steps is the value of --steps: whole numbers with commas between them. A percent sign after one is as good as none.
type steps []int

// String implements pflag.Value.
func (s *steps) String() string {
	return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(*s), "[]")), ",")
}

// Type implements pflag.Value.
func (s *steps) Type() string { return "percent" }

// Set implements pflag.Value. A flag that is given again adds to the list.
func (s *steps) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		share, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(part), "%")))
		if err != nil {
			return fmt.Errorf("%q is not a share: want whole numbers from 1 to 100 such as 10,50,100", part)
		}
		*s = append(*s, share)
	}
	return nil
}

// check finds mistakes in the flags, and reads the plan's file.
func (m *move) check(command *cobra.Command) error {
	for _, name := range planFlags {
		if !command.Flags().Changed(name) {
			continue
		}
		// In the request nothing stands for the default, and that is not what was asked for.
		if value := command.Flags().Lookup(name).Value.String(); value == "0" || value == "" || value == "[]" {
			return usageError(fmt.Errorf("--%s must be positive and not empty; without it the default holds", name))
		}
		if m.file != "" {
			return usageError(fmt.Errorf("--rollout and --%s are both given: put all of the rollout into the file, or none", name))
		}
		m.rollout = true
	}
	if m.timeout < 0 || m.timeout > 0 && !m.wait {
		return usageError(errors.New("--timeout is how long to wait: it must be positive, and needs --wait"))
	}
	if m.file == "" {
		return nil
	}
	m.rollout = true
	data, err := os.ReadFile(m.file)
	if err != nil {
		return usageError(fmt.Errorf("--rollout: %w", err))
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m.plan); err != nil {
		return usageError(fmt.Errorf("--rollout: read %s: %w; want an object such as {\"steps\": [10, 50, 100], \"interval\": \"30m\"}", m.file, err))
	}
	return nil
}

// body is the request.
func (m *move) body(version string) wire.SetChannel {
	target := wire.SetChannel{Version: version, AllowIncompatible: m.allowIncompatible, Again: m.again}
	if m.rollout {
		target.Rollout = &m.plan
	}
	return target
}

// carryOut moves a channel, and waits for its rollout if that was asked for. The channel is as it was last seen; it is the
// zero channel if it was not moved. A rollout that has not led to the version is an error.
func (m *move) carryOut(ctx context.Context, s *shell, name, version string) (wire.Channel, error) {
	channel, err := s.SetChannel(ctx, name, m.body(version))
	var refused *wire.Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		return wire.Channel{}, refusedMove(ctx, s, name, version, err)
	}
	if err != nil || !m.wait {
		return channel, err
	}
	return awaitChannel(ctx, s, channel, version, m.timeout)
}

// refusedMove explains a conflict with the flag that overrides it. A rollout that was taken back has its own exit code: a job
// of CI that is repeated ends as it did the first time.
func refusedMove(ctx context.Context, s *shell, name, version string, conflict error) error {
	if strings.Contains(conflict.Error(), "allow_incompatible") { // what the API calls it
		return &exitError{code: exitFailed, err: fmt.Errorf("%w\n  to move it all the same, add --allow-incompatible", explained(conflict))}
	}
	channel, err := s.Channel(ctx, name)
	if err != nil || channel.Rollout == nil || channel.Rollout.To != version || channel.Rollout.State != "taken_back" {
		return conflict
	}
	return &exitError{code: exitTakenBack, err: fmt.Errorf("%w\n  to try it once more, add --again", explained(conflict))}
}

// awaitChannel follows the rollout of a channel that has just been moved.
func awaitChannel(ctx context.Context, s *shell, channel wire.Channel, version string, timeout time.Duration) (wire.Channel, error) {
	if channel.Version == version {
		return channel, nil // at once
	}
	if channel.Rollout == nil || channel.Rollout.To != version {
		return channel, fmt.Errorf("channel %s points at %s, and no rollout moves it to %s", channel.Name, channel.Version, version)
	}
	w := newRolloutWatch(s, channel.Name, channel.Rollout.Number)
	return w.follow(ctx, timeout)
}

func newWatchChannelCommand() *cobra.Command {
	var timeout time.Duration
	command := verb(&cobra.Command{
		Use:   "watch CHANNEL",
		Short: "Follow a channel's newest rollout until it is decided",
		Long: `Follow a channel's newest rollout until it is decided, with a line for each change.

The server may restart or be away for some minutes meanwhile. A rollout that is paused ends the watch, too: somebody has
to look at it.

` + rolloutExitCodes,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *shell, args []string) error {
		if timeout < 0 {
			return usageError(fmt.Errorf("--timeout is %s; want 0 or more", timeout))
		}
		channel, err := s.Channel(ctx, args[0])
		if err != nil {
			return err
		}
		if channel.Rollout != nil {
			channel, err = newRolloutWatch(s, channel.Name, channel.Rollout.Number).follow(ctx, timeout)
		}
		return showOutcome(s, channel, channel, err)
	})
	command.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: without limit")
	return command
}

// showOutcome prints what became of a move: value for programs, the channel for people. An err of waiting stays the error.
func showOutcome(s *shell, value any, channel wire.Channel, err error) error {
	if channel.Name == "" {
		return err
	}
	if s.json {
		return errors.Join(err, writeJSON(s.out, value))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, describeChannel(channel))
	return err
}

// describeChannel is where a channel points, and where it is going.
func describeChannel(c wire.Channel) string {
	if r := c.Rollout; r != nil && (r.State == "running" || r.State == "paused") {
		return fmt.Sprintf("channel %s moves from %s to %s by rollout %d: %s, %s", c.Name, r.From, r.To, r.Number, stateText(r.State), describeStep(*r))
	}
	return fmt.Sprintf("channel %s points at %s", c.Name, c.Version)
}

// describeStep is "step 1 of 3, 10 % of runs".
func describeStep(r wire.Rollout) string {
	return fmt.Sprintf("step %d of %d, %d %% of runs", r.Step, len(r.Plan.Steps), r.Share)
}

// stateText is a rollout's state for people.
func stateText(state string) string { return strings.ReplaceAll(state, "_", " ") }
