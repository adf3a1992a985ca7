package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// TestStuck: runs that do not end pause a rollout once, and only those of its step.
func TestStuck(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		interval time.Duration
		living   []time.Duration // when they were started, after noon
		ended    bool            // a run of the step has
		resumed  time.Duration   // after noon, having paused by itself; 0: it has not
		at       time.Duration
		want     string // part of the reason; empty: it waits
	}{
		"in time":              {living: []time.Duration{0}, at: day - 1},
		"none was started":     {at: 5 * day},
		"one":                  {living: []time.Duration{time.Hour}, at: day + time.Hour, want: "a run on 2.0.0 was started at 1 January 13:00 UTC and has not ended"},
		"two":                  {living: []time.Duration{2 * time.Hour, time.Hour}, at: 2 * day, want: "2 runs on 2.0.0 were started since 1 January 13:00 UTC, and none has ended"},
		"started late":         {living: []time.Duration{23 * time.Hour}, at: day + time.Hour},
		"another has ended":    {living: []time.Duration{0}, ended: true, at: 5 * day},
		"a long interval":      {interval: 6 * time.Hour, living: []time.Duration{0}, at: 60*time.Hour - 1},
		"a long interval over": {interval: 6 * time.Hour, living: []time.Duration{0}, at: 60 * time.Hour, want: "a run on 2.0.0"},
		"of before":            {living: []time.Duration{0}, resumed: 30 * time.Hour, at: 10 * day},
		"of after":             {living: []time.Duration{0, 31 * time.Hour}, resumed: 30 * time.Hour, at: 3 * day, want: "a run on 2.0.0 was started at 2 January 19:00 UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTrial(proto.RolloutPlan{Interval: test.interval}, 1)
			if test.ended {
				Ended(x.r, noon)
			}
			if test.resumed > 0 {
				x.now = noon.Add(test.resumed)
				Follow(x.r, Verdict{Hold, "runs do not end"}, x.now)
				if _, err := Resume(x.r, "ann", "", x.now); err != nil {
					t.Fatal(err)
				}
			}
			var living []time.Time
			for _, at := range test.living {
				living = append(living, noon.Add(at))
			}
			now := noon.Add(test.at)
			got := Stuck(x.r, slices.Values(living), now)
			if (got.Move == Hold) != (test.want != "") || !strings.Contains(got.Reason, test.want) {
				t.Fatalf("got %+v, want %q", got, test.want)
			}
			if Follow(x.r, got, now) && Stuck(x.r, slices.Values(living), now).Move != Wait {
				t.Error("it would pause again")
			}
		})
	}
}

// TestDueForStuckRuns: as long as no run of the step has ended it is looked at again and again.
func TestDueForStuckRuns(t *testing.T) {
	x := newTrial(proto.RolloutPlan{}, 1)
	for now, want := range map[time.Duration]time.Duration{
		2 * time.Hour: 24 * time.Hour, 24*time.Hour - 1: 24 * time.Hour, 24 * time.Hour: 48 * time.Hour, 50 * time.Hour: 72 * time.Hour,
	} {
		if got := Due(x.r, noon.Add(now)).Sub(noon); got != want {
			t.Errorf("after %s it is due after %s, want %s", now, got, want)
		}
	}
	Ended(x.r, noon)
	if got := Due(x.r, noon.Add(2*time.Hour)); !got.IsZero() {
		t.Errorf("it is due at %s", got)
	}
}
