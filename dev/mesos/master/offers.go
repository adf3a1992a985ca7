package master

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos/internal/allocator"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

// defaultRefusal is how long what an ACCEPT or DECLINE leaves is refused when the
// call does not say.
const defaultRefusal = 5 * time.Second

// offer is one agent's free resources in the hands of a framework.
type offer struct {
	allocator.Grant
	id        string
	framework *framework
}

// allocate makes offers of all that is free and wanted, one event for a framework.
func (m *Master) allocate(now time.Time) {
	m.counters.allocations++
	batches := map[*framework][]v1.Offer{}
	for _, grant := range m.alloc.Allocate(now) {
		f, a := m.frameworks[grant.Framework], m.agents[grant.Agent]
		o := &offer{Grant: grant, id: fmt.Sprintf("%s-O%d", m.id, m.nextOffer), framework: f}
		m.nextOffer++
		m.offers[o.id] = o
		batches[f] = append(batches[f], o.message(a, m.unavailability(a)))
	}
	for f, batch := range batches {
		m.counters.offersSent += len(batch)
		f.send(&scheduler.Event{Type: scheduler.Event_OFFERS, Offers: &scheduler.Event_Offers{Offers: batch}})
	}
	m.offerInverse(now)
}

func (o *offer) message(a *agent, planned *v1.Unavailability) v1.Offer {
	role := o.Role
	message := v1.Offer{
		ID: v1.OfferID{Value: o.id}, FrameworkID: v1.FrameworkID{Value: o.Framework},
		AgentID: v1.AgentID{Value: o.Agent}, Hostname: a.info.Hostname, URL: a.url(),
		Resources: o.Resources, Attributes: a.info.Attributes, Unavailability: planned,
		AllocationInfo: &v1.Resource_AllocationInfo{Role: &role},
	}
	for _, e := range a.customExecutors(o.Framework) {
		message.ExecutorIDs = append(message.ExecutorIDs, e.info.ExecutorID)
	}
	return message
}

// url is where the agent answers, read from its PID "slave(1)@127.0.0.1:5051".
func (a *agent) url() *v1.URL {
	host, port := addressOf(a.pid)
	hostname, path := a.info.Hostname, "/slave(1)"
	return &v1.URL{
		Scheme:  a.scheme(),
		Address: v1.Address{Hostname: &hostname, IP: &host, Port: int32(port)},
		Path:    &path,
	}
}

func (a *agent) scheme() string {
	if a.tls {
		return "https"
	}
	return "http"
}

func addressOf(pid string) (host string, port int) {
	u, err := url.Parse("http://" + pid)
	if err != nil {
		return "", 0
	}
	port, err = strconv.Atoi(u.Port())
	if err != nil {
		return u.Hostname(), 0
	}
	return u.Hostname(), port
}

// takeBackOffers ends a framework's offers that match and frees what they held,
// with a RESCIND for each if the framework is to know.
func (m *Master) takeBackOffers(f *framework, match func(*offer) bool, rescind bool) {
	for id, o := range m.offers {
		if o.framework != f || !match(o) {
			continue
		}
		m.alloc.Release(o.Holder, o.Agent, o.Resources)
		delete(m.offers, id)
		if rescind {
			m.counters.offersRescinded++
			f.send(&scheduler.Event{Type: scheduler.Event_RESCIND, Rescind: &scheduler.Event_Rescind{OfferID: v1.OfferID{Value: id}}})
		}
	}
}

func refusal(filters *v1.Filters) time.Duration {
	if filters == nil || filters.RefuseSeconds == nil {
		return defaultRefusal
	}
	const longest = 365 * 24 * time.Hour // as in Mesos
	if s := *filters.RefuseSeconds; s < longest.Seconds() {
		return time.Duration(s * float64(time.Second))
	}
	return longest
}

// decline gives offers back; offers that are gone are passed over.
func (m *Master) decline(f *framework, call *scheduler.Call_Decline, now time.Time) {
	for _, id := range call.OfferIDs {
		o, known := m.offers[id.Value]
		if !known || o.framework != f {
			m.log.Debug("declined an unknown offer", "framework", f.id, "offer", id.Value)
			continue
		}
		delete(m.offers, o.id)
		m.counters.offersDeclined++
		m.alloc.Release(o.Holder, o.Agent, o.Resources)
		m.alloc.Refuse(o.Holder, o.Agent, o.Resources, now, refusal(call.Filters))
	}
}

// accept uses offers up: tasks are launched out of them and the rest is given back
// and refused for a while.
func (m *Master) accept(f *framework, call *scheduler.Call_Accept, now time.Time) {
	used, problem := m.offersOf(f, call.OfferIDs)
	for _, o := range used {
		delete(m.offers, o.id)
	}
	if problem != "" {
		m.log.Warn("accept refused", "framework", f.id, "problem", problem)
		for _, o := range used {
			m.alloc.Release(o.Holder, o.Agent, o.Resources)
		}
		m.dropLaunches(f, call.Operations, problem)
		return
	}
	m.counters.offersAccepted += len(used)
	a, h := m.agents[used[0].Agent], used[0].Holder
	left := v1.Resources{}
	for _, o := range used {
		left.Add(o.Resources...)
	}
	for i := range call.Operations {
		left = m.operate(f, a, h, &call.Operations[i], left)
	}
	m.alloc.Release(h, a.id, left)
	m.alloc.Refuse(h, a.id, left, now, refusal(call.Filters))
}

// offersOf finds the offers of one ACCEPT: they must be valid, of one agent and of
// one role. With a problem it gives those that are valid, to be taken back.
func (m *Master) offersOf(f *framework, ids []v1.OfferID) (used []*offer, problem string) {
	if len(ids) == 0 {
		return nil, "No offers specified"
	}
	seen := map[string]bool{}
	for _, id := range ids {
		o, known := m.offers[id.Value]
		switch {
		case seen[id.Value]:
			problem = fmt.Sprintf("Duplicate offer %s in offer list", id.Value)
			continue
		case !known:
			problem = fmt.Sprintf("Offer %s is no longer valid", id.Value)
			continue
		case o.framework != f:
			problem = fmt.Sprintf("Offer %s has invalid framework %s while framework %s is expected", o.id, o.Framework, f.id)
			continue
		case len(used) > 0 && o.Agent != used[0].Agent:
			problem = fmt.Sprintf("Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s", o.id, o.Agent, used[0].Agent)
		case len(used) > 0 && o.Role != used[0].Role:
			problem = fmt.Sprintf("Aggregated offers must be allocated to the same role. Offer %s uses role %s but another is using role %s", o.id, o.Role, used[0].Role)
		}
		seen[id.Value] = true
		used = append(used, o)
	}
	return used, problem
}

// dropLaunches answers for tasks whose offers were not valid.
func (m *Master) dropLaunches(f *framework, operations []v1.Offer_Operation, problem string) {
	for i := range operations {
		for _, info := range launchesOf(&operations[i]) {
			status := masterStatus(info.TaskID.Value, info.AgentID.Value, f.lostState(v1.TASK_DROPPED),
				v1.REASON_INVALID_OFFERS, "Task launched with invalid offers: "+problem)
			f.sendStatus(status)
		}
	}
}

func launchesOf(operation *v1.Offer_Operation) []v1.TaskInfo {
	switch operation.Type {
	case v1.Offer_Operation_LAUNCH:
		return operation.GetLaunch().GetTaskInfos()
	case v1.Offer_Operation_LAUNCH_GROUP:
		if group := operation.GetLaunchGroup(); group != nil {
			return group.TaskGroup.Tasks
		}
	}
	return nil
}

// operate carries out one operation of an ACCEPT and gives what it left.
func (m *Master) operate(f *framework, a *agent, h allocator.Holder, operation *v1.Offer_Operation, left v1.Resources) v1.Resources {
	switch operation.Type {
	case v1.Offer_Operation_LAUNCH:
		for _, info := range launchesOf(operation) {
			left = m.launch(f, a, h, info, left)
		}
	case v1.Offer_Operation_LAUNCH_GROUP:
		for _, info := range launchesOf(operation) {
			f.sendStatus(taskError(&info, "This Mesos does not launch task groups"))
		}
	case v1.Offer_Operation_RESERVE, v1.Offer_Operation_UNRESERVE, v1.Offer_Operation_CREATE, v1.Offer_Operation_DESTROY:
		left = m.convert(f, a, h, operation, left)
	default:
		m.log.Warn("operation dropped: this Mesos does not know it", "framework", f.id, "operation", operation.Type.String())
	}
	return left
}

// launch checks one task and sends it to its agent; what it takes is missing from
// the result.
func (m *Master) launch(f *framework, a *agent, h allocator.Holder, info v1.TaskInfo, left v1.Resources) v1.Resources {
	complete(f, h, &info)
	if problem := taskProblem(f, a, &info, left); problem != "" {
		m.counters.invalidTasks++
		f.sendStatus(taskError(&info, problem))
		return left
	}
	takes := resource.Sum(info.Resources)
	if info.Executor != nil && a.executor(f.id, info.Executor.ExecutorID.Value) == nil {
		takes.Add(info.Executor.Resources...)
		a.addExecutor(f.id, info.Executor, false)
	}
	t := newTask(f.id, a.id, &info)
	f.tasks[t.id()] = t
	m.runTask(f, a, t)
	return left.Minus(takes...)
}
