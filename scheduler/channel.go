package scheduler

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// movesKept is how many moves of a channel stay as its history.
const movesKept = 50

// channel is a name that points at a version, with its rollouts.
type channel struct {
	alarm
	rec      *proto.Channel
	rollouts []*proto.Rollout        // oldest first
	tallies  map[string]*proto.Tally // of the newest one, by job
	sums     rollout.Sums            // of them

	view    *RolloutView   // nil: to be built anew
	rows    []*proto.Tally // of the last View; nil: to be built anew
	counted []string       // jobs whose tallies have changed since
}

func newChannel(rec *proto.Channel) *channel {
	return &channel{rec: rec, tallies: map[string]*proto.Tally{}}
}

// newest is the newest rollout; nil if there was none.
func (ch *channel) newest() *proto.Rollout {
	if len(ch.rollouts) == 0 {
		return nil
	}
	return ch.rollouts[len(ch.rollouts)-1]
}

// open is the rollout that runs or is paused; nil if there is none.
func (ch *channel) open() *proto.Rollout {
	if r := ch.newest(); r != nil && rollout.Open(r) {
		return r
	}
	return nil
}

func (c *Core) setChannel(cmd SetChannel) (*proto.Channel, *Error) {
	if err := jobs.CheckName(cmd.Name); err != nil {
		return nil, errorf(Invalid, "set channel: %v", err)
	}
	if c.versions[cmd.Version] == nil {
		err := c.unknownVersion(cmd.Version)
		return nil, invalid("set channel "+cmd.Name, []jobs.Problem{{Pointer: "/version", Detail: err.Message}})
	}
	plan, err := completePlan(cmd)
	if err != nil {
		return nil, err
	}
	ch := c.channels[cmd.Name]
	if ch == nil {
		ch = newChannel(&proto.Channel{Name: cmd.Name})
		c.channels[cmd.Name] = ch
		c.point(ch, cmd.Version, cmd.By, 0)
		return clone(ch.rec), nil
	}
	changes, err := c.mayMove(ch, cmd, plan)
	switch {
	case err != nil:
		return nil, err
	case !changes:
	case plan == nil:
		c.point(ch, cmd.Version, cmd.By, 0)
	default:
		if err := c.knowsParts(ch, plan); err != nil {
			return nil, err
		}
		c.beginRollout(ch, cmd, plan)
	}
	return clone(ch.rec), nil
}

// completePlan is the plan of a command with its defaults; nil if it has none.
func completePlan(cmd SetChannel) (*proto.RolloutPlan, *Error) {
	if cmd.Rollout == nil {
		return nil, nil
	}
	plan, problems := rollout.Complete(*cmd.Rollout)
	for i := range problems {
		problems[i].Pointer = "/rollout" + problems[i].Pointer
	}
	if len(problems) > 0 {
		return nil, invalid("set channel "+cmd.Name+": the rollout cannot go like this", problems)
	}
	return &plan, nil
}

// mayMove says whether a command changes where a channel points, or is to point; the error is why it must not.
func (c *Core) mayMove(ch *channel, cmd SetChannel, plan *proto.RolloutPlan) (bool, *Error) {
	if r := ch.open(); r != nil {
		if plan != nil && r.To == cmd.Version && rollout.Equal(plan, &r.Plan) {
			return false, nil
		}
		return false, errorf(Conflict, "channel %q: rollout %d from %s to %s is %s; promote or abort it first",
			ch.rec.Name, r.Number, r.From, r.To, rollout.StateName(r.State))
	}
	if ch.rec.Version == cmd.Version {
		return false, nil
	}
	if r := ch.newest(); r != nil && r.State == proto.ROLLOUT_TAKEN_BACK && r.To == cmd.Version && !cmd.Again {
		return false, errorf(Conflict, "channel %q: rollout %d has taken %s back: %s; say \"again\" to move to it all the same",
			ch.rec.Name, r.Number, r.To, r.Reason)
	}
	return true, c.mayFollow(ch, cmd)
}

// mayFollow refuses to move a channel to a version that lacks what jobs need that follow it, or a file for agents that
// the channel's version has one for: tasks would wait on these for ever.
func (c *Core) mayFollow(ch *channel, cmd SetChannel) *Error {
	const most = 100 // problems that are told
	if old, missing := c.versions[ch.rec.Version], c.versions[cmd.Version].missingPlatforms(c.versions[ch.rec.Version]); len(missing) > 0 && !cmd.AllowIncompatible {
		return errorf(Conflict, "channel %q: %s has no file for %s, and %s has; register it first, or move all the same with allow_incompatible",
			ch.rec.Name, cmd.Version, joined(missing), old.rec.Version)
	}
	var problems []jobs.Problem
	lacking := 0
	for _, name := range c.followers(ch.rec.Name) {
		if cmd.AllowIncompatible {
			break
		}
		lacks := c.lacking(c.versions[cmd.Version], c.jobs[name].newest().spec)
		lacking += btoi(len(lacks) > 0)
		for _, p := range lacks[:min(len(lacks), most-len(problems))] {
			problems = append(problems, jobs.Problem{Detail: fmt.Sprintf("job %q, %s: %s", name, p.Pointer, p.Detail)})
		}
	}
	if lacking == 0 {
		return nil
	}
	return &Error{Kind: Conflict, Problems: problems, Message: fmt.Sprintf(
		"channel %q: %s lacks what %d of the jobs need that follow it; allow_incompatible moves it all the same", ch.rec.Name, cmd.Version, lacking)}
}

// point moves a channel to a version. number is the rollout that this ends; 0: none.
func (c *Core) point(ch *channel, version, by string, number uint32) {
	rec := ch.rec
	rec.Moves = append(rec.Moves, proto.ChannelMove{At: c.now, From: rec.Version, To: version, By: by, Rollout: number})
	if more := len(rec.Moves) - movesKept; more > 0 {
		rec.Moves = slices.Clone(rec.Moves[more:]) // readers may hold the old ones
	}
	rec.Previous, rec.Version, rec.Updated, rec.UpdatedBy = rec.Version, version, c.now, by
	c.saveChannel(ch)
	c.note(slog.LevelInfo, "channel set", slog.String("channel", rec.Name), slog.String("version", rec.Version),
		slog.String("previous", rec.Previous), slog.String("by", by))
}

func (c *Core) deleteChannel(cmd DeleteChannel) (*proto.Channel, *Error) {
	ch := c.channels[cmd.Name]
	if ch == nil {
		return nil, c.unknownChannel(cmd.Name)
	}
	if r := ch.open(); r != nil {
		return nil, errorf(Conflict, "channel %q: rollout %d from %s to %s is %s; promote or abort it first",
			ch.rec.Name, r.Number, r.From, r.To, rollout.StateName(r.State))
	}
	var problems []jobs.Problem
	for _, name := range c.followers(cmd.Name) {
		problems = append(problems, jobs.Problem{Detail: fmt.Sprintf("job %q follows it", name)})
	}
	if len(problems) > 0 {
		return nil, &Error{Kind: Conflict, Message: fmt.Sprintf("channel %q is followed by jobs: move or delete them first", cmd.Name), Problems: problems}
	}
	delete(c.channels, cmd.Name)
	c.remove(KindChannel, cmd.Name)
	c.dropRollouts(ch, 0)
	c.dropTallies(ch)
	c.view.channels, c.view.versions = true, true
	c.note(slog.LevelInfo, "channel removed", slog.String("channel", cmd.Name), slog.String("by", cmd.By))
	return clone(ch.rec), nil
}

// followers are the jobs whose newest revision follows a channel, sorted.
func (c *Core) followers(channel string) []string {
	var names []string
	for name, j := range c.jobs {
		if j.follows() == channel {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// follows is the channel that the job's newest revision names; empty if it names a version, and if the job was deleted.
func (j *job) follows() string {
	if j.rec.Deleted || j.newest().spec == nil {
		return ""
	}
	return j.newest().spec.Executor.Channel
}

func (c *Core) unknownChannel(name string) *Error {
	return errorf(NotFound, "%s", unknown("channel", name, sortedKeys(c.channels)))
}
