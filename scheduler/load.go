package scheduler

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

const frameworkID = "framework" // the only record of its kind

// loading are the decoded records, in the order of their keys.
type loading struct {
	jobs      []*proto.Job
	revisions []*proto.Revision
	runs      []*proto.Run
	plans     []*proto.Plan
	executors []*proto.Executor
	tasks     []*proto.Task
	keys      []*proto.IdempotencyKey
	rollouts  []*proto.Rollout
	uses      []*proto.Use
	tallies   []*proto.Tally
}

// load builds the state from records, each kind after those that it refers to.
func (c *Core) load(records []Record) error {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Key.Kind, b.Key.Kind), cmp.Compare(a.Key.ID, b.Key.ID))
	})
	var all loading
	for i := range records {
		if err := c.decodeRecord(&records[i], &all); err != nil {
			return fmt.Errorf("load %s %q: %w", records[i].Key.Kind, records[i].Key.ID, err)
		}
	}
	for _, rec := range all.jobs {
		c.jobs[rec.Name] = &job{rec: rec}
	}
	for _, rec := range all.revisions {
		if err := c.loadRevision(rec); err != nil {
			return fmt.Errorf("load revision %q: %w", revisionID(rec.Job, rec.Number), err)
		}
	}
	for name, j := range c.jobs {
		slices.SortFunc(j.revisions, func(a, b *revision) int { return cmp.Compare(a.rec.Number, b.rec.Number) })
		if n := len(j.revisions); !j.rec.Deleted && (n == 0 || j.newest().rec.Number != j.rec.Revision) {
			return fmt.Errorf("load job %q: its revision %d is not there", name, j.rec.Revision)
		}
	}
	for _, rec := range all.runs {
		if err := c.loadRun(rec); err != nil {
			return fmt.Errorf("load run %q: %w", rec.ID, err)
		}
	}
	for _, rec := range all.plans {
		if err := c.loadPlan(rec); err != nil {
			return fmt.Errorf("load plan %q: %w", planID(rec.Run, rec.Stage), err)
		}
	}
	for _, rec := range all.executors {
		if err := c.loadExecutor(rec); err != nil {
			return fmt.Errorf("load executor %q: %w", rec.ID, err)
		}
	}
	for _, rec := range all.tasks {
		if err := c.loadTask(rec); err != nil {
			return fmt.Errorf("load task %q: %w", rec.ID, err)
		}
	}
	c.keys.load(all.keys)
	if err := c.loadRollouts(&all); err != nil {
		return err
	}
	if err := c.loadUses(all.uses); err != nil {
		return err
	}
	c.loadPins()
	return c.checkStages()
}

// decodeRecord reads one record and holds it to its key.
func (c *Core) decodeRecord(r *Record, all *loading) error {
	var id string
	var err error
	switch r.Key.Kind {
	case KindFormat:
		id, err = formatID, checkFormat(r.Value)
	case KindFramework:
		c.framework = &proto.Framework{}
		err = proto.Decode(r.Value, c.framework)
		id = frameworkID
		if err == nil && c.framework.ID == "" {
			err = fmt.Errorf("it has no ID")
		}
	case KindJob:
		all.jobs, id, err = decoded(all.jobs, r.Value, &proto.Job{}, func(j *proto.Job) string { return j.Name })
	case KindRevision:
		all.revisions, id, err = decoded(all.revisions, r.Value, &proto.Revision{}, func(v *proto.Revision) string { return revisionID(v.Job, v.Number) })
	case KindRun:
		all.runs, id, err = decoded(all.runs, r.Value, &proto.Run{}, func(v *proto.Run) string { return v.ID })
	case KindPlan:
		all.plans, id, err = decoded(all.plans, r.Value, &proto.Plan{}, func(v *proto.Plan) string { return planID(v.Run, v.Stage) })
	case KindKey:
		all.keys, id, err = decoded(all.keys, r.Value, &proto.IdempotencyKey{}, func(v *proto.IdempotencyKey) string { return keyID(v.Job, v.Key) })
	case KindTask:
		all.tasks, id, err = decoded(all.tasks, r.Value, &proto.Task{}, func(v *proto.Task) string { return v.ID })
	case KindExecutor:
		all.executors, id, err = decoded(all.executors, r.Value, &proto.Executor{}, func(v *proto.Executor) string { return v.ID })
	case KindVersion:
		rec := &proto.ExecutorVersion{}
		err = proto.Decode(r.Value, rec)
		id = rec.Version
		c.versions[id] = c.newVersion(rec)
	case KindRetired:
		rec := &proto.Retired{}
		err = proto.Decode(r.Value, rec)
		id = rec.Version
		c.retired[id] = rec
	case KindUse:
		all.uses, id, err = decoded(all.uses, r.Value, &proto.Use{}, func(v *proto.Use) string { return v.Version })
	case KindChannel:
		rec := &proto.Channel{}
		err = proto.Decode(r.Value, rec)
		id = rec.Name
		c.channels[id] = newChannel(rec)
	case KindRollout:
		all.rollouts, id, err = decoded(all.rollouts, r.Value, &proto.Rollout{}, func(v *proto.Rollout) string { return rolloutID(v.Channel, v.Number) })
	case KindTally:
		all.tallies, id, err = decoded(all.tallies, r.Value, &proto.Tally{}, func(v *proto.Tally) string { return tallyID(v.Channel, v.Job) })
	default:
		return fmt.Errorf("the kind is not known; was it written by a newer version?")
	}
	if err == nil && id != r.Key.ID {
		err = fmt.Errorf("it is the record of %q", id)
	}
	return err
}

func decoded[T proto.Unmarshaler](all []T, data []byte, rec T, id func(T) string) ([]T, string, error) {
	if err := proto.Decode(data, rec); err != nil {
		return nil, "", err
	}
	return append(all, rec), id(rec), nil
}

func (c *Core) loadRevision(rec *proto.Revision) error {
	j := c.jobs[rec.Job]
	if j == nil {
		return fmt.Errorf("there is no job %q", rec.Job)
	}
	rev := &revision{rec: rec, job: j}
	rev.spec, rev.problems = jobs.Decode(rec.Spec, c.cfg.Kinds)
	if rev.spec != nil && (rev.spec.Kind != rec.Kind || rev.spec.Name != rec.Job) {
		return fmt.Errorf("its spec is of job %q and kind %q", rev.spec.Name, rev.spec.Kind)
	}
	j.revisions = append(j.revisions, rev)
	return nil
}

func (c *Core) loadRun(rec *proto.Run) error {
	if int(rec.State) >= len(jobs.RunStateNames()) || rec.State < 0 {
		return fmt.Errorf("its state %d is not known", rec.State)
	}
	j := c.jobs[rec.Job]
	if j == nil {
		return fmt.Errorf("there is no job %q", rec.Job)
	}
	at := slices.IndexFunc(j.revisions, func(rev *revision) bool { return rev.rec.Number == rec.Revision })
	if at < 0 {
		return fmt.Errorf("there is no revision %d of job %q", rec.Revision, rec.Job)
	}
	r := &run{rec: rec, job: j, revision: j.revisions[at]}
	if r.revision.rec.Kind != rec.Kind {
		return fmt.Errorf("its kind %q is not the revision's", rec.Kind)
	}
	r.revision.runs++
	r.spec = r.revision.spec
	if rec.Role == "" { // older than roles of jobs
		rec.Role = c.cfg.Roles[0]
	}
	if !r.settled() {
		c.join(rec.Role)
	}
	r.owner = c.newOwner(rec.ID, rec.ExecutorVersion, rec.Role, r)
	for i := range rec.Stages {
		if rec.Stages[i].Tasks > mostTasks {
			return fmt.Errorf("stage %q has %d tasks", rec.Stages[i].Name, rec.Stages[i].Tasks)
		}
		c.addStage(r, rec.Stages[i].Name, int(rec.Stages[i].Tasks))
	}
	if v := c.versions[rec.ExecutorVersion]; v != nil {
		v.runs += btoi(!r.ended())
		v.cleaning += btoi(rec.CleanUp == proto.CLEAN_UP_PENDING)
	} else if !r.ended() || rec.CleanUp == proto.CLEAN_UP_PENDING {
		return fmt.Errorf("there is no executor version %q", rec.ExecutorVersion)
	}
	if r.moving() {
		v := c.versions[rec.MovingTo]
		if v == nil || r.ended() || r.ending() || len(rec.Stages) == 0 {
			return fmt.Errorf("it cannot move to executor version %q", rec.MovingTo)
		}
		v.runs++
	}
	c.runs[rec.ID] = r
	return nil
}

func (c *Core) loadPlan(rec *proto.Plan) error {
	st, err := c.stageOf(rec.Run, rec.Stage)
	if err != nil {
		return err
	}
	if len(rec.Inputs) != len(st.tasks) {
		return fmt.Errorf("it has %d inputs, and the stage %d tasks", len(rec.Inputs), len(st.tasks))
	}
	st.follow(rec)
	return nil
}

func (c *Core) stageOf(run, name string) (*stage, error) {
	r := c.runs[run]
	if r == nil {
		return nil, fmt.Errorf("there is no run %q", run)
	}
	at := r.stageIndex(name)
	if at < 0 {
		return nil, fmt.Errorf("run %q has no stage %q", run, name)
	}
	return r.stages[at], nil
}

// ownerOf finds what executors and tasks belong to.
func (c *Core) ownerOf(id, version string) (*owner, error) {
	if r := c.runs[id]; r != nil {
		return r.owner, nil
	}
	if id == jobs.ChecksOwner(version) {
		return c.checker(version), nil
	}
	return nil, fmt.Errorf("there is no run %q", id)
}

func (c *Core) loadExecutor(rec *proto.Executor) error {
	_, _, n, err := jobs.ParseExecutorID(rec.ID)
	if err != nil {
		return err
	}
	o, err := c.ownerOf(rec.Owner, rec.Version)
	if err != nil {
		return err
	}
	e := &executor{rec: rec, owner: o, idle: rec.Created}
	c.addExecutor(e)
	o.number = max(o.number, n)
	if !rec.Dead {
		if other := o.executors[rec.AgentID]; other != nil {
			return fmt.Errorf("executor %q lives on the same agent", other.rec.ID)
		}
		o.executors[rec.AgentID] = e
	}
	return nil
}

func (c *Core) loadTask(rec *proto.Task) error {
	if int(rec.State) >= len(jobs.TaskStateNames()) || rec.State < 0 {
		return fmt.Errorf("its state %d is not known", rec.State)
	}
	load := c.loadRunTask
	if rec.Stage == jobs.StageCheck {
		load = c.loadCheck
	}
	t, err := load(rec)
	if err != nil {
		return err
	}
	for i := range rec.Attempts {
		if err := c.loadAttempt(t, i); err != nil {
			return fmt.Errorf("attempt %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *Core) loadRunTask(rec *proto.Task) (*task, error) {
	st, err := c.stageOf(rec.Run, rec.Stage)
	switch {
	case err != nil:
		return nil, err
	case int(rec.Index) >= len(st.tasks) || int(rec.Of) != len(st.tasks):
		return nil, fmt.Errorf("it is task %d of %d, but the stage has %d", rec.Index, rec.Of, len(st.tasks))
	case rec.ID != jobs.TaskID(rec.Run, rec.Stage, int(rec.Index)):
		return nil, fmt.Errorf("its stage and index say %q", jobs.TaskID(rec.Run, rec.Stage, int(rec.Index)))
	}
	t := st.hold(rec)
	st.finished += btoi(rec.State == proto.TASK_FINISHED)
	return t, nil
}

func (c *Core) loadCheck(rec *proto.Task) (*task, error) {
	input := &proto.CheckInput{}
	if err := proto.Decode(rec.Input, input); err != nil {
		return nil, err
	}
	const prefix = "checks-"
	if len(rec.Run) <= len(prefix) || rec.Run[:len(prefix)] != prefix {
		return nil, fmt.Errorf("%q is not an owner of checks", rec.Run)
	}
	name := rec.Run[len(prefix):]
	if c.versions[name] == nil {
		return nil, fmt.Errorf("there is no executor version %q", name)
	}
	ck := &check{kind: rec.Kind, version: name}
	for _, e := range input.Expressions {
		ck.expressions = append(ck.expressions, jobs.Expression{Pointer: e.Pointer, Text: e.Text})
	}
	ck.key = checkKey(name, ck.kind, ck.expressions)
	if c.checks[ck.key] != nil {
		return nil, fmt.Errorf("the same check goes on twice")
	}
	o := c.checker(name)
	ck.task = &task{rec: rec, check: ck, owner: o, shape: o.checks}
	c.checks[ck.key] = ck
	c.checking = append(c.checking, ck)
	c.versions[name].checking++
	return ck.task, nil
}

func (c *Core) loadAttempt(t *task, i int) error {
	rec := &t.rec.Attempts[i]
	e := c.executors[rec.ExecutorID]
	switch {
	case int(rec.Number) != i+1 || rec.MesosID != jobs.MesosTaskID(t.rec.ID, rec.Number):
		return fmt.Errorf("its number is %d and its Mesos ID %q", rec.Number, rec.MesosID)
	case int(rec.State) >= len(jobs.TaskStateNames()) || rec.State < 0:
		return fmt.Errorf("its state %d is not known", rec.State)
	}
	a := &attempt{task: t, index: i, executor: e}
	t.attempts = append(t.attempts, a)
	c.attempts[rec.MesosID] = a
	if a.over() {
		if rec.State == proto.TASK_FINISHED && !rec.HandedOver {
			t.took(rec, !rec.GivenUp)
		}
		if e != nil && rec.Ended != nil {
			e.idle = later(e.idle, *rec.Ended)
		}
		return nil
	}
	if e == nil {
		return fmt.Errorf("there is no executor %q", rec.ExecutorID)
	}
	if a.live() {
		if t.second != nil || t.current != nil && rec.Second == "" {
			return fmt.Errorf("an earlier attempt lives, too")
		}
		t.joins(a)
		t.shape.launched++
		t.owner.share.launched++
	}
	c.attach(a, e)
	return nil
}

// checkStages holds stages without a plan to their tasks.
func (c *Core) checkStages() error {
	for _, id := range sortedKeys(c.runs) {
		for _, st := range c.runs[id].stages {
			if st.plan == nil && slices.Contains(st.tasks, nil) {
				return fmt.Errorf("load run %q: stage %q has neither a plan nor all of its tasks", id, st.name)
			}
		}
	}
	return nil
}

// resume takes up, in the first step, what was going on when the records were written.
func (c *Core) resume() {
	for _, e := range c.executors {
		if e.idle.After(c.now) { // see rewind
			e.idle = c.now
		}
	}
	for _, name := range sortedKeys(c.channels) {
		c.rewindRollout(c.channels[name])
		c.channels[name].touch(c) // what it waits for depends on the time
	}
	for _, ck := range c.checking {
		c.resumeTask(ck.task)
	}
	for _, name := range sortedKeys(c.jobs) {
		if j := c.jobs[name]; !j.rec.Deleted {
			c.resumeChecks(j.newest())
		}
	}
	ids := sortedKeys(c.runs)
	slices.SortStableFunc(ids, func(a, b string) int { return c.runs[a].rec.Created.Compare(c.runs[b].rec.Created) })
	for _, id := range ids {
		c.resumeRun(c.runs[id])
	}
	c.keys.rearm(c)
	for _, name := range sortedKeys(c.channels) {
		c.tend(c.channels[name])
	}
	c.collector.begin(c)
}

// resumeChecks takes up a check, or remembers its answer.
func (c *Core) resumeChecks(rev *revision) {
	v := c.versions[rev.rec.CheckedWith]
	if v == nil || rev.spec == nil {
		return
	}
	problems := problemsFromProto(rev.rec.Problems)
	undecided := slices.ContainsFunc(problems, func(p jobs.Problem) bool { return p.Pointer == "" })
	expressions := rev.spec.Section.Expressions()
	key := checkKey(v.rec.Version, rev.rec.Kind, expressions)
	switch {
	case rev.rec.Checks == proto.CHECKS_PENDING:
		c.showCheck(rev, c.ensureCheck(v.rec.Version, rev.rec.Kind, expressions))
	case v.rec.Registered.After(rev.rec.Created): // the answer may be that of other bytes under that name
	case c.checks[key] == nil && !undecided:
		ck := &check{key: key, kind: rev.rec.Kind, version: v.rec.Version, expressions: expressions, state: rev.rec.Checks, problems: problems}
		c.checks[key] = ck
		c.view.checks = true // one was made before the first step
		c.forgetOldChecks(ck)
	}
}

// resumeRun takes up a run where it was.
func (c *Core) resumeRun(r *run) {
	switch {
	case r.settled():
		return
	case r.spec == nil:
		c.failRun(r, &proto.RunError{Kind: "invalid", Message: "the stored spec can no longer be read", Problems: problemsToProto(r.revision.problems)})
		c.abandonClean(r)
	}
	for _, st := range r.stages {
		for _, t := range st.tasks {
			if t != nil {
				c.resumeTask(t)
			}
		}
		if !r.ended() && !r.ending() && !r.moving() {
			c.enqueueFresh(st)
		}
		c.watchPace(st)
	}
	switch {
	case r.ended():
	case r.ending():
		c.tryEnd(r)
	case len(r.stages) == 0:
		c.resumeStart(r)
	case r.moving():
		c.goOn(r)
	}
}

// resumeStart puts a run that has not begun back to where it waits.
func (c *Core) resumeStart(r *run) {
	ck := c.checkFor(r.revision, c.versions[r.rec.ExecutorVersion])
	c.checked(r, ck)
}

// resumeTask puts a task back to where it waits. Attempts are asked about when the master has been found.
func (c *Core) resumeTask(t *task) {
	c.rewind(t)
	if t.rec.State != proto.TASK_PENDING || t.queued || t.delayed() || t.held() {
		return
	}
	if t.rec.NotBefore != nil && c.now.Before(*t.rec.NotBefore) {
		c.delay(t, *t.rec.NotBefore)
		return
	}
	c.enqueue(t)
}
