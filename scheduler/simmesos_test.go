package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// simMesos is a master with agents and executors in plain Go, for the simulation. Nothing in it happens by itself: the
// simulation picks what happens next. It breaks in every way that Mesos is known to break, as long as faults is set.
type simMesos struct {
	rng        *rand.Rand
	faults     bool
	subscribed bool
	suppressed bool
	serial     int
	agents     []*simAgent
	tasks      map[string]*simTask
	taskOrder  []*simTask
	offers     map[string]*simOffer
	events     []Event           // on their way to the scheduler
	commits    map[string]string // by run: the commit point; "-" is a tombstone
	executors  map[string]string // by ID: the agent
	surprised  bool              // an ACCEPT counts on an executor that has died since
	broken     []string          // what the scheduler must never do, and did
}

type simAgent struct {
	id        string
	total     jobs.Resources
	reachable bool
	gone      bool
	filtered  *jobs.Resources // what was declined last: nothing that is not more than that is offered again
	executors map[string]*simExecutor
}

type simExecutor struct {
	id      string
	info    string
	agent   *simAgent
	cpus    float64
	memory  int64
	alive   bool
	stopped bool // does nothing and hears nothing, and may wake up
}

type simTask struct {
	id        string
	data      *proto.TaskData
	resources jobs.Resources
	executor  *simExecutor
	state     string // what the executor knows: STAGING, STARTING, RUNNING or a final state
	known     string // the last state that the master has seen
	kill      bool
	hangs     bool     // never ends unless it is killed
	updates   []Update // not acknowledged, oldest first
}

type simOffer struct {
	agent *simAgent
	has   jobs.Resources
}

func (m *simMesos) breach(format string, args ...any) {
	m.broken = append(m.broken, fmt.Sprintf(format, args...))
}

func (m *simMesos) chance(percent int) bool { return m.rng.IntN(100) < percent }

// fault is a chance that is none in good times.
func (m *simMesos) fault(percent int) bool { return m.faults && m.chance(percent) }

func (m *simMesos) unique(prefix string) string {
	m.serial++
	return prefix + strconv.Itoa(m.serial)
}

func (m *simMesos) send(event Event) {
	if m.subscribed {
		m.events = append(m.events, event)
	}
}

func final(state string) bool {
	return state == "TASK_FINISHED" || state == "TASK_FAILED" || state == "TASK_KILLED"
}

func (m *simMesos) addAgent() {
	m.agents = append(m.agents, &simAgent{
		id:        m.unique("agent-"),
		total:     jobs.Resources{CPUs: float64(1 + m.rng.IntN(4)), Memory: int64(1+m.rng.IntN(4)) << 30, Disk: 20 << 30},
		reachable: true,
		executors: map[string]*simExecutor{},
	})
}

// free is what of an agent is neither used nor offered.
func (m *simMesos) free(a *simAgent) jobs.Resources {
	free := a.total
	for _, e := range a.executors {
		if e.alive {
			free.CPUs -= e.cpus
			free.Memory -= e.memory
		}
	}
	for _, t := range m.taskOrder {
		if t.executor.agent == a && !final(t.state) {
			free = minus(free, t.resources)
		}
	}
	for _, o := range m.offers {
		if o.agent == a {
			free = minus(free, o.has)
		}
	}
	return free
}

// offerAll offers what is free and not filtered, sometimes in two parts.
func (m *simMesos) offerAll() {
	if !m.subscribed || m.suppressed {
		return
	}
	var all []Offer
	for _, a := range m.agents {
		free := m.free(a)
		if a.gone || !a.reachable || free.CPUs < 0.05 || free.Memory < 32<<20 {
			continue
		}
		if f := a.filtered; f != nil && free.CPUs <= f.CPUs+cpuGrain && free.Memory <= f.Memory {
			continue
		}
		parts := []jobs.Resources{free}
		if m.chance(20) {
			half := jobs.Resources{CPUs: free.CPUs / 2, Memory: free.Memory / 2, Disk: free.Disk / 2}
			parts = []jobs.Resources{half, minus(free, half)}
		}
		for _, part := range parts {
			id := m.unique("offer-")
			m.offers[id] = &simOffer{agent: a, has: part}
			o := Offer{ID: id, AgentID: a.id, Host: a.id, Role: "tidemill", CPUs: part.CPUs, Memory: part.Memory, Disk: part.Disk}
			for _, id := range sortedKeys(a.executors) {
				if a.executors[id].alive {
					o.Executors = append(o.Executors, id)
				}
			}
			all = append(all, o)
		}
	}
	if len(all) > 0 {
		m.send(Offers{all})
	}
}

// call is a call of the scheduler that arrives. It says whether the scheduler is told that it failed.
func (m *simMesos) call(call Call) *CallFailed {
	if !m.subscribed {
		return nil
	}
	if _, kill := call.(Kill); !kill && m.fault(3) {
		switch m.rng.IntN(3) {
		case 0:
			return &CallFailed{Call: call, Status: 400, Reason: "refused"}
		case 1:
			return &CallFailed{Call: call, Status: 0, Reason: "connection reset"} // and did not arrive
		}
		m.do(call)
		return &CallFailed{Call: call, Status: 0, Reason: "connection reset"} // but did arrive
	}
	m.do(call)
	return nil
}

func (m *simMesos) do(call Call) {
	switch call := call.(type) {
	case Accept:
		m.accept(call)
	case Decline:
		for _, id := range call.OfferIDs {
			if o := m.offers[id]; o != nil {
				has := o.has
				o.agent.filtered = &has
				delete(m.offers, id)
			}
		}
	case Revive:
		m.suppressed = false
		for _, a := range m.agents {
			a.filtered = nil
		}
	case Suppress:
		m.suppressed = true
	case Kill:
		if !m.fault(20) {
			m.kill(call)
		}
	case Acknowledge:
		m.acknowledge(call)
	case Reconcile:
		m.reconcile(call)
	}
}

func (m *simMesos) accept(call Accept) {
	var has jobs.Resources
	var agent *simAgent
	void := false
	for _, id := range call.OfferIDs {
		o := m.offers[id]
		if o == nil {
			void = true
			continue
		}
		delete(m.offers, id)
		if agent != nil && agent != o.agent {
			m.breach("one ACCEPT uses offers of %s and %s", agent.id, o.agent.id)
		}
		agent = o.agent
		has = jobs.Resources{CPUs: has.CPUs + o.has.CPUs, Memory: has.Memory + o.has.Memory, Disk: has.Disk + o.has.Disk}
	}
	if void {
		for i := range call.Launches {
			m.send(Update{MesosID: call.Launches[i].MesosID, AgentID: call.AgentID, State: "TASK_DROPPED", Reason: invalidOffers, Source: "SOURCE_MASTER"})
		}
		return
	}
	m.surprised = false
	for i := range call.Launches {
		has = m.launch(agent, &call.Launches[i], has)
	}
	agent.filtered = &has
}

func (m *simMesos) launch(agent *simAgent, l *Launch, has jobs.Resources) jobs.Resources {
	if m.tasks[l.MesosID] != nil {
		m.breach("Mesos task ID %s is used twice", l.MesosID)
		return has
	}
	// "<id> <url> cpus=… mem=…", as testConfig writes it.
	words := strings.Fields(string(l.ExecutorInfo))
	e := agent.executors[words[0]]
	if at := m.executors[words[0]]; at != "" && at != agent.id {
		m.breach("executor %s is to run on %s, but did on %s", words[0], agent.id, at)
	}
	m.executors[words[0]] = agent.id
	if e != nil && e.info != string(l.ExecutorInfo) {
		m.breach("executor %s has another ExecutorInfo", e.id)
	}
	needs := l.Resources
	if e == nil || !e.alive {
		// One that has died is started anew. The scheduler could not know that, so there may be no room for it.
		m.surprised = m.surprised || e != nil
		e = &simExecutor{id: words[0], info: string(l.ExecutorInfo), agent: agent}
		e.cpus, _ = strconv.ParseFloat(strings.TrimPrefix(words[2], "cpus="), 64)
		e.memory, _ = strconv.ParseInt(strings.TrimPrefix(words[3], "mem="), 10, 64)
		needs.CPUs += e.cpus
		needs.Memory += e.memory
	}
	if lacks(has, needs) != "" {
		if !m.surprised {
			m.breach("launch of %s uses more than was offered", l.MesosID)
		}
		m.send(Update{MesosID: l.MesosID, AgentID: agent.id, State: "TASK_ERROR", Reason: "REASON_TASK_INVALID", Source: "SOURCE_MASTER"})
		return has
	}
	e.alive = true
	agent.executors[e.id] = e
	data := mustDecode(l.Data, &proto.TaskData{})
	t := &simTask{id: l.MesosID, data: data, resources: l.Resources, executor: e, state: "TASK_STAGING", known: "TASK_STAGING", hangs: m.fault(10)}
	m.tasks[t.id] = t
	m.taskOrder = append(m.taskOrder, t)
	return minus(has, needs)
}

func (m *simMesos) kill(call Kill) {
	t := m.tasks[call.MesosID]
	switch {
	case t == nil || final(t.known):
		m.answer(call.MesosID, call.AgentID)
	case !t.executor.agent.reachable:
		m.answer(call.MesosID, call.AgentID)
	default:
		t.kill = true
	}
}

// answer says what the master knows of a task, as it does to reconciliation.
func (m *simMesos) answer(id, agentID string) {
	u := Update{MesosID: id, AgentID: agentID, Reason: reconciliation, Source: "SOURCE_MASTER", State: "TASK_UNKNOWN"}
	agent := m.agentByID(agentID)
	t := m.tasks[id]
	switch {
	case t != nil && t.executor.agent.reachable && m.fault(3): // the agent has not recovered it yet
		u.State = "TASK_GONE"
	case t != nil && !t.executor.agent.reachable && m.fault(20): // the master has forgotten that agent
	case t != nil && (!t.executor.agent.reachable || t.executor.agent.gone):
		u.State = "TASK_UNREACHABLE"
	case t != nil && !(final(t.known) && len(t.updates) == 0):
		u.State = t.known
	case agent != nil && !agent.gone && agent.reachable:
		u.State = "TASK_GONE"
	}
	m.send(u)
}

func (m *simMesos) agentByID(id string) *simAgent {
	for _, a := range m.agents {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (m *simMesos) reconcile(call Reconcile) {
	for _, ref := range call.Tasks {
		if !m.fault(10) { // a master or an agent that is still recovering is silent
			m.answer(ref.MesosID, ref.AgentID)
		}
	}
	if len(call.Tasks) == 0 {
		for _, t := range m.taskOrder {
			if !final(t.known) {
				m.answer(t.id, t.executor.agent.id)
			}
		}
	}
}

func (m *simMesos) acknowledge(call Acknowledge) {
	t := m.tasks[call.MesosID]
	if t == nil || len(t.updates) == 0 || string(t.updates[0].UUID) != string(call.UUID) {
		return
	}
	t.updates = t.updates[1:]
}

// report queues an update of a task at its agent, which sends it until it is acknowledged.
func (m *simMesos) report(t *simTask, state, source, reason string, data []byte) {
	t.state = state
	t.updates = append(t.updates, Update{
		MesosID: t.id, AgentID: t.executor.agent.id, ExecutorID: t.executor.id, State: state, Source: source, Reason: reason, Data: data,
		UUID: []byte(m.unique("uuid-")),
	})
}

// sendUpdate sends the oldest unacknowledged update of a task.
func (m *simMesos) sendUpdate(t *simTask) {
	if len(t.updates) == 0 || !t.executor.agent.reachable || t.executor.agent.gone {
		return
	}
	t.known = t.updates[0].State
	if !m.fault(10) {
		m.send(t.updates[0])
	}
}

// step moves one task on.
func (m *simMesos) step(t *simTask) {
	e := t.executor
	if !e.alive || e.stopped || final(t.state) {
		return
	}
	switch {
	case t.kill && m.chance(80):
		result := proto.Encode(&proto.TaskResult{Failure: &proto.Failure{Class: proto.CLASS_OURS, Kind: "killed", Message: "told to"}})
		m.report(t, "TASK_KILLED", fromExecutor, "", result)
	case t.state == "TASK_STAGING":
		m.report(t, "TASK_STARTING", fromExecutor, "", nil)
	case t.state == "TASK_STARTING":
		m.report(t, "TASK_RUNNING", fromExecutor, "", proto.Encode(&proto.Started{Directory: "/sandbox"}))
	case t.hangs:
	case m.fault(8):
		class := []proto.Class{proto.CLASS_OURS, proto.CLASS_PASSING, proto.CLASS_PASSING, proto.CLASS_FINAL}[m.rng.IntN(4)]
		if t.data.Stage == jobs.StageClean {
			class = proto.CLASS_PASSING
		}
		result := proto.Encode(&proto.TaskResult{Failure: &proto.Failure{Class: class, Kind: "internal", Message: "made to fail"}})
		m.report(t, "TASK_FAILED", fromExecutor, "", result)
	case m.chance(40):
		m.finish(t)
	}
}

// finish does the work: a task of the last stage claims the run's commit point, a clean-up claims it for nothing.
func (m *simMesos) finish(t *simTask) {
	result := &proto.TaskResult{Output: []byte(t.data.Stage)}
	run := t.data.Run
	switch {
	case t.data.Stage == jobs.StageCheck:
		result.Output = proto.Encode(&proto.CheckOutput{})
	case t.data.Stage == jobs.StageClean:
		if m.commits[run] == "" {
			m.commits[run] = "-"
		}
		output := &proto.CleanOutput{}
		if held := m.commits[run]; held != "-" && mustDecode(t.data.Input, &proto.CleanInput{}).Settle {
			output.Committed = &proto.Output{URI: "committed by " + held}
		}
		result.Output = proto.Encode(output)
	case isLastStage(t.data):
		switch m.commits[run] {
		case "":
			m.commits[run] = t.id
		case "-":
			result.Failure = &proto.Failure{Class: proto.CLASS_FINAL, Kind: "conflict", Message: "the run was cancelled"}
			result.Output = nil
		}
	}
	state := "TASK_FINISHED"
	if result.Failure != nil {
		state = "TASK_FAILED"
	}
	m.report(t, state, fromExecutor, "", proto.Encode(result))
}

func isLastStage(data *proto.TaskData) bool {
	spec, _ := jobs.Decode(data.Spec, testConfig().Kinds)
	stages := spec.Section.(*workSection).Stages
	return data.Stage == workStages[len(stages)-1]
}

// progress is the executor's regular message.
func (m *simMesos) progress(e *simExecutor) {
	if !e.alive || e.stopped || !e.agent.reachable || e.agent.gone || m.fault(10) {
		return
	}
	message := &proto.Progress{}
	for _, t := range m.taskOrder {
		if t.executor == e && t.state == "TASK_RUNNING" {
			message.Tasks = append(message.Tasks, proto.TaskProgress{MesosID: t.id, Fraction: m.rng.Float64()})
		}
	}
	if len(message.Tasks) > 0 {
		m.send(Message{AgentID: e.agent.id, ExecutorID: e.id, Data: proto.Encode(message)})
	}
}

// die ends an executor and all its tasks.
func (m *simMesos) die(e *simExecutor, reason string) {
	if !e.alive {
		return
	}
	e.alive = false
	for _, t := range m.taskOrder {
		if t.executor == e && !final(t.state) {
			m.report(t, "TASK_FAILED", "SOURCE_AGENT", reason, nil)
		}
	}
	if !m.fault(30) {
		m.send(Failure{AgentID: e.agent.id, ExecutorID: e.id})
	}
}

// idle says whether an executor has nothing to do, so that it may exit.
func (m *simMesos) idle(e *simExecutor) bool {
	return !slices.ContainsFunc(m.taskOrder, func(t *simTask) bool { return t.executor == e && !final(t.state) })
}

func (m *simMesos) partition(a *simAgent) {
	if a.gone || !a.reachable {
		return
	}
	a.reachable = false
	for _, t := range m.taskOrder {
		if t.executor.agent == a && !final(t.known) {
			m.send(Update{MesosID: t.id, AgentID: a.id, State: "TASK_UNREACHABLE", Reason: "REASON_AGENT_REMOVED", Source: "SOURCE_MASTER"})
		}
	}
	m.dropOffers(a)
	m.send(Failure{AgentID: a.id})
}

func (m *simMesos) heal(a *simAgent) {
	if a.gone || a.reachable {
		return
	}
	a.reachable = true
	for _, t := range m.taskOrder {
		if t.executor.agent == a && !(final(t.state) && len(t.updates) == 0) {
			t.known = t.state // the agent tells the newest state, the data comes with the update itself
			m.send(Update{MesosID: t.id, AgentID: a.id, State: t.known, Reason: "REASON_AGENT_REREGISTERED", Source: "SOURCE_MASTER"})
		}
	}
}

// lose ends an agent for ever, with all that runs on it.
func (m *simMesos) lose(a *simAgent) {
	m.partition(a)
	a.gone = true
	for _, id := range sortedKeys(a.executors) {
		a.executors[id].alive = false
	}
	for _, t := range m.taskOrder {
		if t.executor.agent == a && !final(t.state) {
			t.state = "TASK_FAILED"
		}
	}
}

func (m *simMesos) dropOffers(a *simAgent) {
	for _, id := range sortedKeys(m.offers) {
		if m.offers[id].agent == a {
			delete(m.offers, id)
			m.send(Rescind{id})
		}
	}
}

// disconnect ends the subscription: nothing that was on its way arrives.
func (m *simMesos) disconnect() {
	m.subscribed = false
	m.events = nil
	clear(m.offers)
}
