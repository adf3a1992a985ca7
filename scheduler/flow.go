package scheduler

import "time"

const (
	reviveGap   = 20 * time.Millisecond // between two REVIVEs for new demand
	reviveAgain = 30 * time.Second      // until demand that no offer has met is announced again, in case a call got lost
	callAgain   = time.Second           // before a refused call is repeated
)

// flow is whether Mesos sends offers. Both calls are repeated when they fail, so that it is never suppressed for good.
type flow struct {
	alarm
	known      bool // what Mesos was told last has reached it, as far as known
	suppressed bool
	revived    time.Time // the last REVIVE
	notBefore  time.Time // after a call that failed
}

// steerOffers tells Mesos whether offers are wanted, when that has changed. REVIVE clears the filters of earlier
// declines, too: it is sent whenever something new has become launchable.
func (c *Core) steerOffers() {
	f := &c.demand.flow
	wanting := c.demand.wanting > 0
	if !wanting {
		c.demand.grown = false
	}
	if !c.mesos.up() {
		return
	}
	switch {
	case c.now.Before(f.notBefore):
		c.arm(f, f.notBefore)
	case wanting && (!f.known || f.suppressed || c.demand.grown):
		if next := f.revived.Add(reviveGap); c.now.Before(next) {
			c.arm(f, next)
			return
		}
		c.demand.grown = false
		f.known, f.suppressed, f.revived = true, false, c.now
		c.call(Revive{Roles: []string{c.cfg.Role}})
		c.count(MetricOfferFlow, 1, "revive")
		c.arm(f, c.now.Add(reviveAgain))
	case !wanting && (!f.known || !f.suppressed):
		f.known, f.suppressed = true, true
		c.call(Suppress{Roles: []string{c.cfg.Role}})
		c.count(MetricOfferFlow, 1, "suppress")
	}
}

// fire looks again: a gap, a wait after a failed call, an agent's avoidance or the time without an offer is over.
func (f *flow) fire(c *Core) {
	if c.demand.wanting == 0 {
		return
	}
	c.demand.grown = true
}

// lookAgainAt announces what waits then once more, because something that stood in the way has passed.
func (d *demand) lookAgainAt(c *Core, at time.Time) { c.arm(&d.flow, at) }

// restart forgets what Mesos was told: a new subscription knows nothing of it.
func (f *flow) restart() { f.known, f.notBefore, f.revived = false, time.Time{}, time.Time{} }

// failed notes that Mesos may not have heard the last call.
func (f *flow) failed(c *Core) {
	f.known = false
	f.notBefore = c.now.Add(callAgain)
	c.arm(f, f.notBefore)
}
