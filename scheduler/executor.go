package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// The range of protocol versions that this scheduler speaks.
const (
	protocolMin = 1
	protocolMax = 2 // tasks hand over; see handOverSince
)

// lingerMargin is how long before the end of its linger time an idle executor is no longer used, so that no launch races
// with its exit.
const lingerMargin = 10 * time.Second

// promptness is how soon word of an end comes as a rule: executors report much more often. It is less than lingerMargin.
const promptness = 5 * time.Second

// owner is what executors belong to: a run, or the checks of one version.
type owner struct {
	id        string
	version   string
	role      string // of its executors, and of all tasks on them
	share     *share
	run       *run                 // nil for checks
	executors map[string]*executor // the one to launch on, by agent
	all       []*executor          // whose records are kept
	number    int                  // the highest that an executor of this owner has had
	load      map[string]int       // attempts that live, by agent
	avoid     map[string]*avoidance
	checks    *shape // of the check tasks; nil for a run
}

func (c *Core) newOwner(id, version, role string, r *run) *owner {
	return &owner{id: id, version: version, role: role, share: c.demand.share(role), run: r, executors: map[string]*executor{}, load: map[string]int{}, avoid: map[string]*avoidance{}}
}

// job is the name that stands for the owner in labels and metrics.
func (o *owner) job() string {
	if o.run == nil {
		return "checks"
	}
	return o.run.rec.Job
}

// avoidance keeps an owner's tasks off an agent on which its executors ended, for a time that doubles with each end.
type avoidance struct {
	until time.Time
	ends  int
}

const (
	avoidFirst = 2 * time.Second
	avoidMost  = 2 * time.Minute
)

// executor is one executor process.
type executor struct {
	rec      *proto.Executor
	owner    *owner
	attempts []*attempt // that have not ended for good, given-up ones included
	idle     time.Time  // since when no attempt lives on it
	heard    time.Time  // the last word from the process itself
}

// living counts the attempts on e that still count.
func (e *executor) living() int {
	n := 0
	for _, a := range e.attempts {
		if a.live() {
			n++
		}
	}
	return n
}

// idleSince corrects since when an executor is idle. Word of an end may come late, after an outage of whatever kind:
// then it may have ended at any time since the last word before, and the executor may be about to go.
func (e *executor) idleSince(c *Core, silent time.Time) {
	if c.now.Sub(silent) > promptness {
		e.idle = silent
	}
}

// usable says whether a task may still be launched on e, going by what the offer says of the agent.
func (e *executor) usable(c *Core, running []string) bool {
	switch {
	case e.rec.Dead, e.rec.Role != e.owner.role: // that of checks may have changed, and that of old records is not known
		return false
	case e.living() > 0:
		return true
	case c.now.Sub(e.idle) >= max(c.cfg.Linger-lingerMargin, c.cfg.Linger/2):
		return false
	default:
		return slices.Contains(running, e.rec.ID)
	}
}

// executorOn returns the owner's executor on that agent, or nil if a new one is needed. One that is of no use any more
// is given up.
func (c *Core) executorOn(o *owner, agent string, running []string) *executor {
	e := o.executors[agent]
	if e == nil {
		return nil
	}
	if !e.usable(c, running) {
		c.retire(e)
		return nil
	}
	return e
}

// retire makes sure that nothing is launched on e any more.
func (c *Core) retire(e *executor) {
	if e.owner.executors[e.rec.AgentID] == e {
		delete(e.owner.executors, e.rec.AgentID)
	}
	if e.rec.Dead {
		return
	}
	e.rec.Dead = true
	c.saveExecutor(e)
	c.dropExecutors(e.owner)
}

// buried retires an executor that has ended by itself, and keeps its owner off the agent for a while.
func (c *Core) buried(e *executor) {
	if e.rec.Dead {
		return
	}
	c.retire(e)
	avoid := e.owner.avoid[e.rec.AgentID]
	if avoid == nil {
		avoid = &avoidance{}
		e.owner.avoid[e.rec.AgentID] = avoid
	}
	avoid.until = c.now.Add(min(avoidFirst<<min(avoid.ends, 16), avoidMost))
	avoid.ends++
	e.owner.share.lookAgainAt(c, avoid.until)
}

// dropExecutors forgets the dead executors of checks but the one whose number is the highest: numbers never repeat.
// A run's executors are forgotten with the run.
func (c *Core) dropExecutors(o *owner) {
	if o.run != nil {
		return
	}
	for _, e := range c.executorsOf(o) {
		if e.rec.Dead && len(e.attempts) == 0 && executorNumber(e.rec.ID) < o.number {
			c.forgetExecutor(e)
		}
	}
}

func (c *Core) addExecutor(e *executor) {
	c.executors[e.rec.ID] = e
	c.executorsAt[e.rec.AgentID] = append(c.executorsAt[e.rec.AgentID], e)
	e.owner.all = append(e.owner.all, e)
}

// forgetExecutor removes an executor's record, too.
func (c *Core) forgetExecutor(e *executor) {
	delete(c.executors, e.rec.ID)
	there := slices.DeleteFunc(c.executorsAt[e.rec.AgentID], func(other *executor) bool { return other == e })
	if c.executorsAt[e.rec.AgentID] = there; len(there) == 0 {
		delete(c.executorsAt, e.rec.AgentID)
	}
	e.owner.all = slices.DeleteFunc(e.owner.all, func(other *executor) bool { return other == e })
	c.remove(KindExecutor, e.rec.ID)
}

// executorsOf lists an owner's executors, oldest first. Those of a run may be of several versions.
func (c *Core) executorsOf(o *owner) []*executor {
	return slices.SortedFunc(slices.Values(o.all), func(a, b *executor) int {
		return cmp.Compare(executorNumber(a.rec.ID), executorNumber(b.rec.ID))
	})
}

func executorNumber(id string) int {
	_, _, n, err := jobs.ParseExecutorID(id)
	if err != nil {
		return 0 // load refuses such records, and the core makes none
	}
	return n
}

// newExecutor makes the record of an executor that is about to be started on an agent.
func (c *Core) newExecutor(o *owner, agent string, artifact *proto.Artifact) *executor {
	o.number++
	id := jobs.ExecutorID(o.id, o.version, o.number)
	protocol := min(protocolMax, artifact.Description.ProtocolMax)
	data := &proto.ExecutorData{
		Protocol:         protocol,
		ExecutorID:       id,
		Owner:            o.id,
		Version:          o.version,
		Linger:           c.cfg.Linger,
		ProgressInterval: c.cfg.ProgressEvery,
		ConnectionsFile:  c.cfg.ConnectionsFile,
		KillGrace:        c.cfg.KillGrace,
	}
	labels := [][2]string{{"tidemill.version", o.version}}
	name := "tidemill checks " + o.version
	if o.run != nil {
		labels = append([][2]string{{"tidemill.job", o.run.rec.Job}, {"tidemill.run", o.id}}, labels...)
		name = o.run.rec.Job + " " + o.version
	}
	rec := &proto.Executor{ID: id, Owner: o.id, Version: o.version, AgentID: agent, Created: c.now, Protocol: protocol, Role: o.role}
	rec.Info = c.cfg.ExecutorInfo(ExecutorPlan{
		ID:            id,
		Name:          name,
		FrameworkID:   c.framework.ID,
		Role:          o.role,
		Version:       o.version,
		URL:           c.cfg.ArtifactURL + "/" + artifact.SHA256 + "/tidemill-executor",
		SHA256:        artifact.SHA256,
		CPUs:          c.cfg.ExecutorCPUs,
		Memory:        c.cfg.ExecutorMemory,
		Data:          proto.Encode(data),
		Labels:        labels,
		ShutdownGrace: c.cfg.KillGrace * shutdownShare,
	})
	e := &executor{rec: rec, owner: o, idle: c.now}
	c.addExecutor(e)
	o.executors[agent] = e
	c.saveExecutor(e)
	return e
}

// shutdownShare is how many times its tasks' grace period an executor gets that is told to shut down: it gives its tasks
// two fifths of that to end gently, so that a commit that is under way has the whole period, and keeps the rest for
// uploading logs and for reporting how they ended.
const shutdownShare = 3
