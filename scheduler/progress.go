package scheduler

import (
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// How much of what is left of a run a stage is taken to be. Nobody knows how many stages will follow, so each one takes
// a share of the rest: much if it has many tasks, little if it is the first one, which plans.
const (
	shareOfPlan  = 0.05
	shareOfMany  = 0.8
	shareOfOne   = 0.5
	shareOfWhole = 0.95 // of a first stage of one task that reads data itself: it is the whole run
	mostProgress = 0.99 // before the run has succeeded
)

// measure brings a run's progress up to date. It never falls, also when a task has to begin anew.
func (r *run) measure() {
	if r.rec.State == proto.RUN_SUCCEEDED {
		r.progress = 1
		return
	}
	done, rest := 0.0, 1.0
	for i, st := range r.stages {
		if st.name == jobs.StageClean || len(st.tasks) == 0 {
			continue
		}
		share, whole := shareOfMany, i == 0 && len(st.tasks) == 1
		switch {
		case whole:
			share = shareOfPlan
		case len(st.tasks) == 1:
			share = shareOfOne
		}
		fraction := st.fraction()
		if whole && st.finished == 0 && st.tasks[0].reads() {
			share = shareOfWhole
		}
		done += rest * share * fraction
		rest *= 1 - share
	}
	r.progress = max(r.progress, min(done, mostProgress))
}

// fraction is how much of a stage is done, 0..1.
func (st *stage) fraction() float64 {
	return (float64(st.finished) + float64(st.progress)/wholeTask) / float64(len(st.tasks))
}

// wholeTask is the progress of a task that has ended. Whole numbers add up to the same in whatever order tasks move.
const wholeTask = 1e6

// measure brings a task's part of its stage's progress up to date.
func (t *task) measure() {
	part := int64(0)
	if a := t.furthest(); a != nil && a.progress != nil {
		if f := a.progress.Fraction; f > 0 { // false for NaN, too
			part = int64(min(f, 1) * wholeTask)
		}
	}
	t.stage.progress += part - t.progress
	t.progress = part
}

// reads says whether a task is known to read input.
func (t *task) reads() bool {
	return t != nil && t.current != nil && t.current.progress != nil && t.current.progress.Counters.Bytes > 0
}
