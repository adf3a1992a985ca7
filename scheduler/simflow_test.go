package scheduler

import "time"

// What the checks of the simulation look at inside the core.

// wanting says whether something in a role could use an offer now.
func wanting(c *Core, role string) bool {
	for _, s := range c.demand.shapes {
		if s.wanting && s.owner.role == role {
			return true
		}
	}
	return false
}

// checkFlow: what the process has told Mesos of offers fits to what waits, as soon as it may say so.
func (s *simulation) checkFlow(sch *simScheduler) {
	c := sch.core
	if !c.mesos.up() {
		return
	}
	for _, role := range simRoles {
		f := c.demand.shares[role] // looking must not make one
		if f == nil || c.now.Before(f.revived.Add(reviveGap)) || c.now.Before(f.notBefore) {
			continue
		}
		if sch.suppressed[role] && wanting(c, role) {
			s.breach(neverSilenced, "offers for %s are suppressed although something wants some", role)
		}
	}
}

// unheardOf is how long an offer may wait for its answer, and a role for offers, when nothing fails.
const unheardOf = 2 * time.Minute

// checkCalm looks at Mesos when nothing fails.
func (s *simulation) checkCalm(sch *simScheduler) {
	for _, id := range s.master.offerOrder {
		if o := s.master.offers[id]; s.now.Sub(later(o.made, s.calmed)) > unheardOf {
			s.breach(offersBack, "%s of %s was not answered since %s", id, o.agent.id, o.made)
		}
	}
	for _, role := range simRoles {
		if !s.master.suppressed[role] || !wanting(sch.core, role) {
			delete(s.silent, role)
			continue
		}
		since, ok := s.silent[role]
		if !ok {
			s.silent[role] = s.now
		} else if s.now.Sub(since) > unheardOf {
			s.breach(neverSilenced, "something waits, but Mesos is told to send no offers for %s since %s", role, since)
		}
	}
}
