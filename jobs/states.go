package jobs

import "github.com/tidemill/tidemill/proto"

// Terminal says whether a run in state s has ended.
func Terminal(s proto.RunState) bool {
	return s == proto.RUN_SUCCEEDED || s == proto.RUN_FAILED || s == proto.RUN_CANCELLED
}

// TaskTerminal says whether an attempt in state s has ended for good. LOST and UNREACHABLE attempts may come back.
func TaskTerminal(s proto.TaskState) bool {
	return s == proto.TASK_FINISHED || s == proto.TASK_FAILED || s == proto.TASK_KILLED
}

// The names of states as the API shows them, by number.
var (
	runStates  = []string{"pending", "running", "succeeded", "failed", "cancelled"}
	taskStates = []string{"pending", "launching", "starting", "running", "finished", "failed", "killed", "lost", "unreachable"}
	checks     = []string{"pending", "passed", "failed"}
)

// RunStateName is a run state as the API shows it.
func RunStateName(s proto.RunState) string { return runStates[s] }

// TaskStateName is a task state as the API shows it.
func TaskStateName(s proto.TaskState) string { return taskStates[s] }

// CheckStateName is the state of a revision's checks as the API shows it.
func CheckStateName(s proto.CheckState) string { return checks[s] }

// RunStateNames lists all run states, in the order of their numbers.
func RunStateNames() []string { return append([]string(nil), runStates...) }

// TaskStateNames lists all task states, in the order of their numbers.
func TaskStateNames() []string { return append([]string(nil), taskStates...) }

// ClassName is a failure class as the API, logs and metrics show it.
func ClassName(class proto.Class) string {
	switch class {
	case proto.CLASS_OURS:
		return "ours"
	case proto.CLASS_PASSING:
		return "passing"
	}
	return "final"
}
