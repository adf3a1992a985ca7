package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
)

// playedChannel is a server whose answers are known beforehand: the n-th look gets the n-th answer, later ones the last.
type playedChannel struct {
	answers []any // wire.Rollout, with what the channel then points at if it has ended; or error
	version string
	known   []wire.Rollout // that a list has
	looks   int
}

func (p *playedChannel) Channel(ctx context.Context, name string) (wire.Channel, error) {
	if ctx.Err() != nil {
		return wire.Channel{}, ctx.Err()
	}
	answer := p.answers[min(p.looks, len(p.answers)-1)]
	p.looks++
	switch a := answer.(type) {
	case error:
		return wire.Channel{}, a
	case wire.Rollout:
		return wire.Channel{Name: name, Version: p.version, Rollout: &a}, nil
	}
	return wire.Channel{Name: name, Version: p.version}, nil
}

func (p *playedChannel) Rollouts(context.Context, string) iter.Seq2[wire.Rollout, error] {
	return func(yield func(wire.Rollout, error) bool) {
		for _, rollout := range p.known {
			if !yield(rollout, nil) {
				return
			}
		}
	}
}

// played is rollout 3 of the tests.
func played(state string, step, share, runs, failed int) wire.Rollout {
	return wire.Rollout{
		Channel: "stable", Number: 3, From: "1.4.0", To: "1.5.0", State: state, Reason: "because of the test", Step: step, Share: share,
		Waiting: fmt.Sprintf("%d of 20 runs on 1.5.0 have ended in this step", runs), Plan: wire.RolloutPlan{Steps: []int{10, 100}},
		Old: wire.Sample{Runs: 412, Failed: 2}, New: wire.Sample{Runs: runs, Failed: failed},
	}
}

// follow plays a rollout, in time that passes by itself.
func follow(t *testing.T, server *playedChannel, timeout time.Duration, interrupt time.Duration) (text string, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx := t.Context()
		if interrupt > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, interrupt)
			defer stop()
		}
		begin := time.Now()
		w := &rolloutWatch{server: server, out: &out, channel: "stable", number: 3}
		_, err = w.follow(ctx, timeout)
		text, took = out.String(), time.Since(begin)
	})
	return text, took, err
}

func code(err error) int {
	var exit *exitError
	if errors.As(explained(err), &exit) {
		return exit.code
	}
	if err != nil {
		return exitFailed
	}
	return exitOK
}

func TestRolloutIsFollowedToItsEnd(t *testing.T) {
	gone := fmt.Errorf("%w at http://x: connection refused", client.ErrUnreachable)
	noLeader := &wire.Error{Status: http.StatusServiceUnavailable, Detail: "nobody leads"}
	before := played("promoted", 2, 100, 9, 0)
	before.Number = 2
	after := played("running", 1, 10, 0, 0)
	after.Number = 4
	running := played("running", 1, 10, 3, 0)
	for name, test := range map[string]struct {
		answers []any
		version string
		known   []wire.Rollout
		code    int
		says    string
	}{
		"promoted":                {answers: []any{running, played("promoted", 2, 100, 40, 0)}, version: "1.5.0", code: 0},
		"promoted, then moved":    {answers: []any{played("promoted", 2, 100, 40, 0)}, version: "1.6.0", code: 4, says: "was moved again since and points at 1.6.0"},
		"taken back":              {answers: []any{running, played("taken_back", 1, 10, 7, 5)}, version: "1.4.0", code: 4, says: "is taken back: because of the test"},
		"aborted":                 {answers: []any{played("aborted", 1, 10, 7, 5)}, version: "1.4.0", code: 4, says: "is aborted"},
		"paused":                  {answers: []any{running, played("paused", 1, 10, 7, 1)}, version: "1.4.0", code: 5, says: "tidemill channels resume stable"},
		"away for a while":        {answers: []any{running, gone, gone, noLeader, played("promoted", 2, 100, 40, 0)}, version: "1.5.0", code: 0},
		"an older state":          {answers: []any{nil, before, running, played("promoted", 2, 100, 40, 0)}, version: "1.5.0", code: 0},
		"another one came":        {answers: []any{after}, known: []wire.Rollout{after, played("aborted", 1, 10, 3, 0)}, version: "1.4.0", code: 4, says: "is aborted"},
		"no longer known":         {answers: []any{after}, known: []wire.Rollout{after}, code: 1, says: "rollout 3 of channel stable is no longer known"},
		"the channel was deleted": {answers: []any{running, &wire.Error{Status: http.StatusNotFound, Detail: "there is no channel"}}, code: 1, says: "there is no channel"},
		"not any more allowed":    {answers: []any{running, &wire.Error{Status: http.StatusUnauthorized, Detail: "the token is wrong"}}, code: 1, says: "the token is wrong"},
		"away for good":           {answers: []any{running, gone}, code: 3, says: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := follow(t, &playedChannel{answers: test.answers, version: test.version, known: test.known}, 0, 0)
			if got := code(err); got != test.code || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("code %d, %v; want %d and %q", got, err, test.code, test.says)
			}
		})
	}
}

func TestServerMayBeAwayForMinutes(t *testing.T) {
	answers := []any{played("running", 1, 10, 3, 0)}
	for range 590 {
		answers = append(answers, client.ErrUnreachable)
	}
	answers = append(answers, played("promoted", 2, 100, 40, 0))
	text, took, err := follow(t, &playedChannel{answers: answers, version: "1.5.0"}, 0, 0)
	if err != nil || took < 590*time.Second || strings.Count(text, "\n") != 4 || !strings.Contains(text, "the server answers again") {
		t.Errorf("%v after %s:\n%s", err, took, text)
	}
}

func TestWaitIsBounded(t *testing.T) {
	running := &playedChannel{answers: []any{played("running", 1, 10, 3, 0)}, version: "1.4.0"}
	_, took, err := follow(t, running, time.Hour, 0)
	if code(err) != exitUndecided || took != time.Hour || !strings.Contains(err.Error(), "not decided after 1h0m0s: 3 of 20 runs") || !strings.Contains(err.Error(), "channels watch stable") {
		t.Errorf("got %v after %s", err, took)
	}
	away := &playedChannel{answers: []any{client.ErrUnreachable}}
	if _, took, err := follow(t, away, time.Minute, 0); code(err) != exitUndecided || took != time.Minute || !strings.Contains(err.Error(), "cannot reach the server") {
		t.Errorf("got %v after %s", err, took)
	}
	text, took, err := follow(t, running, time.Hour, time.Minute)
	if took != time.Minute || err == nil || !strings.Contains(text, "rollout 3 goes on: tidemill channels watch stable follows it") {
		t.Errorf("interrupted: %v after %s\n%s", err, took, text)
	}
}

// A line is written for what changes; counts alone get one each half a minute.
func TestLinesOfARollout(t *testing.T) {
	answers := []any{}
	for n := range 45 {
		answers = append(answers, played("running", 1, 10, n/3, 0))
	}
	answers = append(answers, played("running", 1, 10, 15, 1), played("running", 2, 100, 15, 1), played("running", 2, 100, 15, 1), played("promoted", 2, 100, 40, 1))
	text, _, err := follow(t, &playedChannel{answers: answers, version: "1.5.0"}, 0, 0)
	var got []string
	for line := range strings.Lines(text) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), "  ")
		got = append(got, line)
	}
	want := []string{
		"stable: running, step 1 of 2, 10 % of runs; 1.5.0: 0 runs, 0 failed; 1.4.0: 412 runs, 2 failed (0.5 %); 0 of 20 runs on 1.5.0 have ended in this step",
		"stable: running, step 1 of 2, 10 % of runs; 1.5.0: 10 runs, 0 failed; 1.4.0: 412 runs, 2 failed (0.5 %); 10 of 20 runs on 1.5.0 have ended in this step",
		"stable: running, step 1 of 2, 10 % of runs; 1.5.0: 15 runs, 1 failed (6.7 %); 1.4.0: 412 runs, 2 failed (0.5 %); 15 of 20 runs on 1.5.0 have ended in this step",
		"stable: running, step 2 of 2, 100 % of runs; 1.5.0: 15 runs, 1 failed (6.7 %); 1.4.0: 412 runs, 2 failed (0.5 %); 15 of 20 runs on 1.5.0 have ended in this step",
		"stable: promoted, step 2 of 2, 100 % of runs; 1.5.0: 40 runs, 1 failed (2.5 %); 1.4.0: 412 runs, 2 failed (0.5 %); 40 of 20 runs on 1.5.0 have ended in this step",
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v; got\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestShortNumbers(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 412: "412", 12.14: "12.1", 99.96: "100", 123.4: "123", 9999: "9999", 1_234_567: "1235k", 12_345_678: "12.3M"} {
		if got := formatShort(value); got != want {
			t.Errorf("%g: got %q, want %q", value, got, want)
		}
	}
	if got := elide("flights-by-carrier", 8); got != "flights…" {
		t.Errorf("got %q", got)
	}
	age := func(d time.Duration) string { return formatAge(time.Now().Add(-d)) }
	for _, pair := range [][2]string{{age(90 * time.Minute), "1h"}, {age(50 * time.Hour), "2d"}, {age(3 * time.Minute), "3m"}, {age(-time.Hour), "0s"},
		{shortVersion("1.5.0-rc1"), "1.5.0-rc1"}, {shortVersion("0123456789abcdef0123456789abcdef01234567"), "0123456789abc…234567"}} {
		if pair[0] != pair[1] {
			t.Errorf("got %q, want %q", pair[0], pair[1])
		}
	}
}

// The API's word for what overrides a refusal is explained by the flag that says it.
func TestIncompatibleMoveNamesItsFlag(t *testing.T) {
	conflict := &wire.Error{Status: http.StatusConflict, Detail: "2.0.0 lacks what 1 of the jobs need that follow it; allow_incompatible moves it all the same",
		Errors: []wire.Problem{{Detail: "job \"flights\", /aggregate: executor 2.0.0 has no kind aggregate"}}}
	err := refusedMove(t.Context(), nil, "prod", "2.0.0", conflict)
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != exitFailed {
		t.Errorf("got %#v", err)
	}
	for _, text := range []string{conflict.Detail, conflict.Errors[0].Detail, "add --allow-incompatible"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in %q", text, err)
		}
	}
}
