package rollout

import (
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	chance         = 0.01 // what is less likely is not taken for chance
	fewestFailures = 2    // of the new version, that take a rollout back: one may have many reasons
	likeRuns       = 5    // of a job on either version, from which on their durations are compared
	patience       = 3    // intervals, and times min_runs, after which a step that decides nothing pauses
)

// Move is what a rollout is to do next.
type Move string

// Moves.
const (
	Wait     Move = "wait"
	NextStep Move = "step"
	Finish   Move = "promote"
	GoBack   Move = "take back"
	Hold     Move = "pause"
)

// Verdict says what is to be done and why, in a sentence.
type Verdict struct {
	Move   Move
	Reason string
}

// Judge says what an open rollout is to do now; one that has ended waits for ever. sums are those of the tallies, which
// are only gone through at the end of a step. The package's documentation has the rules.
func Judge(r *proto.Rollout, sums *Sums, tallies iter.Seq[*proto.Tally], now time.Time) Verdict {
	wait := Verdict{Move: Wait}
	if !Open(r) {
		return wait
	}
	allowed := sums.Allowed()
	excess := float64(sums.NewFailed) > allowed
	blind := sums.OldRuns == 0 && sums.NewFailed > 0 // what is expected is a guess, and no reason to go on
	if excess && sums.NewFailed >= fewestFailures {
		if p := BinomialTail(sums.NewFailed, sums.NewRuns, min(1, allowed/float64(sums.NewRuns))); p < chance {
			return Verdict{GoBack, fmt.Sprintf("%s, %s; the probability of that by chance is %s",
				failures(r, sums), tooMany(r, sums), probability(p))}
		}
	}
	switch {
	case r.State != proto.ROLLOUT_RUNNING || now.Before(stepEnds(r)) || r.StepRuns < r.Plan.MinRuns:
		return wait
	case (excess || blind) && (now.Before(patienceEnds(r)) || uint64(r.StepRuns) < patience*uint64(r.Plan.MinRuns)):
		return wait
	case blind:
		return Verdict{Hold, failures(r, sums)}
	case excess:
		return Verdict{Hold, failures(r, sums) + ": that may be chance, and as many runs as three steps need have not decided it"}
	}
	if likely := r.Plan.MaxFailureRatio * sums.Likely(); sums.NewFailed >= fewestFailures && float64(sums.NewFailed) > likely {
		if p := BinomialTail(sums.NewFailed, sums.NewRuns, min(1, likely/float64(sums.NewRuns))); p < chance {
			return Verdict{Hold, fmt.Sprintf("%d of %d runs on %s failed, and %d of %d on %s, too few of each job to compare them one by one",
				sums.NewFailed, sums.NewRuns, r.To, sums.OldFailed, sums.OldRuns, r.From)}
		}
	}
	if reason := slower(r, tallies); reason != "" {
		return Verdict{Hold, reason}
	}
	if int(r.Step) == len(r.Plan.Steps)-1 {
		return Verdict{Finish, failures(r, sums) + ", after the last step"}
	}
	return Verdict{NextStep, failures(r, sums)}
}

// Follow does what a verdict says, and says whether it changed anything.
func Follow(r *proto.Rollout, v Verdict, now time.Time) bool {
	switch v.Move {
	case NextStep:
		r.Step++
		r.StepBegan, r.StepRuns = now, 0
		note(r, Stepped, "", v.Reason+"; now "+goes(r), now)
		return true
	case Hold:
		pause(r, "", v.Reason, now)
		return true
	case Finish:
		changed, err := end(r, proto.ROLLOUT_PROMOTED, Promoted, "promote", "", v.Reason, now)
		return changed && err == nil
	case GoBack:
		changed, err := TakeBack(r, v.Reason, now)
		return changed && err == nil
	}
	return false
}

// Ended counts a run on the new version that has ended, if it belongs to the step that the rollout is in. created is when
// it was started.
func Ended(r *proto.Rollout, created time.Time) {
	if Open(r) && !created.Before(since(r)) {
		r.StepRuns++
	}
}

func stepEnds(r *proto.Rollout) time.Time     { return r.StepBegan.Add(r.Plan.Interval) }
func patienceEnds(r *proto.Rollout) time.Time { return r.StepBegan.Add(patience * r.Plan.Interval) }

// Due is when time alone may change what Judge says; zero: it will not.
func Due(r *proto.Rollout, now time.Time) time.Time {
	if r.State != proto.ROLLOUT_RUNNING {
		return time.Time{}
	}
	for _, at := range []time.Time{stepEnds(r), patienceEnds(r)} {
		if now.Before(at) {
			return at
		}
	}
	if r.StepRuns == 0 {
		return nextLook(r, now)
	}
	return time.Time{}
}

// Waiting says what a rollout that runs waits for before the next step, and the earliest moment of that; of another it
// says nothing.
func Waiting(r *proto.Rollout, sums *Sums, now time.Time) (string, time.Time) {
	if r.State != proto.ROLLOUT_RUNNING {
		return "", time.Time{}
	}
	until := stepEnds(r)
	runs := fmt.Sprintf("%d of %d runs on %s have ended in this step", r.StepRuns, r.Plan.MinRuns, r.To)
	switch few, early := r.StepRuns < r.Plan.MinRuns, now.Before(until); {
	case few && early:
		return fmt.Sprintf("%s, which lasts until %s", runs, moment(until, now)), until
	case few:
		return runs, until
	case early:
		return "until " + moment(until, now), until
	default:
		return failures(r, sums) + ": more runs are to decide", until
	}
}

// moment spells a time, as short as it can be.
func moment(t, now time.Time) string {
	layout := "15:04"
	if t.Second() != 0 {
		layout = "15:04:05"
	}
	if t.Format(time.DateOnly) != now.Format(time.DateOnly) {
		layout = "2 January " + layout
	}
	return t.UTC().Format(layout) + " UTC"
}

func failures(r *proto.Rollout, sums *Sums) string {
	if sums.OldRuns == 0 && sums.NewFailed > 0 {
		return fmt.Sprintf("%d of %d runs on %s failed, and none is known on %s to compare them with", sums.NewFailed, sums.NewRuns, r.To, r.From)
	}
	return fmt.Sprintf("%d of %d runs on %s failed, and %s would fail as on %s", sums.NewFailed, sums.NewRuns, r.To, about(sums.Expected()), r.From)
}

// tooMany says how many failures are not allowed.
func tooMany(r *proto.Rollout, sums *Sums) string {
	if float64(sums.NewFailed) > r.Plan.MaxFailureRatio*sums.Expected() {
		return fmt.Sprintf("more than %g times as many", r.Plan.MaxFailureRatio)
	}
	return fmt.Sprintf("more than the %s allowed, for no job can fail more often than always", about(sums.Allowed()))
}

// about spells a number of expected failures.
func about(x float64) string {
	if x < 0.1 {
		return "fewer than 0.1"
	}
	return fmt.Sprintf("%.1f", x)
}

func probability(p float64) string {
	if p < 1e-4 {
		return "below 0.01 %"
	}
	return fmt.Sprintf("%.2f %%", 100*p)
}

// slower says what speaks against the speed of the new version; empty: nothing does.
func slower(r *proto.Rollout, tallies iter.Seq[*proto.Tally]) string {
	if limit := r.Plan.MaxDurationRatio; limit > 0 {
		d := compare(tallies, func(s *proto.Sample) *proto.Spread { return &s.Duration })
		if d.ratio() > limit && d.chance() < chance {
			return fmt.Sprintf("runs on %s take %.2f times as long as on %s, and %g is allowed", r.To, d.ratio(), r.From, limit)
		}
	}
	if limit := r.Plan.MinRateRatio; limit > 0 {
		d := compare(tallies, func(s *proto.Sample) *proto.Spread { return &s.Rate })
		if d.ratio() < limit && d.chance() < chance {
			return fmt.Sprintf("runs on %s read %.2f times as many rows a second as on %s, and %g is allowed", r.To, d.ratio(), r.From, limit)
		}
	}
	return ""
}

// difference is the new version's mean logarithm less the old one's, over like jobs, weighted by the new version's runs.
type difference struct {
	mean, variance float64
	parts          float64 // what Welch and Satterthwaite divide the squared variance by
}

func (d difference) ratio() float64 { return math.Exp(d.mean) }

// chance is how likely a difference so large, in its direction, is between versions that are alike: Welch's t test, with
// the degrees of freedom of Welch and Satterthwaite.
func (d difference) chance() float64 {
	switch {
	case d.mean == 0:
		return 1
	case d.variance == 0:
		return 0
	}
	return StudentTail(math.Abs(d.mean)/math.Sqrt(d.variance), d.variance*d.variance/d.parts)
}

// compare sums up the jobs that have run often enough on both versions.
func compare(tallies iter.Seq[*proto.Tally], of func(*proto.Sample) *proto.Spread) difference {
	var d difference
	weights := 0.0
	for t := range tallies {
		was, is := of(&t.Old), of(&t.New)
		if was.Count < likeRuns || is.Count < likeRuns {
			continue
		}
		w := float64(is.Count)
		weights += w
		d.mean += w * (is.Mean - was.Mean)
		for _, s := range []*proto.Spread{was, is} {
			n := float64(s.Count)
			v := w * w * s.Squares / (n - 1) / n // of the weighted mean
			d.variance += v
			d.parts += v * v / (n - 1)
		}
	}
	if weights == 0 {
		return difference{}
	}
	d.mean /= weights
	d.variance /= weights * weights
	d.parts /= weights * weights * weights * weights
	return d
}
