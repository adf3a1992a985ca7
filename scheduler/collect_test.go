package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// TestVersionsAreKept: whatever has happened, a version that anything needs stays, and one that nothing needs goes when
// it is told to, or by rule at the hour. What became of versions is counted whatever happens to their runs. A core made
// of the records shows the same.
func TestVersionsAreKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRegistry(rt)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			r.random()
			r.check()
			r.compare()
		}
	})
}

const (
	testKeep    = 2
	testKeepFor = 10 * time.Hour
)

// registry is a reload whose clients register, use and delete versions. It knows by itself what is known of each.
type registry struct {
	*reload
	registered map[string]time.Time
	uses       map[string]*proto.Use
	states     map[string]proto.RunState // of runs, as they were last
}

func newRegistry(t *rapid.T) *registry {
	r := &registry{reload: newReload(t), registered: map[string]time.Time{}, uses: map[string]*proto.Use{}, states: map[string]proto.RunState{}}
	r.core.cfg.KeepVersions, r.core.cfg.KeepVersionsFor = testKeep, testKeepFor
	for name, v := range r.core.View().Versions {
		r.registered[name], r.uses[name] = v.Version.Registered, &proto.Use{Version: name}
	}
	return r
}

func (r *registry) version() string { return fmt.Sprintf("1.%d.0", 2+r.pick("version", 5)) }

func (r *registry) random() {
	before := r.core.View()
	switch what := r.pick("what", 13); {
	case what < 3:
		r.register(r.version())
	case what < 5:
		r.put()
	case what < 6:
		r.do(StartRun{Job: r.job()})
	case what < 7:
		r.do(DeleteJob{Name: r.job()})
	case what < 8:
		r.move()
	case what < 9:
		r.delete(before)
	case what < 10:
		r.jump(before)
	case what < 11:
		r.pass()
	default:
		r.reload.random()
	}
	r.note()
}

func (r *registry) register(name string) {
	known := r.core.View().Versions[name] != nil
	r.do(RegisterVersion{Artifact: parseArtifact(args{words: []string{name}})})
	if !known {
		r.registered[name], r.uses[name] = r.now, &proto.Use{Version: name}
	}
}

func (r *registry) job() string { return fmt.Sprint("job-", r.pick("job", 4)) }

func (r *registry) put() {
	executor := `{"channel": "stable"}`
	if r.pick("pin", 2) == 1 {
		executor = fmt.Sprintf(`{"version": %q}`, r.version())
	}
	r.do(PutJob{Spec: fmt.Appendf(nil, `{"name": %q, "kind": "work", "executor": %s, "work": {"stages": [1]}}`, r.job(), executor)})
}

// pass lets a run come and go that leaves nothing but its version's use.
func (r *registry) pass() {
	r.do(PutJob{Spec: fmt.Appendf(nil, `{"name": "brief", "kind": "work", "executor": {"version": %q}, "work": {"stages": [1]}}`, r.version())})
	if result, ok := r.do(StartRun{Job: "brief"}).(StartRunResult); ok {
		r.note()
		r.do(CancelRun{Run: result.Run.ID})
	}
	r.note()
	r.do(DeleteJob{Name: "brief"})
}

func (r *registry) move() {
	channel := []string{"stable", "canary"}[r.pick("channel", 2)]
	if r.pick("delete", 4) == 0 {
		r.do(DeleteChannel{Name: channel})
		return
	}
	cmd := SetChannel{Name: channel, Version: r.version(), Again: true}
	if r.pick("at once", 2) == 1 {
		cmd.Rollout = &proto.RolloutPlan{Steps: []uint32{50, 100}, Interval: 20 * time.Hour, MinRuns: 1}
	}
	r.do(cmd)
}

// delete asks for a version to go. It goes unless something needs it.
func (r *registry) delete(before *View) {
	name := r.version()
	reply := r.step(Command{Body: DeleteVersion{Version: name}}).Replies[0]
	switch kept := needed(before, name); {
	case before.Versions[name] == nil:
		if reply.Err == nil || reply.Err.Kind != NotFound {
			r.t.Fatalf("delete %s, which is not there: got %+v", name, reply)
		}
	case kept != "":
		if reply.Err == nil || reply.Err.Kind != Conflict || len(reply.Err.Problems) != len(before.Versions[name].KeptBy) {
			r.t.Fatalf("delete %s, which is needed by %s: got %+v", name, kept, reply)
		}
	case reply.Err != nil:
		r.t.Fatalf("delete %s, which nothing needs: got %v", name, reply.Err)
	}
}

// jump lets so much time pass that the core looks for old versions.
func (r *registry) jump(before *View) {
	r.now = r.now.Add(collectEvery + time.Duration(r.pick("hours", 15))*time.Hour)
	acts := r.step(Tick{})
	var gone []string
	for name := range before.Versions {
		if r.core.versions[name] == nil {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	want := r.old(before)
	if diff := cmp.Diff(want, gone); diff != "" {
		r.t.Fatalf("versions that go by rule (-want +got):\n%s", diff)
	}
	counted := 0
	for _, count := range acts.Counts {
		counted += btoi(count.Metric == MetricVersionsCollected)
	}
	if counted != len(gone) {
		r.t.Fatalf("%d versions have gone and %d are counted", len(gone), counted)
	}
}

// old are the versions that the rule lets go now, sorted.
func (r *registry) old(view *View) []string {
	newest := slices.SortedFunc(maps.Keys(view.Versions), func(a, b string) int { return -r.registered[a].Compare(r.registered[b]) })
	var old []string
	for _, name := range newest[min(testKeep, len(newest)):] {
		last := r.registered[name]
		if use := r.uses[name].Last; use != nil {
			last = later(last, *use)
		}
		if r.now.Sub(last) >= testKeepFor && needed(view, name) == "" {
			old = append(old, name)
		}
	}
	slices.Sort(old)
	return old
}

// note counts what became of runs in the last step.
func (r *registry) note() {
	view := r.core.View()
	for id, run := range view.Runs {
		state, known := r.states[id]
		r.states[id] = run.Run.State
		use, now := r.uses[run.Run.ExecutorVersion], r.now
		switch {
		case !known && use.First == nil:
			use.First, use.Last = &now, &now
		case !known || state != run.Run.State && jobs.Terminal(run.Run.State):
			use.Last = &now
		}
		if state != run.Run.State {
			use.Succeeded += int64(btoi(run.Run.State == proto.RUN_SUCCEEDED))
			use.Failed += int64(btoi(run.Run.State == proto.RUN_FAILED))
			use.Cancelled += int64(btoi(run.Run.State == proto.RUN_CANCELLED))
		}
	}
}

// check holds what the core shows of versions to what is known.
func (r *registry) check() {
	view := r.core.View()
	for name, v := range view.Versions {
		if diff := cmp.Diff(r.uses[name], v.Use); diff != "" {
			r.t.Fatalf("use of %s (-want +got):\n%s", name, diff)
		}
		if kept := needed(view, name); (kept != "") != (len(v.KeptBy) > 0) {
			r.t.Fatalf("%s is needed by %q, and shown as kept by %q", name, kept, v.KeptBy)
		}
		var pinned []string
		for _, job := range slices.Sorted(maps.Keys(view.Jobs)) {
			if pinnedBy(view, job) == name {
				pinned = append(pinned, job)
			}
		}
		if diff := cmp.Diff(pinned, v.Pinned); diff != "" {
			r.t.Fatalf("jobs that pin %s (-want +got):\n%s", name, diff)
		}
	}
	for key := range r.store {
		if key.Kind == KindUse && view.Versions[key.ID] == nil {
			r.t.Fatalf("the use of %s is stored, which is not there any more", key.ID)
		}
	}
}

// needed names something that needs a version, going by all that a view shows of jobs, runs and channels; empty if
// nothing does.
func needed(view *View, version string) string {
	for name := range view.Jobs {
		if pinnedBy(view, name) == version {
			return "job " + name
		}
	}
	for id, run := range view.Runs {
		if run.Run.ExecutorVersion == version && !run.Settled {
			return "run " + id
		}
	}
	for name, ch := range view.Channels {
		if ch.Version == version || ch.Previous == version {
			return "channel " + name
		}
		if r := view.Rollouts[name]; r != nil && r.Rollout.Ended == nil && (r.Rollout.From == version || r.Rollout.To == version) {
			return "rollout of " + name
		}
	}
	return ""
}

// pinnedBy is the version that a job's newest spec names.
func pinnedBy(view *View, job string) string {
	revisions := view.Jobs[job].Revisions
	_, rest, _ := strings.Cut(string(revisions[len(revisions)-1].Spec), `{"version": "`)
	version, _, _ := strings.Cut(rest, `"`)
	return version
}
