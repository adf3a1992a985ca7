package scheduler

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// run is one execution of a revision.
//
// While it lives it is ending if its record has an error (it fails) or a cancel request: its tasks are killed, and it
// gets its final state when nothing can commit any more; see tryEnd.
type run struct {
	rec      *proto.Run
	job      *job
	revision *revision
	spec     *jobs.Spec // nil if the stored spec can no longer be read; then the run fails, and nothing is cleaned up
	owner    *owner
	stages   []*stage // as rec.Stages
	waits    *check   // that must pass before the first stage
	handOver handOver
	progress float64

	viewRecord  *proto.Run // nil: to be built anew
	viewChanged bool       // listed in viewCache.runs
}

// stage is a step of a run.
type stage struct {
	alarm
	name     string
	run      *run
	plan     *proto.Plan // nil: the only task has a record from the start, with its input
	tasks    []*task     // by index; nil: never launched
	finished int
	progress int64 // of those that live, together, in millionths of a task
	shape    *shape
	took     []time.Duration // by the attempts whose results count, from launch to end, as long as the stage goes on

	view    *StageView // the last one
	touched []*task    // changed since, each once
}

func (r *run) ended() bool { return jobs.Terminal(r.rec.State) }

// ending says whether the run is to end without a result of its own.
func (r *run) ending() bool {
	return !r.ended() && (r.rec.Error != nil || r.rec.CancelRequested != nil)
}

func (r *run) attrs(more ...slog.Attr) []slog.Attr {
	return append([]slog.Attr{slog.String("run", r.rec.ID), slog.String("job", r.rec.Job), slog.String("version", r.rec.ExecutorVersion)}, more...)
}

func (c *Core) startRun(cmd StartRun) (StartRunResult, *Error) {
	if earlier := c.keys.find(cmd); earlier != nil {
		return c.repeatRun(earlier, cmd)
	}
	j := c.jobs[cmd.Job]
	if j == nil || j.rec.Deleted {
		return StartRunResult{}, errorf(NotFound, "there is no job %q", cmd.Job)
	}
	rev := j.newest()
	if rev.spec == nil {
		return StartRunResult{}, invalid("the stored spec can no longer be read; submit it again", rev.problems)
	}
	v, err := c.resolve(rev.spec)
	if err != nil {
		return StartRunResult{}, err
	}
	sources, err := c.sources(rev.spec)
	if err != nil {
		return StartRunResult{}, err
	}
	id := c.newRunID(rev.rec.Job)
	chosen := c.choose(rev.spec, id, v)
	ck := c.vet(rev, &chosen, v)
	if ck != nil && ck.state == proto.CHECKS_FAILED {
		return StartRunResult{}, invalid("the spec's expressions did not pass the checks", ck.problems)
	}
	if first := c.cfg.Kinds.Lookup(rev.rec.Kind).First(rev.spec, sources); c.tasks+len(first.Inputs) > mostTasksAll {
		return StartRunResult{}, errorf(Unavailable, "the runs that have not ended have %d tasks, and at most %d are kept at one time; try again when some have ended", c.tasks, mostTasksAll)
	}
	r := c.newRun(id, rev, chosen, cmd)
	if ck != nil {
		r.waits = ck
		ck.runs = append(ck.runs, r)
		return StartRunResult{Run: cloneRun(r.rec)}, nil
	}
	c.beginRun(r)
	return StartRunResult{Run: cloneRun(r.rec)}, nil
}

func (c *Core) newRunID(job string) string {
	id := jobs.RunID(job, c.now, c.roll())
	for c.runs[id] != nil {
		id = jobs.RunID(job, c.now, c.roll())
	}
	return id
}

func (c *Core) newRun(id string, rev *revision, chosen choice, cmd StartRun) *run {
	v := chosen.version
	r := &run{
		rec: &proto.Run{
			ID:              id,
			Job:             rev.rec.Job,
			Revision:        rev.rec.Number,
			Kind:            rev.rec.Kind,
			ExecutorVersion: v.rec.Version,
			Role:            cmp.Or(rev.spec.Role, c.cfg.Roles[0]),
			Params:          maps.Clone(cmd.Params),
			IdempotencyKey:  cmd.IdempotencyKey,
			By:              cmd.By,
			Channel:         chosen.channel,
			Rollout:         chosen.rollout,
			Created:         c.now,
		},
		job:      rev.job,
		revision: rev,
		spec:     rev.spec,
	}
	r.owner = c.newOwner(id, v.rec.Version, r.rec.Role, r)
	rev.runs++
	c.runBegan(v)
	c.runs[id] = r
	c.saveRun(r)
	c.rememberKey(r)
	c.note(slog.LevelInfo, "run created", r.attrs(slog.Int("revision", int(rev.rec.Number)))...)
	return r
}

// beginRun starts the first stage, once the checks have passed. What other jobs' results are read is settled here: it
// becomes part of the stage's plan.
func (c *Core) beginRun(r *run) {
	r.waits = nil
	sources, err := c.sources(r.spec)
	if err != nil {
		first := err.Problems[0]
		c.failRun(r, &proto.RunError{Kind: string(err.Kind), Message: first.Detail, Pointer: first.Pointer, Problems: problemsToProto(err.Problems)})
		return
	}
	plan := c.kind(r).First(r.spec, sources)
	c.beginStage(r, &plan)
}

func (c *Core) kind(r *run) jobs.Kind { return c.cfg.Kinds.Lookup(r.rec.Kind) }

// timeout is how long one attempt of the shape's tasks may run; 0: for ever.
func (s *shape) timeout() time.Duration {
	switch {
	case s.owner.run == nil:
		return checkTimeout
	case s.stage == jobs.StageClean:
		return cleanTimeout
	case s.owner.run.spec == nil:
		return 0
	}
	return s.owner.run.spec.Timeout
}

// runStarted notes that the first task of a run has been launched. r is nil for checks.
func (c *Core) runStarted(r *run) {
	if r == nil || r.rec.State != proto.RUN_PENDING {
		return
	}
	now := c.now
	r.rec.State, r.rec.Started = proto.RUN_RUNNING, &now
	c.saveRun(r)
	c.note(slog.LevelInfo, "run started", r.attrs()...)
}

// taskFinished counts a task of a run, and goes on when it was its stage's last one.
func (c *Core) taskFinished(t *task) {
	r, st := t.run, t.stage
	st.finished++
	c.watchPace(st)
	if st.finished == len(st.tasks) {
		st.took = nil
	}
	if st.finished == len(st.tasks) && !r.ended() && r.spec != nil {
		c.advance(r)
	}
}

func (r *run) stageIndex(name string) int {
	for i, st := range r.stages {
		if st.name == name {
			return i
		}
	}
	return -1
}

// advance asks the kind what follows the newest stage, whose tasks have all finished. A run that is ending takes a
// result, for then the commit was first, but begins no further stage.
func (c *Core) advance(r *run) {
	done := r.lastPlanned()
	r.rec.Stages[done].Done = true
	c.saveRun(r)
	result := r.results(done)
	next, err := c.kind(r).Next(r.spec, result)
	switch {
	case err != nil && !r.ending():
		c.failRun(r, &proto.RunError{Kind: "internal", Message: fmt.Sprintf("the output of stage %s cannot be used: %v", result.Name, err)})
	case err != nil:
	case next.Done != nil:
		c.succeed(r, next.Done)
	case r.ending():
	case next.Stage != nil:
		c.moveOn(r)
		c.beginStage(r, next.Stage)
	default:
		c.failRun(r, &proto.RunError{Kind: "internal", Message: fmt.Sprintf("nothing follows stage %s", result.Name)})
	}
}

// lastPlanned is the index of the newest stage that is the kind's own.
func (r *run) lastPlanned() int {
	last := len(r.stages) - 1
	if r.stages[last].name == jobs.StageClean {
		last--
	}
	return last
}

// results are the outputs of the stages up to that index.
func (r *run) results(upTo int) jobs.StageResult {
	var result jobs.StageResult
	var before []jobs.StageResult
	for i, st := range r.stages[:upTo+1] {
		result = jobs.StageResult{Name: st.name, Earlier: before[:i:i]}
		for _, t := range st.tasks { // each has finished
			result.Outputs = append(result.Outputs, t.rec.Output)
			result.Attempts = append(result.Attempts, t.winner())
		}
		before = append(before, result)
	}
	return result
}

// winner is the number of the attempt whose output counts.
func (t *task) winner() uint32 {
	for i := range t.rec.Attempts {
		if a := &t.rec.Attempts[i]; Counts(a) {
			return a.Number
		}
	}
	return 0
}

func (c *Core) succeed(r *run, output *proto.Output) {
	r.rec.Output, r.rec.Error = output, nil
	c.endRun(r, proto.RUN_SUCCEEDED)
}

// failRun begins to end a run that cannot succeed any more.
func (c *Core) failRun(r *run, why *proto.RunError) {
	if r.ended() || r.ending() {
		return
	}
	r.rec.Error = why
	c.endMove(r)
	c.saveRun(r)
	c.note(slog.LevelWarn, "run fails", r.attrs(slog.String("task", why.Task), slog.String("kind", why.Kind),
		slog.String("pointer", why.Pointer), slog.String("message", why.Message))...)
	c.endTasks(r, "failed")
	c.tryEnd(r)
}

func (c *Core) cancelRun(cmd CancelRun) (*proto.Run, *Error) {
	r := c.runs[cmd.Run]
	if r == nil {
		return nil, errorf(NotFound, "there is no run %q", cmd.Run)
	}
	c.cancel(r, cmd.By)
	return cloneRun(r.rec), nil
}

func (c *Core) cancel(r *run, by string) {
	if r.ended() || r.ending() {
		return
	}
	now := c.now
	c.endMove(r)
	r.rec.CancelRequested, r.rec.CancelledBy = &now, by
	c.saveRun(r)
	c.note(slog.LevelInfo, "run is cancelled", r.attrs(slog.String("by", by))...)
	c.endTasks(r, "cancelled")
	c.tryEnd(r)
}

// endTasks withdraws what waits and kills what lives, the clean-up task aside.
func (c *Core) endTasks(r *run, why string) {
	r.leaveCheck()
	for _, st := range r.stages {
		if st.name == jobs.StageClean {
			continue
		}
		c.withdrawFresh(st)
		c.unwishAll(st)
		for _, t := range st.tasks {
			switch {
			case t == nil:
			case t.current != nil:
				c.endAttempts(t, why)
			case t.rec.State == proto.TASK_PENDING:
				c.withdraw(t)
				t.rec.State, t.rec.NotBefore = proto.TASK_KILLED, nil
				c.saveTask(t)
			}
		}
	}
}

// endAttempts kills what lives of a task. What cannot be reached is given up.
func (c *Core) endAttempts(t *task, why string) {
	for _, a := range t.alive() {
		if a.rec().State == proto.TASK_UNREACHABLE {
			c.giveUp(a, "its agent is unreachable")
			continue
		}
		c.requestKill(a, why)
	}
}

// tryEnd ends a run that is ending as soon as no attempt counts any more. If each attempt has ended for certain, the
// run gets its final state and the clean-up goes on behind it. If one may still come to life and commit, the clean-up
// task first has to settle whether there is a result.
func (c *Core) tryEnd(r *run) {
	if !r.ending() || r.rec.CleanUp != proto.CLEAN_UP_NONE || len(r.owner.load) > 0 {
		return
	}
	began, settled := false, true
	for _, st := range r.stages {
		for _, t := range st.tasks {
			if t == nil {
				continue
			}
			for _, a := range t.attempts {
				began = began || !a.unborn()
				settled = settled && a.rec().Settled
			}
		}
	}
	switch {
	case !began:
		c.endRun(r, r.final())
	case settled:
		c.beginClean(r, false)
		c.endRun(r, r.final())
	default:
		c.beginClean(r, true)
	}
}

// final is the state of a run that ends without a result.
func (r *run) final() proto.RunState {
	if r.rec.Error != nil {
		return proto.RUN_FAILED
	}
	return proto.RUN_CANCELLED
}

func (c *Core) endRun(r *run, state proto.RunState) {
	now := c.now
	c.endMove(r)
	r.rec.State, r.rec.Ended = state, &now
	for _, st := range r.stages {
		c.tasks -= len(st.tasks)
	}
	c.runEnded(c.versions[r.rec.ExecutorVersion], state)
	c.saveRun(r)
	c.tally(r)
	name := jobs.RunStateName(state)
	c.count(MetricRuns, 1, r.rec.Job, name)
	c.count(MetricRunSeconds, now.Sub(r.rec.Created).Seconds())
	c.note(slog.LevelInfo, "run ended", r.attrs(slog.String("state", name), slog.Duration("after", now.Sub(r.rec.Created)))...)
}
