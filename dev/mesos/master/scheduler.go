package master

import (
	"net/http"
	"time"

	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/allocator"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// streamHeader ties calls to a subscription.
const streamHeader = "Mesos-Stream-Id"

// serveScheduler is /api/v1/scheduler.
func (m *Master) serveScheduler(w http.ResponseWriter, r *http.Request) {
	principal, refusal := authenticate(r, m.cfg.Credentials, "mesos-master-scheduler")
	if refusal != nil {
		refusal.Write(w)
		return
	}
	m.atLeader(func(w http.ResponseWriter, r *http.Request) { m.serveSchedulerCall(w, r, principal) })(w, r)
}

func (m *Master) serveSchedulerCall(w http.ResponseWriter, r *http.Request, principal string) {
	call := &scheduler.Call{}
	if _, refusal := wire.ReadCall(r, call); refusal != nil {
		refusal.Write(w)
		return
	}
	if refusal := validateCall(call, principal); refusal != nil {
		refusal.Write(w)
		return
	}
	action := m.cfg.Hook.Judge(describeCall(call))
	if !pause(r, action.Delay) || action.Disconnect {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	switch {
	case action.Refuse != 0:
		wire.Refuse(action.Refuse, "%s", http.StatusText(action.Refuse)).Write(w)
	case call.Type == scheduler.Call_SUBSCRIBE:
		m.serveSubscribe(w, r, call)
	default:
		m.serveCall(w, r, call, action)
	}
}

// pause waits; false means that the caller went away meanwhile.
func pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	}
}

func (m *Master) serveSubscribe(w http.ResponseWriter, r *http.Request, call *scheduler.Call) {
	media, refusal := wire.Accepted(r)
	if refusal == nil && r.Header.Get(streamHeader) != "" {
		refusal = wire.Refuse(http.StatusBadRequest, "Subscribe calls should not include the '%s' header", streamHeader)
	}
	if refusal != nil {
		refusal.Write(w)
		return
	}
	s := &subscription{id: uuid.NewString()}
	s.stream = wire.NewStream(media, s.judge(m.cfg.Hook))
	m.mu.Lock()
	if !m.leads() { // it lost meanwhile
		m.mu.Unlock()
		m.redirect(w, r.URL.Path)
		return
	}
	f := m.subscribe(call.Subscribe, s)
	m.mu.Unlock()
	w.Header().Set(streamHeader, s.id)
	s.stream.Serve(r.Context(), w, m.cfg.HeartbeatInterval, heartbeat)
	m.mu.Lock()
	defer m.mu.Unlock()
	if f != nil && f.subscription == s {
		m.disconnectFramework(f)
	}
}

var heartbeat = &scheduler.Event{Type: scheduler.Event_HEARTBEAT}

// serveCall carries out a call of a subscribed framework, as often as the hook
// wants it.
func (m *Master) serveCall(w http.ResponseWriter, r *http.Request, call *scheduler.Call, action hook.Action) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, refusal := m.caller(r, call) // nobody is subscribed at a master that does not lead
	if refusal != nil {
		refusal.Write(w)
		return
	}
	status := http.StatusAccepted
	if !action.Drop {
		for range 1 + action.Repeat {
			if status, refusal = m.carryOut(f, call); refusal != nil {
				refusal.Write(w)
				return
			}
		}
	}
	w.WriteHeader(status)
}

// caller finds the framework of a call and checks that the call comes from its
// present subscription.
func (m *Master) caller(r *http.Request, call *scheduler.Call) (*framework, *wire.Refusal) {
	id := call.FrameworkID.Value
	f, known := m.frameworks[id]
	if !known {
		return nil, wire.Refuse(http.StatusBadRequest, "Framework cannot be found")
	}
	if f.subscription == nil {
		return nil, wire.Refuse(http.StatusForbidden, "Framework is not subscribed")
	}
	switch given := r.Header.Get(streamHeader); given {
	case f.subscription.id:
		return f, nil
	case "":
		return nil, wire.Refuse(http.StatusBadRequest, "All non-subscribe calls should include the '%s' header", streamHeader)
	default:
		return nil, wire.Refuse(http.StatusBadRequest,
			"The stream ID '%s' included in this request didn't match the stream ID currently associated with framework ID %s",
			given, id)
	}
}

// carryOut does what a call asks; the answer is 202 unless it says otherwise.
func (m *Master) carryOut(f *framework, call *scheduler.Call) (int, *wire.Refusal) {
	now := time.Now()
	switch call.Type {
	case scheduler.Call_TEARDOWN:
		m.removeFramework(f, "torn down by its scheduler")
	case scheduler.Call_ACCEPT:
		m.accept(f, call.Accept, now)
	case scheduler.Call_DECLINE:
		m.decline(f, call.Decline, now)
	case scheduler.Call_ACCEPT_INVERSE_OFFERS:
		m.answerInverse(f, call.AcceptInverseOffers.InverseOfferIDs, call.AcceptInverseOffers.Filters, allocator.InverseOfferStatus_ACCEPT, now)
	case scheduler.Call_DECLINE_INVERSE_OFFERS:
		m.answerInverse(f, call.DeclineInverseOffers.InverseOfferIDs, call.DeclineInverseOffers.Filters, allocator.InverseOfferStatus_DECLINE, now)
	case scheduler.Call_REVIVE:
		m.alloc.Revive(f.id, call.GetRevive().GetRoles())
		m.allocate(now)
	case scheduler.Call_SUPPRESS:
		m.alloc.Suppress(f.id, call.GetSuppress().GetRoles())
	case scheduler.Call_KILL:
		m.kill(f, call.Kill)
	case scheduler.Call_SHUTDOWN:
		m.shutdownExecutor(f, call.Shutdown)
	case scheduler.Call_ACKNOWLEDGE:
		m.acknowledge(f, call.Acknowledge)
	case scheduler.Call_RECONCILE:
		m.reconcile(f, call.Reconcile)
	case scheduler.Call_MESSAGE:
		m.messageExecutor(f, call.Message)
	case scheduler.Call_UPDATE_FRAMEWORK:
		return m.updateFramework(f, call.UpdateFramework)
	default:
		return 0, wire.Refuse(http.StatusNotImplemented, "This Mesos does not know how to %s", call.Type)
	}
	return http.StatusAccepted, nil
}

// describeCall shows a call to a hook.
func describeCall(call *scheduler.Call) hook.Message {
	message := hook.Message{
		Point: hook.SchedulerCall, Type: call.Type.String(),
		Framework: call.GetFrameworkID().GetValue(), Body: call,
	}
	var agentID *v1.AgentID
	switch call.Type {
	case scheduler.Call_KILL:
		agentID, message.Task = call.Kill.AgentID, call.Kill.TaskID.Value
	case scheduler.Call_ACKNOWLEDGE:
		agentID, message.Task = &call.Acknowledge.AgentID, call.Acknowledge.TaskID.Value
	case scheduler.Call_MESSAGE:
		agentID, message.Executor = &call.Message.AgentID, call.Message.ExecutorID.Value
	case scheduler.Call_SHUTDOWN:
		agentID, message.Executor = &call.Shutdown.AgentID, call.Shutdown.ExecutorID.Value
	}
	message.Agent = agentID.GetValue()
	return message
}

// describeEvent shows an event to a hook.
func describeEvent(framework string, event *scheduler.Event) hook.Message {
	message := hook.Message{Point: hook.SchedulerEvent, Type: event.Type.String(), Framework: framework, Body: event}
	switch event.Type {
	case scheduler.Event_UPDATE:
		status := &event.Update.Status
		message.Agent, message.Executor = status.GetAgentID().GetValue(), status.GetExecutorID().GetValue()
		message.Task = status.TaskID.Value
	case scheduler.Event_MESSAGE:
		message.Agent, message.Executor = event.Message.AgentID.Value, event.Message.ExecutorID.Value
	case scheduler.Event_FAILURE:
		message.Agent, message.Executor = event.Failure.GetAgentID().GetValue(), event.Failure.GetExecutorID().GetValue()
	}
	return message
}
