package rollout

import (
	"math"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// Outcome is how a run ended that was not cancelled.
type Outcome struct {
	Failed bool
	Took   time.Duration // from the first launch to the end; 0: nothing was launched
	Rows   int64         // that its tasks read
}

// Count adds a run to a sample. Durations and rates are those of runs that succeeded.
func Count(s *proto.Sample, o Outcome) {
	s.Runs++
	if o.Failed {
		s.Failed++
		return
	}
	if o.Took <= 0 {
		return
	}
	add(&s.Duration, math.Log(o.Took.Seconds()))
	if o.Rows > 0 {
		add(&s.Rate, math.Log(float64(o.Rows)/o.Took.Seconds()))
	}
}

// add takes a value in (Welford's method).
func add(s *proto.Spread, x float64) {
	s.Count++
	off := x - s.Mean
	s.Mean += off / float64(s.Count)
	s.Squares += off * (x - s.Mean)
}

// Sums are what the tallies of a rollout come to, kept up to date as they change. All of it is whole numbers, so that
// whatever order things were added in, the sums are the same.
type Sums struct {
	OldRuns, OldFailed int64
	NewRuns, NewFailed int64
	expected, allowed  int64   // failures on the new version, in billionths
	known              int64   // of those expected, that failures on the old version speak for, in billionths
	ratio              float64 // of the plan: how many times as many as expected are allowed
}

// NewSums are those of no tallies yet, of a rollout with that plan.
func NewSums(plan *proto.RolloutPlan) Sums { return Sums{ratio: plan.MaxFailureRatio} }

const billion = 1e9

// Add takes a tally in, Remove out again: to change one, remove it before and add it afterwards.
func (s *Sums) Add(t *proto.Tally) { s.change(t, 1) }

// Remove undoes Add.
func (s *Sums) Remove(t *proto.Tally) { s.change(t, -1) }

func (s *Sums) change(t *proto.Tally, by int64) {
	s.OldRuns += by * int64(t.Old.Runs)
	s.OldFailed += by * int64(t.Old.Failed)
	s.NewRuns += by * int64(t.New.Runs)
	s.NewFailed += by * int64(t.New.Failed)
	rate := failureRate(&t.Old)
	s.expected += by * billionths(float64(t.New.Runs)*rate)
	s.known += by * billionths(float64(t.New.Runs)*float64(t.Old.Failed)/float64(t.Old.Runs+1))
	s.allowed += by * billionths(float64(t.New.Runs)*min(1, s.ratio*rate))
}

func billionths(x float64) int64 { return int64(math.Round(x * billion)) }

// failureRate is how likely a run fails after what a sample says: (failed + ½) / (runs + 1), so that a few runs without a
// failure do not say "never" (Krichevsky and Trofimov's estimate).
func failureRate(s *proto.Sample) float64 { return (float64(s.Failed) + 0.5) / (float64(s.Runs) + 1) }

// Expected is how many runs on the new version would have failed if each job failed as often there as on the old one.
func (s *Sums) Expected() float64 { return float64(s.expected) / billion }

// Allowed is how many runs on the new version may fail: as many times the expected ones as the plan says, but of no job
// more than all. What one job could fail beyond its runs is no licence for the others.
func (s *Sums) Allowed() float64 { return float64(s.allowed) / billion }

// Likely is how many runs on the new version would fail if jobs that are hardly known fail as often as all together did on
// the old version, instead of the guess that their smoothed rates are: with many jobs that ran once or twice each, that
// guess makes up for any failures. It is rather too many than too few.
func (s *Sums) Likely() float64 {
	all := float64(s.NewRuns) * (float64(s.OldFailed) + 0.5) / (float64(s.OldRuns) + 1)
	return float64(s.known)/billion + all
}
