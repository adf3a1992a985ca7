package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// succeed ends a run as if its tasks had done their work.
func succeed(run *scheduler.RunView) {
	ended := time.Now()
	run.Run.State, run.Run.Ended, run.Progress, run.Waiting = proto.RUN_SUCCEEDED, &ended, 1, nil
	run.Run.Output = &proto.Output{URI: "s3://results/x/data/1/", Manifest: "s3://results/x/data/_manifest.json", Rows: 12_345, Files: 2, Bytes: 99}
}

func TestRunIsStartedOnce(t *testing.T) {
	s := serve(t)
	want[wire.Job](t, s.do("POST", "/v1/jobs", specOf("flights")), 201)
	a := s.do("POST", "/v1/jobs/flights/runs", `{"params": {"day": "2013-07-04"}}`, "Idempotency-Key", "k1")
	run := want[wire.Run](t, a, http.StatusAccepted)
	if run.Job != "flights" || run.Revision != 1 || run.State != "pending" || run.ExecutorVersion != "1.4.0" || run.Params["day"] != "2013-07-04" {
		t.Errorf("got %+v", run)
	}
	if got := a.header.Get("Location"); got != "/v1/runs/"+run.ID {
		t.Errorf("Location: got %q", got)
	}
	again := want[wire.Run](t, s.do("POST", "/v1/jobs/flights/runs", `{"params": {"day": "2013-07-04"}}`, "Idempotency-Key", "k1"), http.StatusAccepted)
	if again.ID != run.ID {
		t.Errorf("the same key again: got run %s, want %s", again.ID, run.ID)
	}
	want[wire.Error](t, s.do("POST", "/v1/jobs/flights/runs", `{}`, "Idempotency-Key", "k1"), http.StatusConflict)
	// No body and an empty one are the same.
	for _, body := range []string{"", "{}"} {
		if other := want[wire.Run](t, s.do("POST", "/v1/jobs/flights/runs", body), http.StatusAccepted); other.ID == run.ID {
			t.Errorf("without a key: got the first run")
		}
	}
	cancelled := want[wire.Run](t, s.do("POST", "/v1/runs/"+run.ID+"/cancel", ""), http.StatusAccepted)
	if cancelled.State != "cancelled" || cancelled.CancelRequested == nil {
		t.Errorf("cancel: got %+v", cancelled)
	}
	want[wire.Run](t, s.do("POST", "/v1/runs/"+run.ID+"/cancel", ""), http.StatusAccepted)
}

// The JSON of a run is the design's, name for name.
func TestShapeOfRun(t *testing.T) {
	s := serve(t)
	runs := s.scheduler.Example(time.Now())
	var run map[string]any
	if err := json.Unmarshal(s.get("/v1/runs/"+runs["succeeded"]).body, &run); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "job", "revision", "state", "executor_version", "params", "created", "started", "ended", "progress", "stages", "output"} {
		if run[name] == nil {
			t.Errorf("there is no %q", name)
		}
	}
	stage := run["stages"].([]any)[1].(map[string]any)
	if tasks := stage["tasks"].(map[string]any); stage["name"] != "map" || tasks["finished"] != 12.0 || tasks["pending"] != 0.0 || stage["rows"] == 0.0 || stage["bytes"] == 0.0 {
		t.Errorf("got stage %v", stage)
	}
	output := run["output"].(map[string]any)
	if output["rows"] != 5521.0 || output["files"] != 1.0 || !strings.HasPrefix(output["manifest"].(string), "s3://") {
		t.Errorf("got output %v", output)
	}
	if created, err := time.Parse(time.RFC3339, run["created"].(string)); err != nil || created.Location() != time.UTC {
		t.Errorf("created is %v: %v", run["created"], err)
	}
	if err := json.Unmarshal(s.get("/v1/runs/"+runs["failed"]).body, &run); err != nil {
		t.Fatal(err)
	}
	failure := run["error"].(map[string]any)
	if failure["kind"] != "invalid" || failure["pointer"] != "/aggregate/input" || failure["task"] != runs["failed"]+".map.3" || failure["message"] == "" {
		t.Errorf("got error %v", failure)
	}
}

// The counts of a stage have a place for every state that a task can have.
// A run tells whether it tries out the new version of a rollout, while that rollout is known.
func TestCanary(t *testing.T) {
	s := serve(t)
	runs := s.scheduler.Example(time.Now())
	s.scheduler.ExampleRollouts(time.Now(), runs)
	id := runs["running"]
	for _, test := range []struct {
		name, channel, version string
		rollout                uint32
		moves                  []proto.Move
		want                   bool
	}{
		{"new version", "stable", "1.5.0-rc1", 2, nil, true},
		{"old version", "stable", "1.4.0", 2, nil, false},
		{"new version of the rollout before", "stable", "1.4.0", 1, nil, true},
		{"moved since", "stable", "1.6.0-dev", 2, []proto.Move{{From: "1.5.0-rc1", To: "1.6.0-dev"}}, true},
		{"moved to the new version", "stable", "1.5.0-rc1", 2, []proto.Move{{From: "1.4.0", To: "1.5.0-rc1"}}, false},
		{"no rollout", "stable", "1.5.0-rc1", 0, nil, false},
		{"a rollout that is forgotten", "stable", "1.5.0-rc1", 7, nil, false},
		{"a channel that is gone", "gone", "1.5.0-rc1", 2, nil, false},
		{"no channel", "", "1.5.0-rc1", 0, nil, false},
	} {
		s.scheduler.UpdateRun(id, func(run *scheduler.RunView) {
			run.Run.Channel, run.Run.ExecutorVersion, run.Run.Rollout, run.Run.Moves = test.channel, test.version, test.rollout, test.moves
		})
		if got := want[wire.Run](t, s.get("/v1/runs/"+id), http.StatusOK); got.Canary != test.want || got.Rollout != test.rollout {
			t.Errorf("%s: got canary %v of rollout %d", test.name, got.Canary, got.Rollout)
		}
		list := want[wire.List[wire.Run]](t, s.get("/v1/runs?state=running"), http.StatusOK)
		if len(list.Items) != 1 || list.Items[0].Canary != test.want {
			t.Errorf("%s: the list has %+v", test.name, list.Items)
		}
	}
}

func TestTaskCountsNameEveryState(t *testing.T) {
	text, err := json.Marshal(wire.TaskCounts{})
	if err != nil {
		t.Fatal(err)
	}
	var counts map[string]int
	if err := json.Unmarshal(text, &counts); err != nil {
		t.Fatal(err)
	}
	if len(counts) != len(jobs.TaskStateNames()) {
		t.Errorf("got %d states, want %d", len(counts), len(jobs.TaskStateNames()))
	}
	for _, name := range jobs.TaskStateNames() {
		if _, ok := counts[name]; !ok {
			t.Errorf("state %s is missing", name)
		}
	}
	for _, name := range jobs.RunStateNames() {
		if want := name != "pending" && name != "running"; wire.Ended(name) != want {
			t.Errorf("Ended(%q): got %v", name, !want)
		}
	}
}

// A run may have very many tasks that were never launched: they are listed like all others, page by page.
func TestTasksOfAWideRun(t *testing.T) {
	s := serve(t)
	id := s.scheduler.Example(time.Now())["running"]
	const tasks = 3000
	s.scheduler.UpdateRun(id, func(run *scheduler.RunView) {
		run.Run.Stages = append(slices.Clone(run.Run.Stages), proto.Stage{Name: "reduce", Tasks: tasks})
		run.Stages = append(slices.Clone(run.Stages), &scheduler.StageView{Name: "reduce", Created: run.Run.Created, Tasks: make([]*scheduler.TaskView, tasks)})
	})
	for filter, count := range map[string]int{"": 13 + tasks, "&state=pending": 5 + tasks, "&state=finished": 4, "&state=killed": 0} {
		var got []string
		for cursor := ""; ; {
			page := want[wire.List[wire.Task]](t, s.get("/v1/runs/"+id+"/tasks?limit=1000"+filter+"&cursor="+cursor), 200)
			for _, task := range page.Items {
				got = append(got, task.ID)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if distinct := slices.Compact(slices.Clone(got)); len(got) != count || len(distinct) != count {
			t.Errorf("%q: got %d tasks, %d of them distinct; want %d", filter, len(got), len(distinct), count)
		}
	}
	run := want[wire.Run](t, s.get("/v1/runs/"+id), 200)
	if got := run.Stages[2].Tasks.Pending; got != tasks {
		t.Errorf("%d tasks of the last stage are pending", got)
	}
	if refused := want[wire.Error](t, s.get("/v1/tasks/"+id+".reduce.2999/logs"), 404); !strings.Contains(refused.Detail, "has not been launched") {
		t.Errorf("the log of a task that was never launched: got %+v", refused)
	}
	want[wire.Error](t, s.get("/v1/tasks/"+id+".reduce.3000/logs"), 404)

	s.scheduler.UpdateRun(id, func(run *scheduler.RunView) { run.Run.CancelRequested = &run.Run.Created })
	run = want[wire.Run](t, s.get("/v1/runs/"+id), 200)
	if got := run.Stages[2].Tasks; got.Pending != 0 || got.Killed != tasks {
		t.Errorf("after the cancel: got %+v", got)
	}
}

func TestRunsAreFilteredAndPaged(t *testing.T) {
	s := serve(t)
	begin := time.Now()
	n := 0
	s.scheduler.Now = func() time.Time { n++; return begin.Add(time.Duration(n) * time.Second) }
	var all []string // newest first
	for _, job := range []string{"a", "b"} {
		want[wire.Job](t, s.do("POST", "/v1/jobs", specOf(job)), 201)
		for range 5 {
			all = append([]string{want[wire.Run](t, s.do("POST", "/v1/jobs/"+job+"/runs", ""), 202).ID}, all...)
		}
	}
	s.scheduler.UpdateRun(all[0], succeed)
	for query, wanted := range map[string][]string{
		"":                                 all,
		"?job=b":                           all[:5],
		"?job=none":                        nil,
		"?state=succeeded":                 all[:1],
		"?state=pending&job=b":             all[1:5],
		"?state=pending,succeeded&limit=3": all,
		"?limit=1":                         all,
		"?limit=5":                         all,
	} {
		var got []string
		separator := "&"
		if query == "" {
			separator = "?"
		}
		for cursor := ""; ; {
			path := "/v1/runs" + query
			if cursor != "" {
				path += separator + "cursor=" + cursor
			}
			page := want[wire.List[wire.Run]](t, s.get(path), 200)
			for _, run := range page.Items {
				got = append(got, run.ID)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
			if cursor != "" && !strings.Contains(query, "limit") {
				t.Fatalf("%q: a short list has a second page", query)
			}
		}
		if !slices.Equal(got, wanted) {
			t.Errorf("%q: got %v, want %v", query, got, wanted)
		}
	}

	// A run that comes between two pages shifts nothing.
	first := want[wire.List[wire.Run]](t, s.get("/v1/runs?limit=4"), 200)
	ofJobs := want[wire.List[wire.Job]](t, s.get("/v1/jobs?limit=1"), 200)
	for name, cursor := range map[string]string{
		"no base64": "!", "short": "AAAA", "unknown": "AAAAAAAA", "cut off": first.Next[:len(first.Next)-1], "of another list": ofJobs.Next,
		"damaged": damaged(first.Next),
	} {
		got := want[wire.Error](t, s.get("/v1/runs?limit=4&cursor="+url.QueryEscape(cursor)), 422)
		if len(got.Errors) != 1 || got.Errors[0].Parameter != "cursor" {
			t.Errorf("%s cursor: got %+v", name, got)
		}
	}
	want[wire.Run](t, s.do("POST", "/v1/jobs/a/runs", ""), 202)
	second := want[wire.List[wire.Run]](t, s.get("/v1/runs?limit=4&cursor="+first.Next), 200)
	if second.Items[0].ID != all[4] {
		t.Errorf("second page: begins with %s, want %s", second.Items[0].ID, all[4])
	}
}

// damaged is a text with another letter in its middle.
func damaged(text string) string {
	letters := []byte(text)
	if i := len(letters) / 2; letters[i] == 'A' {
		letters[i] = 'B'
	} else {
		letters[i] = 'A'
	}
	return string(letters)
}

func TestTasksAndExplanation(t *testing.T) {
	s := serve(t)
	runs := s.scheduler.Example(time.Now())
	tasks := want[wire.List[wire.Task]](t, s.get("/v1/runs/"+runs["running"]+"/tasks?limit=1000"), 200)
	if len(tasks.Items) != 13 || tasks.Items[0].Stage != "plan" || tasks.Items[12].Index != 11 {
		t.Fatalf("got %d tasks", len(tasks.Items))
	}
	lost := tasks.Items[5]
	if lost.State != "running" || len(lost.Attempts) != 2 || lost.Attempts[0].Failure.Class != "ours" || lost.Attempts[0].Reason != "REASON_AGENT_REMOVED" || lost.Phase != "aggregating" {
		t.Errorf("got %+v", lost)
	}
	running := want[wire.List[wire.Task]](t, s.get("/v1/runs/"+runs["running"]+"/tasks?state=running,starting"), 200)
	if len(running.Items) != 4 {
		t.Errorf("got %d running tasks", len(running.Items))
	}
	first := want[wire.List[wire.Task]](t, s.get("/v1/runs/"+runs["running"]+"/tasks?limit=7"), 200)
	rest := want[wire.List[wire.Task]](t, s.get("/v1/runs/"+runs["running"]+"/tasks?limit=7&cursor="+first.Next), 200)
	if len(first.Items) != 7 || len(rest.Items) != 6 || rest.Next != "" || rest.Items[0].ID != tasks.Items[7].ID {
		t.Errorf("pages: got %d and %d tasks", len(first.Items), len(rest.Items))
	}

	waiting := want[wire.Explanation](t, s.get("/v1/runs/"+runs["waiting"]+"/explain"), 200)
	if waiting.Summary != "needs 64 cpus; the largest offer so far had 8" || waiting.Waiting[0].TurnedDown["cpus"] != 389 || waiting.Waiting[0].Resources.CPUs != 64 {
		t.Errorf("got %+v", waiting)
	}
	for _, state := range []string{"succeeded", "failed"} {
		if got := want[wire.Explanation](t, s.get("/v1/runs/"+runs[state]+"/explain"), 200); got.State != state || got.Summary != "nothing waits: the run has ended" {
			t.Errorf("%s: got %q, %q", state, got.State, got.Summary)
		}
	}
}

// stream opens the events of a run and gives them one by one: name and data, or a comment under the name ":".
func (s *service) stream(ctx context.Context, id string) (next func() (string, string), response *http.Response) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(ctx, "GET", s.server.URL+"/v1/runs/"+id+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err = s.server.Client().Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	lines := bufio.NewScanner(response.Body)
	return func() (name, data string) {
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "":
				if value != "" {
					return ":", value
				}
				if name != "" {
					return name, data
				}
			case "event":
				name = value
			case "data":
				data = value
			}
		}
		return "", ""
	}, response
}

func TestEventsFollowARun(t *testing.T) {
	s := serve(t)
	runs := s.scheduler.Example(time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	next, response := s.stream(ctx, runs["running"])
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("got content type %q", got)
	}
	var run wire.Run
	read := func(wantName string) {
		t.Helper()
		name, data := next()
		if name != wantName {
			t.Fatalf("got event %q %s, want %q", name, data, wantName)
		}
		if err := json.Unmarshal([]byte(data), &run); err != nil {
			t.Fatal(err)
		}
	}
	read("run")
	if run.Progress != 0.537 {
		t.Errorf("got progress %v", run.Progress)
	}
	s.scheduler.UpdateRun(runs["waiting"], succeed) // another run: no event here
	s.scheduler.UpdateRun(runs["running"], func(r *scheduler.RunView) { r.Progress = 0.6200000000000001 })
	read("run")
	if run.Progress != 0.62 {
		t.Errorf("got progress %v", run.Progress)
	}
	s.scheduler.UpdateRun(runs["running"], func(r *scheduler.RunView) { r.Progress = 0.75 })
	read("run")
	if run.Progress != 0.75 {
		t.Errorf("got progress %v", run.Progress)
	}
	s.scheduler.UpdateRun(runs["running"], succeed)
	read("run")
	read("done")
	if run.State != "succeeded" || run.Output.Rows != 12_345 {
		t.Errorf("got %+v", run)
	}
	if name, data := next(); name != "" {
		t.Errorf("after the end came %q %s", name, data)
	}

	// A run that has ended is told once.
	next, _ = s.stream(ctx, runs["failed"])
	read("run")
	read("done")
	if name, _ := next(); name != "" {
		t.Errorf("after the end came %q", name)
	}
}

// Streams end when the server shuts down, and do not hold it up.
func TestEventsEndWithTheServer(t *testing.T) {
	s := serve(t)
	runs := s.scheduler.Example(time.Now())
	next, _ := s.stream(context.Background(), runs["running"])
	if name, _ := next(); name != "run" {
		t.Fatalf("got %q", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.server.Config.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if name, _ := next(); name != "" {
		t.Errorf("after the shutdown came %q", name)
	}
}

// A run that is no longer kept ends its stream without an end of the run.
func TestEventsOfAForgottenRun(t *testing.T) {
	s := serve(t)
	runs := s.scheduler.Example(time.Now())
	next, _ := s.stream(context.Background(), runs["running"])
	if name, _ := next(); name != "run" {
		t.Fatalf("got %q", name)
	}
	s.scheduler.Update(func(v *scheduler.View) { delete(v.Runs, runs["running"]) })
	if name, _ := next(); name != "" {
		t.Errorf("got %q", name)
	}
}

func TestLogs(t *testing.T) {
	s := serve(t)
	runs := s.scheduler.Example(time.Now())
	task := runs["running"] + ".map.4" // has two attempts
	for path, wanted := range map[string]string{
		task + "/logs":                           "stdout of " + task + ".2, follow false\n",
		task + "/logs?stream=stderr&follow=true": "stderr of " + task + ".2, follow true\n",
		task + "/logs?attempt=1":                 "stdout of " + task + ".1, follow false\n",
		task + ".1/logs":                         "stdout of " + task + ".1, follow false\n",
		task + ".1/logs?attempt=1&stream=stdout": "stdout of " + task + ".1, follow false\n",
	} {
		a := s.get("/v1/tasks/" + path)
		if a.status != 200 || string(a.body) != wanted {
			t.Errorf("%s: got %d %q, want %q", path, a.status, a.body, wanted)
		}
		if got := a.header.Get("Content-Type"); got != "text/plain; charset=utf-8" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got content type %q", path, got)
		}
	}
	for path, says := range map[string]string{
		task + "/logs?attempt=3":         "no attempt 3",
		task + ".9/logs":                 "no attempt 9",
		task + ".1/logs?attempt=2":       "no task",
		runs["running"] + ".map.11/logs": "not been launched",
		runs["running"] + ".map.99/logs": "no task",
		runs["running"] + "/logs":        "no task",
	} {
		if got := want[wire.Error](t, s.get("/v1/tasks/"+path), 404); !strings.Contains(got.Detail, says) {
			t.Errorf("%s: got %q", path, got.Detail)
		}
	}
}

// A followed log of a task that is not launched yet begins when the task does.
func TestFollowedLogWaitsForTheLaunch(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*proto.Task)
		want   string
	}{
		"launched": {func(task *proto.Task) {
			task.State = proto.TASK_LAUNCHING
			task.Attempts = []proto.Attempt{{Number: 1, MesosID: task.ID + ".1"}}
		}, "stdout of %s.1, follow true\n"},
		"withdrawn": {func(task *proto.Task) { task.State = proto.TASK_KILLED }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			runs := s.scheduler.Example(time.Now())
			id := runs["running"] + ".map.11"
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/v1/tasks/"+id+"/logs?follow=true", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request) // the headers come although there is no log yet
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			s.scheduler.UpdateRun(runs["running"], func(run *scheduler.RunView) {
				run.Stages = slices.Clone(run.Stages)
				for i, stage := range run.Stages {
					changed := *stage
					changed.Tasks = slices.Clone(stage.Tasks)
					run.Stages[i] = &changed
					for n := range changed.Tasks {
						if view := run.Task(stage.Name, n); view.Task.ID == id {
							task := *view.Task
							test.change(&task)
							changed.Tasks[n] = &scheduler.TaskView{Task: &task}
						}
					}
				}
			})
			got, err := io.ReadAll(response.Body)
			if want := strings.ReplaceAll(test.want, "%s", id); err != nil || response.StatusCode != http.StatusOK || string(got) != want {
				t.Errorf("got %d %q, %v; want %q", response.StatusCode, got, err, want)
			}
			if test.want == "" {
				if got := want[wire.Error](t, s.get("/v1/tasks/"+id+"/logs?follow=true"), 404); !strings.Contains(got.Detail, "never launched") {
					t.Errorf("afterwards: got %q", got.Detail)
				}
			}
		})
	}
}
