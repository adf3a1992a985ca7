package rollout

import (
	"fmt"
	"iter"
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	stuckIntervals = 10             // after which a run that has not ended is one too many, if none has
	stuckAtLeast   = 24 * time.Hour // for jobs may take long, and intervals be short
)

// stuckAfter is how long a run on the new version may take while none of its step has ended.
func stuckAfter(r *proto.Rollout) time.Duration {
	return max(stuckIntervals*r.Plan.Interval, stuckAtLeast)
}

// Stuck says whether a rollout that runs is to pause because the runs that it waits for do not end: none has in this
// step, and one that was started in it is older than ten intervals and than a day. living yields when the runs on the
// new version were started that count for the rollout and have not ended; it is only gone through if so much time has
// passed.
func Stuck(r *proto.Rollout, living iter.Seq[time.Time], now time.Time) Verdict {
	if r.State != proto.ROLLOUT_RUNNING || r.StepRuns > 0 || now.Before(r.StepBegan.Add(stuckAfter(r))) {
		return Verdict{Move: Wait}
	}
	began, runs, oldest := since(r), 0, now
	for created := range living {
		if created.Before(began) {
			continue
		}
		runs++
		if created.Before(oldest) {
			oldest = created
		}
	}
	if runs == 0 || now.Sub(oldest) < stuckAfter(r) {
		return Verdict{Move: Wait}
	}
	which := fmt.Sprintf("%d runs on %s were started since %s, and none has ended", runs, r.To, moment(oldest, now))
	if runs == 1 {
		which = fmt.Sprintf("a run on %s was started at %s and has not ended, nor has any other in this step", r.To, moment(oldest, now))
	}
	return Verdict{Hold, which}
}

// nextLook is when runs may next be found that do not end: at whole multiples of what they may take, so that it is the
// same moment after a failover.
func nextLook(r *proto.Rollout, now time.Time) time.Time {
	each := stuckAfter(r)
	return r.StepBegan.Add(max(1, now.Sub(r.StepBegan)/each+1) * each)
}
