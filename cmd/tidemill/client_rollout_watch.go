package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

const (
	rolloutPoll     = time.Second      // between two looks at a rollout
	rolloutPatience = 10 * time.Minute // with a server that gives no answer
	comparisonEvery = 30 * time.Second // between lines when only counts change
)

// channelReader is what a watch needs of the client.
type channelReader interface {
	Channel(ctx context.Context, name string) (wire.Channel, error)
	Rollouts(ctx context.Context, channel string) iter.Seq2[wire.Rollout, error]
}

// rolloutWatch follows one rollout.
type rolloutWatch struct {
	server  channelReader
	out     io.Writer
	channel string
	number  uint32

	last       string    // change that was written
	comparison string    // that was written
	written    time.Time // when
}

func newRolloutWatch(s *shell, channel string, number uint32) *rolloutWatch {
	return &rolloutWatch{server: s.Client, out: s.err, channel: channel, number: number}
}

// follow writes a line for each change until the rollout is decided, and returns the channel with it as it was last seen.
// A rollout that has not ended in a promotion is an error with its exit code. A server that does not answer is asked again
// for ten minutes. timeout 0 is none.
func (w *rolloutWatch) follow(ctx context.Context, timeout time.Duration) (wire.Channel, error) {
	waiting, cancel := context.WithCancel(ctx)
	if timeout > 0 {
		waiting, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	var seen wire.Channel
	var trouble error // of the last looks; nil: the last one was answered
	answered := time.Now()
	for {
		channel, err := w.look(waiting)
		switch {
		case waiting.Err() != nil:
			return seen, w.stopped(ctx, seen, timeout, trouble)
		case err == nil:
			if trouble != nil {
				w.note("the server answers again")
			}
			trouble, answered = nil, time.Now()
			if channel.Rollout != nil {
				seen = channel
				w.show(*channel.Rollout)
				if channel.Rollout.State != "running" {
					return seen, w.verdict(seen)
				}
			}
		case !passing(err) || time.Since(answered) > rolloutPatience:
			return seen, err
		case trouble == nil:
			trouble = err
			w.note(fmt.Sprintf("%v; asking again, the rollout goes on meanwhile", err))
		}
		select {
		case <-time.After(rolloutPoll):
		case <-waiting.Done():
			return seen, w.stopped(ctx, seen, timeout, trouble)
		}
	}
}

// passing says whether a look may succeed later: anything but a clear refusal.
func passing(err error) bool {
	var refused *wire.Error
	return !errors.As(err, &refused) || refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests
}

// look reads the channel, with the rollout that is watched instead of the newest one. Without any rollout it is an older
// state, from a standby that has not seen ours yet.
func (w *rolloutWatch) look(ctx context.Context) (wire.Channel, error) {
	channel, err := w.server.Channel(ctx, w.channel)
	if err != nil {
		return channel, err
	}
	newest := channel.Rollout
	channel.Rollout = nil
	if newest == nil || newest.Number < w.number {
		return channel, nil
	}
	if newest.Number == w.number {
		channel.Rollout = newest
		return channel, nil
	}
	for rollout, err := range w.server.Rollouts(ctx, w.channel) {
		if err != nil {
			return channel, err
		}
		if rollout.Number == w.number {
			channel.Rollout = &rollout
			return channel, nil
		}
	}
	return channel, &wire.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("rollout %d of channel %s is no longer known; rollout %d came after it", w.number, w.channel, newest.Number)}
}

// show writes a line if something has changed that is worth one.
func (w *rolloutWatch) show(r wire.Rollout) {
	change := fmt.Sprintf("%s %d %d %d", r.State, r.Step, r.Share, r.New.Failed)
	comparison := compareSamples(r)
	if change == w.last && (comparison == w.comparison || time.Since(w.written) < comparisonEvery) {
		return
	}
	w.last, w.comparison, w.written = change, comparison, time.Now()
	line := fmt.Sprintf("%s, %s; %s", stateText(r.State), describeStep(r), comparison)
	if r.Waiting != "" {
		line += "; " + r.Waiting
	}
	w.note(line)
}

// compareSamples is "1.5.0: 12 runs, 1 failed (8.3 %); 1.4.0: 208 runs, 2 failed (1.0 %)".
func compareSamples(r wire.Rollout) string {
	return fmt.Sprintf("%s: %s; %s: %s", r.To, formatSample(r.New), r.From, formatSample(r.Old))
}

func formatSample(s wire.Sample) string {
	text := fmt.Sprintf("%s, %s failed", plural(int64(s.Runs), "run"), formatCount(int64(s.Failed)))
	if s.Failed > 0 {
		text += " (" + formatRatio(float64(s.Failed)/float64(s.Runs)) + ")"
	}
	return text
}

// note writes a line of its own. What cannot be written there is lost, and no reason to end the watch.
func (w *rolloutWatch) note(text string) {
	_, _ = fmt.Fprintf(w.out, "%s  %s: %s\n", time.Now().Format("15:04:05"), w.channel, text)
}

// verdict is nil if the rollout has led to its version, and says what it has come to otherwise.
func (w *rolloutWatch) verdict(c wire.Channel) error {
	r := c.Rollout
	what := fmt.Sprintf("rollout %d of channel %s to %s", r.Number, c.Name, r.To)
	switch {
	case r.State == "promoted" && c.Version == r.To:
		return nil
	case r.State == "promoted":
		return &exitError{code: exitTakenBack, err: fmt.Errorf("%s was promoted, but the channel was moved again since and points at %s", what, c.Version)}
	case r.State == "paused":
		return &exitError{code: exitPaused, err: fmt.Errorf("%s is paused: %s\n  go on with:     tidemill channels resume %s\n  or finish with: tidemill channels promote %s\n  or take back:   tidemill channels abort %s",
			what, r.Reason, c.Name, c.Name, c.Name)}
	}
	return &exitError{code: exitTakenBack, err: fmt.Errorf("%s is %s: %s\n  the channel points at %s; its runs: tidemill channels get %s", what, stateText(r.State), r.Reason, c.Version, c.Name)}
}

// stopped is the error of a watch that has ended before the rollout. The one that was interrupted only says so: who sent the
// signal knows.
func (w *rolloutWatch) stopped(ctx context.Context, seen wire.Channel, timeout time.Duration, trouble error) error {
	goesOn := fmt.Sprintf("rollout %d goes on: tidemill channels watch %s follows it, tidemill channels abort %s takes it back", w.number, w.channel, w.channel)
	if ctx.Err() != nil {
		w.note(goesOn)
		return ctx.Err()
	}
	why := "it has not been seen"
	switch {
	case trouble != nil:
		why = trouble.Error()
	case seen.Rollout != nil && seen.Rollout.Waiting != "":
		why = seen.Rollout.Waiting
	case seen.Rollout != nil:
		why = describeStep(*seen.Rollout)
	}
	return &exitError{code: exitUndecided, err: fmt.Errorf("not decided after %s: %s\n  %s", timeout, why, goesOn)}
}
