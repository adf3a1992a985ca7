package master

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/allocator"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// inverseOffer asks one framework to leave one agent before its machine goes down.
type inverseOffer struct {
	id        string
	framework *framework
	agent     *agent
}

// inverseAnswer is how far a framework is with the inverse offers of an agent.
type inverseAnswer struct {
	outstanding string // the inverse offer that it has; empty for none
	until       time.Time
	status      allocator.InverseOfferStatus_Status
	at          time.Time
}

// offerInverse asks all frameworks that hold something on agents whose machines will
// go down, unless they have been asked or have answered lately.
func (m *Master) offerInverse(now time.Time) {
	if len(m.schedule.Windows) == 0 {
		return
	}
	batches := map[*framework][]v1.InverseOffer{}
	for _, a := range m.sortedAgents() {
		planned := m.unavailability(a)
		if planned == nil || !m.active(a) {
			continue
		}
		for _, f := range m.sortedFrameworks() {
			if f.subscription == nil || !m.holdsOn(f, a) {
				continue
			}
			answer := a.inverse[f.id]
			if answer == nil {
				answer = &inverseAnswer{status: allocator.InverseOfferStatus_UNKNOWN, at: now}
				a.inverse[f.id] = answer
			}
			if answer.outstanding != "" || now.Before(answer.until) {
				continue
			}
			o := &inverseOffer{id: fmt.Sprintf("%s-O%d", m.id, m.nextOffer), framework: f, agent: a}
			m.nextOffer++
			m.inverseOffers[o.id] = o
			answer.outstanding = o.id
			batches[f] = append(batches[f], o.message(planned))
		}
	}
	for f, batch := range batches {
		f.send(&scheduler.Event{Type: scheduler.Event_INVERSE_OFFERS, InverseOffers: &scheduler.Event_InverseOffers{InverseOffers: batch}})
	}
}

func (o *inverseOffer) message(planned *v1.Unavailability) v1.InverseOffer {
	return v1.InverseOffer{
		OfferID: v1.OfferID{Value: o.id}, URL: o.agent.url(), FrameworkID: v1.FrameworkID{Value: o.framework.id},
		AgentID: &v1.AgentID{Value: o.agent.id}, Unavailability: *planned,
	}
}

// holdsOn says whether a framework holds anything on an agent, if only an offer.
func (m *Master) holdsOn(f *framework, a *agent) bool {
	for _, t := range f.tasks {
		if t.agent == a.id && !t.released {
			return true
		}
	}
	for _, o := range m.offers {
		if o.framework == f && o.Agent == a.id {
			return true
		}
	}
	return len(a.executors[f.id]) > 0
}

// answerInverse takes a framework's answer to inverse offers; those that are gone are
// passed over.
func (m *Master) answerInverse(f *framework, ids []v1.OfferID, filters *v1.Filters, status allocator.InverseOfferStatus_Status, now time.Time) {
	for _, id := range ids {
		o, known := m.inverseOffers[id.Value]
		if !known || o.framework != f {
			m.log.Debug("answered an unknown inverse offer", "framework", f.id, "offer", id.Value)
			continue
		}
		delete(m.inverseOffers, o.id)
		*o.agent.inverse[f.id] = inverseAnswer{until: now.Add(refusal(filters)), status: status, at: now}
	}
}

// takeBackInverse ends inverse offers that match, with a rescind for each if the
// framework is to know.
func (m *Master) takeBackInverse(match func(*inverseOffer) bool, rescind bool) {
	for _, id := range slices.Sorted(maps.Keys(m.inverseOffers)) {
		o := m.inverseOffers[id]
		if !match(o) {
			continue
		}
		delete(m.inverseOffers, id)
		delete(o.agent.inverse, o.framework.id)
		if rescind {
			o.framework.send(&scheduler.Event{Type: scheduler.Event_RESCIND_INVERSE_OFFER,
				RescindInverseOffer: &scheduler.Event_RescindInverseOffer{InverseOfferID: v1.OfferID{Value: id}}})
		}
	}
}

// forgetInverseOffers lets an agent's frameworks be asked anew: the schedule has
// changed, or the agent is gone.
func (m *Master) forgetInverseOffers(a *agent) {
	m.takeBackInverse(func(o *inverseOffer) bool { return o.agent == a }, true)
	clear(a.inverse)
}

// forgetInverseAnswers drops what a framework has said, which ends with its
// subscription.
func (m *Master) forgetInverseAnswers(f *framework) {
	m.takeBackInverse(func(o *inverseOffer) bool { return o.framework == f }, false)
	for _, a := range m.agents {
		delete(a.inverse, f.id)
	}
}

// inverseStatuses are the latest answers of the agent's frameworks.
func (a *agent) inverseStatuses() []allocator.InverseOfferStatus {
	var statuses []allocator.InverseOfferStatus
	for _, id := range slices.Sorted(maps.Keys(a.inverse)) {
		answer := a.inverse[id]
		statuses = append(statuses, allocator.InverseOfferStatus{
			Status: answer.status.Enum(), FrameworkID: v1.FrameworkID{Value: id}, Timestamp: v1.TimeInfo{Nanoseconds: answer.at.UnixNano()},
		})
	}
	return statuses
}
