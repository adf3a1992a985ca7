package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// allocate offers what is free, at each interval and when it is asked to, until ctx ends. Executors without tasks end
// when they have lingered for long enough.
func (m *master) allocate(ctx context.Context) {
	tick := time.NewTicker(allocationInterval)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-tick.C:
		case <-m.kick:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		m.mu.Lock()
		if now.Sub(swept) > time.Second {
			m.sweep(now)
			swept = now
		}
		m.offerAll(now)
		m.mu.Unlock()
	}
}

func (m *master) allocateSoon() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// resume offers again what is free. Tasks that begin from now on end at once or not at all.
func (m *master) resume(endAtOnce bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused, m.endsSoon = false, endAtOnce
	m.allocateSoon()
}

// pause offers nothing any more.
func (m *master) pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = true
}

// offerAll sends one event with all that is free: each agent's goes to the role that has the least, as long as nobody
// has refused as much. m.mu is held.
func (m *master) offerAll(now time.Time) {
	if m.paused || m.stream == nil {
		return
	}
	var all []mesosgo.Offer
	for _, a := range m.agents {
		free := a.free()
		if !free.offerable() {
			continue
		}
		if role := m.poorest(a, free, now); role != "" {
			all = append(all, m.offer(a, role, free, now))
		}
	}
	m.sendOffers(all, now)
}

func (m *master) sendOffers(all []mesosgo.Offer, now time.Time) {
	if len(all) == 0 {
		return
	}
	m.seen.offers += len(all)
	if m.seen.firstOffer.IsZero() {
		m.seen.firstOffer = now
	}
	m.stream.send(&sched.Event{Type: sched.Event_OFFERS, Offers: &sched.Event_Offers{Offers: all}})
}

// poorest is the role with the fewest cpus that wants offers and has not refused this one.
func (m *master) poorest(a *agent, free amount, now time.Time) string {
	best := ""
	for role, wanted := range m.roles {
		if !wanted || m.refused(place{a, role}, free, now) {
			continue
		}
		if best == "" || m.allocated[role] < m.allocated[best] || m.allocated[role] == m.allocated[best] && role < best {
			best = role
		}
	}
	return best
}

func (m *master) refused(at place, free amount, now time.Time) bool {
	f, ok := m.filters[at]
	if ok && !now.Before(f.until) {
		delete(m.filters, at)
		return false
	}
	return ok && free.within(f.refused)
}

func (m *master) offer(a *agent, role string, has amount, now time.Time) mesosgo.Offer {
	m.number++
	o := &offer{id: fmt.Sprintf("8d5c1675-5721-4ac8-827a-139ce88adaf2-O%d", m.number), role: role, agent: a, has: has, sent: now}
	m.offers[o.id] = o
	a.offered = a.offered.plus(has)
	m.allocated[role] += has[0]
	out := mesosgo.Offer{
		ID:             mesosgo.OfferID{Value: o.id},
		FrameworkID:    mesosgo.FrameworkID{Value: framework},
		AgentID:        mesosgo.AgentID{Value: a.id},
		Hostname:       a.host,
		Resources:      has.resources(role),
		AllocationInfo: &mesosgo.Resource_AllocationInfo{Role: &role},
		Attributes:     []mesosgo.Attribute{{Name: "zone", Type: mesosgo.TEXT, Text: &mesosgo.Value_Text{Value: "a"}}},
	}
	for id := range a.executors {
		out.ExecutorIDs = append(out.ExecutorIDs, mesosgo.ExecutorID{Value: id})
	}
	return out
}

// offerTooLittle sends one offer of each agent that no task fits into, half of them to each role. They are answered like
// others.
func (m *master) offerTooLittle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	roles := make([]string, 0, len(m.roles))
	for role := range m.roles {
		roles = append(roles, role)
	}
	slices.Sort(roles)
	now := time.Now()
	var all []mesosgo.Offer
	for i, a := range m.agents {
		all = append(all, m.offer(a, roles[i%len(roles)], amount{200, 100_000, 1_000_000}, now))
	}
	m.sendOffers(all, now)
}

// take removes an offer, which was used or given back.
func (m *master) take(o *offer) {
	delete(m.offers, o.id)
	o.agent.offered = o.agent.offered.minus(o.has)
	m.allocated[o.role] -= o.has[0]
}

func (m *master) rescindAll() {
	for _, o := range m.offers {
		m.take(o)
	}
}

// use takes resources of an agent, or gives them back if sign is -1.
func (m *master) use(a *agent, role string, what amount, sign int64) {
	for i := range what {
		a.used[i] += sign * what[i]
	}
	m.allocated[role] += sign * what[0]
}

// sweep ends executors that were idle for as long as they linger.
func (m *master) sweep(now time.Time) {
	linger := scheduler.Defaults().Linger
	for _, a := range m.agents {
		for id, e := range a.executors {
			if e.tasks > 0 || now.Sub(e.idle) < linger {
				continue
			}
			delete(a.executors, id)
			m.use(a, e.role, e.resources, -1)
			if m.stream != nil {
				m.stream.send(&sched.Event{Type: sched.Event_FAILURE, Failure: &sched.Event_Failure{
					AgentID:    &mesosgo.AgentID{Value: a.id},
					ExecutorID: &mesosgo.ExecutorID{Value: id},
					Status:     new(int32),
				}})
			}
		}
	}
}
