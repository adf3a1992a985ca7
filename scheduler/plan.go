package scheduler

import (
	"fmt"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// A stage is stored as one plan that holds the inputs of all its tasks. A task begins to exist, here and in the store,
// when it is launched for the first time; until then it is a nil in its stage.

const (
	mostStages   = 50      // of a run: a kind that plans more is broken
	mostTasks    = 100_000 // of a stage
	mostTasksAll = 300_000 // of all runs that have not ended: each may become a record
)

func planID(run, stage string) string { return run + "/" + stage }

// input is the kind's own message for a task.
func (t *task) input() []byte {
	if t.stage == nil || t.stage.plan == nil {
		return t.rec.Input
	}
	return t.stage.plan.Inputs[t.rec.Index]
}

// mayPlan says whether what a plan adds to the run and to the store stays within their bounds; the error is the run's.
func (c *Core) mayPlan(r *run, plan *jobs.StagePlan) *proto.RunError {
	n := len(plan.Inputs)
	switch {
	case len(r.stages) >= mostStages:
		return &proto.RunError{Kind: "internal", Message: fmt.Sprintf("the run has more than %d stages", mostStages)}
	case n > mostTasks:
		return &proto.RunError{Kind: "invalid", Message: fmt.Sprintf("stage %s has %d tasks; at most %d are allowed", plan.Name, n, mostTasks)}
	case r.stageIndex(plan.Name) >= 0:
		return &proto.RunError{Kind: "internal", Message: fmt.Sprintf("stage %s is planned twice", plan.Name)}
	case c.tasks+n > mostTasksAll:
		return &proto.RunError{Kind: "unavailable", Message: fmt.Sprintf(
			"stage %s has %d tasks, and the runs that have not ended have %d; at most %d are kept at one time: start it again when others have ended",
			plan.Name, n, c.tasks, mostTasksAll)}
	}
	return nil
}

// beginStage plans a stage and makes its tasks launchable.
func (c *Core) beginStage(r *run, plan *jobs.StagePlan) {
	if err := c.mayPlan(r, plan); err != nil {
		c.failRun(r, err)
		return
	}
	rec := &proto.Plan{Run: r.rec.ID, Stage: plan.Name, Inputs: plan.Inputs, Created: c.now}
	if plan.Resources != nil {
		rec.Resources = &proto.Resources{CPUs: plan.Resources.CPUs, Memory: plan.Resources.Memory, Disk: plan.Resources.Disk}
	}
	r.rec.Stages = append(r.rec.Stages, proto.Stage{Name: plan.Name, Tasks: uint32(len(plan.Inputs))})
	st := c.addStage(r, plan.Name, len(plan.Inputs))
	st.follow(rec)
	c.saveRun(r)
	c.changes.put(Key{KindPlan, planID(rec.Run, rec.Stage)}, rec)
	c.enqueueFresh(st)
	if len(st.tasks) == 0 {
		c.advance(r)
	}
}

// addStage adds the stage to the run, with tasks that were never launched.
func (c *Core) addStage(r *run, name string, tasks int) *stage {
	st := &stage{name: name, run: r, tasks: make([]*task, tasks), shape: &shape{
		owner:   r.owner,
		stage:   name,
		kind:    r.rec.Kind,
		limit:   1,
		created: r.rec.Created,
	}}
	if r.spec != nil {
		st.shape.resources = r.spec.Resources
		st.shape.constraints = r.spec.Constraints
		st.shape.limit = r.spec.Parallelism
	}
	if name == jobs.StageClean {
		st.shape.resources = cleanResources
	}
	r.stages = append(r.stages, st)
	if !r.ended() {
		c.tasks += tasks
	}
	return st
}

// follow makes a plan the stage's.
func (st *stage) follow(plan *proto.Plan) {
	st.plan = plan
	if need := plan.Resources; need != nil {
		st.shape.resources = jobs.Resources{CPUs: need.CPUs, Memory: need.Memory, Disk: need.Disk}
	}
}

// firstLaunch is what most tasks ever have, in one piece of memory: they are made by the thousand.
type firstLaunch struct {
	task     task
	rec      proto.Task
	attempts [1]*attempt
	records  [1]proto.Attempt
}

// add makes a task that was never launched exist.
func (st *stage) add(index int) *task {
	first := &firstLaunch{rec: proto.Task{
		ID:      jobs.TaskID(st.run.rec.ID, st.name, index),
		Run:     st.run.rec.ID,
		Stage:   st.name,
		Index:   uint32(index),
		Of:      uint32(len(st.tasks)),
		Created: st.plan.Created,
	}}
	t := &first.task
	first.rec.Attempts = first.records[:0]
	t.rec, t.attempts = &first.rec, first.attempts[:0]
	st.own(t)
	return t
}

// own gives a task its place in the stage.
func (st *stage) own(t *task) {
	t.owner, t.run, t.stage, t.shape = st.run.owner, st.run, st, st.shape
	st.tasks[t.rec.Index] = t
	st.touch(t)
}

// hold makes a task of a record.
func (st *stage) hold(rec *proto.Task) *task {
	t := &task{rec: rec}
	st.own(t)
	return t
}

// enqueueFresh makes the tasks of a stage launchable that were never launched.
func (c *Core) enqueueFresh(st *stage) {
	s := st.shape
	before, room := s.pending(), s.room()
	fresh := fresh{stage: st, since: c.now}
	for _, t := range st.tasks {
		fresh.count += btoi(t == nil)
	}
	if fresh.count == 0 {
		return
	}
	if s.queue.len() == 0 {
		s.tried = trial{since: c.now}
	}
	s.queue.fresh = fresh
	c.demand.update(s, before)
	c.opened(s, room)
	c.touchShape(s)
}

// withdrawFresh takes the tasks of a stage that were never launched off the demand. Nothing is stored of that: it
// follows from the state of the run.
func (c *Core) withdrawFresh(st *stage) {
	s := st.shape
	before := s.pending()
	s.queue.fresh = fresh{}
	c.demand.update(s, before)
	c.touchShape(s)
}
