package rollout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/proto"
)

func TestComplete(t *testing.T) {
	defaults := proto.RolloutPlan{Steps: []uint32{10, 50, 100}, Interval: 30 * time.Minute, MinRuns: 20, MaxFailureRatio: 1.5}
	for name, test := range map[string]struct {
		given proto.RolloutPlan
		want  string // pointers of the problems
	}{
		"defaults":          {proto.RolloutPlan{}, ""},
		"one step":          {proto.RolloutPlan{Steps: []uint32{100}}, ""},
		"a canary for ever": {proto.RolloutPlan{Steps: []uint32{1, 2, 3}, MaxDurationRatio: 1.2, MinRateRatio: 0.8, Jobs: []string{"flights-*", "a.b_c"}}, ""},
		"no share":          {proto.RolloutPlan{Steps: []uint32{0, 50}}, "/steps/0"},
		"too much":          {proto.RolloutPlan{Steps: []uint32{50, 101}}, "/steps/1"},
		"not increasing":    {proto.RolloutPlan{Steps: []uint32{50, 50, 40}}, "/steps/1 /steps/2"},
		"too many steps":    {proto.RolloutPlan{Steps: slices.Repeat([]uint32{1}, 21)}, "/steps"},
		"time runs back":    {proto.RolloutPlan{Interval: -1}, "/interval"},
		"for years":         {proto.RolloutPlan{Interval: 31 * 24 * time.Hour}, "/interval"},
		"too many runs":     {proto.RolloutPlan{MinRuns: math.MaxUint32}, "/min_runs"},
		"fewer failures":    {proto.RolloutPlan{MaxFailureRatio: 0.5}, "/max_failure_ratio"},
		"no number":         {proto.RolloutPlan{MaxFailureRatio: math.NaN(), MaxDurationRatio: math.Inf(1), MinRateRatio: -1}, "/max_failure_ratio /max_duration_ratio /min_rate_ratio"},
		"faster":            {proto.RolloutPlan{MaxDurationRatio: 0.9, MinRateRatio: 1.1}, "/max_duration_ratio /min_rate_ratio"},
		"odd patterns":      {proto.RolloutPlan{Jobs: []string{"a", "[a-z]", "", "A"}}, "/jobs/1 /jobs/2 /jobs/3"},
	} {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprint(test.given)
			got, problems := Complete(test.given)
			var pointers []string
			for _, p := range problems {
				pointers = append(pointers, p.Pointer)
			}
			if strings.Join(pointers, " ") != test.want {
				t.Errorf("problems %v, want them at %q", problems, test.want)
			}
			if fmt.Sprint(test.given) != before {
				t.Errorf("the plan became %v", test.given)
			}
			if again, _ := Complete(got); len(problems) == 0 && !Equal(&got, &again) {
				t.Errorf("a complete plan is completed to %v", again)
			}
		})
	}
	if got, _ := Complete(proto.RolloutPlan{}); !Equal(&got, &defaults) {
		t.Errorf("defaults are %v", got)
	}
}

func TestTakesPart(t *testing.T) {
	plan := &proto.RolloutPlan{Jobs: []string{"flights-*", "ships"}}
	for job, want := range map[string]bool{"flights-by-day": true, "flights-": true, "ships": true, "ships-2": false, "my-flights-x": false} {
		if got := TakesPart(plan, job); got != want {
			t.Errorf("%s takes part: %v", job, got)
		}
	}
	if !TakesPart(&proto.RolloutPlan{}, "any") {
		t.Error("without a list not all take part")
	}
}

// TestSlotIsFixed: where a run goes must never change, for an instance of another version may decide about the next one.
func TestSlotIsFixed(t *testing.T) {
	for _, want := range []struct {
		job, run string
		slot     int
	}{
		{"flights", "flights-20260101-000000-aaaaaa", 3601},
		{"flights", "flights-20260101-000000-aaaaab", 718},
		{"ships", "flights-20260101-000000-aaaaaa", 235},
		{"", "", 7193},
	} {
		if got := Slot(want.job, want.run); got != want.slot {
			t.Errorf("slot of %q, %q = %d, want %d", want.job, want.run, got, want.slot)
		}
	}
}

// TestShareIsFair: a share takes that part of the runs, and a larger one takes in the smaller.
func TestShareIsFair(t *testing.T) {
	const runs = 20_000
	for _, share := range []uint32{1, 10, 30, 50, 99, 100} {
		taken := 0
		for i := range runs {
			run := fmt.Sprint("run-", i)
			takes := Takes("job", run, share)
			taken += map[bool]int{true: 1}[takes]
			if takes && share < 100 && !Takes("job", run, share+1) {
				t.Fatalf("%s is in %d %% but not in more", run, share)
			}
		}
		p := float64(share) / 100
		if off := math.Abs(float64(taken) - runs*p); off > 3*math.Sqrt(runs*p*(1-p)) {
			t.Errorf("%d %% took %d of %d", share, taken, runs)
		}
	}
}
