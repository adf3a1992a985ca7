package apitest

import (
	"fmt"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// Example fills the view with a busy afternoon: runs in every state, tasks with retries, one run that no agent can take,
// and texts that are hostile to a page that forgets to escape. It returns the IDs of the runs by state, and "waiting" for
// the one that waits.
func (s *Scheduler) Example(now time.Time) map[string]string {
	e := example{now: now, ids: map[string]string{}}
	s.Update(func(v *scheduler.View) {
		e.view = v
		e.agents()
		e.versions()
		e.jobs()
		e.ended("flights-by-carrier", "succeeded", 90*time.Minute)
		e.ended("requests-by-status", "failed", 40*time.Minute)
		e.ended("flights-by-carrier", "cancelled", 30*time.Minute)
		e.running()
		e.waiting()
		v.Queue = scheduler.Queue{Pending: 7, Launched: 5, OldestPending: now.Add(-3 * time.Minute)}
	})
	return e.ids
}

// Hostile is a text that runs as a script where it is not escaped.
const Hostile = `<script>window.hostile=1</script><img src=x onerror="window.hostile=1">`

type example struct {
	view *scheduler.View
	now  time.Time
	ids  map[string]string
	n    uint64
}

func (e *example) agents() {
	for i, zone := range []string{"a", "b", "b"} {
		id := fmt.Sprintf("2d1a6f7e-0000-4a9f-8f1c-1f4c7c1d2a11-S%d", i)
		e.view.Agents[id] = &scheduler.AgentView{
			ID: id, Host: fmt.Sprintf("mesos-%d.example.net", i+1), URL: fmt.Sprintf("http://10.0.0.%d:5051", i+11),
			Attributes: map[string]string{"zone": zone, "rack": fmt.Sprint("r", i)}, Tasks: 3 - i,
			Most: jobs.Resources{CPUs: 8, Memory: 32 << 30, Disk: 500 << 30}, Seen: e.now.Add(-time.Duration(i*7) * time.Second),
		}
	}
}

func (e *example) agent(i int) *scheduler.AgentView {
	return e.view.Agents[fmt.Sprintf("2d1a6f7e-0000-4a9f-8f1c-1f4c7c1d2a11-S%d", i%3)]
}

func (e *example) jobs() {
	for i, name := range []string{"flights-by-carrier", "requests-by-status", "carriers-on-big-machines"} {
		e.view.Jobs[name] = e.job(name, i+1, proto.CHECKS_PASSED)
	}
	bad := e.job("delays", 1, proto.CHECKS_FAILED)
	bad.Revisions[0].Problems = []proto.Problem{{Pointer: "/aggregate/where", Detail: `a subquery is not allowed: ` + Hostile}}
	e.view.Jobs["delays"] = bad
}

func (e *example) job(name string, revisions int, checks proto.CheckState) *scheduler.JobView {
	view := &scheduler.JobView{Job: &proto.Job{Name: name, Revision: uint32(revisions), Created: e.now.Add(-200 * time.Hour), Updated: e.now.Add(-2 * time.Hour)}}
	for n := 1; n <= revisions; n++ {
		spec := fmt.Sprintf(`{"name": %q, "kind": "aggregate", "aggregate": {"input": {"uri": "s3://flights/2013/", "format": "csv"}, "measures": {"rows": {"count": "*"}}, "output": {"uri": "s3://results/%s/"}}}`, name, name)
		view.Revisions = append(view.Revisions, &proto.Revision{Job: name, Number: uint32(n), Kind: "aggregate", Spec: []byte(spec), Created: e.now.Add(-2 * time.Hour), Checks: checks})
	}
	return view
}

// run makes a run that was created so long ago.
func (e *example) run(job, label, version string, state proto.RunState, ago time.Duration, stages ...proto.Stage) *scheduler.RunView {
	created := e.now.Add(-ago)
	started := created.Add(300 * time.Millisecond)
	e.n++
	run := &proto.Run{
		ID: jobs.RunID(job, created, e.n*0x9e3779b97f4a7c15), Job: job, Revision: 1, Kind: "aggregate", State: state, ExecutorVersion: version,
		Created: created, Started: &started, Stages: stages,
	}
	view := &scheduler.RunView{Run: run, Revision: e.view.Jobs[job].Revisions[0]}
	for _, stage := range stages {
		view.Stages = append(view.Stages, &scheduler.StageView{Name: stage.Name, Created: created, Tasks: make([]*scheduler.TaskView, stage.Tasks)})
	}
	e.view.Runs[run.ID] = view
	e.ids[label] = run.ID
	return view
}

// launched are the first n tasks of the run, which are launched from here on.
func launched(view *scheduler.RunView, n int) []*scheduler.TaskView {
	var all []*scheduler.TaskView
	for task := range view.Tasks() {
		if len(all) == n {
			break
		}
		all = append(all, task)
		view.Stage(task.Task.Stage).Tasks[task.Task.Index] = task
	}
	return all
}

// attempt gives the task one more attempt in that state.
func (e *example) attempt(task *scheduler.TaskView, agent int, state proto.TaskState) *proto.Attempt {
	a, number := e.agent(agent), uint32(len(task.Task.Attempts)+1)
	launched := task.Task.Created.Add(time.Duration(number) * time.Second)
	running := launched.Add(250 * time.Millisecond)
	task.Task.State = state
	task.Task.Attempts = append(task.Task.Attempts, proto.Attempt{
		Number: number, MesosID: jobs.MesosTaskID(task.Task.ID, number), AgentID: a.ID, Host: a.Host, AgentURL: a.URL, ExecutorID: jobs.ExecutorID(task.Task.Run, "1.4.0", agent+1),
		State: state, Launched: launched, Running: &running, Directory: "/var/lib/mesos/tasks/" + jobs.MesosTaskID(task.Task.ID, number),
	})
	return &task.Task.Attempts[number-1]
}

func counters(scale int64) proto.Counters {
	return proto.Counters{Rows: 28_067 * scale, Bytes: 1_310_720 * scale, OutRows: 496, OutBytes: 20_480, Cpu: time.Duration(scale) * 640 * time.Millisecond, PeakMemory: 181 << 20}
}

func (e *example) ended(job, state string, ago time.Duration) {
	states := map[string]proto.RunState{"succeeded": proto.RUN_SUCCEEDED, "failed": proto.RUN_FAILED, "cancelled": proto.RUN_CANCELLED}
	view := e.run(job, state, "1.4.0", states[state], ago, proto.Stage{Name: "plan", Tasks: 1, Done: true}, proto.Stage{Name: "map", Tasks: 12}, proto.Stage{Name: "reduce", Tasks: 1})
	ended := view.Run.Created.Add(21 * time.Second)
	view.Run.Ended = &ended
	view.Progress = 1
	tasks := launched(view, 14)
	for i, task := range tasks {
		at := e.attempt(task, i, proto.TASK_FINISHED)
		at.Ended = &ended
		task.Task.Counters = counters(int64(i + 1))
	}
	switch state {
	case "succeeded":
		view.Run.Output = &proto.Output{URI: "s3://results/" + job + "/data/" + view.Run.ID + "/1/", Manifest: "s3://results/" + job + "/data/" + view.Run.ID + "/_manifest.json", Rows: 5_521, Files: 1, Bytes: 212_992}
	case "failed":
		view.Progress = 0.41
		failed := tasks[4]
		failure := &proto.Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Pointer: "/aggregate/input", Message: "s3://weblog/requests-2015-05-18.jsonl.gz: row 811: text where column bytes has a number: " + Hostile}
		at := &failed.Task.Attempts[0]
		failed.Task.State, at.State, at.Failure = proto.TASK_FAILED, proto.TASK_FAILED, failure
		view.Run.Error = &proto.RunError{Kind: failure.Kind, Message: failure.Message, Pointer: failure.Pointer, Task: failed.Task.ID}
	case "cancelled":
		view.Progress = 0.2
		view.Run.CancelRequested = &ended
		for _, task := range tasks[2:] {
			task.Task.State = proto.TASK_KILLED
		}
	}
}

func (e *example) running() {
	view := e.run("flights-by-carrier", "running", "1.5.0-rc1", proto.RUN_RUNNING, 14*time.Second, proto.Stage{Name: "plan", Tasks: 1, Done: true}, proto.Stage{Name: "map", Tasks: 12})
	view.Progress = 0.537
	view.Run.Params = map[string]string{"day": "2013-07-04", "note": Hostile}
	view.Run.By, view.Run.Channel = "airflow", "canary"
	states := []proto.TaskState{proto.TASK_FINISHED, proto.TASK_FINISHED, proto.TASK_FINISHED, proto.TASK_FINISHED, proto.TASK_RUNNING, proto.TASK_RUNNING, proto.TASK_RUNNING, proto.TASK_STARTING}
	for i, task := range launched(view, len(states)) {
		if i == 5 {
			lost := e.attempt(task, i+1, proto.TASK_LOST)
			lost.Reason = "REASON_AGENT_REMOVED"
			lost.Failure = &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost", Message: "agent mesos-3.example.net was lost"}
		}
		e.attempt(task, i, states[i])
		if states[i] == proto.TASK_FINISHED {
			last := &task.Task.Attempts[len(task.Task.Attempts)-1]
			ended := last.Launched.Add(time.Duration(2+i) * time.Second)
			last.Ended = &ended
			task.Task.Counters = counters(int64(i + 1))
		} else {
			task.Progress = &proto.TaskProgress{Fraction: float64(i) / 12, Phase: "aggregating", Counters: counters(int64(i))}
			task.Heard = e.now
		}
	}
	view.Waiting = []scheduler.Waiting{{
		Stage: "map", Tasks: 5, Resources: jobs.Resources{CPUs: 0.5, Memory: 512 << 20, Disk: 1 << 30}, Since: view.Run.Created.Add(2 * time.Second),
		Reason: "waits for its parallelism (4 of 4 run)", Reasons: []scheduler.Turndown{{Reason: "parallelism", Text: "parallelism: 4 of 4 run"}},
	}}
}

func (e *example) waiting() {
	view := e.run("carriers-on-big-machines", "waiting", "1.4.0", proto.RUN_PENDING, 3*time.Minute, proto.Stage{Name: "plan", Tasks: 1})
	view.Run.Started = nil
	view.Waiting = []scheduler.Waiting{{
		Stage: "plan", Tasks: 1, Resources: jobs.Resources{CPUs: 64, Memory: 256 << 30, Disk: 1 << 30}, Since: view.Run.Created,
		Offers: 412, TurnedDown: map[string]int{"cpus": 389, "constraint zone": 23},
		Reason: "needs 64 cpus; the largest offer so far had 8",
		Reasons: []scheduler.Turndown{
			{Reason: "cpus", Offers: 389, Of: 412, Text: "cpus: largest free 8 of 64 asked, and 0.1 for its executor"},
			{Reason: "constraint zone", Offers: 23, Of: 412, Text: "zone: 23 of 412 offers are in b (20), without it (3)"},
		},
	}}
}
