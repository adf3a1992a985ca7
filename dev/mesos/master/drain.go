package master

import (
	"net/http"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// admitted finds an agent that is registered, expected back or unreachable.
func (m *Master) admitted(id string) (*admission, *wire.Refusal) {
	if admitted := m.registry.Agents[id]; admitted != nil {
		return admitted, nil
	}
	return nil, wire.Refuse(http.StatusBadRequest, "Unknown agent")
}

// drainAgent turns off an agent's offers and lets all its tasks be killed.
func (m *Master) drainAgent(call *api.Call_DrainAgent) *wire.Refusal {
	id := call.AgentID.Value
	if a := m.agents[id]; a != nil && m.unavailability(a) != nil {
		return wire.Refuse(http.StatusBadRequest,
			"Agent %s is part of a maintenance schedule under Machine %s", id, a.machine())
	}
	admitted, refusal := m.admitted(id)
	if refusal != nil {
		return refusal
	}
	order := &link.Drain{MarkGone: call.GetMarkGone()}
	if period := call.MaxGracePeriod; period != nil {
		grace := time.Duration(period.Seconds)*time.Second + time.Duration(period.Nanos)
		order.MaxGrace = &grace
	}
	admitted.Deactivated, admitted.Drained = true, false
	admitted.Drain, admitted.DrainStart = order, time.Now()
	m.saveRegistry()
	m.log.Info("agent drains", "agent", id, "mark_gone", order.MarkGone)
	if a := m.agents[id]; a != nil {
		m.deactivate(a)
		a.send(link.Command{Drain: order})
		m.checkDrained(a)
	}
	return nil
}

// deactivateAgent turns off an agent's offers; what runs there goes on.
func (m *Master) deactivateAgent(call *api.Call_DeactivateAgent) *wire.Refusal {
	admitted, refusal := m.admitted(call.AgentID.Value)
	if refusal != nil {
		return refusal
	}
	admitted.Deactivated = true
	m.saveRegistry()
	if a := m.agents[call.AgentID.Value]; a != nil {
		m.deactivate(a)
	}
	return nil
}

// reactivateAgent turns the offers of a deactivated or drained agent on again.
func (m *Master) reactivateAgent(call *api.Call_ReactivateAgent) *wire.Refusal {
	id := call.AgentID.Value
	admitted := m.registry.Agents[id]
	switch {
	case admitted == nil || !admitted.Deactivated:
		return wire.Refuse(http.StatusBadRequest, "Agent is not deactivated")
	case admitted.Drain != nil && !admitted.Drained:
		return wire.Refuse(http.StatusBadRequest, "Agent is still in the DRAINING state")
	}
	admitted.Deactivated, admitted.Drain, admitted.Drained, admitted.DrainStart = false, nil, false, time.Time{}
	m.saveRegistry()
	if a := m.agents[id]; a != nil {
		m.activate(a)
	}
	return nil
}

// deactivate keeps an agent's resources from being offered and takes back its offers.
func (m *Master) deactivate(a *agent) {
	m.alloc.SetAgentActive(a.id, false)
	for _, f := range m.frameworks {
		m.takeBackOffers(f, func(o *offer) bool { return o.Agent == a.id }, true)
	}
}

// active says whether an agent's resources may be offered.
func (m *Master) active(a *agent) bool {
	return a.stream != nil && !m.registry.Agents[a.id].Deactivated
}

// activate lets an agent's resources be offered if they may be.
func (m *Master) activate(a *agent) { m.alloc.SetAgentActive(a.id, m.active(a)) }

// resumeDrain tells a draining agent again that came back: it may never have heard
// it, or have forgotten.
func (m *Master) resumeDrain(a *agent) {
	if admitted := m.registry.Agents[a.id]; admitted.Drain != nil && !admitted.Drained {
		a.send(link.Command{Drain: admitted.Drain})
		m.checkDrained(a)
	}
}

// checkDrained ends an agent's draining once no task of it is left that somebody waits
// for: each has ended, and its end was acknowledged. The agent is gone then if that
// was ordered.
func (m *Master) checkDrained(a *agent) {
	admitted := m.registry.Agents[a.id]
	if admitted == nil || admitted.Drain == nil || admitted.Drained || a.stream == nil || m.agents[a.id] != a {
		return
	}
	for _, f := range m.frameworks {
		for _, t := range f.tasks {
			if t.agent == a.id {
				return
			}
		}
	}
	m.log.Info("agent is drained", "agent", a.id)
	admitted.Drained = true
	if admitted.Drain.MarkGone {
		m.markGone(a.id)
		return
	}
	m.saveRegistry()
}

// drainInfo describes an agent's draining; nil if it does not drain.
func (ad *admission) drainInfo() *v1.DrainInfo {
	if ad.Drain == nil {
		return nil
	}
	markGone := ad.Drain.MarkGone
	info := &v1.DrainInfo{State: v1.DrainState_DRAINING, Config: v1.DrainConfig{MarkGone: &markGone}}
	if ad.Drained {
		info.State = v1.DrainState_DRAINED
	}
	if ad.Drain.MaxGrace != nil {
		info.Config.MaxGracePeriod = &v1.DurationInfo{Nanoseconds: int64(*ad.Drain.MaxGrace)}
	}
	return info
}
