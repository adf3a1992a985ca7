package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// register uploads an executor version that is nothing but its name.
func (s *service) register(version string) {
	s.t.Helper()
	want[wire.Executor](s.t, s.do("PUT", "/v1/executors/"+version+"/linux-amd64", version, "X-Checksum-Sha256", sha256Of(version)), http.StatusCreated)
}

// stages are the services on which rollouts are tried: a scheduler that runs nothing, and the real core.
var stages = map[string]func(*testing.T) *service{
	"scripted": func(t *testing.T) *service { return serve(t) },
	"core": func(t *testing.T) *service {
		s, _ := serveCore(t)
		return s
	},
}

// A rollout from its begin to its promotion, as somebody sees it who asks again and again.
func TestRollout(t *testing.T) {
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) { testRollout(t, stage(t)) })
	}
}

func testRollout(t *testing.T, s *service) {
	s.register("1.5.0")
	const plan = `{"version": "1.5.0", "rollout": {"steps": [10, 50, 100], "interval": "30m", "max_failure_ratio": 1.5, "min_runs": 20, "jobs": ["flights-*"]}}`
	begun := want[wire.Channel](t, s.do("PUT", "/v1/channels/stable", plan), 200)
	r := begun.Rollout
	if begun.Version != "1.4.0" || r == nil || r.State != "running" || r.From != "1.4.0" || r.To != "1.5.0" || r.Number != 1 || r.Step != 1 || r.Share != 10 ||
		r.By != "anonymous" || r.Reason == "" || r.Waiting == "" || r.Until == nil || !r.Until.After(r.Created) || len(r.Events) != 1 || r.Events[0].Event != "started" {
		t.Fatalf("got %+v, %+v", begun, r)
	}
	wanted := wire.RolloutPlan{Steps: []int{10, 50, 100}, Interval: "30m", MinRuns: 20, MaxFailureRatio: 1.5, Jobs: []string{"flights-*"}}
	if diff := cmp.Diff(wanted, r.Plan); diff != "" {
		t.Errorf("plan: %s", diff)
	}
	again := want[wire.Channel](t, s.do("PUT", "/v1/channels/stable", plan), 200)
	if diff := cmp.Diff(begun, again); diff != "" {
		t.Errorf("a repeat changed: %s", diff)
	}
	for _, other := range []string{
		`{"version": "1.5.0"}`, `{"version": "1.4.0"}`, `{"version": "1.5.0", "rollout": {}}`, strings.Replace(plan, "1.5,", "2,", 1),
	} {
		if refused := want[wire.Error](t, s.do("PUT", "/v1/channels/stable", other), 409); !strings.Contains(refused.Detail, "rollout 1") {
			t.Errorf("%s: got %+v", other, refused)
		}
	}
	want[wire.Error](t, s.do("DELETE", "/v1/channels/stable", ""), 409)
	if refused := want[wire.Error](t, s.do("DELETE", "/v1/executors/1.5.0", ""), 409); len(refused.Errors) == 0 || !strings.Contains(refused.Errors[0].Detail, "rollout") {
		t.Errorf("removing its target: got %+v", refused)
	}
	if v := want[wire.Executor](t, s.get("/v1/executors/1.5.0"), 200); !slices.Equal(v.Rollouts, []string{"stable"}) || len(v.KeptBy) != 1 || v.RegisteredBy != "anonymous" {
		t.Errorf("its target: got %+v", v)
	}
	testSteering(t, s)
}

// testSteering goes on from a rollout that runs.
func testSteering(t *testing.T, s *service) {
	steer := func(action, body string, status int) answer {
		t.Helper()
		a := s.do("POST", "/v1/channels/stable/rollout/"+action, body)
		if a.status != status {
			t.Fatalf("%s %s: got %d %s, want %d", action, body, a.status, a.body, status)
		}
		return a
	}
	paused := want[wire.Rollout](t, steer("pause", `{"rollout": 1, "reason": "the moon is full"}`, 200), 200)
	if paused.State != "paused" || paused.Share != 10 || !strings.Contains(paused.Reason, "the moon is full") || paused.Until != nil || paused.Ended != nil {
		t.Errorf("paused: got %+v", paused)
	}
	if last := paused.Events[len(paused.Events)-1]; last.Event != "paused" || last.By != "anonymous" || last.Step != 1 {
		t.Errorf("its last event: got %+v", last)
	}
	if again := want[wire.Rollout](t, steer("pause", "", 200), 200); len(again.Events) != len(paused.Events) {
		t.Errorf("pausing again: got %+v", again.Events)
	}
	if refused := want[wire.Error](t, steer("abort", `{"rollout": 7}`, 409), 409); !strings.Contains(refused.Detail, "not 7") {
		t.Errorf("another rollout: got %+v", refused)
	}
	if resumed := want[wire.Rollout](t, steer("resume", "", 200), 200); resumed.State != "running" {
		t.Errorf("resumed: got %+v", resumed)
	}
	if promoted := want[wire.Rollout](t, steer("promote", "{}", 200), 200); promoted.State != "promoted" || promoted.Share != 100 || promoted.Ended == nil || promoted.Waiting != "" {
		t.Errorf("promoted: got %+v", promoted)
	}
	steer("promote", "", 200)
	steer("abort", "", 409)
	channel := want[wire.Channel](t, s.get("/v1/channels/stable"), 200)
	if channel.Version != "1.5.0" || channel.Previous != "1.4.0" || channel.UpdatedBy != "anonymous" || len(channel.Moves) == 0 || channel.Moves[0].Rollout != 1 || channel.Moves[0].From != "1.4.0" {
		t.Errorf("got %+v", channel)
	}

	// Back at once, then once more by steps, and given up.
	want[wire.Channel](t, s.do("PUT", "/v1/channels/stable", `{"version": "1.4.0"}`), 200)
	want[wire.Channel](t, s.do("PUT", "/v1/channels/stable", `{"version": "1.5.0", "rollout": {}}`), 200)
	if aborted := want[wire.Rollout](t, steer("abort", "", 200), 200); aborted.Number != 2 || aborted.Share != 0 || aborted.Plan.MinRuns != 20 {
		t.Errorf("aborted: got %+v", aborted)
	}
	list := want[wire.List[wire.Rollout]](t, s.get("/v1/channels/stable/rollouts"), 200)
	if len(list.Items) != 2 || list.Items[0].Number != 2 || list.Items[1].State != "promoted" || len(list.Items[1].Events) != 4 {
		t.Errorf("rollouts: got %+v", list.Items)
	}
	first := want[wire.List[wire.Rollout]](t, s.get("/v1/channels/stable/rollouts?limit=1"), 200)
	second := want[wire.List[wire.Rollout]](t, s.get("/v1/channels/stable/rollouts?limit=1&cursor="+first.Next), 200)
	if first.Items[0].Number != 2 || second.Items[0].Number != 1 || second.Next != "" {
		t.Errorf("pages: got %+v and %+v", first, second)
	}
	for _, c := range want[wire.List[wire.Channel]](t, s.get("/v1/channels"), 200).Items {
		if c.Name == "stable" && (c.Rollout == nil || c.Rollout.Number != 2 || c.Rollout.Events != nil || c.Moves != nil) {
			t.Errorf("in the list: got %+v", c)
		}
	}
	want[wire.Channel](t, s.do("DELETE", "/v1/channels/stable", ""), 200)
	want[wire.Error](t, s.get("/v1/channels/stable"), 404)
	want[wire.Error](t, s.do("DELETE", "/v1/channels/stable", ""), 404)
}

// Each mistake in a plan is located, by whoever finds it.
func TestRolloutMistakesAreLocated(t *testing.T) {
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			s := stage(t)
			s.register("1.5.0")
			for plan, at := range map[string]string{
				`{"steps": []}`:                                  "/rollout/steps",
				`{"steps": [10, 0]}`:                             "/rollout/steps/1",
				`{"steps": [10, 101]}`:                           "/rollout/steps/1",
				`{"steps": [10, 10]}`:                            "/rollout/steps/1",
				`{"steps": [10, 50, 20]}`:                        "/rollout/steps/2",
				`{"steps": [-10]}`:                               "/rollout/steps/0",
				`{"steps": [10.5]}`:                              "/rollout/steps/0",
				`{"steps": ["10"]}`:                              "/rollout/steps/0",
				`{"steps": 10}`:                                  "/rollout/steps",
				`{"steps": [4294967306]}`:                        "/rollout/steps/0",
				`{"interval": ""}`:                               "/rollout/interval",
				`{"interval": "0s"}`:                             "/rollout/interval",
				`{"interval": "-1m"}`:                            "/rollout/interval",
				`{"interval": "1d"}`:                             "/rollout/interval",
				`{"interval": "721h"}`:                           "/rollout/interval",
				`{"interval": 30}`:                               "/rollout/interval",
				`{"min_runs": 0}`:                                "/rollout/min_runs",
				`{"min_runs": -1}`:                               "/rollout/min_runs",
				`{"min_runs": 4294967297}`:                       "/rollout/min_runs",
				`{"max_failure_ratio": 0}`:                       "/rollout/max_failure_ratio",
				`{"max_failure_ratio": 0.5}`:                     "/rollout/max_failure_ratio",
				`{"max_failure_ratio": 1e300}`:                   "/rollout/max_failure_ratio",
				`{"max_duration_ratio": -1}`:                     "/rollout/max_duration_ratio",
				`{"min_rate_ratio": 0}`:                          "/rollout/min_rate_ratio",
				`{"min_rate_ratio": 2}`:                          "/rollout/min_rate_ratio",
				`{"jobs": []}`:                                   "/rollout/jobs",
				`{"jobs": ["ok", ""]}`:                           "/rollout/jobs/1",
				`{"jobs": ["ok", "Not OK"]}`:                     "/rollout/jobs/1",
				`{"jobs": ["` + strings.Repeat("a", 101) + `"]}`: "/rollout/jobs/0",
				`{"step": [10]}`:                                 "/rollout/step",
			} {
				refused := want[wire.Error](t, s.do("PUT", "/v1/channels/stable", `{"version": "1.5.0", "rollout": `+plan+`}`), 422)
				if !slices.ContainsFunc(refused.Errors, func(p wire.Problem) bool { return p.Pointer == at && p.Detail != "" }) {
					t.Errorf("%s: nothing points at %s: %+v", plan, at, refused)
				}
			}
			if channel := want[wire.Channel](t, s.get("/v1/channels/stable"), 200); channel.Rollout != nil {
				t.Errorf("a rollout has begun: %+v", channel.Rollout)
			}
			for _, call := range []struct {
				method, path, body string
				status             int
				says               string
			}{
				{"GET", "/v1/channels/stabel", "", 404, `did you mean \"stable\"`},
				{"GET", "/v1/channels/stabel/rollouts", "", 404, `did you mean \"stable\"`},
				{"GET", "/v1/executors/1.5.O", "", 404, `did you mean \"1.5.0\"`},
				{"POST", "/v1/channels/stabel/rollout/pause", "", 404, "stabel"},
				{"POST", "/v1/channels/stable/rollout/pause", "", 404, "never had a rollout"},
				{"POST", "/v1/channels/stable/rollout/stop", "", 422, "promote"},
				{"POST", "/v1/channels/stable/rollout/pause", `{"rollout": -1}`, 422, "/rollout"},
				{"POST", "/v1/channels/stable/rollout/pause", `{"why": "x"}`, 422, "/why"},
				{"POST", "/v1/channels/stable/rollout/pause", `{"reason": "` + strings.Repeat("x", 501) + `"}`, 422, "/reason"},
				{"DELETE", "/v1/channels/stabel", "", 404, "stabel"},
				{"PUT", "/v1/channels/stable", `{"version": "1.5.1", "rollout": {}}`, 422, "/version"},
			} {
				if a := s.do(call.method, call.path, call.body); a.status != call.status || !strings.Contains(string(a.body), call.says) {
					t.Errorf("%s %s %s: got %d %s", call.method, call.path, call.body, a.status, a.body)
				}
			}
		})
	}
}

// What runs taught of the two versions is shown by job and in all; of earlier rollouts nothing of it is left.
func TestRolloutIsCompared(t *testing.T) {
	s := serve(t)
	now := time.Now()
	s.scheduler.ExampleRollouts(now, s.scheduler.Example(now))
	r := want[wire.Channel](t, s.get("/v1/channels/stable"), 200).Rollout
	if r.Old.Runs != 1000 || r.Old.Failed != 8 || r.New.Runs != 118 || r.New.Failed != 1 || r.Old.Seconds != nil || len(r.Jobs) != 2 {
		t.Fatalf("got %+v", r)
	}
	one := r.Jobs[0]
	if one.Job != "flights-by-carrier" || one.Old.Seconds == nil || one.New.RowsPerSecond == nil || *one.Old.Seconds < 41.1 || *one.Old.Seconds > 41.3 {
		t.Errorf("got %+v", one)
	}
	list := want[wire.List[wire.Rollout]](t, s.get("/v1/channels/stable/rollouts"), 200).Items
	if len(list) != 2 || list[0].New.Runs != 118 || list[0].Jobs != nil || list[1].New.Runs != 0 || list[1].Waiting != "" {
		t.Errorf("got %+v", list)
	}
	if text := string(s.get("/v1/channels/stable/rollouts?limit=1").body); !strings.Contains(text, `"old":`) {
		t.Errorf("got %s", text)
	}
}

// Whoever asked for something is shown with it.
func TestWhoAsked(t *testing.T) {
	s := serve(t, withToken)
	do := func(method, path, body string, status int) answer {
		t.Helper()
		a := s.do(method, path, body, "Authorization", "Bearer s3cret")
		if a.status != status {
			t.Fatalf("%s %s: got %d %s", method, path, a.status, a.body)
		}
		return a
	}
	if job := want[wire.Job](t, do("POST", "/v1/jobs", specOf("flights"), 201), 201); job.By != "token" {
		t.Errorf("job: got %q", job.By)
	}
	if list := want[wire.List[wire.Revision]](t, do("GET", "/v1/jobs/flights/revisions", "", 200), 200); list.Items[0].By != "token" {
		t.Errorf("revision: got %+v", list.Items)
	}
	run := want[wire.Run](t, do("POST", "/v1/jobs/flights/runs", "", 202), 202)
	if run.By != "token" || run.CancelledBy != "" || run.Channel != "stable" {
		t.Errorf("run: got %+v", run)
	}
	if run = want[wire.Run](t, do("POST", "/v1/runs/"+run.ID+"/cancel", "", 202), 202); run.CancelledBy != "token" {
		t.Errorf("cancelled run: got %+v", run)
	}
}

// A run that has moved shows where it comes from, and each attempt on which version it was.
func TestMovesAreShown(t *testing.T) {
	s := serve(t)
	now := time.Now()
	runs := s.scheduler.Example(now)
	s.scheduler.ExampleRollouts(now, runs)
	id := runs["running"]
	moved := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s.scheduler.UpdateRun(id, func(run *scheduler.RunView) {
		run.Run.Moves = []proto.Move{{From: "1.4.0", To: "1.5.0-rc1", At: moved, By: "ci"}}
		run.Run.MovingTo = "1.6.0"
	})
	run := want[wire.Run](t, s.get("/v1/runs/"+id), 200)
	if diff := cmp.Diff([]wire.Move{{From: "1.4.0", To: "1.5.0-rc1", At: moved, By: "ci"}}, run.Moves); diff != "" || run.MovingTo != "1.6.0" || run.Rollout != 2 {
		t.Errorf("got %+v: %s", run, diff)
	}
	for _, task := range want[wire.List[wire.Task]](t, s.get("/v1/runs/"+id+"/tasks"), 200).Items {
		for _, attempt := range task.Attempts {
			if attempt.ExecutorVersion != "1.5.0-rc1" {
				t.Errorf("attempt %s: got version %q", attempt.ID, attempt.ExecutorVersion)
			}
		}
	}
}
