package scheduler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/proto"
)

// TestTasksOfAllRuns: more tasks than the store can hold are refused before anything of them is to be seen.
func TestTasksOfAllRuns(t *testing.T) {
	b := newBench(t)
	run := func(name string, stages string) (StartRunResult, *Error, Actions) {
		b.step(Command{Body: PutJob{Spec: fmt.Appendf(nil, `{"name": %q, "kind": "work", "work": {"stages": %s}}`, name, stages)}})
		acts := b.core.Step(Input{Now: b.now, Event: Command{Body: StartRun{Job: name}}})
		result, _ := acts.Replies[0].Value.(StartRunResult)
		return result, acts.Replies[0].Err, acts
	}
	grows, err, _ := run("grows", "[1, 100000]")
	if err != nil {
		t.Fatal(err)
	}
	var last StartRunResult
	for i, n := range []int{100_000, 100_000, 99_999} {
		if last, err, _ = run(fmt.Sprint("large-", i), fmt.Sprintf("[%d]", n)); err != nil {
			t.Fatal(err)
		}
	}
	_, err, acts := run("one-more", "[1]")
	if err == nil || err.Kind != Unavailable || !strings.Contains(err.Message, "have 300000 tasks, and at most 300000") || len(acts.Store) > 0 {
		t.Errorf("got error %v and %d changes, want it to be refused", err, len(acts.Store))
	}
	refs := launched(b.step(benchOffers(1, 2)))
	if len(refs) == 0 || !strings.HasPrefix(refs[0].MesosID, grows.Run.ID) {
		t.Fatalf("launched %v", refs)
	}
	acts = b.step(Update{MesosID: refs[0].MesosID, AgentID: refs[0].AgentID, State: "TASK_FINISHED", Source: fromExecutor, Data: proto.Encode(&proto.TaskResult{})})
	for _, change := range acts.Store {
		if change.Key.Kind == KindPlan {
			t.Errorf("%s is stored", change.Key.ID)
		}
	}
	view := b.core.View().Runs[grows.Run.ID]
	if e := view.Run.Error; e == nil || e.Kind != "unavailable" || !strings.Contains(e.Message, "stage map has 100000 tasks") || len(view.Stages) > 2 || view.Stage("map") != nil {
		t.Errorf("got %s with %d stages, want it to fail without another stage", describeRun(view.Run), len(view.Stages))
	}
	b.step(Command{Body: CancelRun{Run: last.Run.ID}})
	if _, err, _ := run("one-more", "[1]"); err != nil {
		t.Errorf("after another run's end: %v", err)
	}
}
