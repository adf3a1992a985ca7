//go:build endtoend

package endtoend

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/build"
)

// steps of each rollout here, in percent.
var steps = []int{10, 50, 100}

// TestRolloutSurvivesKills kills the scheduler with SIGKILL around everything that happens to rollouts, while runs are
// started all the time. Its records are in a file, and it is started again.
func TestRolloutSurvivesKills(t *testing.T) {
	c := newCluster(t, options{schedulerFlags: []string{"--executor-linger", "1s"}})
	c.patience = 5 * time.Second
	x := &rolling{cluster: c, random: rand.New(rand.NewPCG(*seed, 5)), ask: func() *cluster { return c }}
	x.strike = func() {
		c.scheduler.kill()
		c.scheduler.launch(false)
		c.awaitScheduler()
	}
	x.prepare()
	rounds := 2
	if *soak {
		rounds = 50
	}
	for n := range rounds {
		for _, s := range courses {
			x.round(fmt.Sprintf("%s-%d", s.name, n), s)
		}
	}
	x.checkVersions()
}

// TestRolloutSurvivesFailover is the same with three schedulers and a real ZooKeeper, of which another one takes over.
func TestRolloutSurvivesFailover(t *testing.T) {
	g := newGroup(t, 3, 1, 2)
	x := &rolling{cluster: g.cluster, random: rand.New(rand.NewPCG(*seed, 6))}
	x.ask = func() *cluster {
		if m, _ := g.leader(); m != nil {
			return g.via(m)
		}
		return g.via(g.members[0])
	}
	x.strike = func() {
		leader := g.awaitLeader(30 * time.Second)
		mend := strikeKill(g, x.random, leader)
		mend()
		g.eventually(30*time.Second, "another scheduler leads", func() (bool, error) {
			m, _ := g.leader()
			return m != nil, nil
		})
	}
	x.prepare()
	rounds := 1
	if *soak {
		rounds = 20
	}
	for n := range rounds {
		for _, s := range courses {
			x.round(fmt.Sprintf("%s-%d", s.name, n), s)
		}
	}
	x.checkVersions()
}

// course is one way that a rollout can go. Each change of it is followed or preceded by a kill of the leader.
type course struct {
	name   string
	to     string // 2.0.0: fails half of its runs; else the good version that the channel does not point at
	byHand bool
	walk   func(x *rolling)
	want   string // what has happened in the end, a regular expression
}

var courses = []course{
	{"by-itself", "", false, func(x *rolling) {
		x.strikeAround() // second step
		x.strikeAround() // third step
		x.strikeAround() // promoted
	}, "started step step promoted"},
	{"taken-back", "2.0.0", false, func(x *rolling) {
		for x.now().Ended == nil {
			x.strikeAround() // a step or a pause, by good luck, or the end
		}
	}, "started( step| paused)* taken_back"},
	{"by-hand", "", true, func(x *rolling) {
		x.steer("pause")
		x.strike() // nothing happens to it while it is paused
		x.steer("resume")
		x.steer("promote")
	}, "started paused resumed promoted"},
	{"aborted", "", true, func(x *rolling) { x.steer("abort") }, "started aborted"},
}

// steer does something to the rollout while the leader is killed.
func (x *rolling) steer(action string) {
	x.t.Helper()
	x.struck(http.MethodPost, "/v1/channels/rolling/rollout/"+action, "")
}

// prepare registers versions, points the channel at the first, and runs each once on each agent: agents that have a file
// need no scheduler to fetch it from.
func (x *rolling) prepare() {
	x.t.Helper()
	at := x.ask()
	for version, behaviour := range map[string]build.Behaviour{"1.0.0": {}, "1.1.0": {}, "2.0.0": {Fail: 50}} {
		at.short(version, behaviour)
		for _, zone := range []string{"a", "b"} {
			job := "once-" + zone + "-" + version
			at.putJob(shortJob(job, fmt.Sprintf(`"executor": {"version": %q}`, version),
				fmt.Sprintf(`"constraints": [{"attribute": "zone", "operator": "is", "value": %q}]`, zone)))
			x.seen = append(x.seen, at.await(at.startRun(job, "once").ID, time.Minute))
		}
	}
	x.do(http.MethodPut, "/v1/channels/rolling", `{"version": "1.0.0"}`, nil)
}

// round moves the channel once and looks at everything afterwards. Its jobs are new: what the rollout counts are its own
// runs only.
func (x *rolling) round(name string, s course) {
	x.t.Helper()
	begun := time.Now()
	var jobs []string
	for n := range 3 {
		job := fmt.Sprintf("%s-%d", name, n)
		x.do(http.MethodPut, "/v1/jobs/"+job, shortJob(job, `"executor": {"channel": "rolling"}`), nil)
		jobs = append(jobs, job)
	}
	var before wire.Channel
	x.do(http.MethodGet, "/v1/channels/rolling", "", &before)
	to := s.to
	if to == "" {
		to = map[string]string{"1.0.0": "1.1.0", "1.1.0": "1.0.0"}[before.Version]
	}
	interval := "700ms"
	if s.byHand {
		interval = "1h" // nothing may happen by itself
	}
	x.struck(http.MethodPut, "/v1/channels/rolling", fmt.Sprintf(
		`{"version": %q, "again": true, "rollout": {"steps": [10, 50, 100], "interval": %q, "min_runs": 2, "jobs": ["%s-*"]}}`, to, interval, name))
	load := x.startStream(jobs, 5)
	s.walk(x)
	runs := load.end()

	var after wire.Channel
	x.do(http.MethodGet, "/v1/channels/rolling", "", &after)
	r := *after.Rollout
	x.t.Logf("%s: %d runs in %s; %v: %s", name, len(runs), time.Since(begun).Round(time.Millisecond), happened(r), r.Reason)
	x.checkEvents(r, s.want)
	x.checkRuns(r, runs)
	wantVersion, wantMoves := before.Version, len(before.Moves)
	if r.State == "promoted" {
		wantVersion, wantMoves = to, wantMoves+1
	}
	if r.To != to || after.Version != wantVersion || len(after.Moves) != wantMoves {
		x.t.Errorf("%s: the channel points at %s after %d moves, want %s after %d", name, after.Version, len(after.Moves), wantVersion, wantMoves)
	}
	if before.Rollout != nil && r.Number != before.Rollout.Number+1 || before.Rollout == nil && r.Number != 1 {
		x.t.Errorf("%s: it was rollout %d after %+v", name, r.Number, before.Rollout)
	}
	if x.t.Failed() {
		x.t.FailNow()
	}
}

// checkEvents holds a rollout to what was to happen: each once, in order, one step after the other.
func (x *rolling) checkEvents(r wire.Rollout, want string) {
	x.t.Helper()
	got := strings.Join(happened(r), " ")
	if !regexp.MustCompile("^"+want+"$").MatchString(got) || !strings.HasSuffix(got, r.State) || r.Ended == nil {
		x.t.Errorf("it is %s after %s, want %s", r.State, got, want)
	}
	step := 1
	for i, e := range r.Events {
		if e.Event == "step" {
			step++
		}
		if e.Step != step || i > 0 && e.At.Before(r.Events[i-1].At) || e.Reason == "" {
			x.t.Errorf("event %d is %+v, want step %d and no earlier time than before", i, e, step)
		}
	}
}

// checkRuns holds the runs of a rollout to the share that it had when they were started, and its tallies to the runs.
func (x *rolling) checkRuns(r wire.Rollout, runs []wire.Run) {
	x.t.Helper()
	var old, fresh wire.Sample
	for _, run := range runs {
		share, sure := shareAt(r, run.Created)
		onNew := run.ExecutorVersion == r.To
		if !onNew && run.ExecutorVersion != r.From {
			x.t.Errorf("run %s is on %s", run.ID, run.ExecutorVersion)
		}
		if sure && onNew != inShare(run.Job, run.ID, share) {
			x.t.Errorf("run %s of %s is on %s at a share of %d %%", run.ID, run.Created, run.ExecutorVersion, share)
		}
		if run.State == "failed" && run.ExecutorVersion != "2.0.0" || run.State == "cancelled" {
			x.t.Errorf("run %s %s on %s: %+v", run.ID, run.State, run.ExecutorVersion, run.Error)
		}
		if run.Rollout != r.Number {
			continue
		}
		sample := &old
		if onNew {
			sample = &fresh
		}
		sample.Runs++
		if run.State == "failed" {
			sample.Failed++
		}
	}
	if r.Old.Runs != old.Runs || r.Old.Failed != old.Failed || r.New.Runs != fresh.Runs || r.New.Failed != fresh.Failed {
		x.t.Errorf("it counts %+v on the old version and %+v on the new one, want %+v and %+v", r.Old, r.New, old, fresh)
	}
}

// shareAt is the share that went to the new version at a time; it is not sure at the very moment of an event.
func shareAt(r wire.Rollout, at time.Time) (share int, sure bool) {
	for _, e := range r.Events {
		switch {
		case e.At.Equal(at):
			return 0, false
		case e.At.After(at):
			return share, true
		case e.Event == "promoted":
			share = 100
		case e.Event == "taken_back" || e.Event == "aborted":
			share = 0
		default:
			share = steps[e.Step-1]
		}
	}
	return share, true
}

// checkVersions compares what each version says of its runs with all runs that there were.
func (x *rolling) checkVersions() {
	x.t.Helper()
	for _, version := range []string{"1.0.0", "1.1.0", "2.0.0"} {
		var succeeded, failed int64
		for _, run := range x.seen {
			switch {
			case run.ExecutorVersion != version:
			case run.State == "succeeded":
				succeeded++
			case run.State == "failed":
				failed++
			}
		}
		var shown wire.Executor
		x.do(http.MethodGet, "/v1/executors/"+version, "", &shown)
		if shown.Succeeded != succeeded || shown.Failed != failed {
			x.t.Errorf("%s counts %d that succeeded and %d that failed, want %d and %d", version, shown.Succeeded, shown.Failed, succeeded, failed)
		}
	}
	x.t.Logf("%d runs in all", len(x.seen))
}
