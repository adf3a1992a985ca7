//go:build endtoend

package endtoend

import (
	"net/http"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// TestExamples runs the example specs and compares their results, row for row, with plain Go over the same files.
func TestExamples(t *testing.T) {
	c := newCluster(t, options{})
	c.putJob(example(t, "flights-by-carrier", "flights-by-carrier"))
	c.putJob(example(t, "requests-by-status", "requests-by-status"))
	flights := c.startRun("flights-by-carrier", "a")
	requests := c.startRun("requests-by-status", "b")

	ended := c.await(flights.ID, time.Minute)
	if ended.State != "succeeded" {
		t.Fatalf("flights: %s: %+v", ended.State, ended.Error)
	}
	if len(ended.Stages) < 3 {
		t.Errorf("flights had the stages %+v, want several tasks", ended.Stages)
	}
	checkFlights(t, c.result(ended.Output.Manifest), expectFlights(t))
	checkTasks(t, c, ended)

	ended = c.await(requests.ID, time.Minute)
	if ended.State != "succeeded" {
		t.Fatalf("requests: %s: %+v", ended.State, ended.Error)
	}
	if len(ended.Stages) != 1 || ended.Stages[0].Tasks.Sum() != 1 {
		t.Errorf("requests had the stages %+v, want one task that does everything", ended.Stages)
	}
	checkRequests(t, c.result(ended.Output.Manifest), expectRequests(t))
	if left := c.list("s3://results/requests-by-status/_work/" + requests.ID + "/plan"); len(left) > 0 {
		t.Errorf("intermediate objects are left: %v", left)
	}
}

// checkTasks looks at what an operator sees of a finished run's tasks.
func checkTasks(t *testing.T, c *cluster, run wire.Run) {
	t.Helper()
	var tasks wire.List[wire.Task]
	c.must(http.MethodGet, "/v1/runs/"+run.ID+"/tasks", nil, &tasks)
	rows := int64(0)
	for _, task := range tasks.Items {
		if task.State != "finished" || len(task.Attempts) != 1 {
			t.Errorf("task %s is %s after %d attempts", task.ID, task.State, len(task.Attempts))
		}
		if task.Stage == "map" {
			rows += task.Counters.Rows
		}
	}
	if rows != 336776 {
		t.Errorf("the map tasks read %d rows, want 336776", rows)
	}
}

// TestVersionsSideBySide runs one job on two executor versions at the same time.
func TestVersionsSideBySide(t *testing.T) {
	c := newCluster(t, options{})
	var runs []wire.Run
	for i, v := range versions {
		name := []string{"flights-old", "flights-new"}[i]
		spec := example(t, "flights-by-carrier", name)
		c.putJob(replaceOnce(t, spec, `{"channel": "stable"}`, `{"version": "`+v+`"}`))
		runs = append(runs, c.startRun(name, "x"))
	}
	for i, run := range runs {
		runs[i] = c.await(run.ID, time.Minute)
		if runs[i].State != "succeeded" || runs[i].ExecutorVersion != versions[i] {
			t.Fatalf("run on %s: %s on %s: %+v", versions[i], runs[i].State, runs[i].ExecutorVersion, runs[i].Error)
		}
		checkMesosShows(t, c, runs[i])
	}
	sameRows(t, "second version", c.result(runs[1].Output.Manifest), c.result(runs[0].Output.Manifest))

	// Moving the channel changes what the next run uses, not what runs.
	c.putJob(example(t, "requests-by-status", "requests-by-status"))
	before := c.startRun("requests-by-status", "before")
	c.must(http.MethodPut, "/v1/channels/stable", []byte(`{"version": "`+versions[1]+`"}`), nil, "Content-Type", "application/json")
	after := c.startRun("requests-by-status", "after")
	for i, run := range []wire.Run{before, after} {
		if ended := c.await(run.ID, time.Minute); ended.State != "succeeded" || ended.ExecutorVersion != versions[i] {
			t.Errorf("run %d of the channel: %s on %s, want %s: %+v", i, ended.State, ended.ExecutorVersion, versions[i], ended.Error)
		}
	}
	if status, err := c.call(http.MethodDelete, "/v1/executors/"+versions[1], nil, &struct{}{}); status != http.StatusConflict {
		t.Errorf("a version in use was deleted: %d, %v", status, err)
	}
}
