package scheduler

import (
	"fmt"
	"testing"
)

// TestReconcileInBatches: all that has not ended is asked about at once after SUBSCRIBED, in calls of bounded size, each
// task once.
func TestReconcileInBatches(t *testing.T) {
	const tasks = askAtOnce + 10
	s := newScript(t)
	s.setup(fmt.Sprintf(`"parallelism": 1000, "resources": {"cpus": 0.01, "memory": "64MiB", "disk": "0B"}, "work": {"stages": [%d]}`, tasks))
	s.run(block{command: "offers", input: "a1 cpus=1000 mem=1000GiB disk=10GiB\n"})
	s.restart()
	s.run(block{command: "subscribe"})
	asked := map[string]bool{}
	for _, call := range s.last.Calls {
		ask, ok := call.(Reconcile)
		if !ok {
			continue
		}
		if len(ask.Tasks) == 0 || len(ask.Tasks) > askAtOnce {
			t.Errorf("got a call for %d tasks, want 1 to %d", len(ask.Tasks), askAtOnce)
		}
		for _, ref := range ask.Tasks {
			if asked[ref.MesosID] || ref.AgentID != "a1" {
				t.Errorf("%+v: asked about before: %v", ref, asked[ref.MesosID])
			}
			asked[ref.MesosID] = true
		}
	}
	if len(asked) != tasks {
		t.Errorf("got %d tasks asked about, want %d", len(asked), tasks)
	}
}
