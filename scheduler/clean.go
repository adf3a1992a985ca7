package scheduler

import (
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// A clean-up task follows a run that ends without success. It claims the run's commit point, so that no late attempt can
// commit any more, and removes what the run left. If an attempt may have been first, it settles the run's state, too.

const cleanTimeout = 10 * time.Minute

// cleanResources are small: a clean-up task moves no data.
var cleanResources = jobs.Resources{CPUs: 0.1, Memory: 128 << 20}

func (t *task) isClean() bool { return t.run != nil && t.rec.Stage == jobs.StageClean }

func (c *Core) beginClean(r *run, settle bool) {
	if r.spec == nil {
		// Nobody could tell an executor what to clean.
		r.rec.CleanUp = proto.CLEAN_UP_GIVEN_UP
		c.saveRun(r)
		if settle {
			c.endRun(r, r.final())
		}
		return
	}
	r.rec.CleanUp = proto.CLEAN_UP_PENDING
	input := proto.Encode(&proto.CleanInput{Settle: settle})
	r.rec.Stages = append(r.rec.Stages, proto.Stage{Name: jobs.StageClean, Tasks: 1})
	st := c.addStage(r, jobs.StageClean, 1)
	t := st.hold(&proto.Task{
		ID:      jobs.TaskID(r.rec.ID, jobs.StageClean, 0),
		Run:     r.rec.ID,
		Stage:   jobs.StageClean,
		Of:      1,
		Input:   input,
		Created: c.now,
	})
	c.countCleaning(c.versions[r.rec.ExecutorVersion], 1)
	c.saveRun(r)
	c.saveTask(t)
	c.enqueue(t)
}

func (c *Core) cleanFinished(t *task) {
	r := t.run
	output := &proto.CleanOutput{}
	if err := proto.Decode(t.rec.Output, output); err != nil {
		c.cleanGivenUp(t, &proto.Failure{Kind: "internal", Message: "its output cannot be read: " + err.Error()})
		return
	}
	c.endClean(r, proto.CLEAN_UP_DONE)
	switch {
	case r.ended():
	case output.Committed != nil:
		c.succeed(r, output.Committed)
	default:
		c.endRun(r, r.final())
	}
}

// cleanFailed: a clean-up that finds no place is done.
func (c *Core) cleanFailed(t *task, why *proto.Failure) {
	if !t.nothingToClean(why) {
		c.cleanGivenUp(t, why)
		return
	}
	c.endClean(t.run, proto.CLEAN_UP_DONE)
}

// nothingToClean says whether a clean-up failed because there is no place, such as a bucket, that anything could be left
// in. The run must have ended, so that none of its attempts can commit any more: a missing place does not settle a run,
// for it may be made before a lost attempt commits.
func (t *task) nothingToClean(why *proto.Failure) bool {
	return t.isClean() && t.run.ended() && why.Class == proto.CLASS_FINAL && why.Kind == "not_found"
}

// cleanGivenUp: the commit point could not be claimed. The run ends as it was to end; that a late attempt may still
// commit is said in its error.
func (c *Core) cleanGivenUp(t *task, why *proto.Failure) {
	r := t.run
	c.endClean(r, proto.CLEAN_UP_GIVEN_UP)
	c.note(slog.LevelError, "clean-up given up; intermediate objects of the run may be left", t.attrs(slog.String("message", why.Message))...)
	if r.ended() {
		return
	}
	state := r.final()
	text := "whether a lost attempt commits after all is not certain, for the clean-up failed: " + why.Message
	if r.rec.Error == nil {
		r.rec.Error = &proto.RunError{Kind: why.Kind, Message: text, Task: t.rec.ID}
	} else {
		r.rec.Error = clone(r.rec.Error)
		r.rec.Error.Message += "; " + text
	}
	c.endRun(r, state)
}

// abandonClean ends the clean-up of a run whose spec can no longer be read.
func (c *Core) abandonClean(r *run) {
	if r.rec.CleanUp != proto.CLEAN_UP_PENDING {
		return
	}
	t := r.stages[r.stageIndex(jobs.StageClean)].tasks[0]
	if t.current != nil {
		c.giveUp(t.current, "the stored spec can no longer be read")
	}
	if t.rec.State == proto.TASK_PENDING {
		c.withdraw(t)
		t.rec.State, t.rec.NotBefore = proto.TASK_KILLED, nil
		c.saveTask(t)
	}
	if r.rec.CleanUp == proto.CLEAN_UP_PENDING {
		c.cleanGivenUp(t, &proto.Failure{Kind: "invalid", Message: "the stored spec can no longer be read"})
	}
}

func (c *Core) endClean(r *run, how proto.CleanUp) {
	r.rec.CleanUp = how
	r.rec.Stages[r.stageIndex(jobs.StageClean)].Done = how == proto.CLEAN_UP_DONE
	c.countCleaning(c.versions[r.rec.ExecutorVersion], -1)
	c.saveRun(r)
}
