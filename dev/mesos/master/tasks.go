package master

import (
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos/internal/allocator"
	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

// task is what the master knows of one.
type task struct {
	info      *v1.TaskInfo
	framework string
	agent     string
	state     v1.TaskState // the latest that is known
	statuses  []v1.TaskStatus
	released  bool // its resources are free again

	// What was forwarded to the scheduler last and is not acknowledged yet.
	updateState v1.TaskState
	updateUUID  []byte
}

func newTask(framework, agent string, info *v1.TaskInfo) *task {
	return &task{info: info, framework: framework, agent: agent, state: v1.TASK_STAGING, updateState: v1.TASK_STAGING}
}

func (t *task) id() string { return t.info.TaskID.Value }

// executorID is the task's executor; command tasks name none.
func (t *task) executorID() *v1.ExecutorID {
	if t.info.Executor == nil {
		return nil
	}
	return &t.info.Executor.ExecutorID
}

// setState changes the state where no update of the agent does it.
func (t *task) setState(state v1.TaskState) { t.state = state }

// terminal says that a task in this state will never run again.
func terminal(state v1.TaskState) bool {
	switch state {
	case v1.TASK_FINISHED, v1.TASK_FAILED, v1.TASK_KILLED, v1.TASK_ERROR,
		v1.TASK_DROPPED, v1.TASK_GONE, v1.TASK_GONE_BY_OPERATOR, v1.TASK_LOST:
		return true
	}
	return false
}

// holderOf reads from resources who holds them.
func holderOf(framework string, rs []v1.Resource) allocator.Holder {
	h := allocator.Holder{Framework: framework, Role: "*"}
	if len(rs) > 0 && rs[0].GetAllocationInfo().GetRole() != "" {
		h.Role = rs[0].GetAllocationInfo().GetRole()
	}
	return h
}

// release frees a task's resources, once.
func (m *Master) release(t *task) {
	if t.released {
		return
	}
	t.released = true
	m.alloc.Release(holderOf(t.framework, t.info.Resources), t.agent, t.info.Resources)
}

// releasedSome lets what was freed be offered at once, if it is to be.
func (m *Master) releasedSome() {
	if !m.cfg.BatchReleases {
		m.allocate(time.Now())
	}
}

// lostState is a state that only partition-aware frameworks know; the others read
// TASK_LOST.
func (f *framework) lostState(state v1.TaskState) v1.TaskState {
	if f.can(v1.FrameworkInfo_Capability_PARTITION_AWARE) {
		return state
	}
	return v1.TASK_LOST
}

// masterStatus is a status that the master makes up itself: it has no UUID and
// wants no acknowledgement. Empty IDs are left out.
func masterStatus(taskID, agentID string, state v1.TaskState, reason v1.TaskStatus_Reason, message string) v1.TaskStatus {
	now := seconds(time.Now())
	status := v1.TaskStatus{
		TaskID: v1.TaskID{Value: taskID}, State: &state, Message: &message,
		Source: v1.SOURCE_MASTER.Enum(), Reason: &reason, Timestamp: &now,
	}
	if agentID != "" {
		status.AgentID = &v1.AgentID{Value: agentID}
	}
	return status
}

func taskError(info *v1.TaskInfo, problem string) v1.TaskStatus {
	return masterStatus(info.TaskID.Value, info.AgentID.Value, v1.TASK_ERROR, v1.REASON_TASK_INVALID, problem)
}

func (f *framework) sendStatus(status v1.TaskStatus) {
	f.send(&scheduler.Event{Type: scheduler.Event_UPDATE, Update: &scheduler.Event_Update{Status: status}})
}

// runTask sends a task to its agent.
func (m *Master) runTask(f *framework, a *agent, t *task) {
	m.counters.tasksLaunched++
	a.send(link.Command{Run: &link.Run{Framework: link.Encode(f.info), Task: link.Encode(t.info)}})
}

// update takes a status from an agent and forwards it. The agent repeats it until
// it is acknowledged, so nothing is lost when nobody is there to read it.
func (m *Master) update(a *agent, report *link.Update) error {
	status := &v1.TaskStatus{}
	if err := report.Status.Decode(status); err != nil {
		return err
	}
	f, known := m.frameworks[report.Framework]
	if !known {
		return nil // torn down meanwhile
	}
	freed := false
	if t, known := f.tasks[status.TaskID.Value]; known && t.agent == a.id {
		freed = m.advance(t, status, v1.TaskState(report.Latest))
	}
	m.counters.updates++
	f.sendStatus(*status)
	if freed {
		m.releasedSome()
	}
	return nil
}

// advance moves a task on: to what is being delivered, and to what the agent
// already knows besides. freed says that the task has ended with it.
func (m *Master) advance(t *task, status *v1.TaskStatus, latest v1.TaskState) (freed bool) {
	if !terminal(t.state) {
		t.state = latest
	}
	t.updateState, t.updateUUID = status.GetState(), status.UUID
	if n := len(t.statuses); n == 0 || t.statuses[n-1].GetState() != status.GetState() {
		t.statuses = append(t.statuses, *status)
	} else {
		t.statuses[n-1] = *status // only the last one of a state is remembered
	}
	if !terminal(t.state) || t.released {
		return false
	}
	m.release(t)
	m.counters.ended(t.state)
	return true
}

func (m *Master) acknowledge(f *framework, call *scheduler.Call_Acknowledge) {
	if t, known := f.tasks[call.TaskID.Value]; known && terminal(t.updateState) && string(t.updateUUID) == string(call.UUID) {
		f.complete(t)
	}
	if a, known := m.agents[call.AgentID.Value]; known {
		defer m.checkDrained(a) // once the agent has heard it, too
		a.send(link.Command{Ack: &link.Ack{
			TaskRef: link.TaskRef{Framework: f.id, Task: call.TaskID.Value}, UUID: call.UUID,
		}})
	}
}

// kill passes a kill on; a task that is not known is answered for like in a
// reconciliation.
func (m *Master) kill(f *framework, call *scheduler.Call_Kill) {
	t, known := f.tasks[call.TaskID.Value]
	if !known {
		m.answerFor(f, call.TaskID.Value, call.GetAgentID().GetValue())
		return
	}
	a, known := m.agents[t.agent]
	if !known {
		return
	}
	command := &link.Kill{TaskRef: link.TaskRef{Framework: f.id, Task: t.id()}}
	if call.KillPolicy != nil {
		command.Policy = link.Encode(call.KillPolicy)
	}
	a.send(link.Command{Kill: command})
}

// reconcile tells the present states: of all tasks, or of those that are named.
func (m *Master) reconcile(f *framework, call *scheduler.Call_Reconcile) {
	for _, named := range call.Tasks {
		m.answerFor(f, named.TaskID.Value, named.GetAgentID().GetValue())
	}
	if len(call.Tasks) > 0 {
		return
	}
	for _, t := range f.tasks {
		f.sendStatus(t.latest())
	}
	for _, t := range f.unreachable {
		m.answerFor(f, t.id(), t.agent)
	}
}

// latest is the answer to a reconciliation of a known task.
func (t *task) latest() v1.TaskStatus {
	status := masterStatus(t.id(), t.agent, t.state, v1.REASON_RECONCILIATION, "Reconciliation: Latest task state")
	status.ExecutorID = t.executorID()
	if n := len(t.statuses); n > 0 {
		status.ContainerStatus = t.statuses[n-1].ContainerStatus
	}
	return status
}

// answerFor answers for a task by what is known of it and of its agent.
func (m *Master) answerFor(f *framework, taskID, agentID string) {
	if t, known := f.tasks[taskID]; known {
		f.sendStatus(t.latest())
		return
	}
	if t, known := f.unreachable[taskID]; known {
		agentID = t.agent
	}
	answer := func(state v1.TaskState, message string) v1.TaskStatus {
		return masterStatus(taskID, agentID, f.lostState(state), v1.REASON_RECONCILIATION, "Reconciliation: "+message)
	}
	if lost, known := m.unreachable[agentID]; known {
		status := answer(v1.TASK_UNREACHABLE, "Task is unreachable")
		status.UnreachableTime = &v1.TimeInfo{Nanoseconds: lost.unreachableSince.UnixNano()}
		f.sendStatus(status)
		return
	}
	switch {
	case m.recovered[agentID] != nil: // it will tell itself when it is back, or be unreachable
	case m.agents[agentID] != nil:
		f.sendStatus(answer(v1.TASK_GONE, "Task is unknown to the agent"))
	case m.registry.Gone[agentID]:
		f.sendStatus(answer(v1.TASK_GONE_BY_OPERATOR, "Task is gone"))
	default:
		f.sendStatus(answer(v1.TASK_UNKNOWN, "Task is unknown"))
	}
}

func (m *Master) messageExecutor(f *framework, call *scheduler.Call_Message) {
	if a, known := m.agents[call.AgentID.Value]; known {
		a.send(link.Command{Message: &link.Message{Framework: f.id, Executor: call.ExecutorID.Value, Data: call.Data}})
	}
}

func (m *Master) shutdownExecutor(f *framework, call *scheduler.Call_Shutdown) {
	if a, known := m.agents[call.AgentID.Value]; known {
		a.send(link.Command{Shutdown: &link.Shutdown{Framework: f.id, Executor: call.ExecutorID.Value}})
	}
}

func (m *Master) messageScheduler(a *agent, message *link.Message) {
	if f, known := m.frameworks[message.Framework]; known {
		f.send(&scheduler.Event{Type: scheduler.Event_MESSAGE, Message: &scheduler.Event_Message{
			AgentID: v1.AgentID{Value: a.id}, ExecutorID: v1.ExecutorID{Value: message.Executor}, Data: message.Data,
		}})
	}
}
