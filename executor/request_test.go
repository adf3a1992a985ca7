package executor

import (
	"slices"
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/executor/agent"
	"github.com/tidemill/tidemill/proto"
)

func (a *scriptedAgent) message(data []byte) {
	a.t.Helper()
	a.send(&mesosexec.Event{Type: mesosexec.Event_MESSAGE, Message: &mesosexec.Event_Message{Data: data}})
}

func (a *scriptedAgent) handOver(tasks ...string) {
	a.t.Helper()
	a.message(proto.Encode(&proto.Request{HandOver: tasks}))
}

func TestTasksHandOver(t *testing.T) {
	r := start(t, nil)
	for _, id := range []string{"a", "b", "c"} {
		r.launch(id, r.task("output "+id+"-3\nhand-over"))
	}
	for _, id := range []string{"a", "b", "c"} {
		r.awaitState(id, mesos.TASK_RUNNING)
	}
	r.message([]byte("no request"))
	r.handOver("a", "unknown", "b")
	r.handOver("a", "b")
	for _, id := range []string{"a", "b"} {
		if got := result(t, r.awaitState(id, mesos.TASK_FINISHED)); !got.HandedOver || string(got.Output) != id+"-3" {
			t.Errorf("%s: got %+v", id, got)
		}
	}
	r.handOver("a", "c") // a has ended
	r.awaitState("c", mesos.TASK_FINISHED)
	for _, id := range []string{"a", "b", "c"} {
		r.checkStates(id, "STARTING", "RUNNING", "FINISHED")
	}

	next := r.task("go-on")
	next.Attempt, next.HandedOver = 2, []byte("a-3")
	r.launch("a.2", next)
	if got := result(t, r.awaitState("a.2", mesos.TASK_FINISHED)); got.HandedOver || string(got.Output) != "a-3, then attempt 2" {
		t.Errorf("got %+v", got)
	}
}

// A task that is to hand over can still be killed, before its checkpoint comes.
func TestKilledInsteadOfHandingOver(t *testing.T) {
	r := start(t, nil)
	r.launch("t", r.task("wait"))
	r.awaitState("t", mesos.TASK_RUNNING)
	r.handOver("t")
	r.kill("t", 0)
	if got := result(t, r.awaitState("t", mesos.TASK_KILLED)); got.HandedOver {
		t.Errorf("got %+v", got)
	}
}

func TestRequestsMeanNothingInProtocol1(t *testing.T) {
	r := start(t, func(a *scriptedAgent, _ *agent.Environment) { a.data.Protocol = 1 })
	r.launch("t", r.task("hand-over"))
	r.awaitState("t", mesos.TASK_RUNNING)
	r.handOver("t")
	r.launch("later", r.task("output x")) // takes longer than a hand-over would
	r.awaitState("later", mesos.TASK_FINISHED)
	r.kill("t", 0)
	r.awaitState("t", mesos.TASK_KILLED)
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.states("t"); slices.Contains(got, "FINISHED") {
		t.Errorf("got states %v", got)
	}
}
