package agent

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// executorHeartbeat is the time between two heartbeats to an executor, as in Mesos.
const executorHeartbeat = 30 * time.Minute

// serveExecutor is /api/v1/executor.
func (a *Agent) serveExecutor(w http.ResponseWriter, r *http.Request) {
	call := &api.Call{}
	if _, refusal := wire.ReadCall(r, call); refusal != nil {
		refusal.Write(w)
		return
	}
	if problem := executorCallProblem(call); problem != "" {
		wire.Refuse(http.StatusBadRequest, "Failed to validate executor::Call: %s", problem).Write(w)
		return
	}
	if refusal := a.authenticateExecutor(r, call); refusal != nil {
		refusal.Write(w)
		return
	}
	action := a.cfg.Hook.Judge(describeExecutorCall(a.registeredID(), call))
	if action.Delay > 0 {
		select {
		case <-time.After(action.Delay):
		case <-r.Context().Done():
		}
	}
	switch {
	case action.Disconnect || r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // closes the connection without an answer
	case action.Refuse != 0:
		wire.Refuse(action.Refuse, "%s", http.StatusText(action.Refuse)).Write(w)
	case call.Type == api.Call_SUBSCRIBE:
		a.serveExecutorSubscribe(w, r, call)
	default:
		a.serveExecutorCall(w, call, action)
	}
}

func executorCallProblem(call *api.Call) string {
	missing := ""
	switch call.Type {
	case api.Call_UNKNOWN:
		missing = "type"
	case api.Call_SUBSCRIBE:
		if call.Subscribe == nil {
			missing = "subscribe"
		}
	case api.Call_UPDATE:
		if call.Update == nil {
			missing = "update"
			break
		}
		return updateProblem(call)
	case api.Call_MESSAGE:
		if call.Message == nil {
			missing = "message"
		}
	}
	if missing != "" {
		return "Expecting '" + missing + "' to be present"
	}
	return ""
}

func updateProblem(call *api.Call) string {
	status := &call.Update.Status
	executorID := call.ExecutorID.Value
	switch {
	case status.UUID == nil:
		return "Expecting 'uuid' to be present"
	case len(status.UUID) != 16:
		return "Not a valid UUID"
	case status.ExecutorID != nil && status.ExecutorID.Value != executorID:
		return fmt.Sprintf("ExecutorID in Call: %s does not match ExecutorID in TaskStatus: %s", executorID, status.ExecutorID.Value)
	case status.GetSource() != v1.SOURCE_EXECUTOR:
		return fmt.Sprintf("Received Call from executor %s of framework %s with invalid source, expecting 'SOURCE_EXECUTOR'",
			executorID, call.FrameworkID.Value)
	case status.GetState() == v1.TASK_STAGING:
		return fmt.Sprintf("Received TASK_STAGING from executor %s of framework %s which is not allowed",
			executorID, call.FrameworkID.Value)
	}
	return ""
}

// callingExecutor finds who calls; commands' made-up executors never do.
func (a *Agent) callingExecutor(call *api.Call) (*executor, *wire.Refusal) {
	if a.frameworks[call.FrameworkID.Value] == nil {
		return nil, wire.Refuse(http.StatusBadRequest, "Framework cannot be found")
	}
	e := a.findExecutor(call.FrameworkID.Value, call.ExecutorID.Value)
	if e == nil || e.command || e.phase == terminated {
		return nil, wire.Refuse(http.StatusBadRequest, "Executor cannot be found")
	}
	return e, nil
}

func (a *Agent) serveExecutorSubscribe(w http.ResponseWriter, r *http.Request, call *api.Call) {
	media, refusal := wire.Accepted(r)
	if refusal != nil {
		refusal.Write(w)
		return
	}
	framework, id := call.FrameworkID.Value, call.ExecutorID.Value
	stream := wire.NewStream(media, a.judgeEvents(framework, id))
	a.mu.Lock()
	e, refusal := a.callingExecutor(call)
	if refusal == nil {
		a.subscribeExecutor(e, call.Subscribe, stream)
	}
	a.mu.Unlock()
	if refusal != nil {
		refusal.Write(w)
		return
	}
	stream.Serve(r.Context(), w, executorHeartbeat, &api.Event{Type: api.Event_HEARTBEAT})
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.stream == stream {
		e.stream = nil
	}
}

func (a *Agent) judgeEvents(framework, id string) func(proto.Message) hook.Action {
	if a.cfg.Hook == nil {
		return nil
	}
	return func(m proto.Message) hook.Action {
		event := m.(*api.Event)
		message := hook.Message{
			Point: hook.ExecutorEvent, Type: event.Type.String(), Agent: a.registeredID(),
			Framework: framework, Executor: id, Body: event,
		}
		switch event.Type {
		case api.Event_LAUNCH:
			message.Task = event.Launch.Task.TaskID.Value
		case api.Event_KILL:
			message.Task = event.Kill.TaskID.Value
		case api.Event_ACKNOWLEDGED:
			message.Task = event.Acknowledged.TaskID.Value
		}
		return a.cfg.Hook(message)
	}
}

// registeredID is the agent's ID for those who do not hold the lock.
func (a *Agent) registeredID() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.id()
}

func describeExecutorCall(agentID string, call *api.Call) hook.Message {
	message := hook.Message{
		Point: hook.ExecutorCall, Type: call.Type.String(), Agent: agentID,
		Framework: call.FrameworkID.Value, Executor: call.ExecutorID.Value, Body: call,
	}
	if call.Update != nil {
		message.Task = call.Update.Status.TaskID.Value
	}
	return message
}

// subscribeExecutor ties a connection to its executor: what it did not get through
// is taken, and it gets the tasks that it does not have.
func (a *Agent) subscribeExecutor(e *executor, call *api.Call_Subscribe, stream *wire.Stream) {
	if e.stream != nil {
		e.stream.Close()
	}
	e.stream = stream
	if e.phase < running {
		e.phase = running
	}
	if e.phase == running {
		e.stopTimer()
	}
	a.cameBack(e)
	e.send(&api.Event{Type: api.Event_SUBSCRIBED, Subscribed: &api.Event_Subscribed{
		ExecutorInfo: *e.info, FrameworkInfo: *e.framework.info, AgentInfo: *a.info,
		ContainerID: &v1.ContainerID{Value: e.container},
	}})
	for i := range call.UnacknowledgedUpdates {
		a.takeExecutorUpdate(e, &call.UnacknowledgedUpdates[i].Status)
	}
	has := map[string]bool{}
	for i := range call.UnacknowledgedTasks {
		has[call.UnacknowledgedTasks[i].TaskID.Value] = true
	}
	for _, t := range e.order {
		// A task that was sent and of which nothing was heard got lost on the way,
		// unless the executor lists it.
		if !has[t.id()] && len(t.statuses) == 0 {
			a.sendLaunch(t)
		}
	}
	a.checkpoint(e)
	if e.phase == terminating {
		e.send(&api.Event{Type: api.Event_SHUTDOWN})
	}
}

func (a *Agent) sendLaunch(t *task) {
	t.sent = true
	t.executor.send(&api.Event{Type: api.Event_LAUNCH, Launch: &api.Event_Launch{Task: *t.info}})
}

// send queues an event for an executor; without a connection it is lost.
func (e *executor) send(event *api.Event) {
	if e.stream != nil {
		e.stream.Send(event)
	}
}

func (a *Agent) serveExecutorCall(w http.ResponseWriter, call *api.Call, action hook.Action) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, refusal := a.callingExecutor(call)
	if refusal == nil && e.stream == nil {
		refusal = wire.Refuse(http.StatusForbidden, "Executor is not subscribed")
	}
	if refusal != nil {
		refusal.Write(w)
		return
	}
	if !action.Drop {
		for range 1 + action.Repeat {
			a.carryOutExecutorCall(e, call)
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

func (a *Agent) carryOutExecutorCall(e *executor, call *api.Call) {
	switch call.Type {
	case api.Call_UPDATE:
		a.takeExecutorUpdate(e, &call.Update.Status)
	case api.Call_MESSAGE:
		a.messageScheduler(e, call.Message.Data)
	}
}
