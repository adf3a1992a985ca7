package rollout

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/proto"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// trial is a rollout of one channel that runs end in.
type trial struct {
	r       *proto.Rollout
	tallies []*proto.Tally
	sums    Sums
	now     time.Time
}

func newTrial(plan proto.RolloutPlan, jobs int) *trial {
	plan, problems := Complete(plan)
	if len(problems) > 0 {
		panic(problems[0].Detail)
	}
	t := &trial{now: noon, sums: NewSums(&plan), r: Begin(proto.Rollout{Channel: "stable", Number: 1, From: "1.0.0", To: "2.0.0", Plan: plan, By: "ann"}, noon)}
	for range jobs {
		t.tallies = append(t.tallies, &proto.Tally{})
	}
	return t
}

// end counts a run that was started in this step.
func (t *trial) end(job int, isNew bool, o Outcome) {
	at := t.tallies[job]
	t.sums.Remove(at)
	if isNew {
		Count(&at.New, o)
		Ended(t.r, t.now)
	} else {
		Count(&at.Old, o)
	}
	t.sums.Add(at)
}

func (t *trial) judge() Verdict { return Judge(t.r, &t.sums, slices.Values(t.tallies), t.now) }

// many counts runs of the first job, the first of which failed.
func (t *trial) many(isNew bool, runs, failed int, took time.Duration) {
	for i := range runs {
		t.end(0, isNew, Outcome{Failed: i < failed, Took: took + time.Duration(i%3)*time.Millisecond, Rows: 1000})
	}
}

func TestJudge(t *testing.T) {
	const second = time.Second
	for name, test := range map[string]struct {
		plan   proto.RolloutPlan
		happen func(*trial)
		want   Move
		reason string // part of it
	}{
		"nothing has ended": {happen: func(*trial) {}, want: Wait},
		"too early": {happen: func(x *trial) {
			x.many(true, 50, 0, second)
			x.now = noon.Add(30*time.Minute - 1)
		}, want: Wait},
		"too few runs": {happen: func(x *trial) {
			x.many(true, 19, 0, second)
			x.now = noon.Add(24 * time.Hour)
		}, want: Wait},
		"on time": {happen: func(x *trial) {
			x.many(false, 99, 0, second)
			x.many(true, 20, 0, second)
			x.now = noon.Add(30 * time.Minute)
		}, want: NextStep, reason: "0 of 20 runs on 2.0.0 failed, and 0.1 would fail as on 1.0.0"},
		"after the last step": {plan: proto.RolloutPlan{Steps: []uint32{100}}, happen: func(x *trial) {
			x.many(true, 20, 0, second)
			x.now = noon.Add(30 * time.Minute)
		}, want: Finish, reason: "after the last step"},
		"one failure is not enough": {happen: func(x *trial) {
			x.many(false, 1000, 0, second)
			x.many(true, 1, 1, second)
		}, want: Wait},
		"two are": {happen: func(x *trial) {
			x.many(false, 1000, 0, second)
			x.many(true, 3, 2, second)
		}, want: GoBack, reason: "2 of 3 runs on 2.0.0 failed, and fewer than 0.1 would fail as on 1.0.0, more than 1.5 times as many; the probability of that by chance is below 0.01 %"},
		"while it is paused": {happen: func(x *trial) {
			x.many(false, 1000, 0, second)
			if _, err := Pause(x.r, "ann", "", x.now); err != nil {
				panic(err)
			}
			x.many(true, 3, 2, second)
		}, want: GoBack},
		"beside a job that always fails": {happen: func(x *trial) {
			x.many(false, 200, 200, second)
			x.many(true, 100, 100, second)
			x.tallies = append(x.tallies, &proto.Tally{})
			for range 100 {
				x.end(1, false, Outcome{Took: second})
			}
			for range 40 {
				x.end(1, true, Outcome{Failed: true})
			}
			x.now = noon.Add(30 * time.Minute)
		}, want: GoBack, reason: "140 of 140 runs on 2.0.0 failed, and 99.9 would fail as on 1.0.0, more than the 100.3 allowed"},
		"all fail as before": {happen: func(x *trial) {
			x.many(false, 200, 200, second)
			x.many(true, 100, 100, second)
			x.now = noon.Add(24 * time.Hour)
		}, want: NextStep},
		"nothing to compare with": {plan: proto.RolloutPlan{Steps: []uint32{100}, MaxFailureRatio: 2}, happen: func(x *trial) {
			x.many(true, 60, 60, second)
			x.now = noon.Add(90*time.Minute - 1)
		}, want: Wait},
		"nothing to compare with for long": {plan: proto.RolloutPlan{Steps: []uint32{100}, MaxFailureRatio: 2}, happen: func(x *trial) {
			x.many(true, 60, 60, second)
			x.now = noon.Add(90 * time.Minute)
		}, want: Hold, reason: "60 of 60 runs on 2.0.0 failed, and none is known on 1.0.0 to compare them with"},
		"many jobs with one run each": {plan: proto.RolloutPlan{MinRuns: 40}, happen: func(x *trial) {
			for i := range 200 {
				x.tallies = append(x.tallies, &proto.Tally{})
				x.end(i, false, Outcome{Took: second})
			}
			for i := range 40 {
				x.end(i, true, Outcome{Failed: i%4 == 0})
			}
			x.now = noon.Add(30 * time.Minute)
		}, want: Hold, reason: "10 of 40 runs on 2.0.0 failed, and 0 of 200 on 1.0.0, too few of each job to compare them one by one"},
		"more runs of a job that often fails": {happen: func(x *trial) {
			x.many(false, 100, 50, second)
			x.many(true, 40, 20, second)
			x.tallies = append(x.tallies, &proto.Tally{})
			for range 900 {
				x.end(1, false, Outcome{Took: second})
			}
			x.now = noon.Add(30 * time.Minute)
		}, want: NextStep},
		"a job that often fails": {happen: func(x *trial) {
			x.many(false, 99, 50, second)
			x.many(true, 10, 6, second)
		}, want: Wait},
		"more than allowed, maybe by chance": {happen: func(x *trial) {
			x.many(false, 99, 0, second)
			x.many(true, 20, 1, second)
			x.now = noon.Add(time.Hour)
		}, want: Wait},
		"not decided for long": {happen: func(x *trial) {
			x.many(false, 999, 9, second)
			x.many(true, 60, 2, second)
			x.now = noon.Add(90 * time.Minute)
		}, want: Hold, reason: "may be chance"},
		"not decided, but not for so long": {happen: func(x *trial) {
			x.many(false, 999, 9, second)
			x.many(true, 60, 2, second)
			x.now = noon.Add(90*time.Minute - 1)
		}, want: Wait},
		"paused ones take no step": {happen: func(x *trial) {
			if _, err := Pause(x.r, "ann", "", x.now); err != nil {
				panic(err)
			}
			x.many(true, 60, 0, second)
			x.now = noon.Add(24 * time.Hour)
		}, want: Wait},
		"slow": {plan: proto.RolloutPlan{MaxDurationRatio: 1.5}, happen: func(x *trial) {
			x.many(false, 20, 0, second)
			x.many(true, 20, 0, 2*second)
			x.now = noon.Add(time.Hour)
		}, want: Hold, reason: "runs on 2.0.0 take 2.00 times as long as on 1.0.0, and 1.5 is allowed"},
		"not so slow": {plan: proto.RolloutPlan{MaxDurationRatio: 2.5}, happen: func(x *trial) {
			x.many(false, 20, 0, second)
			x.many(true, 20, 0, 2*second)
			x.now = noon.Add(time.Hour)
		}, want: NextStep},
		"slow is not looked at": {happen: func(x *trial) {
			x.many(false, 20, 0, second)
			x.many(true, 20, 0, 20*second)
			x.now = noon.Add(time.Hour)
		}, want: NextStep},
		"slow by chance": {plan: proto.RolloutPlan{MaxDurationRatio: 1.5, MinRuns: 6}, happen: func(x *trial) {
			for i := range 6 {
				x.end(0, false, Outcome{Took: second << (i % 2 * 4)})
				x.end(0, true, Outcome{Took: second << (i % 2 * 6)})
			}
			x.now = noon.Add(time.Hour)
		}, want: NextStep},
		"fewer rows a second": {plan: proto.RolloutPlan{MinRateRatio: 0.8}, happen: func(x *trial) {
			x.many(false, 20, 0, second)
			x.many(true, 20, 0, 2*second)
			x.now = noon.Add(time.Hour)
		}, want: Hold, reason: "read 0.50 times as many rows a second"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTrial(test.plan, 1)
			test.happen(x)
			got := x.judge()
			if got.Move != test.want || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("got %+v, want %s with %q", got, test.want, test.reason)
			}
		})
	}
}

// TestWaiting: what people read of a rollout.
func TestWaiting(t *testing.T) {
	x := newTrial(proto.RolloutPlan{}, 1)
	look := func(want string) {
		t.Helper()
		got, until := Waiting(x.r, &x.sums, x.now)
		if got != want || !until.Equal(x.r.StepBegan.Add(x.r.Plan.Interval)) {
			t.Errorf("got %q, %s, want %q", got, until, want)
		}
	}
	x.many(true, 7, 0, time.Second)
	look("7 of 20 runs on 2.0.0 have ended in this step, which lasts until 12:30 UTC")
	x.many(true, 13, 1, time.Second)
	look("until 12:30 UTC")
	x.now = noon.Add(time.Hour)
	look("1 of 20 runs on 2.0.0 failed, and none is known on 1.0.0 to compare them with: more runs are to decide")
	x.r.StepRuns = 1
	look("1 of 20 runs on 2.0.0 have ended in this step")
	x.now, x.r.StepBegan = noon, noon.Add(12*time.Hour+time.Second)
	x.r.StepRuns = 20
	look("until 2 January 00:30:01 UTC")
	if _, err := Pause(x.r, "ann", "", x.now); err != nil {
		t.Fatal(err)
	}
	if got, until := Waiting(x.r, &x.sums, x.now); got != "" || !until.IsZero() {
		t.Errorf("a paused one waits for %q until %s", got, until)
	}
}

// course is a whole rollout by chance: runs start one after another, the old version fails with one probability, the new
// one with another, and before it began so many runs of the old one were seen.
type course struct {
	was, is float64
	history int
	jobs    int
	plan    proto.RolloutPlan
}

// follow runs it to its end, or until it pauses. It returns the state and how many runs on the new version failed.
func (c course) follow(random *rand.Rand) (proto.RolloutState, int) {
	x := newTrial(c.plan, c.jobs)
	for range c.history {
		x.end(random.IntN(c.jobs), false, Outcome{Failed: random.Float64() < c.was})
	}
	for range 100_000 {
		x.now = x.now.Add(time.Second)
		isNew := random.Uint32N(100) < Share(x.r)
		p := c.was
		if isNew {
			p = c.is
		}
		x.end(random.IntN(c.jobs), isNew, Outcome{Failed: random.Float64() < p})
		Follow(x.r, x.judge(), x.now)
		if x.r.State != proto.ROLLOUT_RUNNING {
			break
		}
	}
	return x.r.State, int(x.sums.NewFailed)
}

// TestCourses bounds by simulation how often rollouts of versions that are as good as the old one are taken back, how
// often those of bad ones are not, and what these cost.
func TestCourses(t *testing.T) {
	minute := proto.RolloutPlan{Interval: time.Minute}
	few := proto.RolloutPlan{Interval: time.Minute, MinRuns: 5}
	for name, test := range map[string]struct {
		course
		takenBack  [2]float64 // least and most, of all
		mostFailed float64    // on the new version, in the mean
	}{
		"never fails":              {course{0, 0, 0, 1, minute}, [2]float64{0, 0}, 0},
		"equal, 1 %, no history":   {course{0.01, 0.01, 0, 1, minute}, [2]float64{0, 0.03}, 5},
		"equal, 1 %, history":      {course{0.01, 0.01, 1000, 3, minute}, [2]float64{0, 0.02}, 5},
		"equal, 5 %, no history":   {course{0.05, 0.05, 0, 1, minute}, [2]float64{0, 0.03}, 20},
		"equal, 5 %, history":      {course{0.05, 0.05, 1000, 1, minute}, [2]float64{0, 0.03}, 20},
		"equal, 5 %, ten jobs":     {course{0.05, 0.05, 100, 10, minute}, [2]float64{0, 0.03}, 20},
		"equal, 20 %, few runs":    {course{0.2, 0.2, 100, 1, few}, [2]float64{0, 0.03}, 40},
		"fails half, no history":   {course{0.01, 0.5, 0, 1, minute}, [2]float64{0.995, 1}, 4},
		"fails half, history":      {course{0.01, 0.5, 1000, 1, minute}, [2]float64{0.999, 1}, 3},
		"fails half, ten jobs":     {course{0.01, 0.5, 100, 10, minute}, [2]float64{0.995, 1}, 8},
		"fails half instead of 5%": {course{0.05, 0.5, 1000, 1, minute}, [2]float64{0.99, 1}, 4},
		"fails half, seldom run":   {course{0, 0.5, 0, 500, minute}, [2]float64{0, 1}, 40},
		"equal, seldom run":        {course{0.05, 0.05, 500, 500, minute}, [2]float64{0, 0.01}, 20},
		"five times as many":       {course{0.02, 0.1, 1000, 1, minute}, [2]float64{0.7, 1}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const courses = 1000
			random := rand.New(rand.NewPCG(1, 2))
			back, failed, slipped := 0, 0, 0
			for range courses {
				state, harmed := test.follow(random)
				failed += harmed
				slipped += btoi(state == proto.ROLLOUT_PROMOTED && test.is > 2*test.was)
				if state == proto.ROLLOUT_TAKEN_BACK {
					back++
				}
			}
			share, mean := float64(back)/courses, float64(failed)/courses
			t.Logf("%.2f %% taken back, %.1f runs failed", 100*share, mean)
			if share < test.takenBack[0] || share > test.takenBack[1] {
				t.Errorf("%.2f %% were taken back, want %g to %g", 100*share, 100*test.takenBack[0], 100*test.takenBack[1])
			}
			if slipped > courses/100 {
				t.Errorf("%d of %d bad versions were promoted", slipped, courses)
			}
			if mean > test.mostFailed {
				t.Errorf("%.1f runs on the new version failed, want at most %g", mean, test.mostFailed)
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
