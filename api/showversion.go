package api

import (
	"math"
	"slices"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// This file turns executor versions, channels and rollouts into the shapes of the wire.

func showVersion(v *scheduler.VersionView) wire.Executor {
	out := wire.Executor{
		Version:    v.Version.Version,
		Registered: shown(v.Version.Registered),
		Artifacts:  make([]wire.Artifact, len(v.Version.Artifacts)),
		Channels:   append([]string{}, v.Channels...),
		Runs:       v.Runs,
		Tasks:      v.Tasks,
		Jobs:       append([]string{}, v.Pinned...),
		Rollouts:   append([]string{}, v.Rollouts...),
		KeptBy:     append([]string{}, v.KeptBy...),
	}
	for i := range v.Version.Artifacts {
		out.Artifacts[i] = showArtifact(&v.Version.Artifacts[i])
	}
	if len(out.Artifacts) > 0 {
		out.RegisteredBy = out.Artifacts[0].RegisteredBy
	}
	if use := v.Use; use != nil { // nil in the answer to a command
		out.Succeeded, out.Failed = use.Succeeded, use.Failed
		out.FirstUsed, out.LastUsed = utc(use.First), utc(use.Last)
		if ended := use.Succeeded + use.Failed; ended > 0 {
			ratio := float64(use.Failed) / float64(ended)
			out.FailureRatio = &ratio
		}
	}
	return out
}

func showArtifact(a *proto.Artifact) wire.Artifact {
	return wire.Artifact{
		OS: a.OS, Arch: a.Arch, SHA256: a.SHA256, Size: a.Size_,
		Protocol:     wire.Protocol{Min: a.Description.ProtocolMin, Max: a.Description.ProtocolMax},
		Kinds:        append([]string{}, a.Description.Kinds...),
		Features:     append([]string{}, a.Description.Features...),
		RegisteredBy: a.RegisteredBy,
		SignedBy:     a.SignedBy,
	}
}

// showChannel is a channel as it is in lists.
func showChannel(view *scheduler.View, c *proto.Channel) wire.Channel {
	out := wire.Channel{Name: c.Name, Version: c.Version, Updated: shown(c.Updated), UpdatedBy: c.UpdatedBy, Previous: c.Previous}
	if newest := view.Rollouts[c.Name]; newest != nil {
		shown := showNewest(newest)
		out.Rollout = &shown
	}
	return out
}

// showWholeChannel is a channel with all that is known of it.
func showWholeChannel(view *scheduler.View, c *proto.Channel) wire.Channel {
	out := showChannel(view, c)
	for _, m := range slices.Backward(c.Moves) {
		out.Moves = append(out.Moves, wire.ChannelMove{At: shown(m.At), From: m.From, To: m.To, By: m.By, Rollout: m.Rollout})
	}
	if newest := view.Rollouts[c.Name]; newest != nil {
		whole := showWholeRollout(newest)
		out.Rollout = &whole
	}
	return out
}

// showRollout is what a rollout's record says.
func showRollout(r *proto.Rollout) wire.Rollout {
	return wire.Rollout{
		Channel: r.Channel,
		Number:  r.Number,
		From:    r.From,
		To:      r.To,
		State:   rollout.StateName(r.State),
		Reason:  r.Reason,
		Step:    int(r.Step) + 1,
		Share:   int(rollout.Share(r)),
		Runs:    int(r.StepRuns),
		Plan:    showPlan(&r.Plan),
		By:      r.By,
		Created: shown(r.Created),
		Ended:   utc(r.Ended),
	}
}

// showNewest adds what is known of the newest rollout of a channel only: what it waits for, and how runs went.
func showNewest(v *scheduler.RolloutView) wire.Rollout {
	out := showRollout(v.Rollout)
	out.Waiting, out.Until = v.Waiting, moment(v.Until)
	for _, tally := range v.Tallies {
		out.Old.Runs += int(tally.Old.Runs)
		out.Old.Failed += int(tally.Old.Failed)
		out.New.Runs += int(tally.New.Runs)
		out.New.Failed += int(tally.New.Failed)
	}
	return out
}

// showWholeRollout adds jobs and events.
func showWholeRollout(v *scheduler.RolloutView) wire.Rollout {
	out := showNewest(v)
	for _, tally := range v.Tallies {
		out.Jobs = append(out.Jobs, wire.RolloutJob{Job: tally.Job, Old: showSample(&tally.Old), New: showSample(&tally.New)})
	}
	out.Events = showEvents(v.Rollout)
	return out
}

func showEvents(r *proto.Rollout) []wire.RolloutEvent {
	var out []wire.RolloutEvent
	for _, e := range r.Events {
		out = append(out, wire.RolloutEvent{At: shown(e.At), Event: e.Event, Step: int(e.Step) + 1, By: e.By, Reason: e.Reason})
	}
	return out
}

func showSample(s *proto.Sample) wire.Sample {
	return wire.Sample{Runs: int(s.Runs), Failed: int(s.Failed), Seconds: geometric(&s.Duration), RowsPerSecond: geometric(&s.Rate)}
}

// geometric is the geometric mean of values whose logarithms were summed up; nil if there are none.
func geometric(s *proto.Spread) *float64 {
	if s.Count == 0 {
		return nil
	}
	mean := math.Exp(s.Mean)
	return &mean
}

func showPlan(p *proto.RolloutPlan) wire.RolloutPlan {
	out := wire.RolloutPlan{
		Interval:         jobs.FormatDuration(p.Interval),
		MinRuns:          int(p.MinRuns),
		MaxFailureRatio:  p.MaxFailureRatio,
		MaxDurationRatio: p.MaxDurationRatio,
		MinRateRatio:     p.MinRateRatio,
		Jobs:             slices.Clone(p.Jobs),
	}
	for _, share := range p.Steps {
		out.Steps = append(out.Steps, int(share))
	}
	return out
}

// readPlan is the inverse of showPlan: fields that are missing are zero, and the scheduler fills them in. Pointers begin
// at the plan. Bounds that the description of the API has were held already.
func readPlan(p *wire.RolloutPlan) (*proto.RolloutPlan, []wire.Problem) {
	out := &proto.RolloutPlan{
		MinRuns:          uint32(p.MinRuns),
		MaxFailureRatio:  p.MaxFailureRatio,
		MaxDurationRatio: p.MaxDurationRatio,
		MinRateRatio:     p.MinRateRatio,
		Jobs:             p.Jobs,
	}
	for _, share := range p.Steps {
		out.Steps = append(out.Steps, uint32(share))
	}
	if p.Interval == "" {
		return out, nil
	}
	interval, detail := jobs.ParseDuration(p.Interval)
	if detail == "" && interval < time.Millisecond { // zero stands for a missing one in records
		detail = "it must be at least 1ms, with which only the runs count"
	}
	if detail != "" {
		return nil, []wire.Problem{{Pointer: "/interval", Detail: detail}}
	}
	out.Interval = interval
	return out, nil
}
