package jobs_test

import (
	"strings"
	"testing"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// The API shows each state by the name that it has in the records, in small letters and without its prefix.
func TestStateNames(t *testing.T) {
	check := func(number int32, constant, prefix, got string) {
		t.Helper()
		if want := strings.ToLower(strings.TrimPrefix(constant, prefix)); got != want {
			t.Errorf("%s (%d): got %q, want %q", constant, number, got, want)
		}
	}
	for number, constant := range proto.RunState_name {
		check(number, constant, "RUN_", jobs.RunStateName(proto.RunState(number)))
	}
	for number, constant := range proto.TaskState_name {
		check(number, constant, "TASK_", jobs.TaskStateName(proto.TaskState(number)))
	}
	for number, constant := range proto.CheckState_name {
		check(number, constant, "CHECKS_", jobs.CheckStateName(proto.CheckState(number)))
	}
	if got, want := len(jobs.RunStateNames()), len(proto.RunState_name); got != want {
		t.Errorf("got %d run states, want %d", got, want)
	}
	if got, want := len(jobs.TaskStateNames()), len(proto.TaskState_name); got != want {
		t.Errorf("got %d task states, want %d", got, want)
	}
}

func TestTerminal(t *testing.T) {
	for state := range proto.RunState_name {
		s := proto.RunState(state)
		if want := s != proto.RUN_PENDING && s != proto.RUN_RUNNING; jobs.Terminal(s) != want {
			t.Errorf("run state %v: got %t", s, !want)
		}
	}
	for state := range proto.TaskState_name {
		s := proto.TaskState(state)
		if want := s == proto.TASK_FINISHED || s == proto.TASK_FAILED || s == proto.TASK_KILLED; jobs.TaskTerminal(s) != want {
			t.Errorf("task state %v: got %t", s, !want)
		}
	}
}
