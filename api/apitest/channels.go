package apitest

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// setChannel moves a channel, or begins a rollout, of which nothing comes until somebody steers it or Update changes it.
func (s *Scheduler) setChannel(c scheduler.SetChannel) (any, error) {
	if s.view.Versions[c.Version] == nil {
		return nil, &scheduler.Error{Kind: scheduler.Invalid, Message: "the channel cannot be set", Problems: []jobs.Problem{{Pointer: "/version", Detail: "there is no such version"}}}
	}
	var plan *proto.RolloutPlan
	if c.Rollout != nil {
		complete, problems := rollout.Complete(*c.Rollout)
		for i := range problems {
			problems[i].Pointer = "/rollout" + problems[i].Pointer
		}
		if len(problems) > 0 {
			return nil, &scheduler.Error{Kind: scheduler.Invalid, Message: "the rollout cannot go like this", Problems: problems}
		}
		plan = &complete
	}
	old, newest := s.view.Channels[c.Name], s.view.Rollouts[c.Name]
	switch {
	case old == nil:
		return s.point(&proto.Channel{Name: c.Name}, c.Version, c.By, 0), nil
	case newest != nil && rollout.Open(newest.Rollout):
		if r := newest.Rollout; plan != nil && r.To == c.Version && rollout.Equal(plan, &r.Plan) {
			return old, nil
		}
		return nil, refuse(scheduler.Conflict, "channel %q: rollout %d is %s", c.Name, newest.Rollout.Number, rollout.StateName(newest.Rollout.State))
	case old.Version == c.Version:
		return old, nil
	case newest != nil && newest.Rollout.State == proto.ROLLOUT_TAKEN_BACK && newest.Rollout.To == c.Version && !c.Again:
		return nil, refuse(scheduler.Conflict, "channel %q: rollout %d has taken %s back", c.Name, newest.Rollout.Number, c.Version)
	case plan == nil:
		return s.point(old, c.Version, c.By, 0), nil
	}
	return s.begin(old, c, plan), nil
}

// begin starts a rollout.
func (s *Scheduler) begin(old *proto.Channel, c scheduler.SetChannel, plan *proto.RolloutPlan) *proto.Channel {
	channel := *old
	channel.Rollouts++
	view := &scheduler.RolloutView{Rollout: rollout.Begin(proto.Rollout{
		Channel: c.Name, Number: channel.Rollouts, From: old.Version, To: c.Version, Plan: *plan, By: c.By,
	}, s.now())}
	view.Waiting = fmt.Sprintf("0 of %d runs on %s have ended in this step", plan.MinRuns, c.Version)
	view.Until = view.Rollout.Created.Add(plan.Interval)
	if before := s.view.Rollouts[c.Name]; before != nil {
		view.Earlier = append([]*proto.Rollout{before.Rollout}, before.Earlier...)
	}
	s.update(func(v *scheduler.View) {
		v.Channels[c.Name], v.Rollouts[c.Name] = &channel, view
		users(v)
	})
	return &channel
}

// point moves a channel; number is the rollout that this ends.
func (s *Scheduler) point(old *proto.Channel, version, by string, number uint32) *proto.Channel {
	channel := *old
	channel.Previous, channel.Version, channel.Updated, channel.UpdatedBy = old.Version, version, s.now(), by
	channel.Moves = append(slices.Clone(old.Moves), proto.ChannelMove{At: channel.Updated, From: old.Version, To: version, By: by, Rollout: number})
	s.update(func(v *scheduler.View) {
		v.Channels[channel.Name] = &channel
		users(v)
	})
	return &channel
}

// users brings up to date what versions say of channels and rollouts.
func users(v *scheduler.View) {
	for name, version := range v.Versions {
		next := *version
		next.Channels, next.Rollouts, next.KeptBy = nil, nil, nil
		for _, channel := range v.Channels {
			if channel.Version == name {
				next.Channels = append(next.Channels, channel.Name)
				next.KeptBy = append(next.KeptBy, fmt.Sprintf("channel %q", channel.Name))
			}
			newest := v.Rollouts[channel.Name]
			if newest != nil && rollout.Open(newest.Rollout) && (newest.Rollout.From == name || newest.Rollout.To == name) {
				next.Rollouts = append(next.Rollouts, channel.Name)
				next.KeptBy = append(next.KeptBy, fmt.Sprintf("rollout %d of channel %q", newest.Rollout.Number, channel.Name))
			}
		}
		slices.Sort(next.Channels)
		slices.Sort(next.Rollouts)
		slices.Sort(next.KeptBy)
		v.Versions[name] = &next
	}
}

func (s *Scheduler) deleteChannel(c scheduler.DeleteChannel) (any, error) {
	channel, newest := s.view.Channels[c.Name], s.view.Rollouts[c.Name]
	switch {
	case channel == nil:
		return nil, refuse(scheduler.NotFound, "there is no channel %q", c.Name)
	case newest != nil && rollout.Open(newest.Rollout):
		return nil, refuse(scheduler.Conflict, "channel %q: rollout %d is %s", c.Name, newest.Rollout.Number, rollout.StateName(newest.Rollout.State))
	}
	s.update(func(v *scheduler.View) {
		delete(v.Channels, c.Name)
		delete(v.Rollouts, c.Name)
		users(v)
	})
	return channel, nil
}

func (s *Scheduler) steerRollout(c scheduler.SteerRollout) (any, error) {
	newest := s.view.Rollouts[c.Channel]
	switch {
	case newest == nil:
		return nil, refuse(scheduler.NotFound, "channel %q never had a rollout", c.Channel)
	case c.Number != 0 && c.Number != newest.Rollout.Number:
		return nil, refuse(scheduler.Conflict, "channel %q: the newest rollout is %d, not %d", c.Channel, newest.Rollout.Number, c.Number)
	}
	record := *newest.Rollout
	record.Events = slices.Clone(record.Events)
	steer := map[scheduler.RolloutAction]func() (bool, error){
		scheduler.RolloutPause:   func() (bool, error) { return rollout.Pause(&record, c.By, c.Reason, s.now()) },
		scheduler.RolloutResume:  func() (bool, error) { return rollout.Resume(&record, c.By, c.Reason, s.now()) },
		scheduler.RolloutPromote: func() (bool, error) { return rollout.Promote(&record, c.By, c.Reason, s.now()) },
		scheduler.RolloutAbort:   func() (bool, error) { return rollout.Abort(&record, c.By, c.Reason, s.now()) },
	}[c.Action]
	changed, err := steer()
	if err != nil {
		return nil, refuse(scheduler.Conflict, "%v", err)
	}
	if !changed {
		return newest.Rollout, nil
	}
	next := *newest
	next.Rollout = &record
	if record.State != proto.ROLLOUT_RUNNING {
		next.Waiting, next.Until = "", time.Time{}
	}
	s.update(func(v *scheduler.View) {
		v.Rollouts[c.Channel] = &next
		users(v)
	})
	if record.State == proto.ROLLOUT_PROMOTED {
		s.point(s.view.Channels[c.Channel], record.To, c.By, record.Number)
	}
	return &record, nil
}
