//go:build endtoend

package endtoend

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/build"
)

// TestVersions is what CI and operators do with executor versions, all through HTTP on `tidemill-dev up`. The subtests
// go on where the one before has ended.
func TestVersions(t *testing.T) {
	c := newPlatform(t)
	c.short("1.0.0", build.Behaviour{})
	c.short("1.1.0", build.Behaviour{})
	c.expect(http.StatusOK, http.MethodPut, "/v1/channels/shorts", `{"version": "1.0.0"}`, nil)
	for _, name := range followers {
		c.putJob(shortJob(name, `"executor": {"channel": "shorts"}`))
	}
	for _, part := range []struct {
		name string
		test func(*cluster)
	}{
		{"two versions at the same time on the same agent", sameAgent},
		{"canary of 200 runs", canary},
		{"steered by hand", steered},
		{"bad version taken back", takenBack},
		{"good version promoted", promoted},
		{"deleted", deleted},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(c.in(t)) }) {
			t.FailNow()
		}
	}
}

// followers are jobs that follow the channel shorts.
var followers = []string{"short-a", "short-b", "short-c", "short-d"}

// sameAgent runs two jobs that pin different versions until both are seen to run on one agent, in the API and in Mesos.
func sameAgent(c *cluster) {
	gate := filepath.Join(c.dir, "gate")
	runs := map[string]string{} // by version
	for version, name := range map[string]string{"1.0.0": "pinned-old", "1.1.0": "pinned-new"} {
		c.putJob(shortJob(name, `"executor": {"version": "`+version+`"}`, `"constraints": [{"attribute": "zone", "operator": "is", "value": "a"}]`))
		var run wire.Run
		c.expect(http.StatusAccepted, http.MethodPost, "/v1/jobs/"+name+"/runs", `{"params": {"until": "`+gate+`"}}`, &run)
		runs[version] = run.ID
	}
	agents := map[string]string{}
	for version, run := range runs {
		c.eventually(20*time.Second, "the task of "+run+" runs", func() (bool, error) {
			for _, a := range c.attempts(run) {
				if a.State == "running" && a.ExecutorVersion == version && strings.Contains(a.Executor, version) {
					agents[version] = a.Agent
				}
			}
			return agents[version] != "", nil
		})
		var shown wire.Executor
		c.expect(http.StatusOK, http.MethodGet, "/v1/executors/"+version, "", &shown)
		if shown.Runs != 1 || shown.Tasks != 1 || !slices.Equal(shown.Running, []string{run}) || shown.FirstUsed == nil {
			c.t.Errorf("version %s: got %+v, want one run and one task", version, shown)
		}
	}
	if agents["1.0.0"] != agents["1.1.0"] {
		c.t.Errorf("they run on the agents %v", agents)
	}
	seenByMesos(c, runs)
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	for version, run := range runs {
		if ended := c.await(run, time.Minute); ended.State != "succeeded" || ended.ExecutorVersion != version {
			c.t.Errorf("run on %s: %s on %s: %+v", version, ended.State, ended.ExecutorVersion, ended.Error)
		}
	}
}

// seenByMesos looks for the versions in what Mesos' own page shows: the tasks' labels and the executors' names.
func seenByMesos(c *cluster, runs map[string]string) {
	c.t.Helper()
	type labels []struct{ Key, Value string }
	var info wire.Info
	c.expect(http.StatusOK, http.MethodGet, "/v1/info", "", &info)
	var state struct {
		Frameworks []struct {
			Tasks []struct {
				ID, Name, State string
				Labels          labels
			}
			Executors []struct {
				ID     string `json:"executor_id"`
				Name   string
				Labels labels
			}
		}
	}
	master := *c
	master.api = info.Mesos.Master
	master.expect(http.StatusOK, http.MethodGet, "/state", "", &state)
	if len(state.Frameworks) != 1 {
		c.t.Fatalf("Mesos has %d frameworks", len(state.Frameworks))
	}
	has := func(l labels, version, run string) bool {
		return slices.Contains(l, struct{ Key, Value string }{"tidemill.version", version}) &&
			slices.Contains(l, struct{ Key, Value string }{"tidemill.run", run})
	}
	for version, run := range runs {
		tasks, executors := 0, 0
		for _, task := range state.Frameworks[0].Tasks {
			if strings.HasPrefix(task.ID, run+".") && task.State == "TASK_RUNNING" && has(task.Labels, version, run) {
				tasks++
			}
		}
		for _, e := range state.Frameworks[0].Executors {
			if strings.Contains(e.Name, version) && has(e.Labels, version, run) {
				executors++
			}
		}
		if tasks != 1 || executors != 1 {
			c.t.Errorf("Mesos shows %d tasks and %d executors of run %s on %s: %+v", tasks, executors, run, version, state.Frameworks[0])
		}
	}
}

// inShare is the documented rule for which runs go to the new version.
func inShare(job, run string, percent int) bool {
	sum := sha256.Sum256([]byte(job + "\n" + run))
	return binary.BigEndian.Uint64(sum[:8])%10_000 < uint64(percent)*100
}

// canary begins a rollout of which a share of the runs is the canary, and counts.
func canary(c *cluster) {
	const n, percent = 200, 30
	c.expect(http.StatusOK, http.MethodPut, "/v1/channels/shorts",
		`{"version": "1.1.0", "rollout": {"steps": [30, 100], "interval": "1h", "min_runs": 5}}`, nil)
	onNew := func(prefix string) (canaries int) {
		for _, run := range c.awaitMany(c.startMany(followers, n, prefix)) {
			want := "1.0.0"
			if inShare(run.Job, run.ID, percent) {
				want = "1.1.0"
				canaries++
			}
			if run.State != "succeeded" || run.ExecutorVersion != want || run.Channel != "shorts" || run.Rollout != 1 {
				c.t.Errorf("run %s %s on %s for rollout %d of channel %q, want %s: %+v",
					run.ID, run.State, run.ExecutorVersion, run.Rollout, run.Channel, want, run.Error)
			}
		}
		return canaries
	}
	mean, deviation := n*percent/100.0, math.Sqrt(n*percent/100.0*(1-percent/100.0))
	far := func(canaries int) bool { return math.Abs(float64(canaries)-mean) > 3*deviation }
	runs, canaries := n, onNew("canary")
	if far(canaries) { // once in 370 times; twice in a row is no chance
		again := onNew("again")
		if far(again) {
			c.t.Errorf("%d, then %d of %d runs were on the new version, want %.0f ± %.1f", canaries, again, n, mean, 3*deviation)
		}
		runs, canaries = 2*n, canaries+again
	}
	c.t.Logf("%d of %d runs were on the new version", canaries, runs)
	r := c.rollout("shorts")
	if r.State != "running" || r.Share != percent || r.Step != 1 || r.Waiting == "" || r.Until == nil || r.Reason == "" {
		c.t.Errorf("got %+v, want the first step until in an hour", r)
	}
	if r.New.Runs != canaries || r.Old.Runs != runs-canaries || r.New.Failed+r.Old.Failed != 0 || r.Runs != canaries {
		c.t.Errorf("it counts %+v on the old and %+v on the new version, %d in the step; want %d and %d", r.Old, r.New, r.Runs, runs-canaries, canaries)
	}
	if len(r.Jobs) != len(followers) {
		c.t.Errorf("it compares %d jobs, want %d", len(r.Jobs), len(followers))
	}
}

// steered pauses, resumes and aborts that rollout, and promotes another one. Each is repeated: that changes nothing.
func steered(c *cluster) {
	const put, same = "/v1/channels/shorts", `{"version": "1.1.0", "rollout": {"steps": [30, 100], "interval": "1h", "min_runs": 5}}`
	twice := func(method, path, body string) {
		c.t.Helper()
		for range 2 {
			c.expect(http.StatusOK, method, path, body, nil)
		}
	}
	twice(http.MethodPut, put, same)
	refuse := func(body string) {
		c.t.Helper()
		c.expect(http.StatusConflict, http.MethodPut, put, body, nil, "rollout 1", "1.1.0")
	}
	refuse(`{"version": "` + stable + `"}`)
	refuse(`{"version": "1.1.0"}`)
	refuse(`{"version": "1.1.0", "rollout": {"steps": [50]}}`)
	c.expect(http.StatusConflict, http.MethodDelete, put, "", nil, "rollout 1")

	twice(http.MethodPost, put+"/rollout/pause", `{"reason": "lunch"}`)
	refuse(`{"version": "` + stable + `"}`)
	if r := c.rollout("shorts"); r.State != "paused" || r.Share != 30 || !strings.Contains(r.Reason, "lunch") {
		c.t.Errorf("paused: got %+v", r)
	}
	onNew := 0
	for _, run := range c.awaitMany(c.startMany(followers, 20, "paused")) {
		if run.Rollout != 1 || (run.ExecutorVersion == "1.1.0") != inShare(run.Job, run.ID, 30) {
			c.t.Errorf("paused: run %s is on %s", run.ID, run.ExecutorVersion)
		}
		if run.ExecutorVersion == "1.1.0" {
			onNew++
		}
	}
	c.t.Logf("%d of 20 runs were on the new version while it was paused", onNew)
	twice(http.MethodPost, put+"/rollout/resume", "")
	c.expect(http.StatusConflict, http.MethodPost, put+"/rollout/abort", `{"rollout": 7}`, nil, "7")
	twice(http.MethodPost, put+"/rollout/abort", `{"rollout": 1}`)
	c.expect(http.StatusConflict, http.MethodPost, put+"/rollout/promote", "", nil, "aborted")
	c.expect(http.StatusNotFound, http.MethodPost, "/v1/channels/stable/rollout/pause", "", nil)
	r := c.rollout("shorts")
	if want := []string{"started", "paused", "resumed", "aborted"}; !slices.Equal(happened(r), want) || r.State != "aborted" || r.Share != 0 {
		c.t.Errorf("got %v, %s, share %d; want %v", happened(r), r.State, r.Share, want)
	}
	for _, run := range c.awaitMany(c.startMany(followers, 8, "aborted")) {
		if run.ExecutorVersion != "1.0.0" || run.Rollout != 0 {
			c.t.Errorf("after it was aborted run %s is on %s for rollout %d", run.ID, run.ExecutorVersion, run.Rollout)
		}
	}

	c.expect(http.StatusOK, http.MethodPut, put, same, nil)
	twice(http.MethodPost, put+"/rollout/promote", "")
	if now := c.channel("shorts"); now.Version != "1.1.0" || now.Previous != "1.0.0" || now.Rollout.Number != 2 || now.Rollout.State != "promoted" {
		c.t.Errorf("promoted: got %+v, %+v", now, now.Rollout)
	}
	for range 2 {
		c.expect(http.StatusOK, http.MethodPut, put, `{"version": "1.0.0"}`, nil)
	}
	if now := c.channel("shorts"); now.Version != "1.0.0" || now.Previous != "1.1.0" || len(now.Moves) != 3 {
		c.t.Errorf("back at once: got %+v", now)
	}
}

// runUntilEnded starts runs until the channel's newest rollout has ended, and gives them when they have ended, too.
func runUntilEnded(c *cluster, prefix string) (runs []wire.Run, r wire.Rollout) {
	c.t.Helper()
	for batch := 'a'; batch < 'a'+20; batch++ {
		runs = append(runs, c.awaitMany(c.startMany(followers, 12, prefix+"-"+string(batch)))...)
		if r = c.rollout("shorts"); r.Ended != nil {
			return runs, r
		}
	}
	c.t.Fatalf("after %d runs it has not ended: %+v", len(runs), r)
	return nil, r
}

// takenBack rolls a version out that fails half of its runs.
func takenBack(c *cluster) {
	const plan = `{"version": "1.2.0", "rollout": {"steps": [30, 100], "interval": "500ms", "min_runs": 20}}`
	c.short("1.2.0", build.Behaviour{Fail: 50})
	c.expect(http.StatusOK, http.MethodPut, "/v1/channels/shorts", plan, nil)
	runs, r := runUntilEnded(c, "bad")
	canaries, harmed := 0, 0
	for _, run := range runs {
		if run.ExecutorVersion == "1.2.0" {
			canaries++
			if !inShare(run.Job, run.ID, 30) {
				c.t.Errorf("run %s was not in the share and went to 1.2.0", run.ID)
			}
		}
		if run.State != "succeeded" {
			harmed++
			if run.ExecutorVersion != "1.2.0" {
				c.t.Errorf("run %s %s on %s: %+v", run.ID, run.State, run.ExecutorVersion, run.Error)
			}
		}
	}
	c.t.Logf("taken back after %d runs, %d of them canaries, %d harmed: %s", len(runs), canaries, harmed, r.Reason)
	if r.State != "taken_back" || r.Step != 1 || !slices.Equal(happened(r), []string{"started", "taken_back"}) || r.Events[1].By != "" {
		c.t.Errorf("got %s in step %d after %v", r.State, r.Step, happened(r))
	}
	if harmed == 0 || harmed > canaries || !strings.Contains(r.Reason, "fail") || !strings.Contains(r.Reason, "1.2.0") {
		c.t.Errorf("%d runs were harmed by %d canaries; the reason is %q", harmed, canaries, r.Reason)
	}
	for _, run := range c.awaitMany(c.startMany(followers, 8, "after-bad")) {
		if run.State != "succeeded" || run.ExecutorVersion != "1.0.0" {
			c.t.Errorf("afterwards run %s %s on %s", run.ID, run.State, run.ExecutorVersion)
		}
	}
	if now := c.channel("shorts"); now.Version != "1.0.0" {
		c.t.Errorf("the channel points at %s", now.Version)
	}
	var shown wire.Executor
	c.expect(http.StatusOK, http.MethodGet, "/v1/executors/1.2.0", "", &shown)
	if shown.FailureRatio == nil || *shown.FailureRatio <= 0 || shown.Failed != int64(harmed) || shown.Succeeded != int64(canaries-harmed) {
		c.t.Errorf("version 1.2.0 shows %+v, want %d of %d failed", shown, harmed, canaries)
	}
	c.expect(http.StatusConflict, http.MethodPut, "/v1/channels/shorts", plan, nil, "taken 1.2.0 back", "again")
}

// promoted rolls a version out that fails no run.
func promoted(c *cluster) {
	c.short("1.3.0", build.Behaviour{})
	c.expect(http.StatusOK, http.MethodPut, "/v1/channels/shorts",
		`{"version": "1.3.0", "rollout": {"steps": [30, 100], "interval": "500ms", "min_runs": 8}}`, nil)
	runs, r := runUntilEnded(c, "good")
	for _, run := range runs {
		if run.State != "succeeded" {
			c.t.Errorf("run %s %s on %s: %+v", run.ID, run.State, run.ExecutorVersion, run.Error)
		}
	}
	c.t.Logf("promoted after %d runs: %s", len(runs), r.Reason)
	if want := []string{"started", "step", "promoted"}; r.State != "promoted" || !slices.Equal(happened(r), want) || r.Share != 100 || r.Reason == "" {
		c.t.Errorf("got %s, share %d, %v, %q; want %v", r.State, r.Share, happened(r), r.Reason, want)
	}
	now := c.channel("shorts")
	if now.Version != "1.3.0" || now.Previous != "1.0.0" || len(now.Moves) == 0 || now.Moves[0].To != "1.3.0" || now.Moves[0].Rollout != r.Number {
		c.t.Errorf("got %+v", now)
	}
	for _, run := range c.awaitMany(c.startMany(followers, 4, "after-good")) {
		if run.State != "succeeded" || run.ExecutorVersion != "1.3.0" {
			c.t.Errorf("afterwards run %s %s on %s", run.ID, run.State, run.ExecutorVersion)
		}
	}
	var history wire.List[wire.Rollout]
	c.expect(http.StatusOK, http.MethodGet, "/v1/channels/shorts/rollouts", "", &history)
	var states []string
	for _, r := range history.Items {
		states = append(states, r.State)
	}
	if want := []string{"promoted", "taken_back", "promoted", "aborted"}; !slices.Equal(states, want) {
		c.t.Errorf("the history is %v, want %v", states, want)
	}
}

// deleted tries to remove what is in use, which says by whom, and what is not.
func deleted(c *cluster) {
	remove := func(want int, path string, words ...string) {
		c.t.Helper()
		c.expect(want, http.MethodDelete, path, "", nil, words...)
	}
	remove(http.StatusConflict, "/v1/executors/1.3.0", "shorts")
	remove(http.StatusConflict, "/v1/executors/1.0.0", "shorts", "pinned-old")
	remove(http.StatusConflict, "/v1/executors/1.1.0", "pinned-new")
	remove(http.StatusOK, "/v1/executors/1.2.0")
	remove(http.StatusNotFound, "/v1/executors/1.2.0")
	remove(http.StatusConflict, "/v1/channels/shorts", followers...)
	remove(http.StatusOK, "/v1/jobs/pinned-new")
	remove(http.StatusOK, "/v1/executors/1.1.0")
	for _, name := range followers {
		remove(http.StatusOK, "/v1/jobs/"+name)
	}
	remove(http.StatusOK, "/v1/channels/shorts")
	remove(http.StatusNotFound, "/v1/channels/shorts")
}
