package service

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
)

// TestLaggardIsOvertaken: a task gets nowhere while its executor goes on reporting. A second attempt on the other agent
// finishes the run, and the first one is killed.
func TestLaggardIsOvertaken(t *testing.T) {
	l := newLab(t, nil)
	l.cfg.Executor.KillGrace = time.Second
	gate := filepath.Join(l.dir, "gate")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	url, _ := l.run()
	c := l.client(url)
	l.register(c)
	run := l.submitWith(c, map[string]string{"gate": gate, "lag": "1"})
	ended := l.until(c, run.ID, "the run's end", func(r wire.Run) bool { return r.State == "succeeded" })
	if took := ended.Ended.Sub(ended.Created); took > 35*time.Second {
		t.Errorf("the run took %s", took)
	}
	limit := time.Now().Add(20 * time.Second)
	for {
		task := l.task(c, run.ID, "map", 0)
		if len(task.Attempts) != 2 {
			t.Fatalf("got %d attempts, want 2: %+v", len(task.Attempts), task.Attempts)
		}
		first, second := task.Attempts[0], task.Attempts[1]
		if second.State != "finished" || second.Second == "" || second.Agent == first.Agent {
			t.Fatalf("got %+v beside %+v", second, first)
		}
		if first.State == "killed" {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the first attempt was not killed: %+v", first)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *lab) task(c *client.Client, run, stage string, index uint32) wire.Task {
	l.t.Helper()
	for task, err := range c.Tasks(l.t.Context(), run) {
		if err != nil {
			l.t.Fatal(err)
		}
		if task.Stage == stage && task.Index == index {
			return task
		}
	}
	l.t.Fatalf("run %s has no task %d in stage %s", run, index, stage)
	return wire.Task{}
}
