package scheduler

import (
	"testing"

	"github.com/tidemill/tidemill/proto"
)

func TestClassify(t *testing.T) {
	said := func(class proto.Class, kind string) []byte {
		return proto.Encode(&proto.TaskResult{Failure: &proto.Failure{Class: class, Kind: kind, Message: "why"}})
	}
	type want struct {
		state   proto.TaskState
		class   proto.Class
		kind    string // empty: it finished
		givenUp bool
		settled bool
		died    bool
	}
	const ours, passing, forGood = proto.CLASS_OURS, proto.CLASS_PASSING, proto.CLASS_FINAL
	const finished, failed, killed, lost = proto.TASK_FINISHED, proto.TASK_FAILED, proto.TASK_KILLED, proto.TASK_LOST
	for _, test := range []struct {
		name   string
		update Update
		want   want
	}{
		{"finished", Update{State: "TASK_FINISHED", Source: fromExecutor, Data: proto.Encode(&proto.TaskResult{Output: []byte("x")})},
			want{state: finished, settled: true}},
		{"finished with a broken result", Update{State: "TASK_FINISHED", Source: fromExecutor, Data: []byte{0xff}},
			want{state: failed, class: passing, kind: "internal"}},
		{"finished with a failure in it", Update{State: "TASK_FINISHED", Source: fromExecutor, Data: said(forGood, "invalid")},
			want{state: failed, class: forGood, kind: "invalid", settled: true}},
		{"failed for good", Update{State: "TASK_FAILED", Source: fromExecutor, Data: said(forGood, "not_found")},
			want{state: failed, class: forGood, kind: "not_found", settled: true}},
		{"failed, maybe passing", Update{State: "TASK_FAILED", Source: fromExecutor, Data: said(passing, "unavailable")},
			want{state: failed, class: passing, kind: "unavailable", settled: true}},
		{"failed amid a write", Update{State: "TASK_FAILED", Source: fromExecutor, Data: proto.Encode(&proto.TaskResult{
			Failure: &proto.Failure{Class: passing, Kind: "unavailable"}, Unsettled: true})},
			want{state: failed, class: passing, kind: "unavailable"}},
		{"killed amid a write", Update{State: "TASK_KILLED", Source: fromExecutor, Data: proto.Encode(&proto.TaskResult{
			Failure: &proto.Failure{Class: ours, Kind: "killed"}, Unsettled: true})},
			want{state: killed, class: ours, kind: "killed"}},
		{"failed without a word", Update{State: "TASK_FAILED", Source: fromExecutor},
			want{state: failed, class: passing, kind: "internal", settled: true}},
		{"killed by its executor", Update{State: "TASK_KILLED", Source: fromExecutor, Data: said(ours, "killed")},
			want{state: killed, class: ours, kind: "killed", settled: true}},
		{"killed without a word", Update{State: "TASK_KILLED", Source: fromExecutor},
			want{state: killed, class: ours, kind: "killed", settled: true}},
		{"drained", Update{State: "TASK_KILLED", Source: fromExecutor, Reason: "REASON_AGENT_DRAINING"},
			want{state: killed, class: ours, kind: "drained", settled: true}},
		{"drained, says its executor", Update{State: "TASK_KILLED", Source: fromExecutor, Reason: "REASON_AGENT_DRAINING", Data: said(ours, "killed")},
			want{state: killed, class: ours, kind: "drained", settled: true}},
		{"executor ended", Update{State: "TASK_FAILED", Source: "SOURCE_AGENT", Reason: "REASON_EXECUTOR_TERMINATED"},
			want{state: failed, class: ours, kind: "lost", died: true}},
		{"executor ended, agent's data is not the executor's", Update{State: "TASK_FAILED", Source: "SOURCE_AGENT", Reason: "REASON_EXECUTOR_TERMINATED", Data: said(forGood, "invalid")},
			want{state: failed, class: ours, kind: "lost", died: true}},
		{"not fetched", Update{State: "TASK_FAILED", Source: "SOURCE_AGENT", Reason: "REASON_CONTAINER_LAUNCH_FAILED"},
			want{state: failed, class: ours, kind: "lost", settled: true, died: true}},
		{"killed before its executor had it", Update{State: "TASK_KILLED", Source: "SOURCE_AGENT", Reason: "REASON_TASK_KILLED_DURING_LAUNCH"},
			want{state: killed, class: ours, kind: "killed", settled: true}},
		{"memory", Update{State: "TASK_FAILED", Source: "SOURCE_AGENT", Reason: memoryKill},
			want{state: failed, class: passing, kind: "out_of_memory", died: true}},
		{"disk", Update{State: "TASK_FAILED", Source: "SOURCE_AGENT", Reason: "REASON_CONTAINER_LIMITATION_DISK"},
			want{state: failed, class: passing, kind: "unavailable", died: true}},
		{"pre-empted", Update{State: "TASK_FAILED", Source: "SOURCE_AGENT", Reason: "REASON_CONTAINER_PREEMPTED"},
			want{state: failed, class: ours, kind: "lost", died: true}},
		{"a reason from the future", Update{State: "TASK_FAILED", Source: "SOURCE_AGENT", Reason: "REASON_SOMETHING_NEW"},
			want{state: failed, class: passing, kind: "internal"}},
		{"invalid offers", Update{State: "TASK_DROPPED", Source: "SOURCE_MASTER", Reason: invalidOffers},
			want{state: lost, class: ours, kind: "lost", settled: true}},
		{"invalid offers, older Mesos", Update{State: "TASK_LOST", Source: "SOURCE_MASTER", Reason: invalidOffers},
			want{state: lost, class: ours, kind: "lost", settled: true}},
		{"refused by the master", Update{State: "TASK_ERROR", Source: "SOURCE_MASTER", Reason: "REASON_TASK_INVALID"},
			want{state: lost, class: ours, kind: "lost", settled: true}},
		{"gone", Update{State: "TASK_GONE", Source: "SOURCE_MASTER", Reason: reconciliation},
			want{state: lost, class: ours, kind: "lost"}},
		{"gone by operator", Update{State: "TASK_GONE_BY_OPERATOR", Source: "SOURCE_MASTER", Reason: "REASON_AGENT_REMOVED_BY_OPERATOR"},
			want{state: lost, class: ours, kind: "lost", givenUp: true}},
		{"lost", Update{State: "TASK_LOST", Source: "SOURCE_MASTER", Reason: "REASON_AGENT_DISCONNECTED"},
			want{state: lost, class: ours, kind: "lost", givenUp: true}},
		{"unknown", Update{State: "TASK_UNKNOWN", Source: "SOURCE_MASTER", Reason: reconciliation},
			want{state: lost, class: ours, kind: "lost", givenUp: true}},
	} {
		o, end := classify(test.update)
		got := want{state: o.state, givenUp: o.givenUp, settled: o.settled, died: o.died}
		if o.failure != nil {
			got.class, got.kind = o.failure.Class, o.failure.Kind
		}
		if !end || got != test.want {
			t.Errorf("%s: got %+v (an end: %v), want %+v", test.name, got, end, test.want)
		}
	}
	for _, state := range []string{"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE", "TASK_NEVER_HEARD_OF"} {
		if o, end := classify(Update{State: state}); end {
			t.Errorf("%s is taken for an end: %+v", state, o)
		}
	}
}
