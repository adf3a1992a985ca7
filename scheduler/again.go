package scheduler

import (
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	elsewhereWait = 10 * time.Second // for another agent than the one that a task failed on
	knownFor      = time.Minute      // after its last offer an agent is not counted on
)

// placeAgain launches tasks that were launched before, first come, first served. Each goes to another agent than the one
// that it failed on last. If none is offered now, but one is known that would do, it waits a little; others of its shape
// do not wait for it.
func (c *Core) placeAgain(s *shape, fits *candidates) {
	s.held = time.Time{}
	var known []string // agents that would do, two at most; looked up when needed
	s.queue.sift(func(t *task) bool {
		if s.launched >= s.limit || len(*fits) == 0 || c.launches >= mostLaunches {
			return false
		}
		agent, failed := t.failedOn()
		i := fits.bestBut(agent)
		if i < 0 {
			if known == nil {
				known = c.wouldDo(s)
			}
			if until := failed.Add(elsewhereWait); c.now.Before(until) && (len(known) > 1 || len(known) == 1 && known[0] != agent) {
				s.held = earlier(s.held, until)
				return true
			}
			i = 0
		}
		c.launch(s, t, (*fits)[i])
		fits.took(i)
		return true
	})
	if !s.held.IsZero() {
		s.owner.share.lookAgainAt(c, s.held)
	}
}

// failedOn is the agent on which the newest attempt failed, and when; empty if there is none, or if it says nothing about
// the agent.
func (t *task) failedOn() (agent string, at time.Time) {
	if len(t.rec.Attempts) == 0 {
		return "", time.Time{}
	}
	last := t.attempts[len(t.attempts)-1]
	rec := last.rec()
	if rec.Ended == nil || last.unborn() || rec.State != proto.TASK_FAILED && rec.State != proto.TASK_LOST {
		return "", time.Time{}
	}
	return rec.AgentID, *rec.Ended
}

// wouldDo finds up to two agents that were offered lately and on which a task of the shape has room if nothing else is
// there.
func (c *Core) wouldDo(s *shape) []string {
	found := make([]string, 0, 2)
	for id, a := range c.agents {
		os, arch := a.platform()
		if c.now.Sub(a.seen) <= knownFor && c.excluded(s, a).reason == "" && lacks(a.most, c.withExecutor(s.resources)) == "" &&
			c.versions[s.owner.version].artifact(os, arch) != nil {
			if found = append(found, id); len(found) == cap(found) {
				break
			}
		}
	}
	return found
}
