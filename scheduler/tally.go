package scheduler

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// historyRuns is how many runs that have ended on the old version a rollout begins with.
const historyRuns = 1000

func tallyID(channel, job string) string { return channel + "/" + job }

// tally counts a run that has ended for the rollout of which it is a part, in the same commit, and lets the rollout go on.
func (c *Core) tally(r *run) {
	ch := c.channels[r.rec.Channel]
	if r.rec.Rollout == 0 || ch == nil || r.rec.State == proto.RUN_CANCELLED {
		return
	}
	newest := ch.newest()
	if newest == nil || newest.Number != r.rec.Rollout || r.rec.Created.Before(newest.Created) { // its channel was deleted, and there is a new one
		return
	}
	if len(r.rec.Moves) > 0 || r.rec.ExecutorVersion != newest.From && r.rec.ExecutorVersion != newest.To {
		return // it was moved by hand
	}
	t := ch.tallies[r.rec.Job]
	if t == nil {
		t = ch.newTally(r.rec.Job)
	}
	ch.sums.Remove(t)
	if r.rec.ExecutorVersion == newest.To {
		rollout.Count(&t.New, r.outcome())
		rollout.Ended(newest, r.rec.Created)
		c.saveRollout(newest)
	} else {
		rollout.Count(&t.Old, r.outcome())
	}
	ch.sums.Add(t)
	c.saveTally(ch, t)
	c.tend(ch)
}

// newTally begins to look at a job.
func (ch *channel) newTally(job string) *proto.Tally {
	t := &proto.Tally{Channel: ch.rec.Name, Rollout: ch.newest().Number, Job: job}
	ch.tallies[job] = t
	return t
}

// outcome is how a run that has ended went.
func (r *run) outcome() rollout.Outcome {
	o := rollout.Outcome{Failed: r.rec.State == proto.RUN_FAILED}
	if r.rec.Started != nil && r.rec.Ended != nil {
		o.Took = r.rec.Ended.Sub(*r.rec.Started)
	}
	for _, st := range r.stages {
		for _, t := range st.tasks {
			if t != nil {
				o.Rows += max(0, t.rec.Counters.Rows)
			}
		}
	}
	return o
}

// tend lets a channel's open rollout go on if it is time, and sees to it that it is looked at again.
func (c *Core) tend(ch *channel) {
	r := ch.open()
	if r == nil {
		return
	}
	verdict := rollout.Judge(r, &ch.sums, ch.inOrder(), c.now)
	if verdict.Move == rollout.Wait {
		verdict = rollout.Stuck(r, c.livingOnNew(r), c.now)
	}
	if rollout.Follow(r, verdict, c.now) {
		c.steered(ch, "")
	}
	c.armRollout(ch)
}

// livingOnNew yields, in no order, when the runs on a rollout's new version were started that count for it and have not
// ended.
func (c *Core) livingOnNew(r *proto.Rollout) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if v := c.versions[r.To]; v == nil || v.runs == 0 { // most often: it saves going through all runs
			return
		}
		for _, one := range c.runs {
			rec := one.rec
			counts := rec.Channel == r.Channel && rec.Rollout == r.Number && rec.ExecutorVersion == r.To && len(rec.Moves) == 0
			if counts && !one.ended() && !yield(rec.Created) {
				return
			}
		}
	}
}

func (c *Core) armRollout(ch *channel) {
	if r := ch.open(); r != nil {
		if at := rollout.Due(r, c.now); !at.IsZero() {
			c.arm(ch, at)
		}
	}
}

// fire looks at the channel's rollout when time has passed: what it waits for has changed in any case.
func (ch *channel) fire(c *Core) {
	ch.touch(c)
	c.tend(ch)
}

// inOrder yields the tallies by job: what they come to must not depend on chance.
func (ch *channel) inOrder() iter.Seq[*proto.Tally] {
	return func(yield func(*proto.Tally) bool) {
		for _, job := range sortedKeys(ch.tallies) {
			if !yield(ch.tallies[job]) {
				return
			}
		}
	}
}

// recall fills the old side of a rollout that begins with what is known of the old version: the newest of the runs that
// are kept, of jobs that take part. Those that were moved by hand say nothing of one version.
func (c *Core) recall(ch *channel) {
	r := ch.newest()
	var runs []*run
	for _, one := range c.runs {
		rec := one.rec
		ended := rec.State == proto.RUN_SUCCEEDED || rec.State == proto.RUN_FAILED
		if ended && len(rec.Moves) == 0 && rec.ExecutorVersion == r.From && one.job.follows() == ch.rec.Name && rollout.TakesPart(&r.Plan, rec.Job) {
			runs = append(runs, one)
		}
	}
	slices.SortFunc(runs, func(a, b *run) int {
		return cmp.Or(a.rec.Ended.Compare(*b.rec.Ended), cmp.Compare(a.rec.ID, b.rec.ID))
	})
	for _, one := range runs[max(0, len(runs)-historyRuns):] {
		t := ch.tallies[one.rec.Job]
		if t == nil {
			t = ch.newTally(one.rec.Job)
		}
		rollout.Count(&t.Old, one.outcome())
	}
	for t := range ch.inOrder() {
		ch.sums.Add(t)
		c.saveTally(ch, t)
	}
}

// rewindRollout brings moments that lie ahead back to now; see rewind.
func (c *Core) rewindRollout(ch *channel) {
	r := ch.open()
	if r == nil {
		return
	}
	changed := c.notAhead(&r.Paused, 0)
	for _, at := range []*time.Time{&r.Created, &r.StepBegan} {
		if at.After(c.now) {
			*at, changed = c.now, true
		}
	}
	events := slices.Clone(r.Events) // readers may hold the old ones
	for i := range events {
		if events[i].At.After(c.now) {
			events[i].At, changed = c.now, true
		}
	}
	if changed {
		r.Events = events
		c.saveRollout(r)
	}
}
