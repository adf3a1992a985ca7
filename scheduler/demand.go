package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// demand is all that waits for offers.
type demand struct {
	shapes []*shape          // that wait for something, in the order in which they are served
	shares map[string]*share // by role
}

// share is the part that waits for one role's offers, and whether Mesos sends them.
type share struct {
	flow
	role     string
	wanting  int  // shapes that could use an offer now
	pending  int  // tasks
	launched int  // tasks
	grown    bool // something has become launchable since the last REVIVE
}

func (d *demand) share(role string) *share {
	if d.shares == nil {
		d.shares = map[string]*share{}
	}
	s := d.shares[role]
	if s == nil {
		s = &share{role: role}
		d.shares[role] = s
	}
	return s
}

func (d *demand) pending() int {
	n := 0
	for _, share := range d.shares {
		n += share.pending
	}
	return n
}

func (d *demand) launched() int {
	n := 0
	for _, share := range d.shares {
		n += share.launched
	}
	return n
}

// nobodyWants says whether no offer of any role is of use now.
func (c *Core) nobodyWants() bool {
	for _, share := range c.demand.shares {
		if share.wanting > 0 {
			return false
		}
	}
	return true
}

// grow asks for offers anew if something waits for them.
func (s *share) grow() { s.grown = s.grown || s.wanting > 0 }

// shape is a set of tasks that need the same: one stage of one run, or the checks of one version.
type shape struct {
	owner       *owner
	stage       string
	kind        string
	resources   jobs.Resources
	constraints []jobs.Constraint
	limit       int           // tasks that may be launched at one time
	launched    int           // tasks that are
	longest     time.Duration // that one of its tasks took which finished
	queue       queue
	delayed     map[*task]struct{} // pending tasks in back-off
	wishes      []wish             // tasks that are to get a second attempt, the slowest first
	wanting     bool
	held        time.Time // until when the first of those waits that are to run on another agent than before; zero: none does
	open        time.Time // since when there is room for one more
	created     time.Time // of the run: earlier ones are served first
	tried       trial
}

// pending counts the shape's tasks that wait for whatever reason.
func (s *shape) pending() int { return s.queue.len() + len(s.delayed) }

// waits says whether an offer could ever be of use: a task is pending, or to get a second attempt.
func (s *shape) waits() bool { return s.pending() > 0 || len(s.wishes) > 0 }

// room is how many of its tasks may be launched now.
func (s *shape) room() int { return min(s.queue.len(), s.limit-s.launched) }

// fresh is how many of those may be launched now that never were.
func (s *shape) fresh() int { return min(s.queue.fresh.count, s.limit-s.launched) }

// serve orders shapes: checks first, for they are short and people wait for them, then runs as they were created.
func serve(a, b *shape) int {
	if checks := cmp.Compare(btoi(a.owner.run != nil), btoi(b.owner.run != nil)); checks != 0 {
		return checks
	}
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.owner.id, b.owner.id), cmp.Compare(a.stage, b.stage))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// update brings everything that is derived from a shape's numbers up to date. before is what s.pending was.
func (d *demand) update(s *shape, before int) {
	after := s.pending()
	share := s.owner.share
	share.pending += after - before
	at, found := slices.BinarySearchFunc(d.shapes, s, serve)
	switch {
	case s.waits() && !found:
		d.shapes = slices.Insert(d.shapes, at, s)
	case !s.waits() && found:
		d.shapes = slices.Delete(d.shapes, at, at+1)
	}
	wanting := s.room() > 0 || s.roomBeside() > 0
	if wanting != s.wanting {
		s.wanting = wanting
		share.wanting += 2*btoi(wanting) - 1
	}
}

// enqueue makes a pending task launchable.
func (c *Core) enqueue(t *task) {
	s := t.shape
	before, room := s.pending(), s.room()
	delete(s.delayed, t)
	if s.queue.len() == 0 {
		s.tried = trial{since: c.now}
	}
	t.ready = c.now
	s.queue.push(t)
	c.demand.update(s, before)
	c.opened(s, room)
	c.touchShape(s)
}

// opened notes that a shape has more room than before.
func (c *Core) opened(s *shape, before int) {
	if s.room() <= before {
		return
	}
	s.owner.share.grown = true
	if before <= 0 {
		s.open = c.now
	}
}

// readySince is since when a task could have been launched that was ready then: parallelism did not keep it back either.
func (s *shape) readySince(ready time.Time) time.Time { return later(ready, s.open) }

// delay keeps a pending task back until its back-off has ended.
func (c *Core) delay(t *task, until time.Time) {
	s := t.shape
	before := s.pending()
	if s.delayed == nil {
		s.delayed = map[*task]struct{}{}
	}
	s.delayed[t] = struct{}{}
	c.demand.update(s, before)
	c.arm(t, until)
	c.touchShape(s)
}

// withdraw takes a pending task off the demand.
func (c *Core) withdraw(t *task) {
	s := t.shape
	before := s.pending()
	switch {
	case t.delayed():
		delete(s.delayed, t)
	case t.queued:
		s.queue.remove(t)
	}
	c.demand.update(s, before)
	c.touchShape(s)
}

// vacate takes one off a shape's launched tasks.
func (c *Core) vacate(s *shape) {
	room := s.room()
	s.launched--
	s.owner.share.launched--
	c.demand.update(s, s.pending())
	c.opened(s, room)
	c.touchShape(s)
}

// touchShape marks what a View says about waiting as changed.
func (c *Core) touchShape(s *shape) {
	if s.owner.run != nil {
		c.view.run(s.owner.run)
		return
	}
	c.view.changed = true
	for _, ck := range c.checking {
		if ck.version == s.owner.version {
			for _, r := range ck.runs {
				c.view.run(r)
			}
		}
	}
}
