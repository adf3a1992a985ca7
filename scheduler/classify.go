package scheduler

import (
	"fmt"

	"github.com/tidemill/tidemill/proto"
)

// outcome is how an attempt ended, or why it is given up.
type outcome struct {
	state      proto.TaskState   // FINISHED, FAILED, KILLED or LOST
	result     *proto.TaskResult // when it finished; of the others what is known
	failure    *proto.Failure    // nil when it finished
	reason     string            // Mesos' reason, or empty
	givenUp    bool              // Mesos has not said that it ended for good: it may come back
	settled    bool              // it is certain that it writes no more
	died       bool              // its executor has ended under it: nothing is launched on that one any more
	oom        bool              // its container was killed for memory
	unborn     bool              // it never began
	uncharged  bool              // it does not even use up a free retry
	handedOver bool              // it finished, but its task goes on
	suspect    bool              // it speaks against the agent, whatever the reason
}

// cause is a row of the table of failures: what Mesos' reason means when the executor itself has not said why.
type cause struct {
	class proto.Class
	kind  string
	text  string
	died  bool // the executor is dead
}

// causes is the table of failure classes by Mesos' reason. A reason that is not in it may pass and uses up a retry.
var causes = map[string]cause{
	"REASON_EXECUTOR_TERMINATED":             {proto.CLASS_OURS, "lost", "its executor ended", true},
	"REASON_EXECUTOR_UNREGISTERED":           {proto.CLASS_OURS, "lost", "its executor was not registered", true},
	"REASON_EXECUTOR_REGISTRATION_TIMEOUT":   {proto.CLASS_OURS, "lost", "its executor did not register in time", true},
	"REASON_EXECUTOR_REREGISTRATION_TIMEOUT": {proto.CLASS_OURS, "lost", "its executor did not come back after the agent's restart", true},
	"REASON_CONTAINER_LAUNCH_FAILED":         {proto.CLASS_OURS, "lost", "its executor could not be started", true},
	"REASON_CONTAINER_UPDATE_FAILED":         {proto.CLASS_OURS, "lost", "its container could not be given the resources", true},
	"REASON_CONTAINER_PREEMPTED":             {proto.CLASS_OURS, "lost", "it was pre-empted", true},
	draining:                                 {proto.CLASS_OURS, "drained", "its agent is being drained", false},
	"REASON_AGENT_DISCONNECTED":              {proto.CLASS_OURS, "lost", "its agent was not connected", false},
	"REASON_SLAVE_DISCONNECTED":              {proto.CLASS_OURS, "lost", "its agent was not connected", false},
	"REASON_AGENT_REMOVED":                   {proto.CLASS_OURS, "lost", "its agent was removed", false},
	"REASON_SLAVE_REMOVED":                   {proto.CLASS_OURS, "lost", "its agent was removed", false},
	"REASON_AGENT_REMOVED_BY_OPERATOR":       {proto.CLASS_OURS, "lost", "its agent was removed by an operator", false},
	"REASON_SLAVE_REMOVED_BY_OPERATOR":       {proto.CLASS_OURS, "lost", "its agent was removed by an operator", false},
	"REASON_AGENT_RESTARTED":                 {proto.CLASS_OURS, "lost", "its agent was started again", false},
	"REASON_SLAVE_RESTARTED":                 {proto.CLASS_OURS, "lost", "its agent was started again", false},
	"REASON_AGENT_UNKNOWN":                   {proto.CLASS_OURS, "lost", "its agent is not known", false},
	"REASON_SLAVE_UNKNOWN":                   {proto.CLASS_OURS, "lost", "its agent is not known", false},
	"REASON_AGENT_REREGISTERED":              {proto.CLASS_OURS, "lost", "its agent registered anew", false},
	"REASON_MASTER_DISCONNECTED":             {proto.CLASS_OURS, "lost", "the master was not connected", false},
	"REASON_INVALID_OFFERS":                  {proto.CLASS_OURS, "lost", "the offer was no longer valid", false},
	"REASON_GC_ERROR":                        {proto.CLASS_OURS, "lost", "its agent could not make room", false},
	"REASON_RECONCILIATION":                  {proto.CLASS_OURS, "lost", "Mesos does not know it", false},
	"REASON_RESOURCES_UNKNOWN":               {proto.CLASS_OURS, "lost", "its agent did not know the resources", false},
	"REASON_TASK_INVALID":                    {proto.CLASS_OURS, "lost", "Mesos refused it", false},
	"REASON_TASK_UNAUTHORIZED":               {proto.CLASS_OURS, "lost", "Mesos does not allow it", false},
	"REASON_TASK_UNKNOWN":                    {proto.CLASS_OURS, "lost", "Mesos does not know it", false},
	"REASON_TASK_KILLED_DURING_LAUNCH":       {proto.CLASS_OURS, "killed", "it was killed before it began", false},
	"REASON_CONTAINER_LIMITATION_MEMORY":     {proto.CLASS_PASSING, "out_of_memory", "its container used more memory than it has", true},
	"REASON_CONTAINER_LIMITATION_DISK":       {proto.CLASS_PASSING, "unavailable", "its container used more disk than it has", true},
	"REASON_CONTAINER_LIMITATION":            {proto.CLASS_PASSING, "internal", "its container went over a limit", true},
}

// ends is what Mesos' states mean for an attempt that has not finished. States that are not in it are no end.
var ends = map[string]outcome{
	"TASK_FAILED":           {state: proto.TASK_FAILED},
	"TASK_KILLED":           {state: proto.TASK_KILLED},
	"TASK_ERROR":            {state: proto.TASK_LOST, settled: true, unborn: true},
	"TASK_DROPPED":          {state: proto.TASK_LOST, settled: true, unborn: true},
	"TASK_GONE":             {state: proto.TASK_LOST},
	"TASK_LOST":             {state: proto.TASK_LOST, givenUp: true},
	"TASK_UNKNOWN":          {state: proto.TASK_LOST, givenUp: true},
	"TASK_GONE_BY_OPERATOR": {state: proto.TASK_LOST, givenUp: true},
}

// unstarted are the reasons of attempts that ended before their executor was given them: they have written nothing.
var unstarted = map[string]bool{
	"REASON_CONTAINER_LAUNCH_FAILED":       true,
	"REASON_EXECUTOR_REGISTRATION_TIMEOUT": true,
	"REASON_TASK_KILLED_DURING_LAUNCH":     true,
}

// deaths are the reasons that may be the task's own doing: from the third one on they are the job's.
var deaths = map[string]bool{
	"REASON_EXECUTOR_TERMINATED":   true,
	"REASON_EXECUTOR_UNREGISTERED": true,
}

const deathsForgiven = 2

const (
	fromExecutor   = "SOURCE_EXECUTOR"
	reconciliation = "REASON_RECONCILIATION"
	memoryKill     = "REASON_CONTAINER_LIMITATION_MEMORY"
	draining       = "REASON_AGENT_DRAINING"
	invalidOffers  = "REASON_INVALID_OFFERS"
)

// classify says what a terminal update means. ok is false for states that are no end.
func classify(u Update) (o outcome, ok bool) {
	result := &proto.TaskResult{}
	decoding := proto.Decode(u.Data, result)
	if u.State == "TASK_FINISHED" {
		return classifyFinished(result, decoding), true
	}
	o, ok = ends[u.State]
	if !ok {
		return outcome{}, false
	}
	o.reason = u.Reason
	if u.State == "TASK_LOST" && u.Reason == invalidOffers {
		o = outcome{state: proto.TASK_LOST, reason: u.Reason, settled: true, unborn: true}
	}
	o.uncharged = o.unborn && u.Reason == invalidOffers
	if u.Source == fromExecutor && (o.state == proto.TASK_FAILED || o.state == proto.TASK_KILLED) {
		o.settled = decoding == nil && !result.Unsettled
		if decoding == nil && result.Failure != nil {
			o.result, o.failure = result, result.Failure
			o.suspect = u.State == "TASK_FAILED"
			if u.Reason == draining { // the executor only knows that it was told to kill it
				o.failure, _ = explainEnd(u, o)
			}
			return o, true
		}
	}
	o.settled = o.settled || unstarted[u.Reason]
	o.failure, o.died = explainEnd(u, o)
	o.oom = u.Reason == memoryKill
	return o, true
}

// classifyFinished: of an attempt whose result cannot be read nobody knows whether it has committed.
func classifyFinished(result *proto.TaskResult, decoding error) outcome {
	o := outcome{state: proto.TASK_FINISHED, result: result, settled: !result.Unsettled}
	switch {
	case decoding != nil:
		o.state, o.result, o.settled = proto.TASK_FAILED, nil, false
		o.failure = &proto.Failure{Class: proto.CLASS_PASSING, Kind: "internal", Message: fmt.Sprintf("the executor's result cannot be read: %v", decoding)}
	case result.Failure != nil:
		o.state, o.failure = proto.TASK_FAILED, result.Failure
	}
	return o
}

// explainEnd is the failure of an attempt whose executor has not said why it ended, and whether the executor is dead.
func explainEnd(u Update, o outcome) (failure *proto.Failure, died bool) {
	why, known := causes[u.Reason]
	switch {
	case known:
	case o.unborn, o.state == proto.TASK_LOST:
		why = cause{proto.CLASS_OURS, "lost", "Mesos lost it", false}
	case o.state == proto.TASK_KILLED:
		why = cause{proto.CLASS_OURS, "killed", "it was killed by someone else", false}
	default:
		why = cause{proto.CLASS_PASSING, "internal", "it ended without saying why", false}
	}
	message := why.text
	if u.Message != "" {
		message += ": " + u.Message
	}
	return &proto.Failure{Class: why.class, Kind: why.kind, Message: message}, why.died
}
