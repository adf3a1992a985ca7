package scheduler

import (
	"cmp"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// task is one unit that Mesos launches.
type task struct {
	alarm
	rec      *proto.Task
	owner    *owner
	run      *run   // nil for a check
	check    *check // nil for a run's task
	stage    *stage // nil for a check
	shape    *shape
	current  *attempt // that lives and counts; nil while the task waits and once it has ended
	second   *attempt // that lives beside current, which lags; nil: none does
	attempts []*attempt
	queued   bool      // in the shape's queue
	ready    time.Time // since when it is in the queue
	dropped  bool      // with its run or check: its record is gone, and nothing is to be done any more
	touched  bool      // listed in stage.touched
	progress int64     // its part of stage.progress
}

// attempt is one try of a task. Its record is inside the task's.
type attempt struct {
	alarm
	task     *task
	index    int // in task.rec.Attempts
	executor *executor
	heard    time.Time // the last word about it
	stale    time.Time // when Mesos was asked because there was none
	killed   time.Time // the last KILL
	kills    int
	asking   bool      // Mesos was asked for its state and has not answered
	ending   time.Time // when Mesos said that it has ended, without the executor's words
	told     bool      // to hand over, by this scheduler
	unheard  bool      // given up, and Mesos cannot reach it either: killed when it speaks
	progress *proto.TaskProgress
}

func (a *attempt) rec() *proto.Attempt { return &a.task.rec.Attempts[a.index] }

// live says whether a counts: it has not ended, and was not given up.
func (a *attempt) live() bool {
	switch rec := a.rec(); rec.State {
	case proto.TASK_LAUNCHING, proto.TASK_STARTING, proto.TASK_RUNNING, proto.TASK_UNREACHABLE:
		return !rec.GivenUp
	}
	return false
}

// over says whether a has ended for good. Attempts that were given up are neither live nor over: they may come back.
func (a *attempt) over() bool {
	rec := a.rec()
	return jobs.TaskTerminal(rec.State) || rec.State == proto.TASK_LOST && !rec.GivenUp
}

// version is that of a's executor.
func (a *attempt) version() string { return cmp.Or(a.rec().Version, a.task.owner.version) }

// unborn says whether a certainly never began.
func (a *attempt) unborn() bool { return a.rec().State == proto.TASK_LOST && a.rec().Settled }

// delayed says whether t is in back-off.
func (t *task) delayed() bool {
	_, ok := t.shape.delayed[t]
	return ok
}

// ended says whether nothing more is to be done for t.
func (t *task) ended() bool { return jobs.TaskTerminal(t.rec.State) }

// attrs are a log line's usual keys.
func (t *task) attrs(more ...slog.Attr) []slog.Attr {
	attrs := []slog.Attr{slog.String("task", t.rec.ID)}
	if t.run != nil {
		attrs = append(attrs, slog.String("run", t.run.rec.ID), slog.String("job", t.run.rec.Job))
	}
	return append(attrs, more...)
}

// fire ends a task's back-off.
func (t *task) fire(c *Core) {
	switch {
	case !t.delayed():
	case t.rec.NotBefore != nil && c.now.Before(*t.rec.NotBefore):
		c.arm(t, *t.rec.NotBefore)
	default:
		c.enqueue(t)
	}
}

// launch starts a new attempt of a shape's next task on a candidate.
func (c *Core) launch(s *shape, t *task, k *candidate) {
	before := s.pending()
	if t == nil {
		t = s.queue.fresh.take()
	} else {
		s.queue.remove(t)
	}
	c.demand.update(s, before)
	c.count(MetricPendingToLaunch, c.now.Sub(s.readySince(t.ready)).Seconds())
	c.launchOn(s, t, k, "")
}

// launchOn makes a new attempt of a task and puts it on a candidate. second is why, if another one lives already.
func (c *Core) launchOn(s *shape, t *task, k *candidate, second string) *attempt {
	o, offer := s.owner, &k.bin.offer
	if k.executor == nil {
		k.executor = c.newExecutor(o, offer.AgentID, k.artifact)
		k.bin.free.CPUs -= c.cfg.ExecutorCPUs
		k.bin.free.Memory -= c.cfg.ExecutorMemory
	}
	k.bin.free = minus(k.bin.free, s.resources)
	s.launched++
	s.owner.share.launched++
	c.demand.update(s, s.pending())
	a := c.newAttempt(t, k.executor, offer, second)
	k.bin.launches = append(k.bin.launches, c.describe(a))
	c.launches++
	c.count(MetricLaunches, 1, o.job(), o.version)
	c.runStarted(t.run)
	c.saveTask(t)
	a.rearm(c)
	return a
}

func (c *Core) newAttempt(t *task, e *executor, offer *Offer, second string) *attempt {
	number := uint32(len(t.rec.Attempts) + 1)
	t.rec.Attempts = append(t.rec.Attempts, proto.Attempt{
		Number:     number,
		MesosID:    jobs.MesosTaskID(t.rec.ID, number),
		AgentID:    offer.AgentID,
		Host:       offer.Host,
		AgentURL:   offer.AgentURL,
		ExecutorID: e.rec.ID,
		Version:    e.rec.Version,
		State:      proto.TASK_LAUNCHING,
		Launched:   c.now,
		Second:     second,
	})
	t.rec.NotBefore = nil
	a := &attempt{task: t, index: len(t.attempts), heard: c.now}
	t.attempts = append(t.attempts, a)
	t.joins(a)
	t.follow()
	c.attempts[a.rec().MesosID] = a
	c.attach(a, e)
	return a
}

// attach and detach keep count of what is on an executor and an agent.
func (c *Core) attach(a *attempt, e *executor) {
	a.executor = e
	e.attempts = append(e.attempts, a)
	if a.live() {
		e.owner.load[e.rec.AgentID]++
		c.countLiving(e, 1)
	}
}

// countLiving keeps the numbers of attempts that live by agent and by version.
func (c *Core) countLiving(e *executor, by int) {
	a := c.agent(e.rec.AgentID)
	a.tasks += by
	if a.tasks == 0 && a.seen.IsZero() { // known from records only, and what ran there is over
		c.dropAgent(a)
	}
	if v := c.versions[e.rec.Version]; v != nil {
		v.tasks += by
		switch living := e.living(); {
		case by > 0 && living == 1:
			v.executors++
		case by < 0 && living == 0:
			v.executors--
		}
		c.touchVersion(v)
	}
	c.view.agent(a)
}

// release ends what detach undoes for attempts that are given up: they stay on their executor until they are over.
func (c *Core) release(a *attempt) {
	e := a.executor
	e.idle = c.now
	if e.owner.load[e.rec.AgentID]--; e.owner.load[e.rec.AgentID] == 0 {
		delete(e.owner.load, e.rec.AgentID)
	}
	c.countLiving(e, -1)
}

func (c *Core) detach(a *attempt) {
	e := a.executor
	if e == nil {
		return // it ended before the last start of the scheduler, and its executor's record has gone since
	}
	e.attempts = slices.DeleteFunc(e.attempts, func(other *attempt) bool { return other == a })
	c.dropExecutors(e.owner)
}

// describe is what Mesos and the executor are told about an attempt.
func (c *Core) describe(a *attempt) Launch {
	t, rec, s := a.task, a.rec(), a.task.shape
	data := &proto.TaskData{
		Protocol: a.executor.rec.Protocol,
		Run:      t.owner.id,
		Kind:     cmp.Or(t.rec.Kind, s.kind),
		Stage:    t.rec.Stage,
		Index:    t.rec.Index,
		Of:       t.rec.Of,
		Attempt:  rec.Number,
		Input:    t.input(),
		Cpus:     s.resources.CPUs,
		Memory:   s.resources.Memory,
		Disk:     s.resources.Disk,
		Timeout:  s.timeout(),

		RunCreated: t.rec.Created, // a check has no run
	}
	if data.Protocol >= handOverSince {
		data.HandedOver = t.rec.HandedOver
	}
	name := "checks " + t.owner.version
	of := strconv.Itoa(int(t.rec.Of))
	nth := strconv.Itoa(int(t.rec.Index) + 1)
	labels := make([][2]string, 0, 6)
	if r := t.run; r != nil {
		data.Job, data.Revision, data.Spec, data.Params = r.rec.Job, r.rec.Revision, r.revision.forExecutor(), r.rec.Params
		data.RunCreated = r.rec.Created
		name = r.rec.Job + " " + t.rec.Stage + " " + nth + "/" + of + " on " + t.owner.version
		labels = append(labels, [2]string{"tidemill.job", r.rec.Job}, [2]string{"tidemill.run", r.rec.ID})
	}
	labels = append(labels,
		[2]string{"tidemill.stage", t.rec.Stage},
		[2]string{"tidemill.task", nth + " of " + of},
		[2]string{"tidemill.attempt", strconv.Itoa(int(rec.Number))},
		[2]string{"tidemill.version", t.owner.version})
	return Launch{
		MesosID:      rec.MesosID,
		Name:         name,
		Labels:       labels,
		Role:         t.owner.role,
		Resources:    s.resources,
		ExecutorInfo: a.executor.rec.Info,
		Data:         proto.Encode(data),
	}
}
