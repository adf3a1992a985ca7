package scheduler

import "time"

// rewind brings moments of a task that lie ahead back to now. Whoever led before had a clock that was ahead of this one:
// another instance, or this one until its clock was put right. A back-off must not last until the clock gets there, and
// neither must the wait for a task that was told to end.
func (c *Core) rewind(t *task) {
	if t.ended() {
		return
	}
	var backoff time.Duration
	if n := len(t.rec.Attempts); n > 0 && t.rec.NotBefore != nil && t.rec.Attempts[n-1].Ended != nil {
		backoff = t.rec.NotBefore.Sub(*t.rec.Attempts[n-1].Ended) // by one and the same clock
	}
	changed := false
	for i := range t.rec.Attempts {
		rec := &t.rec.Attempts[i]
		if rec.Launched.After(c.now) {
			rec.Launched, changed = c.now, true
		}
		for _, at := range []**time.Time{&rec.Running, &rec.Ended, &rec.KillRequested} {
			changed = c.notAhead(at, 0) || changed
		}
	}
	if c.notAhead(&t.rec.NotBefore, backoff) || changed {
		c.saveTask(t)
	}
}

// notAhead replaces a moment that is later than it can be, and says whether it was.
func (c *Core) notAhead(at **time.Time, most time.Duration) bool {
	limit := c.now.Add(most)
	if *at == nil || !(*at).After(limit) {
		return false
	}
	*at = &limit
	return true
}
