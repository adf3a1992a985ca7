package scheduler

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	// maintenanceMargin is the least time before announced maintenance within which a task without a timeout begins no more.
	maintenanceMargin = 10 * time.Minute
	// drainSlack is how much earlier than needed what runs on an agent is told to go.
	drainSlack = 10 * time.Second
	// inverseAgain is for how long an inverse offer that was answered is not made again: Mesos' own five seconds would bring
	// those of a maintenance that is days ahead all the time.
	inverseAgain = 30 * time.Second
)

// window is an announced maintenance of an agent, in the core's own time (see advanceClock). It is not stored: Mesos tells
// of it again after each subscription.
type window struct {
	start   time.Time
	end     time.Time // zero: for ever
	inverse string    // the inverse offer that told of it last; empty: an offer did
}

// announce notes that an agent will be away. Tasks that would still run then are moved in time.
func (c *Core) announce(a *agent, start time.Time, duration time.Duration, inverse string) {
	w := &window{start: start.Add(c.skew), inverse: inverse}
	if duration > 0 {
		w.end = w.start.Add(duration)
	}
	if !w.end.IsZero() && !c.now.Before(w.end) {
		c.dismiss(a)
		return
	}
	known := a.window
	if known != nil && known.start.Equal(w.start) && known.end.Equal(w.end) {
		w = known
		if inverse != "" {
			delete(c.inverse, w.inverse)
			w.inverse = inverse
		}
	} else {
		c.dismiss(a)
		a.window = w
		c.view.agent(a)
		c.note(slog.LevelInfo, "maintenance is announced", slog.String("agent", a.id), slog.String("host", a.host),
			slog.Time("start", start), slog.Duration("duration", duration))
	}
	if inverse != "" {
		c.inverse[inverse] = a
	}
	a.fire(c)
}

// dismiss forgets an agent's maintenance: it was called off, or is over. What was killed for its sake goes on elsewhere
// all the same.
func (c *Core) dismiss(a *agent) {
	if a.window == nil {
		return
	}
	delete(c.inverse, a.window.inverse)
	a.window = nil
	for _, share := range c.demand.shares {
		share.grow()
	}
	c.view.agent(a)
}

// inverseOffered answers for each agent that Mesos asks back whether all that is ours will be gone when its maintenance
// begins.
func (c *Core) inverseOffered(offers []InverseOffer) {
	if !c.mesos.up() {
		return // they died with their subscription
	}
	var gone, staying []string
	for _, o := range offers {
		a := c.agent(o.AgentID)
		a.seen = c.now
		c.announce(a, o.Start, o.Duration, o.ID)
		if c.willBeGone(a) {
			gone = append(gone, o.ID)
		} else {
			staying = append(staying, o.ID)
		}
	}
	if len(gone) > 0 {
		c.call(AcceptInverse{OfferIDs: gone, Refuse: inverseAgain})
		c.count(MetricInverseOffers, float64(len(gone)), "accepted")
	}
	if len(staying) > 0 {
		c.call(DeclineInverse{OfferIDs: staying, Refuse: inverseAgain})
		c.count(MetricInverseOffers, float64(len(staying)), "declined")
	}
}

// rescindInverse: the maintenance was changed or called off. Offers and inverse offers tell what holds now.
func (c *Core) rescindInverse(id string) {
	if a := c.inverse[id]; a != nil {
		c.dismiss(a)
	}
}

// drainLead is how long before maintenance an agent's tasks are told to end: as long as one may take until it is given
// up, and an executor stays after its last task.
func (c *Core) drainLead() time.Duration {
	return c.cfg.KillGrace + killsPatience*c.cfg.KillRepeat + c.cfg.Linger + drainSlack
}

// willBeGone says whether nothing of ours will certainly run on an agent when its maintenance begins. As long as there is
// time, all that lives will be moved; after that only what ends by itself before goes in time. An attempt that was given
// up and may still be alive is certain in no case.
func (c *Core) willBeGone(a *agent) bool {
	if a.window == nil {
		return true // it is over already
	}
	start := a.window.start
	inTime := !c.now.After(start.Add(-c.drainLead()))
	for _, e := range c.executorsAt[a.id] {
		for _, one := range e.attempts {
			if !one.live() || !inTime && !c.goneBy(one, start) {
				return false
			}
		}
		if len(e.attempts) == 0 && !e.rec.Dead && !inTime && e.idle.Add(c.cfg.Linger).After(start) {
			return false
		}
	}
	return true
}

// goneBy says whether an attempt's timeout ends it, and its executor goes, before that time.
func (c *Core) goneBy(a *attempt, start time.Time) bool {
	end := a.timesOutAt(c)
	return !end.IsZero() && !end.Add(c.cfg.Linger).After(start)
}

// fire moves what would still run on the agent when its maintenance begins, and forgets maintenance that is over.
func (a *agent) fire(c *Core) {
	w := a.window
	if w == nil {
		return
	}
	drain := w.start.Add(-c.drainLead())
	switch {
	case !w.end.IsZero() && !c.now.Before(w.end):
		c.dismiss(a)
	case c.now.Before(drain):
		c.arm(a, drain)
	default:
		c.drain(a)
		if !w.end.IsZero() {
			c.arm(a, w.end)
		}
	}
}

func (c *Core) drain(a *agent) {
	for _, e := range c.executorsAt[a.id] {
		for _, one := range e.attempts {
			rec := one.rec()
			if !one.live() || rec.KillRequested != nil || c.goneBy(one, a.window.start) {
				continue
			}
			rec.Failure = &proto.Failure{Class: proto.CLASS_OURS, Kind: "drained",
				Message: fmt.Sprintf("its agent goes into maintenance at %s", c.clock(a.window.start).Format(time.RFC3339))}
			c.requestKill(one, "drained")
		}
	}
}

// mayOutlast says whether a task of a shape, begun now, may still run on an agent when its maintenance begins. A timeout
// is a promise. Without one the estimate is twice the longest task of the stage so far, and never below
// maintenanceMargin.
func (c *Core) mayOutlast(s *shape, a *agent) bool {
	if a.window == nil {
		return false
	}
	needs := max(maintenanceMargin, 2*s.longest)
	if timeout := s.timeout(); timeout > 0 {
		needs = timeout + c.drainLead()
	}
	return c.now.Add(needs).After(a.window.start)
}
