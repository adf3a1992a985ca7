package scheduler

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// rolloutsKept is how many rollouts of a channel stay as its history.
const rolloutsKept = 10

func rolloutID(channel string, number uint32) string { return fmt.Sprintf("%s/%d", channel, number) }

// beginRollout starts to move a channel by steps.
func (c *Core) beginRollout(ch *channel, cmd SetChannel, plan *proto.RolloutPlan) {
	ch.rec.Rollouts++
	r := rollout.Begin(proto.Rollout{
		Channel: ch.rec.Name,
		Number:  ch.rec.Rollouts,
		From:    ch.rec.Version,
		To:      cmd.Version,
		Plan:    *plan,
		By:      cmd.By,
	}, c.now)
	ch.rollouts = append(ch.rollouts, r)
	c.dropRollouts(ch, rolloutsKept)
	c.dropTallies(ch)
	c.recall(ch)
	c.saveChannel(ch)
	c.changedRollout(ch, slog.LevelInfo, "rollout started")
	c.armRollout(ch)
}

// knowsParts refuses a plan that names a job which does not follow the channel: it would take no part. A pattern may mean
// jobs that are yet to come.
func (c *Core) knowsParts(ch *channel, plan *proto.RolloutPlan) *Error {
	var problems []jobs.Problem
	for i, name := range plan.Jobs {
		if j := c.jobs[name]; !strings.Contains(name, "*") && (j == nil || j.follows() != ch.rec.Name) {
			problems = append(problems, jobs.Problem{Pointer: fmt.Sprintf("/rollout/jobs/%d", i),
				Detail: fmt.Sprintf("no job %q follows channel %q", name, ch.rec.Name)})
		}
	}
	if len(problems) > 0 {
		return invalid("set channel "+ch.rec.Name+": the rollout cannot go like this", problems)
	}
	return nil
}

// deserted says whether none of the jobs takes part in a channel's newest rollout.
func (c *Core) deserted(ch *channel) bool {
	for name, j := range c.jobs {
		if j.follows() == ch.rec.Name && rollout.TakesPart(&ch.newest().Plan, name) {
			return false
		}
	}
	return true
}

// dropRollouts forgets all but the newest rollouts of a channel.
func (c *Core) dropRollouts(ch *channel, keep int) {
	for len(ch.rollouts) > keep {
		c.remove(KindRollout, rolloutID(ch.rec.Name, ch.rollouts[0].Number))
		ch.rollouts = ch.rollouts[1:]
	}
}

// dropTallies forgets what the newest rollout has seen so far.
func (c *Core) dropTallies(ch *channel) {
	for _, job := range sortedKeys(ch.tallies) {
		c.remove(KindTally, tallyID(ch.rec.Name, job))
	}
	ch.tallies, ch.sums, ch.rows = map[string]*proto.Tally{}, rollout.Sums{}, nil
	if r := ch.newest(); r != nil {
		ch.sums = rollout.NewSums(&r.Plan)
	}
}

func (c *Core) steerRollout(cmd SteerRollout) (*proto.Rollout, *Error) {
	ch := c.channels[cmd.Channel]
	if ch == nil {
		return nil, c.unknownChannel(cmd.Channel)
	}
	r := ch.newest()
	switch {
	case r == nil:
		return nil, errorf(NotFound, "channel %q never had a rollout", cmd.Channel)
	case cmd.Number != 0 && cmd.Number != r.Number:
		return nil, errorf(Conflict, "channel %q: the newest rollout is %d, not %d", cmd.Channel, r.Number, cmd.Number)
	}
	steer, known := map[RolloutAction]func(*proto.Rollout) (bool, error){
		RolloutPause:   func(r *proto.Rollout) (bool, error) { return rollout.Pause(r, cmd.By, cmd.Reason, c.now) },
		RolloutResume:  func(r *proto.Rollout) (bool, error) { return rollout.Resume(r, cmd.By, cmd.Reason, c.now) },
		RolloutPromote: func(r *proto.Rollout) (bool, error) { return rollout.Promote(r, cmd.By, cmd.Reason, c.now) },
		RolloutAbort:   func(r *proto.Rollout) (bool, error) { return rollout.Abort(r, cmd.By, cmd.Reason, c.now) },
	}[cmd.Action]
	if !known {
		return nil, errorf(Invalid, "steer rollout: there is no action %q; there are pause, resume, promote and abort", cmd.Action)
	}
	changed, err := steer(r)
	if err != nil {
		return nil, errorf(Conflict, "%v", err)
	}
	if changed {
		c.steered(ch, cmd.By)
		c.tend(ch)
	}
	return clone(r), nil
}

// steered stores what has become of a channel's newest rollout, and moves the channel if it was promoted.
func (c *Core) steered(ch *channel, by string) {
	r := ch.newest()
	level := slog.LevelInfo
	if r.State == proto.ROLLOUT_TAKEN_BACK || r.State == proto.ROLLOUT_PAUSED && by == "" {
		level = slog.LevelWarn
	}
	c.changedRollout(ch, level, "rollout "+r.Events[len(r.Events)-1].Event)
	if r.State == proto.ROLLOUT_PROMOTED {
		c.point(ch, r.To, cmp.Or(by, r.By), r.Number)
	}
}

// changedRollout stores a channel's newest rollout.
func (c *Core) changedRollout(ch *channel, level slog.Level, text string) {
	r := ch.newest()
	c.saveRollout(r)
	c.view.channels, c.view.versions = true, true
	c.note(level, text, slog.String("channel", r.Channel), slog.Int("rollout", int(r.Number)), slog.String("from", r.From),
		slog.String("version", r.To), slog.Int("share", int(rollout.Share(r))), slog.String("reason", r.Reason))
}

// touch marks what a View shows of the channel's rollouts as changed.
func (ch *channel) touch(c *Core) {
	ch.view = nil
	c.view.rollouts = true
}

func (c *Core) viewRollouts() map[string]*RolloutView {
	all := make(map[string]*RolloutView, len(c.channels))
	for name, ch := range c.channels {
		if ch.newest() == nil {
			continue
		}
		if ch.view == nil {
			ch.view = c.viewRollout(ch)
		}
		all[name] = ch.view
	}
	return all
}

func (c *Core) viewRollout(ch *channel) *RolloutView {
	r := ch.newest()
	view := &RolloutView{Rollout: clone(r), Tallies: ch.showTallies()}
	for _, earlier := range slices.Backward(ch.rollouts[:len(ch.rollouts)-1]) {
		view.Earlier = append(view.Earlier, earlier) // it has ended: nothing changes it any more
	}
	view.Waiting, view.Until = rollout.Waiting(r, &ch.sums, c.now)
	if view.Waiting != "" && c.deserted(ch) {
		view.Waiting = "no job that follows the channel takes part: " + view.Waiting
	}
	return view
}

// showTallies copies the tallies that are new or have changed since the last View; the others are shared with it.
func (ch *channel) showTallies() []*proto.Tally {
	if ch.rows == nil {
		for t := range ch.inOrder() {
			ch.rows = append(ch.rows, clone(t))
		}
	} else if len(ch.counted) > 0 {
		ch.rows = slices.Clone(ch.rows)
		for _, job := range ch.counted {
			at, found := slices.BinarySearchFunc(ch.rows, job, func(t *proto.Tally, job string) int { return cmp.Compare(t.Job, job) })
			if !found {
				ch.rows = slices.Insert(ch.rows, at, nil)
			}
			ch.rows[at] = clone(ch.tallies[job])
		}
	}
	ch.counted = nil
	return ch.rows
}

// loadRollouts gives channels their rollouts, and the newest one its tallies.
func (c *Core) loadRollouts(all *loading) error {
	slices.SortFunc(all.rollouts, func(a, b *proto.Rollout) int { return cmp.Compare(a.Number, b.Number) })
	for _, rec := range all.rollouts {
		if err := c.loadRollout(rec); err != nil {
			return fmt.Errorf("load rollout %q: %w", rolloutID(rec.Channel, rec.Number), err)
		}
	}
	for _, rec := range all.tallies {
		ch := c.channels[rec.Channel]
		if ch == nil || ch.newest() == nil || ch.newest().Number != rec.Rollout {
			return fmt.Errorf("load tally %q: it is not of the newest rollout of a channel", tallyID(rec.Channel, rec.Job))
		}
		ch.tallies[rec.Job] = rec
		ch.sums.Add(rec)
	}
	return nil
}

func (c *Core) loadRollout(rec *proto.Rollout) error {
	ch := c.channels[rec.Channel]
	switch {
	case ch == nil:
		return fmt.Errorf("there is no channel %q", rec.Channel)
	case rec.Number == 0 || rec.Number > ch.rec.Rollouts:
		return fmt.Errorf("the newest one of the channel is %d", ch.rec.Rollouts)
	case ch.open() != nil:
		return fmt.Errorf("rollout %d of the channel has not ended", ch.newest().Number)
	}
	if err := rollout.Check(rec); err != nil {
		return err
	}
	if rollout.Open(rec) && (c.versions[rec.From] == nil || c.versions[rec.To] == nil || ch.rec.Version != rec.From) {
		return fmt.Errorf("it is open, from %s to %s, and the channel points at %s", rec.From, rec.To, ch.rec.Version)
	}
	ch.rollouts = append(ch.rollouts, rec)
	ch.sums = rollout.NewSums(&rec.Plan) // tallies are loaded later
	return nil
}
