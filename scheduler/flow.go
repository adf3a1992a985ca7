package scheduler

import (
	"slices"
	"time"
)

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
	revived    time.Time   // the last REVIVE
	notBefore  time.Time   // after a call that failed
	again      []time.Time // when something that stands in the way of launches passes, earliest first
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
	defer f.rearm(c)
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
	case !wanting && (!f.known || !f.suppressed):
		f.known, f.suppressed = true, true
		c.call(Suppress{Roles: []string{c.cfg.Role}})
		c.count(MetricOfferFlow, 1, "suppress")
	}
}

// fire announces what waits once more if something that stood in its way has passed, or if no offer has met it for long.
func (f *flow) fire(c *Core) {
	passed := 0
	for passed < len(f.again) && !c.now.Before(f.again[passed]) {
		passed++
	}
	f.again = f.again[passed:]
	if passed > 0 || !c.now.Before(f.revived.Add(reviveAgain)) {
		c.demand.grown = c.demand.wanting > 0
	}
	f.rearm(c)
}

func (f *flow) rearm(c *Core) {
	if len(f.again) > 0 {
		c.arm(f, f.again[0])
	}
	if c.demand.wanting > 0 && !f.revived.IsZero() {
		c.arm(f, f.revived.Add(reviveAgain))
	}
}

// lookAgainAt says that something which stands in the way of launches passes then.
func (f *flow) lookAgainAt(c *Core, at time.Time) {
	i, _ := slices.BinarySearchFunc(f.again, at, time.Time.Compare)
	f.again = slices.Insert(f.again, i, at)
	f.rearm(c)
}

// restart forgets what Mesos was told: a new subscription knows nothing of it.
func (f *flow) restart() { f.known, f.notBefore, f.revived = false, time.Time{}, time.Time{} }

// failed notes that Mesos may not have heard the last call.
func (f *flow) failed(c *Core) {
	f.known = false
	f.notBefore = c.now.Add(callAgain)
	c.arm(f, f.notBefore)
}
