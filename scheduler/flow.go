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

// flow is whether Mesos sends a role's offers. Both calls are repeated when they fail, so that it is never suppressed for
// good.
type flow struct {
	alarm
	known      bool // what Mesos was told last has reached it, as far as known
	suppressed bool
	revived    time.Time   // the last REVIVE
	notBefore  time.Time   // after a call that failed
	again      []time.Time // when something that stands in the way of launches passes, earliest first
}

// steerOffers tells Mesos for each role whether offers are wanted, when that has changed. REVIVE clears the filters of
// earlier declines, too: it is sent whenever something new has become launchable.
func (c *Core) steerOffers() {
	for _, role := range c.roles {
		c.steer(c.demand.share(role))
	}
}

func (c *Core) steer(s *share) {
	wanting := s.wanting > 0
	if !wanting {
		s.grown = false
	}
	if !c.mesos.up() {
		return
	}
	defer s.rearm(c)
	switch {
	case c.now.Before(s.notBefore):
		c.arm(s, s.notBefore)
	case wanting && (!s.known || s.suppressed || s.grown):
		if next := s.revived.Add(reviveGap); c.now.Before(next) {
			c.arm(s, next)
			return
		}
		s.grown = false
		s.steered(c, false)
		s.revived = c.now
		c.call(Revive{Roles: []string{s.role}})
		c.count(MetricOfferFlow, 1, "revive", s.role)
	case !wanting && (!s.known || !s.suppressed):
		s.steered(c, true)
		c.call(Suppress{Roles: []string{s.role}})
		c.count(MetricOfferFlow, 1, "suppress", s.role)
	}
}

func (s *share) steered(c *Core, suppressed bool) {
	c.view.changed = c.view.changed || !s.known || s.suppressed != suppressed
	s.known, s.suppressed = true, suppressed
}

// fire announces what waits once more if something that stood in its way has passed, or if no offer has met it for long.
func (s *share) fire(c *Core) {
	passed := 0
	for passed < len(s.again) && !c.now.Before(s.again[passed]) {
		passed++
	}
	s.again = s.again[passed:]
	if passed > 0 || !c.now.Before(s.revived.Add(reviveAgain)) {
		s.grow()
	}
	s.rearm(c)
}

func (s *share) rearm(c *Core) {
	if len(s.again) > 0 {
		c.arm(s, s.again[0])
	}
	if s.wanting > 0 && !s.revived.IsZero() {
		c.arm(s, s.revived.Add(reviveAgain))
	}
}

// lookAgainAt says that something which stands in the way of launches passes then.
func (s *share) lookAgainAt(c *Core, at time.Time) {
	i, found := slices.BinarySearchFunc(s.again, at, time.Time.Compare)
	if !found {
		s.again = slices.Insert(s.again, i, at)
	}
	s.rearm(c)
}

// restart forgets what Mesos was told: a new subscription knows nothing of it.
func (f *flow) restart() { f.known, f.notBefore, f.revived = false, time.Time{}, time.Time{} }

// flowFailed notes that Mesos may not have heard the last call.
func (c *Core) flowFailed(roles []string) {
	for _, role := range roles {
		s := c.demand.share(role)
		s.known = false
		s.notBefore = c.now.Add(callAgain)
		c.arm(s, s.notBefore)
	}
}
