package master

import (
	"fmt"
	"slices"
	"sort"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/queue"
)

// agent is a registered agent, connected or not, or an unreachable one.
type agent struct {
	id    string
	info  *v1.AgentInfo // with its ID
	pid   string
	tls   bool
	total v1.Resources // reservations and volumes included

	stream   *agentStream // nil while disconnected
	lastSeen time.Time

	registered       time.Time
	reregistered     time.Time // zero until it came back once
	unreachableSince time.Time

	executors map[string]map[string]*executor // by framework and executor ID
	inverse   map[string]*inverseAnswer       // by framework, while its machine is to go down
}

// agentStream is one connection of an agent.
type agentStream struct {
	id       string
	commands *queue.Queue[link.Command]
}

// executor lives on an agent, or is about to.
type executor struct {
	info    *v1.ExecutorInfo
	command bool // made up by the agent for a command task
}

// held are the resources that an executor takes of its own; those that agents make
// up take none.
func (e *executor) held() []v1.Resource {
	if e.command {
		return nil
	}
	return e.info.Resources
}

// send queues a command for the agent; while it is disconnected the command is lost.
func (a *agent) send(command link.Command) {
	if a.stream != nil {
		a.stream.commands.Put(command)
	}
}

func (a *agent) executor(framework, id string) *executor { return a.executors[framework][id] }

func (a *agent) addExecutor(framework string, info *v1.ExecutorInfo, command bool) *executor {
	if a.executors[framework] == nil {
		a.executors[framework] = map[string]*executor{}
	}
	e := &executor{info: info, command: command}
	a.executors[framework][info.ExecutorID.Value] = e
	return e
}

// customExecutors are the framework's executors that schedulers know of, by ID.
func (a *agent) customExecutors(framework string) []*executor {
	var found []*executor
	for _, e := range a.executors[framework] {
		if !e.command {
			found = append(found, e)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].info.ExecutorID.Value < found[j].info.ExecutorID.Value })
	return found
}

// register takes an agent in: a new one, one that lost its connection or was
// unreachable, or one that knows more than a master that was started again.
func (m *Master) register(r *link.Registration, stream *agentStream) (*agent, error) {
	info := &v1.AgentInfo{}
	if err := r.Agent.Decode(info); err != nil {
		return nil, fmt.Errorf("register agent: %w", err)
	}
	now := time.Now()
	id := info.GetID().GetValue()
	if id == "" {
		id = fmt.Sprintf("%s-S%d", m.id, m.nextAgent)
		m.nextAgent++
		info.ID = &v1.AgentID{Value: id}
	}
	total, err := totalOf(r, info)
	if err != nil {
		return nil, fmt.Errorf("register agent: %w", err)
	}
	a, known := m.agents[id]
	back := m.unreachable[id]
	delete(m.unreachable, id)
	switch {
	case known && a.stream != nil:
		a.stream.commands.Close()
	case back != nil:
		a = back
	case !known:
		a = &agent{id: id, registered: now}
	}
	if !known {
		m.agents[id] = a
		a.executors = map[string]map[string]*executor{}
		a.inverse = map[string]*inverseAnswer{}
		a.total = total
		m.alloc.AddAgent(id, total)
	}
	a.info, a.pid, a.tls, a.lastSeen, a.stream = info, r.PID, r.TLS, now, stream
	if a.registered != now {
		a.reregistered = now
	}
	m.admit(a)
	if err := m.takeIn(a, r, back != nil); err != nil {
		return nil, err
	}
	m.activate(a)
	m.resumeDrain(a)
	m.log.Info("agent registered", "agent", id, "pid", r.PID, "tasks", len(r.Tasks), "was_unreachable", back != nil)
	m.allocate(now)
	return a, nil
}

// totalOf is what a registering agent has in all.
func totalOf(r *link.Registration, info *v1.AgentInfo) (v1.Resources, error) {
	if len(r.Total) == 0 {
		return info.Resources, nil
	}
	return link.DecodeResources(r.Total)
}

// takeIn makes what an agent says lives on it the master's view too.
func (m *Master) takeIn(a *agent, r *link.Registration, wasUnreachable bool) error {
	for id, encoded := range r.Infos {
		if err := m.recoverFramework(a, id, encoded); err != nil {
			return err
		}
	}
	living := map[string]map[string]bool{}
	for _, known := range r.Executors {
		info := &v1.ExecutorInfo{}
		if err := known.Info.Decode(info); err != nil {
			return fmt.Errorf("register agent %s: executor: %w", a.id, err)
		}
		if living[known.Framework] == nil {
			living[known.Framework] = map[string]bool{}
		}
		living[known.Framework][info.ExecutorID.Value] = true
		if m.frameworks[known.Framework] != nil && a.executor(known.Framework, info.ExecutorID.Value) == nil {
			e := a.addExecutor(known.Framework, info, known.Command)
			m.alloc.Hold(holderOf(known.Framework, info.Resources), a.id, e.held())
		}
	}
	for framework, executors := range a.executors {
		for id := range executors {
			if !living[framework][id] {
				m.removeExecutor(a, framework, id)
			}
		}
	}
	return m.takeInTasks(a, r.Tasks, wasUnreachable)
}

// recoverFramework keeps a framework that only the agent knows, until its scheduler
// comes; what belongs to a framework that has ended is shut down.
func (m *Master) recoverFramework(a *agent, id string, encoded link.Proto) error {
	if m.frameworks[id] != nil {
		return nil
	}
	for _, f := range m.completed {
		if f.id == id {
			a.send(link.Command{Shutdown: &link.Shutdown{Framework: id}})
			return nil
		}
	}
	info := &v1.FrameworkInfo{}
	if err := encoded.Decode(info); err != nil {
		return fmt.Errorf("register agent %s: framework: %w", a.id, err)
	}
	f := m.addFramework(info)
	f.recovered = true
	m.setAllocatable(f)
	m.disconnectFramework(f)
	return nil
}

func (m *Master) takeInTasks(a *agent, tasks []link.KnownTask, wasUnreachable bool) error {
	there := map[link.TaskRef]bool{}
	for _, known := range tasks {
		info, latest := &v1.TaskInfo{}, &v1.TaskStatus{}
		if err := known.Info.Decode(info); err != nil {
			return fmt.Errorf("register agent %s: task: %w", a.id, err)
		}
		if err := known.Latest.Decode(latest); err != nil {
			return fmt.Errorf("register agent %s: task status: %w", a.id, err)
		}
		there[link.TaskRef{Framework: known.Framework, Task: info.TaskID.Value}] = true
		if f := m.frameworks[known.Framework]; f != nil {
			m.takeInTask(f, a, info, latest, wasUnreachable)
		}
	}
	for _, f := range m.frameworks {
		for _, t := range f.tasks {
			if t.agent == a.id && !there[link.TaskRef{Framework: f.id, Task: t.id()}] {
				m.loseTask(f, t)
			}
		}
		for _, t := range f.unreachable {
			if t.agent == a.id { // it came back without the task
				m.loseTask(f, t)
			}
		}
	}
	return nil
}

func (m *Master) takeInTask(f *framework, a *agent, info *v1.TaskInfo, latest *v1.TaskStatus, wasUnreachable bool) {
	t, known := f.tasks[info.TaskID.Value]
	if !known {
		if t = f.unreachable[info.TaskID.Value]; t == nil {
			t = newTask(f.id, a.id, info)
			f.completed = slices.DeleteFunc(f.completed, func(old *task) bool { return old.id() == t.id() })
		}
		delete(f.unreachable, t.id())
		f.tasks[t.id()] = t
		t.state, t.released = latest.GetState(), terminal(latest.GetState())
		if !t.released {
			m.alloc.Hold(holderOf(f.id, t.info.Resources), a.id, t.info.Resources)
		}
	}
	if latest.GetState() != v1.TASK_STAGING && len(t.statuses) == 0 {
		t.statuses = append(t.statuses, *latest)
	}
	if wasUnreachable { // also for one that has ended: its own update, with all that it says, comes later
		status := t.latest()
		reason, message := v1.REASON_AGENT_REREGISTERED, "Unreachable agent re-reregistered" // sic
		status.Reason, status.Message = &reason, &message
		f.sendStatus(status)
	}
}

// loseTask ends a task that its agent does not know: it never got it, or lost it.
func (m *Master) loseTask(f *framework, t *task) {
	if !terminal(t.state) {
		m.release(t)
		lost := v1.TASK_GONE
		if t.state == v1.TASK_STAGING {
			lost = v1.TASK_DROPPED
		}
		t.setState(f.lostState(lost))
		m.counters.ended(t.state)
		status := masterStatus(t.id(), t.agent, t.state, v1.REASON_RECONCILIATION, "Reconciliation: Task is unknown to the agent")
		status.ExecutorID = t.executorID()
		f.sendStatus(status)
	}
	f.complete(t)
}

// removeExecutor frees what an executor held.
func (m *Master) removeExecutor(a *agent, framework, id string) *executor {
	e := a.executor(framework, id)
	if e == nil {
		return nil
	}
	delete(a.executors[framework], id)
	m.alloc.Release(holderOf(framework, e.info.Resources), a.id, e.held())
	return e
}

// exited notes the end of an executor and tells its scheduler.
func (m *Master) exited(a *agent, report *link.Exited) {
	e := m.removeExecutor(a, report.Framework, report.Executor)
	f, known := m.frameworks[report.Framework]
	if e == nil || !known || e.command {
		return
	}
	status := report.Status
	f.send(&scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{
		AgentID: &v1.AgentID{Value: a.id}, ExecutorID: &v1.ExecutorID{Value: report.Executor}, Status: &status,
	}})
	m.releasedSome()
}

// disconnectAgent notes the end of an agent's connection: nothing of it is offered
// until it registers again, or until it has been silent for too long.
func (m *Master) disconnectAgent(a *agent) {
	a.stream = nil
	if m.closing || m.agents[a.id] != a {
		return
	}
	m.log.Info("agent disconnected", "agent", a.id)
	m.deactivate(a)
}

// checkAgents makes those unreachable that were silent for too long.
func (m *Master) checkAgents(now time.Time) {
	m.giveUpRecovered(now)
	for _, a := range m.agents {
		if now.Sub(a.lastSeen) > m.cfg.AgentTimeout {
			m.loseAgent(a, now)
		}
	}
}

func (m *Master) loseAgent(a *agent, now time.Time) {
	m.log.Warn("agent is unreachable", "agent", a.id, "silent", now.Sub(a.lastSeen))
	a.unreachableSince = now
	m.unreachable[a.id] = a
	m.registry.Agents[a.id].Unreachable = &now
	m.saveRegistry()
	nanoseconds := &v1.TimeInfo{Nanoseconds: now.UnixNano()}
	m.removeAgent(a, func(f *framework, t *task) {
		t.setState(f.lostState(v1.TASK_UNREACHABLE))
		status := masterStatus(t.id(), a.id, t.state, v1.REASON_AGENT_REMOVED, "health check timed out")
		status.ExecutorID, status.UnreachableTime = t.executorID(), nanoseconds
		delete(f.tasks, t.id())
		f.unreachable[t.id()] = t
		f.sendStatus(status)
	})
}

// removeAgent takes an agent away: end is told each task that has not ended, then
// offers are rescinded and schedulers told.
func (m *Master) removeAgent(a *agent, end func(*framework, *task)) {
	m.alloc.SetAgentActive(a.id, false)
	delete(m.agents, a.id)
	for _, f := range m.frameworks {
		for _, t := range f.tasks {
			if t.agent != a.id {
				continue
			}
			m.release(t)
			if terminal(t.state) {
				f.complete(t)
			} else {
				end(f, t)
			}
		}
		m.takeBackOffers(f, func(o *offer) bool { return o.Agent == a.id }, true)
		for _, e := range a.executors[f.id] {
			m.alloc.Release(holderOf(f.id, e.info.Resources), a.id, e.held())
		}
		f.send(agentFailure(a.id))
	}
	m.forgetInverseOffers(a)
	a.executors = map[string]map[string]*executor{}
	m.alloc.RemoveAgent(a.id)
	if a.stream != nil {
		a.stream.commands.Close()
		a.stream = nil
	}
}

func agentFailure(id string) *scheduler.Event {
	return &scheduler.Event{Type: scheduler.Event_FAILURE, Failure: &scheduler.Event_Failure{AgentID: &v1.AgentID{Value: id}}}
}

// markGone ends an agent for good: it and its tasks never come back. False means that
// no such agent is known.
func (m *Master) markGone(id string) bool {
	if m.registry.Agents[id] == nil {
		return m.registry.Gone[id]
	}
	delete(m.registry.Agents, id)
	m.registry.Gone[id] = true
	m.saveRegistry()
	delete(m.unreachable, id)
	delete(m.recovered, id)
	if a := m.agents[id]; a != nil {
		a.send(link.Command{Shutdown: &link.Shutdown{}})
		m.endAgent(a, v1.TASK_GONE_BY_OPERATOR, v1.REASON_AGENT_REMOVED_BY_OPERATOR, "Agent has been marked gone")
	}
	return true
}

// endAgent takes an agent away whose tasks are as good as ended.
func (m *Master) endAgent(a *agent, state v1.TaskState, reason v1.TaskStatus_Reason, message string) {
	m.removeAgent(a, func(f *framework, t *task) {
		t.setState(f.lostState(state))
		status := masterStatus(t.id(), a.id, t.state, reason, message)
		status.ExecutorID = t.executorID()
		m.counters.ended(t.state)
		f.complete(t)
		f.sendStatus(status)
	})
}

// leave takes an agent away that shuts down in order: its executors are gone
// already.
func (m *Master) leave(a *agent) {
	m.log.Info("agent left", "agent", a.id)
	delete(m.registry.Agents, a.id)
	m.saveRegistry()
	m.endAgent(a, v1.TASK_GONE, v1.REASON_AGENT_REMOVED, "Agent unregistered")
}
