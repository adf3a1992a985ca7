package agent

import (
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

// takeUpdate takes a status of a task, from its executor or made up by the agent, to
// be delivered until it is acknowledged. An update that was taken before, or that
// follows a terminal one, is only stored no second time.
func (a *Agent) takeUpdate(t *task, status *v1.TaskStatus) {
	key := string(status.UUID)
	if t.seen[key] || terminal(t.state) {
		return
	}
	t.seen[key] = true
	t.drainedStatus(status)
	t.state = status.GetState()
	t.latest = status
	t.statuses = append(t.statuses, *status)
	if t.executor.framework.terminating {
		a.finishTask(t)
		return
	}
	t.pending = append(t.pending, status)
	a.checkpoint(t.executor)
	if len(t.pending) == 1 {
		a.deliver(t, a.cfg.UpdateRetryInterval)
	}
}

// deliver sends a task's first pending update and, as long as it stays the first,
// again after the interval, and so on at doubled intervals.
func (a *Agent) deliver(t *task, interval time.Duration) {
	if t.cancel != nil {
		t.cancel()
		t.cancel = nil
	}
	if len(t.pending) == 0 {
		return
	}
	a.report(link.Report{Update: &link.Update{
		Framework: t.executor.framework.id, Status: link.Encode(t.pending[0]), Latest: int32(t.state),
	}})
	t.cancel = a.after(interval, func() {
		a.log.Debug("update is sent again", "task", t.id(), "state", t.pending[0].GetState().String())
		a.deliver(t, min(2*interval, max(maxUpdateRetry, a.cfg.UpdateRetryInterval)))
	})
}

// acknowledged takes a scheduler's acknowledgement; one that fits nothing is passed
// over.
func (a *Agent) acknowledged(ack *link.Ack) {
	t := a.findTask(ack.Framework, ack.Task)
	if t == nil || len(t.pending) == 0 || string(t.pending[0].UUID) != string(ack.UUID) {
		a.log.Warn("unexpected acknowledgement", "task", ack.Task, "framework", ack.Framework)
		return
	}
	t.pending = t.pending[1:]
	if len(t.pending) == 0 && terminal(t.state) {
		a.finishTask(t)
		return
	}
	a.checkpoint(t.executor)
	a.deliver(t, a.cfg.UpdateRetryInterval)
}

// finishTask forgets a task that has ended and needs no delivery, and its executor
// if that was the last thing it was kept for.
func (a *Agent) finishTask(t *task) {
	t.pending = nil
	a.deliver(t, 0)
	if !terminal(t.state) {
		return
	}
	e := t.executor
	e.removeTask(t)
	if e.phase == terminated && len(e.order) == 0 {
		a.removeExecutor(e)
		return
	}
	a.checkpoint(e)
}

// agentStatus is an update that the agent itself makes up.
func (t *task) agentStatus(state v1.TaskState, reason v1.TaskStatus_Reason, message string) *v1.TaskStatus {
	now := float64(time.Now().UnixNano()) / 1e9
	id := uuid.New()
	executorID := t.executor.info.ExecutorID
	return &v1.TaskStatus{
		TaskID: t.info.TaskID, State: &state, Message: &message, Reason: &reason,
		Source: v1.SOURCE_AGENT.Enum(), AgentID: &t.info.AgentID, ExecutorID: &executorID,
		Timestamp: &now, UUID: id[:],
	}
}

// complete adds what the agent knows to an executor's status.
func (a *Agent) complete(e *executor, status *v1.TaskStatus) *v1.TaskStatus {
	completed := proto.Clone(status).(*v1.TaskStatus)
	completed.AgentID = &v1.AgentID{Value: a.id()}
	if completed.ExecutorID == nil {
		executorID := e.info.ExecutorID
		completed.ExecutorID = &executorID
	}
	if completed.ContainerStatus == nil {
		completed.ContainerStatus = &v1.ContainerStatus{}
	}
	containerStatus := completed.ContainerStatus
	if containerStatus.ContainerID == nil {
		containerStatus.ContainerID = &v1.ContainerID{Value: e.container}
	}
	if containerStatus.ExecutorPID == nil {
		pid := uint32(e.process.PID)
		containerStatus.ExecutorPID = &pid
	}
	if len(containerStatus.NetworkInfos) == 0 {
		ip := "127.0.0.1"
		containerStatus.NetworkInfos = []v1.NetworkInfo{{IPAddresses: []v1.NetworkInfo_IPAddress{
			{Protocol: v1.IPv4.Enum(), IPAddress: &ip},
		}}}
	}
	return completed
}

// takeExecutorUpdate takes an UPDATE of an executor and acknowledges it to the
// executor, which may then forget it.
func (a *Agent) takeExecutorUpdate(e *executor, status *v1.TaskStatus) {
	if t := e.tasks[status.TaskID.Value]; t != nil {
		a.takeUpdate(t, a.complete(e, status))
	}
	if e.framework.terminating {
		return
	}
	e.send(&api.Event{Type: api.Event_ACKNOWLEDGED, Acknowledged: &api.Event_Acknowledged{
		TaskID: status.TaskID, UUID: status.UUID,
	}})
}
