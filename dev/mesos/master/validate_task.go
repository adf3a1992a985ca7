package master

import (
	"fmt"
	"strings"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/allocator"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

// complete fills in what Mesos fills into a task before it looks at it: the
// framework and the type of its executor, the role of its resources, the type of
// its environment's variables. Nothing that the caller still holds is changed.
func complete(f *framework, h allocator.Holder, info *v1.TaskInfo) {
	info.Resources = allocated(h, info.Resources)
	info.Command = completeCommand(info.Command)
	if info.Executor == nil {
		return
	}
	executor := *info.Executor
	executor.Resources = allocated(h, executor.Resources)
	executor.Command = completeCommand(executor.Command)
	if executor.FrameworkID == nil {
		executor.FrameworkID = f.info.ID
	}
	if executor.Type == v1.ExecutorInfo_UNKNOWN && executor.Command != nil {
		executor.Type = v1.ExecutorInfo_CUSTOM
	}
	info.Executor = &executor
}

func allocated(h allocator.Holder, rs []v1.Resource) v1.Resources {
	copied := resource.Plain(rs)
	for i := range copied {
		if copied[i].AllocationInfo == nil {
			copied[i].Allocate(h.Role)
		}
	}
	return copied
}

func completeCommand(command *v1.CommandInfo) *v1.CommandInfo {
	if command.GetEnvironment() == nil {
		return command
	}
	copied := proto.Clone(command).(*v1.CommandInfo)
	for i := range copied.Environment.Variables {
		if variable := &copied.Environment.Variables[i]; variable.Type == nil {
			variable.Type = v1.Environment_Variable_VALUE.Enum()
		}
	}
	return copied
}

// taskProblem judges a completed task against its agent and what is left of the
// offers, in Mesos' own words.
func taskProblem(f *framework, a *agent, info *v1.TaskInfo, left v1.Resources) string {
	if problem := idProblem(info.TaskID.Value); problem != "" {
		return problem
	}
	if _, known := f.tasks[info.TaskID.Value]; known {
		return "Task has duplicate ID: " + info.TaskID.Value
	}
	if info.AgentID.Value != a.id {
		return "Task uses invalid agent " + info.AgentID.Value + " while agent " + a.id + " is expected"
	}
	if period := info.GetKillPolicy().GetGracePeriod(); period != nil && period.Nanoseconds < 0 {
		return "Task's 'kill_policy.grace_period' must be non-negative"
	}
	if problem := resourcesProblem(info.Resources); problem != "" {
		return "Task uses invalid resources: " + problem
	}
	if len(resource.Sum(info.Resources)) == 0 {
		return "Task uses no resources"
	}
	if (info.Command == nil) == (info.Executor == nil) {
		return "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
	}
	if problem := commandProblem(info.Command); problem != "" {
		return "Task's " + problem
	}
	if info.Executor != nil {
		if problem := executorProblem(f, a, info.Executor); problem != "" {
			return problem
		}
	}
	return usageProblem(f, a, info, left)
}

func resourcesProblem(rs []v1.Resource) string {
	for i := range rs {
		if err := rs[i].Validate(); err != nil {
			return fmt.Sprintf("Resource '%s' is invalid: %v", resource.Format(rs[i:i+1]), err)
		}
	}
	return ""
}

func commandProblem(command *v1.CommandInfo) string {
	if command == nil {
		return ""
	}
	if command.GetShell() && command.Value == nil { // shell is true unless set
		return "`CommandInfo` is invalid: Shell command without a 'value'"
	}
	return ""
}

func executorProblem(f *framework, a *agent, executor *v1.ExecutorInfo) string {
	if problem := idProblem(executor.ExecutorID.Value); problem != "" {
		return problem
	}
	switch executor.Type {
	case v1.ExecutorInfo_CUSTOM:
		if executor.Command == nil {
			return "'ExecutorInfo.command' must be set for 'CUSTOM' executor"
		}
	case v1.ExecutorInfo_DEFAULT:
		return "This Mesos has no default executor"
	default:
		return "'ExecutorInfo.type' must be set"
	}
	if problem := commandProblem(executor.Command); problem != "" {
		return "Executor's " + problem
	}
	if executor.FrameworkID.Value != f.id {
		return fmt.Sprintf("ExecutorInfo has an invalid FrameworkID (Actual: %s vs Expected: %s)", executor.FrameworkID.Value, f.id)
	}
	if period := executor.GetShutdownGracePeriod(); period != nil && period.Nanoseconds < 0 {
		return "ExecutorInfo's 'shutdown_grace_period' must be non-negative"
	}
	if problem := resourcesProblem(executor.Resources); problem != "" {
		return "Executor uses invalid resources: " + problem
	}
	if known := a.executor(f.id, executor.ExecutorID.Value); known != nil && !sameExecutor(known.info, executor) {
		rule := strings.Repeat("-", 60) + "\n"
		return "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n" +
			rule + "Existing ExecutorInfo:\n" + proto.MarshalTextString(known.info) + "\n" +
			rule + "ExecutorInfo:\n" + proto.MarshalTextString(executor) + "\n" + rule
	}
	return ""
}

// sameExecutor compares two infos as Mesos does: labels do not count, nor does how
// long the executor may take to shut down.
func sameExecutor(a, b *v1.ExecutorInfo) bool {
	x, y := *a, *b
	for _, e := range []*v1.ExecutorInfo{&x, &y} {
		e.Labels, e.ShutdownGracePeriod = nil, nil
		e.Resources = resource.InOfferOrder(resource.Sum(e.Resources))
	}
	return proto.Equal(&x, &y)
}

func usageProblem(f *framework, a *agent, info *v1.TaskInfo, left v1.Resources) string {
	needs := resource.Sum(info.Resources)
	if info.Executor != nil && a.executor(f.id, info.Executor.ExecutorID.Value) == nil {
		needs.Add(info.Executor.Resources...)
	}
	if !resource.Contains(left, needs) {
		return "Total resources " + resource.Format(needs) +
			" required by task and its executor is more than available " + resource.Format(left)
	}
	return ""
}
