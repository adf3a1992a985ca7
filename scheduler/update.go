package scheduler

import (
	"log/slog"
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// updated handles a status update. What follows from it is stored in the step that acknowledges it. Repeats and late
// ones change nothing.
func (c *Core) updated(u Update) {
	if len(u.UUID) > 0 {
		c.call(Acknowledge{MesosID: u.MesosID, AgentID: u.AgentID, UUID: u.UUID})
	}
	a := c.attempts[u.MesosID]
	if a == nil {
		c.stranger(u)
		return
	}
	a.asking = false
	if a.over() {
		if a.rec().State == proto.TASK_LOST && speaks(u.State) {
			c.revenant(a)
		}
		return
	}
	a.stale = time.Time{}
	silent := later(a.heard, a.executor.heard)
	if u.Source == fromExecutor {
		a.executor.heard = c.now
	}
	if rec := a.rec(); u.Reason != reconciliation || rec.State == proto.TASK_LAUNCHING {
		a.heard = c.now // what the master remembers of a running task is no sign of life
	}
	o, end := classify(u)
	switch {
	case end && hearsay(u, o):
		// It has ended, but how comes only with the update itself, which the agent repeats until it is acknowledged.
		if a.live() && a.ending.IsZero() {
			a.ending = c.now
		}
	case end && o.unborn && a.rec().State != proto.TASK_LAUNCHING:
		// It has begun, so this is not true. What is comes out when Mesos is asked or its executor is silent.
	case (end && o.givenUp || u.State == "TASK_UNREACHABLE") && !a.live():
		a.unheard = true // lost as before
	case end:
		c.count(MetricTaskStates, 1, u.State, u.Reason)
		if o.oom && a.live() {
			c.memoryKilled(a, o)
			return
		}
		c.conclude(a, o)
		a.executor.idleSince(c, silent)
	case u.State == "TASK_UNREACHABLE":
		c.unreachable(a, u)
	case speaks(u.State):
		c.alive(a, u)
	}
	a.rearm(c)
}

// speaks says whether a task in that state has an executor that runs it.
func speaks(state string) bool {
	return state == "TASK_STARTING" || state == "TASK_RUNNING" || state == "TASK_KILLING"
}

// hearsay says whether the master only tells what it has heard of an end, as in answers to reconciliation and when an
// agent comes back. It leaves out the data: a task would finish without its result.
func hearsay(u Update, o outcome) bool {
	switch u.Reason {
	case reconciliation, "REASON_AGENT_REREGISTERED", "REASON_SLAVE_REREGISTERED":
		return o.state != proto.TASK_LOST
	}
	return u.State == "TASK_FINISHED" && u.Source != fromExecutor
}

// stranger handles an update for a task that the store does not know: it is killed, not adopted.
func (c *Core) stranger(u Update) {
	if speaks(u.State) || u.State == "TASK_STAGING" {
		c.call(Kill{MesosID: u.MesosID, AgentID: u.AgentID})
		c.count(MetricKills, 1, "unknown")
		c.note(slog.LevelWarn, "killed a task that is not known", slog.String("task", u.MesosID), slog.String("agent", u.AgentID))
	}
}

// alive handles the word that an attempt starts, runs or is about to end. One that was given up is killed.
func (c *Core) alive(a *attempt, u Update) {
	rec := a.rec()
	a.ending = time.Time{}
	if rec.GivenUp {
		a.unheard = false
		c.killAgain(a)
		return
	}
	state := proto.TASK_RUNNING
	if u.State == "TASK_STARTING" {
		state = proto.TASK_STARTING
	}
	started := &proto.Started{}
	if u.Source == fromExecutor && u.State == "TASK_RUNNING" && proto.Decode(u.Data, started) != nil {
		started = &proto.Started{} // without a directory its logs cannot be read while it runs; nothing else depends on it
	}
	backwards := rec.State == proto.TASK_RUNNING && state == proto.TASK_STARTING
	if backwards || rec.State == state && (started.Directory == "" || started.Directory == rec.Directory) {
		return
	}
	c.count(MetricTaskStates, 1, u.State, u.Reason)
	rec.State = state
	a.task.follow()
	if state == proto.TASK_RUNNING && rec.Running == nil {
		now := c.now
		rec.Running = &now
		c.count(MetricLaunchToRun, now.Sub(rec.Launched).Seconds())
	}
	if started.Directory != "" {
		rec.Directory = started.Directory
	}
	c.saveTask(a.task)
}

// revenant handles an attempt that speaks although Mesos had said that it was gone for good: it is given up, and killed.
func (c *Core) revenant(a *attempt) {
	e := a.executor
	if e == nil || c.executors[e.rec.ID] != e {
		c.sendKill(a, "given up") // a check's, whose executor is forgotten: killed with each word of it
		return
	}
	a.rec().GivenUp, a.rec().Settled = true, false
	c.attach(a, e)
	c.requestKill(a, "given up")
	c.saveTask(a.task)
}

// killAgain tells an attempt that was given up and still speaks to end, but not with each of its words.
func (c *Core) killAgain(a *attempt) {
	if a.over() || c.now.Sub(a.killed) < killSpacing {
		return
	}
	c.requestKill(a, "given up")
}

// unreachable handles the word that an attempt's agent cannot be reached. It may come back; nobody waits for that when
// its run is ending.
func (c *Core) unreachable(a *attempt, u Update) {
	if a.rec().State == proto.TASK_UNREACHABLE {
		return
	}
	c.count(MetricTaskStates, 1, u.State, u.Reason)
	if a.rec().KillRequested != nil {
		c.giveUp(a, "its agent is unreachable")
		return
	}
	a.rec().State, a.rec().Reason = proto.TASK_UNREACHABLE, u.Reason
	a.task.follow()
	c.saveTask(a.task)
	c.note(slog.LevelWarn, "task is unreachable", a.task.attrs(slog.String("agent", a.rec().AgentID))...)
}

// memoryKilled handles the end of a container that used too much memory: everything in it has ended. The attempt that
// used the most is charged, the others are not. All of it is decided at the first word of it, so that a restart in
// between does not charge twice; a sibling that had finished before still counts when its update comes.
func (c *Core) memoryKilled(a *attempt, o outcome) {
	var victims []*attempt
	culprit := a
	for _, other := range a.executor.attempts {
		if !other.live() {
			continue
		}
		victims = append(victims, other)
		if other.memory() > culprit.memory() {
			culprit = other
		}
	}
	for _, victim := range victims {
		end := o
		if victim != culprit {
			end.failure = &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost",
				Message: "its container was killed because task " + culprit.task.rec.ID + " used too much memory"}
		}
		if victim != a {
			end.state, end.givenUp, end.reason = proto.TASK_LOST, true, ""
		}
		c.conclude(victim, end)
	}
}

// memory is what the attempt is known to have used, or else what it may use.
func (a *attempt) memory() int64 {
	if a.progress != nil && a.progress.Counters.PeakMemory > 0 {
		return a.progress.Counters.PeakMemory
	}
	return a.task.shape.resources.Memory
}

// heard handles an executor's message: progress, and a sign of life.
func (c *Core) heard(m Message) {
	message := &proto.Progress{}
	if err := proto.Decode(m.Data, message); err != nil {
		c.note(slog.LevelWarn, "executor sent a message that cannot be read", slog.String("executor", m.ExecutorID),
			slog.String("agent", m.AgentID), slog.String("error", err.Error()))
		return
	}
	if e := c.executors[m.ExecutorID]; e != nil {
		e.heard = c.now
		for _, a := range slices.Clone(e.attempts) {
			if a.rec().GivenUp {
				a.unheard = false
				c.killAgain(a)
			}
		}
	}
	for i := range message.Tasks {
		p := &message.Tasks[i]
		a := c.attempts[p.MesosID]
		switch {
		case a == nil:
			c.stranger(Update{MesosID: p.MesosID, AgentID: m.AgentID, State: "TASK_RUNNING"})
		case a.live():
			a.heard, a.stale, a.progress = c.now, time.Time{}, p
			c.touchTask(a.task)
		case a.rec().State == proto.TASK_LOST && a.over():
			c.revenant(a)
		}
	}
}

// failed handles the end of an executor or the loss of an agent. Nothing more is launched there; what becomes of the
// attempts is said by updates, or found out when none come.
func (c *Core) failed(f Failure) {
	if f.ExecutorID != "" {
		e := c.executors[f.ExecutorID]
		switch {
		case e == nil:
		case e.living() > 0:
			c.buried(e)
		default:
			c.retire(e)
		}
		return
	}
	c.note(slog.LevelWarn, "agent is lost", slog.String("agent", f.AgentID))
	for _, e := range slices.Clone(c.executorsAt[f.AgentID]) {
		c.retire(e)
	}
	if agent := c.agents[f.AgentID]; agent != nil && agent.tasks == 0 {
		c.dropAgent(agent)
	}
}
