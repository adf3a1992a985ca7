package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// TestReload: whatever has happened, a core made of the records shows the same as the one that wrote them, has the same
// tasks waiting after its first step, and its records are of the present format.
func TestReload(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newReload(rt)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			r.random()
			r.compare()
		}
	})
}

// reload is a core that random things happen to, and what it has stored.
type reload struct {
	t     *rapid.T
	core  *Core
	store map[Key][]byte
	now   time.Time
	n     uint64
	runs  []string
	alive []TaskRef // launched, and not known to have ended
}

func newReload(t *rapid.T) *reload {
	c, err := New(testConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &reload{t: t, core: c, store: map[Key][]byte{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	changes, err := Migrate(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	r.apply(changes)
	r.do(RegisterVersion{Artifact: parseArtifact(args{words: []string{"1.5.0"}})})
	r.do(RegisterVersion{Artifact: parseArtifact(args{words: []string{"1.6.0"}})})
	r.do(SetChannel{Name: "stable", Version: "1.5.0"})
	r.step(Subscribed{FrameworkID: "fw", Master: "http://master"})
	return r
}

func (r *reload) apply(changes []Change) {
	for _, change := range changes {
		if r.store[change.Key] = change.Value; change.Value == nil {
			delete(r.store, change.Key)
		}
	}
}

func (r *reload) step(event Event) Actions {
	r.n++
	r.now = r.now.Add(50 * time.Millisecond)
	acts := r.core.Step(Input{Now: r.now, Random: r.n * 0x9e3779b97f4a7c15, Event: event})
	r.apply(acts.Store)
	r.alive = append(r.alive, launched(acts)...)
	return acts
}

func (r *reload) do(body CommandBody) any { return r.step(Command{Body: body}).Replies[0].Value }

func (r *reload) pick(what string, n int) int { return rapid.IntRange(0, n-1).Draw(r.t, what) }

// random lets one thing happen.
func (r *reload) random() {
	switch what := r.pick("what", 14); {
	case what < 2:
		r.start()
	case what < 5:
		o := Offer{ID: fmt.Sprint("o", r.n), AgentID: fmt.Sprint("a", r.pick("agent", 3)), Role: "tidemill",
			CPUs: float64(1 + r.pick("cpus", 4)), Memory: 8 << 30, Disk: 64 << 30}
		for id, e := range r.core.executors {
			if e.rec.AgentID == o.AgentID {
				o.Executors = append(o.Executors, id)
			}
		}
		r.step(Offers{[]Offer{o}})
	case what < 9 && len(r.alive) > 0:
		r.update()
	case what < 10 && len(r.runs) > 0:
		r.do(CancelRun{Run: r.runs[r.pick("run", len(r.runs))]})
	case what < 11:
		r.do(ArchiveRuns{Runs: r.runs})
	case what < 13:
		r.channel()
	default:
		r.now = r.now.Add(time.Duration(r.pick("seconds", 100)) * time.Second)
		r.step(Tick{})
	}
}

// channel moves the channel, or steers how it moves.
func (r *reload) channel() {
	version := []string{"1.5.0", "1.6.0"}[r.pick("version", 2)]
	switch action := []RolloutAction{"", "", RolloutPause, RolloutResume, RolloutResume, RolloutPromote, RolloutAbort}[r.pick("action", 7)]; {
	case action != "":
		r.do(SteerRollout{Channel: "stable", Action: action, By: "ann"})
	case r.pick("at once", 4) == 0:
		r.do(SetChannel{Name: "stable", Version: version, By: "ann"})
	default:
		r.do(SetChannel{Name: "stable", Version: version, By: "ann", Again: true, Rollout: &proto.RolloutPlan{
			Steps: []uint32{50, 100}, Interval: 20 * time.Second, MinRuns: 1, MaxDurationRatio: 1.1}})
	}
}

func (r *reload) start() {
	job := fmt.Sprint("job-", r.pick("job", 2))
	stages := []string{"[1]", "[3]", "[1, 5, 1]", "[2, 0, 1]"}[r.pick("stages", 4)]
	r.do(PutJob{Spec: fmt.Appendf(nil, `{"name": %q, "kind": "work", "parallelism": 2, "retries": {"max": 1, "backoff": "1s"},
		"resources": {"cpus": 0.5, "memory": "256MiB"}, "work": {"stages": %s, "input": %d, "cpus": 1}}`, job, stages, r.pick("input", 3))})
	key := []string{"", "monday", "tuesday"}[r.pick("key", 3)]
	if result, ok := r.do(StartRun{Job: job, IdempotencyKey: key}).(StartRunResult); ok {
		r.runs = append(r.runs, result.Run.ID)
	}
}

// update says something of a task that was launched.
func (r *reload) update() {
	at := r.pick("task", len(r.alive))
	ref := r.alive[at]
	u := Update{MesosID: ref.MesosID, AgentID: ref.AgentID, Source: fromExecutor, UUID: []byte("u")}
	u.State = []string{"TASK_RUNNING", "TASK_FINISHED", "TASK_FINISHED", "TASK_FAILED", "TASK_DROPPED", "TASK_UNREACHABLE", "TASK_LOST"}[r.pick("state", 7)]
	result := &proto.TaskResult{Output: []byte("x")}
	if id, _, err := jobs.ParseMesosTaskID(ref.MesosID); err == nil {
		if _, stage, _, err := jobs.ParseTaskID(id); err == nil && stage == jobs.StageClean {
			result.Output = nil
		}
	}
	if u.State == "TASK_FAILED" {
		class := []proto.Class{proto.CLASS_OURS, proto.CLASS_PASSING, proto.CLASS_FINAL}[r.pick("class", 3)]
		result.Failure = &proto.Failure{Class: class, Kind: "internal", Message: "made to fail"}
	}
	switch u.State {
	case "TASK_FINISHED", "TASK_FAILED":
		u.Data = proto.Encode(result)
		r.alive = slices.Delete(r.alive, at, at+1)
	case "TASK_DROPPED", "TASK_LOST":
		u.Source, u.UUID = "SOURCE_MASTER", nil
	case "TASK_UNREACHABLE":
		u.Source = "SOURCE_MASTER"
	}
	r.step(u)
}

func (r *reload) compare() {
	again, err := New(testConfig(), records(r.store))
	if err != nil {
		r.t.Fatalf("load: %v", err)
	}
	if changes, err := Migrate(records(r.store), "test"); err != nil || len(changes) > 0 {
		r.t.Fatalf("migrate: %d changes, %v", len(changes), err)
	}
	want, got := storedView(r.core), storedView(again)
	for id, line := range want {
		if got[id] != line {
			r.t.Fatalf("%s\nis loaded as %q\nbut was      %q", id, got[id], line)
		}
	}
	if len(got) != len(want) {
		r.t.Fatalf("got %d things, want %d", len(got), len(want))
	}
	for _, change := range again.Step(Input{Now: r.now, Event: Tick{}}).Store {
		if slices.Contains([]RecordKind{KindChannel, KindRollout, KindTally}, change.Key.Kind) {
			r.t.Fatalf("the first step changes %s %s", change.Key.Kind, change.Key.ID)
		}
	}
	if want, got := shownRollout(r.core), shownRollout(again); want != got {
		r.t.Fatalf("after the first step the rollout is\n%s\nwant\n%s", got, want)
	}
	if got, want := waitingTasks(again), waitingTasks(r.core); !slices.Equal(got, want) {
		r.t.Fatalf("after the first step %v wait, want %v", got, want)
	}
	if again.tasks != r.core.tasks {
		r.t.Fatalf("%d tasks are counted, want %d", again.tasks, r.core.tasks)
	}
}

// shownRollout is what a View has of the channel's newest rollout, as text. The sentence that says what it waits for is
// left out: it names a moment more shortly on the same day, and is not made anew at midnight.
func shownRollout(c *Core) string {
	view := c.View().Rollouts["stable"]
	if view == nil {
		return ""
	}
	shown := *view
	shown.Waiting = ""
	return fmt.Sprint(shown)
}

// storedView is what a View has of everything that is stored, as text by name.
func storedView(c *Core) map[string]string {
	view := c.View()
	all := map[string]string{"launched": fmt.Sprint(view.Queue.Launched)}
	for id, run := range view.Runs {
		all["run "+id] = fmt.Sprintf("%x settled=%v revision=%d", proto.Encode(run.Run), run.Settled, run.Revision.Number)
		for task := range run.Tasks() {
			all["task "+task.Task.ID] = fmt.Sprintf("%x", proto.Encode(task.Task))
		}
	}
	for name, job := range view.Jobs {
		all["job "+name] = fmt.Sprintf("%x %d", proto.Encode(job.Job), len(job.Revisions))
	}
	for name, v := range view.Versions {
		all["version "+name] = fmt.Sprintf("%x %v %v %v %v %d %d %d", proto.Encode(v.Use), v.Channels, v.Rollouts, v.Pinned, v.KeptBy, v.Runs, v.Tasks, v.Executors)
	}
	for name, ch := range view.Channels {
		all["channel "+name] = fmt.Sprintf("%x", proto.Encode(ch))
	}
	for name, v := range view.Rollouts {
		all["rollout "+name] = fmt.Sprintf("%x %x %+v", proto.Encode(v.Rollout), v.Tallies, c.channels[name].sums)
		for _, earlier := range v.Earlier {
			all[fmt.Sprint("rollout ", name, earlier.Number)] = fmt.Sprintf("%x", proto.Encode(earlier))
		}
	}
	for key, rec := range c.keys.byKey {
		all["key "+key.job+" "+key.key] = fmt.Sprintf("%x", proto.Encode(rec))
	}
	for id, a := range c.attempts {
		all["attempt "+id] = fmt.Sprint(a.live(), a.over())
	}
	return all
}

// waitingTasks counts each shape's.
func waitingTasks(c *Core) []string {
	var all []string
	for _, s := range c.demand.shapes {
		all = append(all, fmt.Sprintf("%s/%s:%d of %v", s.owner.id, s.stage, s.pending(), s.resources))
	}
	return all
}
