package main

import (
	"bytes"
	"encoding/binary"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/proto"
)

// handle carries a call out. m.mu is held.
func (m *master) handle(call *sched.Call) {
	now := time.Now()
	switch call.Type {
	case sched.Call_ACCEPT:
		m.accept(call.Accept, now)
	case sched.Call_DECLINE:
		m.decline(call.Decline, now)
	case sched.Call_ACKNOWLEDGE:
		m.acknowledge(call.Acknowledge, now)
	case sched.Call_RECONCILE:
		m.reconcile(call.Reconcile)
	case sched.Call_KILL:
		m.kill(call.Kill)
	case sched.Call_REVIVE:
		m.steer(call.Revive.GetRoles(), true)
	case sched.Call_SUPPRESS:
		m.steer(call.Suppress.GetRoles(), false)
	case sched.Call_UPDATE_FRAMEWORK:
		m.subscribeRoles(call.UpdateFramework.FrameworkInfo.Roles, call.UpdateFramework.SuppressedRoles)
	default:
		m.wrong("a %v call", call.Type)
	}
}

// steer turns offers for roles on or off: all roles if none is named.
func (m *master) steer(roles []string, wanted bool) {
	if len(roles) == 0 {
		for role := range m.roles {
			roles = append(roles, role)
		}
	}
	for _, role := range roles {
		m.roles[role] = wanted
		for at := range m.filters {
			if wanted && at.role == role {
				delete(m.filters, at)
			}
		}
	}
	if wanted {
		m.allocateSoon()
	}
}

// returned takes offers out that a call names. They must be of one agent and role if they are to be used.
func (m *master) returned(ids []mesosgo.OfferID) (all []*offer) {
	for _, id := range ids {
		o := m.offers[id.Value]
		if o == nil {
			m.wrong("offer %s is not there, or was used before", id.Value)
			continue
		}
		m.take(o)
		all = append(all, o)
	}
	return all
}

func (m *master) refuse(o *offer, filters *mesosgo.Filters, now time.Time) {
	seconds := 5.0 // Mesos' own
	if filters != nil && filters.RefuseSeconds != nil {
		seconds = *filters.RefuseSeconds
	}
	m.filters[place{o.agent, o.role}] = filter{until: now.Add(time.Duration(seconds * float64(time.Second))), refused: o.agent.free()}
}

func (m *master) decline(call *sched.Call_Decline, now time.Time) {
	for _, o := range m.returned(call.OfferIDs) {
		m.seen.declined++
		m.seen.lastReturn = now
		m.refuse(o, call.Filters, now)
	}
}

func (m *master) accept(call *sched.Call_Accept, now time.Time) {
	m.seen.accepts++
	offers := m.returned(call.OfferIDs)
	if len(offers) == 0 {
		m.wrong("an ACCEPT without offers")
		return
	}
	at := place{offers[0].agent, offers[0].role}
	var has amount
	for _, o := range offers {
		if o.agent != at.agent || o.role != at.role {
			m.wrong("an ACCEPT mixes offers of %s, %s with those of %s, %s", o.agent.id, o.role, at.agent.id, at.role)
			return
		}
		has = has.plus(o.has)
		m.seen.toAccept = append(m.seen.toAccept, now.Sub(o.sent))
	}
	var infos []mesosgo.TaskInfo
	for i := range call.Operations {
		if launch := call.Operations[i].Launch; launch != nil {
			infos = append(infos, launch.TaskInfos...)
		}
	}
	tasks, fresh, err := m.launchable(at, has, infos)
	if err != nil {
		m.wrong("ACCEPT: %w", err)
		return
	}
	for id, e := range fresh {
		at.agent.executors[id] = e
		m.use(at.agent, at.role, e.resources, 1)
	}
	for _, t := range tasks {
		m.launch(t, at)
	}
	m.seen.lastAccept = now
	m.refuse(offers[0], call.Filters, now)
}

// launch lets a task run at once.
func (m *master) launch(t *task, at place) {
	m.launched[t.id], m.tasks[t.id] = true, t
	m.use(at.agent, at.role, t.needs, 1)
	t.executor.tasks++
	m.seen.launches++
	m.become(t, mesosgo.TASK_RUNNING)
}

// become reports a new state, as the executor.
func (m *master) become(t *task, state mesosgo.TaskState) {
	m.number++
	t.state, t.uuid = state, binary.BigEndian.AppendUint64(make([]byte, 8, 16), m.number)
	if state != mesosgo.TASK_RUNNING {
		t.over = true
		m.use(t.executor.agent, t.executor.role, t.needs, -1)
		t.executor.tasks--
		t.executor.idle = time.Now()
	}
	m.report(t)
}

var (
	started  = proto.Encode(&proto.Started{Directory: "/var/lib/mesos/slaves/S0/frameworks/scale/executors/e/runs/latest/task"})
	finished = proto.Encode(&proto.TaskResult{Output: []byte("done")})
)

// report sends the update that is not acknowledged yet.
func (m *master) report(t *task) {
	if m.stream == nil {
		return
	}
	source, data := mesosgo.SOURCE_EXECUTOR, started
	if t.state == mesosgo.TASK_FINISHED {
		data = finished
	}
	m.stream.send(&sched.Event{Type: sched.Event_UPDATE, Update: &sched.Event_Update{Status: mesosgo.TaskStatus{
		TaskID:     mesosgo.TaskID{Value: t.id},
		AgentID:    &mesosgo.AgentID{Value: t.executor.agent.id},
		ExecutorID: &mesosgo.ExecutorID{Value: t.executor.id},
		State:      &t.state,
		Source:     &source,
		UUID:       t.uuid,
		Data:       data,
	}}})
}

func (m *master) acknowledge(call *sched.Call_Acknowledge, now time.Time) {
	t := m.tasks[call.TaskID.Value]
	if t == nil || !bytes.Equal(t.uuid, call.UUID) || t.executor.agent.id != call.AgentID.Value {
		m.wrong("an ACKNOWLEDGE of %s for what was not reported", call.TaskID.Value)
		return
	}
	t.uuid = nil
	m.seen.lastAck = now
	switch {
	case t.over:
		delete(m.tasks, t.id)
		m.seen.finished++
	case m.endsSoon:
		m.seen.running++
		m.become(t, mesosgo.TASK_FINISHED)
	default:
		m.seen.running++
	}
}

// finishAll lets all running tasks end.
func (m *master) finishAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tasks {
		if t.state == mesosgo.TASK_RUNNING && t.uuid == nil {
			m.become(t, mesosgo.TASK_FINISHED)
		}
	}
}

func (m *master) kill(call *sched.Call_Kill) {
	m.seen.kills++
	if t := m.tasks[call.TaskID.Value]; t != nil && !t.over {
		m.become(t, mesosgo.TASK_KILLED)
	}
}

// reconcile answers with the state of the tasks, or of all if none is named.
func (m *master) reconcile(call *sched.Call_Reconcile) {
	if len(call.Tasks) == 0 {
		for _, t := range m.tasks {
			m.answer(t.id, t.executor.agent.id, t.state)
		}
		return
	}
	for _, asked := range call.Tasks {
		m.seen.asked++
		if t := m.tasks[asked.TaskID.Value]; t != nil {
			m.answer(t.id, t.executor.agent.id, t.state)
		} else {
			m.answer(asked.TaskID.Value, asked.AgentID.GetValue(), mesosgo.TASK_GONE)
		}
	}
}

func (m *master) answer(id, agentID string, state mesosgo.TaskState) {
	source, reason := mesosgo.SOURCE_MASTER, mesosgo.REASON_RECONCILIATION
	m.stream.send(&sched.Event{Type: sched.Event_UPDATE, Update: &sched.Event_Update{Status: mesosgo.TaskStatus{
		TaskID:  mesosgo.TaskID{Value: id},
		AgentID: &mesosgo.AgentID{Value: agentID},
		State:   &state,
		Source:  &source,
		Reason:  &reason,
	}}})
}
