package apitest

import (
	"math"
	"strings"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// LongVersion is as long as a version's name may be.
var LongVersion = "20261123." + strings.Repeat("0123456789abcdef", 3) + ".night"

func (e *example) versions() {
	e.version("1.3.9", 40*24*time.Hour, "anna", "", proto.Use{First: e.ago(39 * 24 * time.Hour), Last: e.ago(12 * 24 * time.Hour), Succeeded: 811, Failed: 7})
	e.version("1.4.0", 12*24*time.Hour, "ci", "release", proto.Use{First: e.ago(12 * 24 * time.Hour), Last: e.ago(time.Minute), Succeeded: 5120, Failed: 41, Cancelled: 3})
	e.version("1.5.0-rc1", 26*time.Hour, "ci", "release", proto.Use{First: e.ago(80 * time.Minute), Last: e.ago(14 * time.Second), Succeeded: 118, Failed: 1})
	e.version("1.6.0-dev", time.Hour, "anna", "", proto.Use{})

	stable, next := e.view.Versions["1.4.0"], e.view.Versions["1.5.0-rc1"]
	stable.Runs, stable.Tasks = 1, 3
	stable.Pinned = []string{"carriers-on-big-machines", "delays", "flights-by-carrier", "requests-by-status"}
	next.Runs, next.Tasks = 1, 2

	e.channel("canary", "1.5.0-rc1", "")
	e.channel("stable", "1.4.0", "1.3.9")
	users(e.view)
}

// ExampleRollouts adds to Example a rollout of stable that runs, with the run "running" on its new version, and one of
// another channel, nightly, that was taken back, to a version of [LongVersion].
func (s *Scheduler) ExampleRollouts(now time.Time, runs map[string]string) {
	s.Update(func(v *scheduler.View) {
		e := example{now: now, view: v}
		e.version(LongVersion, 20*time.Hour, "ci", "", proto.Use{First: e.ago(19 * time.Hour), Last: e.ago(19 * time.Hour), Succeeded: 4, Failed: 6})
		e.channel("nightly", "1.4.0", "")
		e.channel("stable", "1.4.0", "1.3.9")
		e.rollouts()
		users(v)
	})
	s.UpdateRun(runs["running"], func(run *scheduler.RunView) { run.Run.Channel, run.Run.Rollout = "stable", 2 })
}

func (e *example) ago(d time.Duration) *time.Time {
	at := e.now.Add(-d)
	return &at
}

func (e *example) version(name string, ago time.Duration, by, key string, use proto.Use) {
	use.Version = name
	record := &proto.ExecutorVersion{Version: name, Registered: e.now.Add(-ago)}
	for _, artifact := range []proto.Artifact{Artifact(name, "linux", "amd64", "beef"), Artifact(name, "linux", "arm64", "feed")} {
		artifact.RegisteredBy, artifact.SignedBy = by, key
		record.Artifacts = append(record.Artifacts, artifact)
	}
	e.view.Versions[name] = &scheduler.VersionView{Version: record, Use: &use}
}

func (e *example) channel(name, version, previous string) {
	c := &proto.Channel{Name: name, Version: version, Previous: previous, Updated: e.now.Add(-time.Hour), UpdatedBy: "ci"}
	if previous != "" {
		c.Moves = []proto.ChannelMove{{At: e.now.Add(-40 * 24 * time.Hour), To: previous, By: "anna"}, {At: c.Updated, From: previous, To: version, By: "ci", Rollout: 1}}
	}
	e.view.Channels[name] = c
}

func (e *example) rollouts() {
	began := e.now.Add(-80 * time.Minute)
	second := e.now.Add(-20 * time.Minute)
	stable := &proto.Rollout{
		Channel: "stable", Number: 2, From: "1.4.0", To: "1.5.0-rc1", Plan: plan(), Step: 1, StepBegan: second, StepRuns: 7, Created: began, By: "ci",
		Reason: "step 1 of 3 passed: 1 of 111 runs failed",
		Events: []proto.RolloutEvent{
			{At: began, Event: "started", By: "ci"},
			{At: began.Add(10 * time.Minute), Event: "paused", By: "anna", Reason: "lunch " + Hostile},
			{At: began.Add(30 * time.Minute), Event: "resumed", By: "anna"},
			{At: second, Event: "step", Step: 1, Reason: "step 1 of 3 passed: 1 of 111 runs failed"},
		},
	}
	first := &proto.Rollout{
		Channel: "stable", Number: 1, From: "1.3.9", To: "1.4.0", Plan: plan(), State: proto.ROLLOUT_PROMOTED, Step: 2, By: "ci",
		Created: e.now.Add(-3 * time.Hour), Ended: e.ago(time.Hour), Reason: "all steps passed",
	}
	e.view.Channels["stable"].Rollouts = 2
	e.view.Rollouts["stable"] = &scheduler.RolloutView{
		Rollout: stable, Earlier: []*proto.Rollout{first},
		Tallies: []*proto.Tally{
			{Channel: "stable", Rollout: 2, Job: "flights-by-carrier", Old: sample(700, 5, 41.2, 812_345), New: sample(80, 0, 39.8, 834_000)},
			{Channel: "stable", Rollout: 2, Job: "requests-by-status", Old: sample(300, 3, 301, 12.6), New: sample(38, 1, 322, 11.9)},
		},
		Waiting: "7 of 20 runs on 1.5.0-rc1 have ended in this step", Until: second.Add(30 * time.Minute),
	}
	e.view.Channels["nightly"].Rollouts = 12
	e.view.Rollouts["nightly"] = &scheduler.RolloutView{Rollout: &proto.Rollout{
		Channel: "nightly", Number: 12, From: "1.4.0", To: LongVersion, Plan: plan(), State: proto.ROLLOUT_TAKEN_BACK, Created: e.now.Add(-19 * time.Hour), By: "ci",
		Ended: e.ago(18 * time.Hour), Reason: "6 of 10 runs failed, 0.1 were to be expected",
	}, Tallies: []*proto.Tally{{Channel: "nightly", Rollout: 12, Job: "flights-by-carrier", Old: sample(700, 5, 41.2, 812_345), New: sample(10, 6, 40, 800_000)}}}
}

func plan() proto.RolloutPlan {
	return proto.RolloutPlan{Steps: []uint32{10, 50, 100}, Interval: 30 * time.Minute, MinRuns: 20, MaxFailureRatio: 1.5, MaxDurationRatio: 2}
}

// sample sums up so many runs that took so many seconds and read so many rows a second, all of them alike.
func sample(runs, failed uint32, seconds, rows float64) proto.Sample {
	like := func(x float64) proto.Spread { return proto.Spread{Count: runs - failed, Mean: math.Log(x)} }
	return proto.Sample{Runs: runs, Failed: failed, Duration: like(seconds), Rate: like(rows)}
}
