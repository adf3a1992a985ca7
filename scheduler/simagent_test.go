package scheduler

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// simAgent is an agent with its executors.
type simAgent struct {
	id, host, zone string
	total          jobs.Resources
	link           simLink
	draining       bool
	markedGone     bool // by an operator
	window         *simWindow
	filters        map[string]filter // by role
	executorOrder  []*simExecutor
}

// simLink is what is between an agent and the master.
type simLink int

const (
	linkUp          simLink = iota
	linkCut                 // nothing gets through, and the master has not noticed
	linkRecovering          // a new master waits for it
	linkUnreachable         // the master has given it up; it may come back
	linkGone                // for ever
)

type simWindow struct {
	start   time.Time
	takes   time.Duration
	asked   time.Time // when the agent was asked back last
	granted bool      // and the scheduler agreed
}

type simExecutor struct {
	id    string
	info  string
	role  string
	agent *simAgent

	framework int
	cpus      float64
	memory    int64
	tasks     []*simTask
	idle      time.Time // since when it has nothing to do
	alive     bool
	stopped   bool // does nothing and hears nothing, and may wake up
}

type simTask struct {
	id        string
	data      *proto.TaskData
	framework int
	resources jobs.Resources
	executor  *simExecutor
	state     string // what the executor knows: STAGING, STARTING, RUNNING or a final state
	known     string // the last state that the master has seen
	arrived   bool   // its launch has reached the agent
	kill      bool
	hangs     bool      // never ends unless it is killed
	ready     time.Time // when its work can be done
	finished  bool      // its work was done
	updates   []Update  // that were not acknowledged, oldest first
	sent      string    // the UUID of the last one that was sent
	resend    time.Time // when it is sent again
}

func final(state string) bool {
	switch state {
	case "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_GONE", "TASK_DROPPED":
		return true
	}
	return false
}

func (m *simMaster) addAgent(host string) *simAgent {
	a := &simAgent{
		id:   m.unique("agent-"),
		host: host,
		zone: []string{"a", "b"}[m.s.rng.IntN(2)],
		total: jobs.Resources{
			CPUs:   float64(1 + m.s.rng.IntN(4)),
			Memory: int64(1+m.s.rng.IntN(4)) << 30,
			Disk:   20 << 30,
		},
	}
	m.agents = append(m.agents, a)
	return a
}

func (a *simAgent) refuse(role string, has jobs.Resources, until time.Time) {
	if a.filters == nil {
		a.filters = map[string]filter{}
	}
	a.filters[role] = filter{has, until}
}

func (a *simAgent) filtered(role string, has jobs.Resources, now time.Time) bool {
	f, ok := a.filters[role]
	return ok && now.Before(f.until) && has.CPUs <= f.has.CPUs+cpuGrain && has.Memory <= f.has.Memory
}

func (a *simAgent) executor(id string) *simExecutor {
	for _, e := range a.executorOrder {
		if e.id == id {
			return e
		}
	}
	return nil
}

// free is what of an agent is neither used nor offered.
func (m *simMaster) free(a *simAgent) jobs.Resources {
	free := a.total
	for _, e := range a.executorOrder {
		if !e.alive {
			continue
		}
		free.CPUs -= e.cpus
		free.Memory -= e.memory
		for _, t := range e.tasks {
			free = minus(free, t.resources)
		}
	}
	for _, o := range m.offers {
		if o.agent == a {
			free = minus(free, o.has)
		}
	}
	free.CPUs = float64(int(free.CPUs*1000+0.5)) / 1000 // the order of the offers must not show
	return free
}

// launch starts a task if there is room for it, and says what is left.
func (m *simMaster) launch(agent *simAgent, l *Launch, has jobs.Resources) jobs.Resources {
	s := m.s
	if m.tasks[l.MesosID] != nil {
		s.breach(identities, "Mesos task ID %s is used twice", l.MesosID)
	}
	// "<id> <url> cpus=… mem=…", as testConfig writes it.
	words := strings.Fields(string(l.ExecutorInfo))
	e := agent.executor(words[0])
	if at := m.executors[words[0]]; at != "" && at != agent.id {
		s.breach(identities, "executor %s is to run on %s, but did on %s", words[0], agent.id, at)
	}
	m.executors[words[0]] = agent.id
	if e != nil && e.info != string(l.ExecutorInfo) {
		s.breach(identities, "executor %s has another ExecutorInfo", e.id)
	}
	if e != nil && e.role != l.Role {
		s.breach(offersKept, "executor %s of role %s gets a task of role %s", e.id, e.role, l.Role)
	}
	needs := l.Resources
	if e == nil || !e.alive {
		// One that has died, or whose first launch got lost, is started now. The scheduler could not know that, so there
		// may be no room for it.
		cpus, _ := strconv.ParseFloat(strings.TrimPrefix(words[2], "cpus="), 64)
		memory, _ := strconv.ParseInt(strings.TrimPrefix(words[3], "mem="), 10, 64)
		e = &simExecutor{id: words[0], info: string(l.ExecutorInfo), role: l.Role, agent: agent, framework: m.framework, cpus: cpus, memory: memory}
		needs.CPUs += cpus
		needs.Memory += memory
	}
	if lacks(has, needs) != "" {
		m.send(Update{MesosID: l.MesosID, AgentID: agent.id, State: "TASK_ERROR", Reason: "REASON_TASK_INVALID", Source: "SOURCE_MASTER"})
		return has
	}
	if !e.alive {
		agent.executorOrder = slices.DeleteFunc(agent.executorOrder, func(other *simExecutor) bool { return other.id == e.id })
		agent.executorOrder = append(agent.executorOrder, e)
		e.alive = true
	}
	m.launched = true
	data := mustDecode(l.Data, &proto.TaskData{})
	t := &simTask{id: l.MesosID, framework: m.framework, data: data, resources: l.Resources, executor: e,
		state: "TASK_STAGING", known: "TASK_STAGING", arrived: agent.link == linkUp}
	if s.fault(s.hangs) {
		t.hangs = data.Timeout > 0
		t.ready = s.now.Add(time.Duration(s.rng.IntN(600)) * time.Second)
	}
	e.tasks = append(e.tasks, t)
	m.tasks[t.id] = t
	m.taskOrder = append(m.taskOrder, t)
	return minus(has, needs)
}

// end takes a task off its executor.
func (m *simMaster) end(t *simTask, state string) {
	t.state = state
	e := t.executor
	e.tasks = slices.DeleteFunc(e.tasks, func(other *simTask) bool { return other == t })
	if len(e.tasks) == 0 {
		e.idle = m.s.now
	}
}

// report queues an update of a task at its agent, which sends it until it is acknowledged.
func (m *simMaster) report(t *simTask, state, source, reason string, data []byte) {
	if final(state) {
		m.end(t, state)
	}
	t.state = state
	t.updates = append(t.updates, Update{
		MesosID: t.id, AgentID: t.executor.agent.id, ExecutorID: t.executor.id, State: state, Source: source, Reason: reason, Data: data,
		UUID: []byte(m.unique("uuid-")),
	})
}

// sendAgain is after how long an agent sends an update again that was not acknowledged.
const sendAgain = 10 * time.Second

// sendUpdate sends the oldest update of a task that was not acknowledged, if it is time.
func (m *simMaster) sendUpdate(t *simTask) {
	if len(t.updates) == 0 || t.executor.agent.link != linkUp || m.stale(t.framework) {
		return
	}
	again := t.sent == string(t.updates[0].UUID)
	if again && m.s.now.Before(t.resend) && !m.s.fault(3) {
		return
	}
	t.sent, t.resend = string(t.updates[0].UUID), m.s.now.Add(sendAgain)
	t.known = t.updates[0].State
	if !m.s.fault(10) {
		m.send(t.updates[0])
	}
}

// tell sends what the master itself says of a task.
func (m *simMaster) tell(t *simTask, state, reason string) {
	if !m.stale(t.framework) {
		m.send(Update{MesosID: t.id, AgentID: t.executor.agent.id, State: state, Reason: reason, Source: "SOURCE_MASTER"})
	}
}

// work moves one task on.
func (m *simMaster) work(t *simTask) {
	e := t.executor
	if !t.arrived || !e.alive || e.stopped || final(t.state) {
		return
	}
	switch {
	case m.s.fault(m.s.deaths):
		m.die(e, "REASON_EXECUTOR_TERMINATED")
	case t.kill && m.s.chance(80):
		reason := ""
		if e.agent.draining {
			reason = "REASON_AGENT_DRAINING"
		}
		result := proto.Encode(&proto.TaskResult{Failure: &proto.Failure{Class: proto.CLASS_OURS, Kind: "killed", Message: "told to"}})
		m.report(t, "TASK_KILLED", fromExecutor, reason, result)
	case t.state == "TASK_STAGING":
		m.report(t, "TASK_STARTING", fromExecutor, "", nil)
	case t.state == "TASK_STARTING":
		m.report(t, "TASK_RUNNING", fromExecutor, "", proto.Encode(&proto.Started{Directory: "/sandbox"}))
	case t.hangs, m.s.now.Before(t.ready):
	case m.s.fault(m.s.failures):
		m.fail(t)
	case m.s.chance(40):
		m.finish(t)
	}
}

// fail ends a task without its work being done, for one reason or another.
func (m *simMaster) fail(t *simTask) {
	class := m.s.classes[m.s.rng.IntN(len(m.s.classes))]
	failure := &proto.Failure{Class: class, Kind: []string{"internal", "not_found"}[m.s.rng.IntN(2)], Message: "made to fail"}
	data := proto.Encode(&proto.TaskResult{Failure: failure, Unsettled: m.s.chance(20)})
	if m.s.chance(10) {
		data = []byte("no message")
	}
	m.report(t, "TASK_FAILED", fromExecutor, "", data)
}

// finish does the work. A task that commits claims its run's commit point, or finds who did; a clean-up claims it for
// nothing.
func (m *simMaster) finish(t *simTask) {
	result := &proto.TaskResult{Output: []byte(t.id)}
	run := t.data.Run
	switch {
	case t.data.Stage == jobs.StageCheck:
		_, version, _, err := jobs.ParseExecutorID(t.executor.id)
		if err != nil {
			m.s.breach(identities, "executor %q: %v", t.executor.id, err)
		}
		result.Output = proto.Encode(simVerdict(mustDecode(t.data.Input, &proto.CheckInput{}), version))
	case t.data.Stage == jobs.StageClean:
		if m.commits[run] == "" {
			m.commits[run] = simTombstone
		}
		output := &proto.CleanOutput{}
		if held := m.commits[run]; held != simTombstone && mustDecode(t.data.Input, &proto.CleanInput{}).Settle {
			output.Committed = simOutput(held)
		}
		result.Output = proto.Encode(output)
	case string(t.data.Input) == simCommit:
		switch m.commits[run] {
		case "":
			m.commits[run] = t.id
		case simTombstone:
			result.Failure = &proto.Failure{Class: proto.CLASS_FINAL, Kind: "conflict", Message: "the run was cancelled"}
		}
		result.Output = []byte(m.commits[run])
	}
	if result.Failure != nil {
		result.Output = nil
		m.report(t, "TASK_FAILED", fromExecutor, "", proto.Encode(result))
		return
	}
	data := proto.Encode(result)
	if t.finished = !m.s.fault(3); !t.finished {
		data = []byte("no message") // the work is done, but what it was gets lost
	}
	m.report(t, "TASK_FINISHED", fromExecutor, "", data)
}

// progress is the executor's regular message.
func (m *simMaster) progress(e *simExecutor) {
	if !e.alive || e.stopped || e.agent.link != linkUp || m.s.fault(10) {
		return
	}
	message := &proto.Progress{}
	for _, t := range e.tasks {
		if t.state == "TASK_RUNNING" {
			message.Tasks = append(message.Tasks, proto.TaskProgress{MesosID: t.id, Fraction: m.s.rng.Float64()})
		}
	}
	if len(message.Tasks) > 0 {
		m.send(Message{AgentID: e.agent.id, ExecutorID: e.id, Data: proto.Encode(message)})
	}
}

// die ends an executor and all its tasks.
func (m *simMaster) die(e *simExecutor, reason string) {
	if !e.alive {
		return
	}
	e.alive = false
	for _, t := range slices.Clone(e.tasks) {
		m.report(t, "TASK_FAILED", "SOURCE_AGENT", reason, nil)
	}
	if e.agent.link == linkUp && !m.s.fault(30) {
		m.send(Failure{AgentID: e.agent.id, ExecutorID: e.id})
	}
}

// tasksOf lists what the agent has not told the end of yet, oldest first.
func (m *simMaster) tasksOf(a *simAgent) []*simTask {
	var all []*simTask
	for _, t := range m.taskOrder {
		if t.executor.agent == a {
			all = append(all, t)
		}
	}
	return all
}

// cut breaks the connection of an agent. The master may notice at once, and takes its offers back.
func (m *simMaster) cut(a *simAgent) {
	if a.link != linkUp {
		return
	}
	a.link = linkCut
	if m.s.rng.IntN(2) == 0 {
		m.rescind(a)
	}
}

// giveUp marks an agent unreachable.
func (m *simMaster) giveUp(a *simAgent) {
	if a.link == linkUnreachable || a.link == linkGone {
		return
	}
	forgotten := a.link == linkRecovering // this master has never heard of its tasks
	a.link = linkUnreachable
	for _, t := range m.tasksOf(a) {
		if !final(t.known) && !forgotten {
			m.tell(t, "TASK_UNREACHABLE", "REASON_AGENT_REMOVED")
		}
	}
	m.rescind(a)
	if !m.s.fault(30) {
		m.send(Failure{AgentID: a.id})
	}
}

// comeBack connects an agent again, as what it was. Launches that never reached it are dropped.
func (m *simMaster) comeBack(a *simAgent) {
	before := a.link
	if before == linkUp || before == linkGone {
		return
	}
	a.link = linkUp
	m.shutDown(a)
	for _, t := range m.tasksOf(a) {
		switch {
		case !t.arrived && !final(t.state):
			m.end(t, "TASK_DROPPED")
			t.known = t.state
			if before != linkRecovering {
				m.tell(t, "TASK_DROPPED", "REASON_AGENT_RESTARTED")
			}
		case before == linkUnreachable && !(final(t.state) && len(t.updates) == 0):
			t.known = t.state // the agent tells the newest state, the data comes with the update itself
			m.tell(t, t.known, "REASON_AGENT_REREGISTERED")
		case before == linkRecovering:
			t.known = t.state
		}
	}
}

// shutDown ends what runs on an agent of a framework that has been removed. Nobody hears of that.
func (m *simMaster) shutDown(a *simAgent) {
	for _, t := range m.tasksOf(a) {
		if m.stale(t.framework) {
			if !final(t.state) {
				m.end(t, "TASK_KILLED")
			}
			t.updates, t.known = nil, t.state
		}
	}
	for _, e := range a.executorOrder {
		e.alive = e.alive && !m.stale(e.framework)
	}
}

// lose ends an agent for ever, with all that runs on it: its host died, or came back with another agent ID, or an
// operator took it away.
func (m *simMaster) lose(a *simAgent, state, reason string) {
	if a.link == linkGone {
		return
	}
	known := a.link == linkUp || a.link == linkCut
	a.markedGone = state == "TASK_GONE_BY_OPERATOR"
	a.link = linkGone
	for _, t := range m.tasksOf(a) {
		if known && !final(t.known) {
			m.tell(t, state, reason)
		}
		if !final(t.state) {
			m.end(t, "TASK_FAILED")
		}
		t.updates, t.known = nil, t.state
	}
	for _, e := range a.executorOrder {
		e.alive = false
	}
	m.rescind(a)
	m.endWindow(a)
	if !m.s.fault(30) {
		m.send(Failure{AgentID: a.id})
	}
}

// drain ends what runs on an agent, in good order, and offers nothing of it.
func (m *simMaster) drain(a *simAgent) {
	a.draining = true
	m.rescind(a)
	for _, t := range m.tasksOf(a) {
		t.kill = true
	}
}

// sweep forgets tasks that are over, as the master does.
func (m *simMaster) sweep() {
	m.taskOrder = slices.DeleteFunc(m.taskOrder, func(t *simTask) bool { return final(t.state) && len(t.updates) == 0 })
}
