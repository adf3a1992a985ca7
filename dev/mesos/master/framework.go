package master

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// How much is remembered of what has ended, as in Mesos.
const (
	maxCompletedFrameworks = 50
	maxCompletedTasks      = 1000
)

// framework is one registration, with or without a scheduler at the other end.
type framework struct {
	id           string
	info         *v1.FrameworkInfo // never changed, only replaced
	subscription *subscription     // nil while disconnected
	recovered    bool              // known from an agent only; no scheduler subscribed yet

	registered, reregistered, unregistered time.Time

	tasks       map[string]*task
	unreachable map[string]*task
	completed   []*task
	failover    *time.Timer
}

// subscription is one event stream of a scheduler.
type subscription struct {
	id        string
	stream    *wire.Stream
	framework string
}

// judge asks the hook about the events of the subscription; the framework's ID is
// known before the first of them is written.
func (s *subscription) judge(h hook.Hook) func(proto.Message) hook.Action {
	if h == nil {
		return nil
	}
	return func(event proto.Message) hook.Action {
		return h(describeEvent(s.framework, event.(*scheduler.Event)))
	}
}

// send queues an event if a scheduler is there; otherwise it is lost.
func (f *framework) send(event *scheduler.Event) {
	if f.subscription != nil {
		f.subscription.stream.Send(event)
	}
}

func (f *framework) can(capability v1.FrameworkInfo_Capability_Type) bool {
	return hasCapability(f.info, capability)
}

func (f *framework) stopFailover() {
	if f.failover != nil {
		f.failover.Stop()
		f.failover = nil
	}
}

// sendError is the last event of a stream.
func (s *subscription) sendError(message string) {
	s.stream.Send(&scheduler.Event{Type: scheduler.Event_ERROR, Error: &scheduler.Event_Error{Message: message}})
	s.stream.Close()
}

// subscribe ties a subscription to its framework, a new or a known one. It gives
// nil if the framework is refused, which the stream then says.
func (m *Master) subscribe(call *scheduler.Call_Subscribe, s *subscription) *framework {
	info := proto.Clone(call.FrameworkInfo).(*v1.FrameworkInfo)
	id := info.GetID().GetValue()
	s.framework = id
	if problem := cmp.Or(frameworkProblem(info), suppressedProblem(info, call.SuppressedRoles)); problem != "" {
		s.sendError(problem)
		return nil
	}
	for _, old := range m.completed {
		if old.id == id {
			s.sendError("Framework has been removed")
			return nil
		}
	}
	f, known := m.frameworks[id]
	if known && f.info.GetPrincipal() != info.GetPrincipal() {
		s.sendError(updateProblem(f.info, info))
		return nil
	}
	if known {
		m.resubscribe(f, info)
	} else {
		f = m.addFramework(info)
	}
	f.subscription, s.framework = s, f.id
	m.setAllocatable(f)
	m.alloc.ActivateFramework(f.id)
	m.alloc.SetSuppressed(f.id, call.SuppressedRoles)
	interval := m.cfg.HeartbeatInterval.Seconds()
	s.stream.Send(&scheduler.Event{Type: scheduler.Event_SUBSCRIBED, Subscribed: &scheduler.Event_Subscribed{
		FrameworkID: f.info.ID, HeartbeatIntervalSeconds: &interval, MasterInfo: m.info(),
	}})
	s.stream.Send(heartbeat)
	m.log.Info("framework subscribed", "framework", f.id, "name", f.info.Name)
	m.allocate(time.Now())
	return f
}

// setAllocatable tells the allocator what a framework may be offered.
func (m *Master) setAllocatable(f *framework) {
	m.alloc.SetFramework(f.id, rolesOf(f.info), f.can(v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT))
}

func (m *Master) addFramework(info *v1.FrameworkInfo) *framework {
	if info.GetID().GetValue() == "" {
		info.ID = &v1.FrameworkID{Value: m.nextFrameworkID()}
	}
	f := &framework{
		id: info.ID.Value, info: info, registered: time.Now(), reregistered: time.Now(),
		tasks: map[string]*task{}, unreachable: map[string]*task{},
	}
	m.frameworks[f.id] = f
	return f
}

// resubscribe readies a known framework for its next subscription. What cannot be
// changed for a living framework stays as it was, as in Mesos.
func (m *Master) resubscribe(f *framework, info *v1.FrameworkInfo) {
	info.User, info.Checkpoint = f.info.User, f.info.Checkpoint
	f.info, f.reregistered, f.recovered = info, time.Now(), false
	f.stopFailover()
	if f.subscription != nil {
		f.subscription.sendError("Framework failed over")
		f.subscription = nil
		m.takeBackOffers(f, func(*offer) bool { return true }, false)
		m.forgetInverseAnswers(f)
	}
}

// disconnectFramework notes that a scheduler's stream has ended: its offers die,
// its tasks live on until the failover timeout.
func (m *Master) disconnectFramework(f *framework) {
	f.subscription = nil
	if m.closing || m.frameworks[f.id] != f {
		return
	}
	m.alloc.DeactivateFramework(f.id)
	m.takeBackOffers(f, func(*offer) bool { return true }, false)
	m.forgetInverseAnswers(f)
	timeout := failoverTimeout(f.info)
	m.log.Info("framework disconnected", "framework", f.id, "failover_timeout", timeout)
	f.failover = time.AfterFunc(timeout, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if f.subscription == nil && m.frameworks[f.id] == f && !m.closing {
			m.removeFramework(f, "failover timeout")
		}
	})
}

// failoverTimeout is in whole nanoseconds; what does not fit is for ever, nearly.
func failoverTimeout(info *v1.FrameworkInfo) time.Duration {
	const longest = 100 * 365 * 24 * time.Hour
	if timeout := info.GetFailoverTimeout(); timeout < longest.Seconds() {
		return time.Duration(timeout * float64(time.Second))
	}
	return longest
}

// removeFramework ends a framework: offers, tasks and executors with it.
func (m *Master) removeFramework(f *framework, why string) {
	m.log.Info("framework removed", "framework", f.id, "why", why)
	m.takeBackOffers(f, func(*offer) bool { return true }, false)
	m.forgetInverseAnswers(f)
	f.stopFailover()
	for _, t := range f.tasks {
		m.release(t)
		if !terminal(t.state) {
			t.setState(v1.TASK_KILLED)
		}
		f.complete(t)
	}
	for _, a := range m.agents {
		for _, e := range a.executors[f.id] {
			m.alloc.Release(holderOf(f.id, e.info.Resources), a.id, e.held())
		}
		delete(a.executors, f.id)
		a.send(link.Command{Shutdown: &link.Shutdown{Framework: f.id}})
	}
	m.alloc.RemoveFramework(f.id)
	if f.subscription != nil {
		f.subscription.stream.Close()
		f.subscription = nil
	}
	f.unregistered = time.Now()
	delete(m.frameworks, f.id)
	for _, a := range m.sortedAgents() {
		m.checkDrained(a)
	}
	m.completed = lastOf(append(m.completed, f), maxCompletedFrameworks)
}

// complete moves a task to the ones that have ended.
func (f *framework) complete(t *task) {
	delete(f.tasks, t.id())
	delete(f.unreachable, t.id())
	f.completed = lastOf(append(f.completed, t), maxCompletedTasks)
}

func lastOf[T any](items []T, n int) []T { return items[max(0, len(items)-n):] }

func (m *Master) nextFrameworkID() string {
	id := fmt.Sprintf("%s-%04d", m.id, m.nextFramework)
	m.nextFramework++
	return id
}

func (m *Master) updateFramework(f *framework, call *scheduler.Call_UpdateFramework) (int, *wire.Refusal) {
	info := proto.Clone(&call.FrameworkInfo).(*v1.FrameworkInfo)
	problem := cmp.Or(frameworkProblem(info), updateProblem(f.info, info), suppressedProblem(info, call.SuppressedRoles))
	if problem != "" {
		return 0, wire.Refuse(http.StatusBadRequest, "'FrameworkInfo' update is not valid: %s", problem)
	}
	f.info = info
	m.setAllocatable(f)
	m.takeBackOffers(f, func(o *offer) bool { return !slices.Contains(rolesOf(info), o.Role) }, true)
	m.alloc.SetSuppressed(f.id, call.SuppressedRoles)
	m.allocate(time.Now())
	return http.StatusOK, nil
}
