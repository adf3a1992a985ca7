package executor

import (
	"fmt"
	"syscall"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

// stopReason is why the executor ended a task that had not ended by itself.
type stopReason int

const (
	notStopped stopReason = iota
	killed                // by a KILL
	timedOut              // the attempt's own timeout
	fellSilent            // its process gave no sign of life any more
	shutDown              // the executor ends: SHUTDOWN, or no agent any more
)

// outcome is how a task ended: everything that its last update says.
type outcome struct {
	state   mesos.TaskState
	result  *proto.TaskResult
	message string // a short sentence for people
}

// ending is what is known when a task process has ended.
type ending struct {
	exit     process.Exit
	reported *proto.TaskResult // nil: it ended without one
	stopped  stopReason
	timeout  time.Duration // the attempt's, of which timedOut speaks
	silence  time.Duration // of which fellSilent speaks
	memory   int64         // bytes that the task asked for
	lastLine string        // the line of its standard error that says most
}

// conclude decides. A task that finished its work has finished, even if it was to be stopped: it may have committed.
func conclude(e ending) outcome {
	result := e.reported
	if result == nil {
		result = &proto.TaskResult{Unsettled: true} // it may have ended with a request on its way
	}
	result.Counters.Cpu = max(result.Counters.Cpu, e.exit.CPU)
	result.Counters.PeakMemory = max(result.Counters.PeakMemory, e.exit.PeakMemory)
	if e.reported != nil && result.Failure == nil {
		message := "finished"
		if result.HandedOver {
			message = task.ErrHandedOver.Error()
		}
		return outcome{state: mesos.TASK_FINISHED, result: result, message: message}
	}
	state := mesos.TASK_FAILED
	switch {
	case e.stopped == killed:
		state = mesos.TASK_KILLED
		result.Failure = &proto.Failure{Class: proto.CLASS_OURS, Kind: "killed", Message: "killed on request"}
	case e.stopped == shutDown:
		state = mesos.TASK_KILLED
		result.Failure = &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost", Message: "the executor was shut down"}
	case e.exit.OutOfMemory:
		result.Failure = outOfMemory(e)
	case e.stopped == timedOut:
		result.Failure = &proto.Failure{Class: proto.CLASS_PASSING, Kind: "timeout",
			Message: fmt.Sprintf("not done within the timeout of %s", e.timeout)}
	case e.stopped == fellSilent:
		result.Failure = &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost",
			Message: fmt.Sprintf("its process gave no sign of life for %s", e.silence)}
	case e.reported == nil:
		result.Failure = crash(e)
	}
	result.Output = nil
	task.Shorten(result.Failure)
	return outcome{state: state, result: result, message: result.Failure.Message}
}

func outOfMemory(e ending) *proto.Failure {
	return &proto.Failure{Class: proto.CLASS_PASSING, Kind: "out_of_memory",
		Message: fmt.Sprintf("used %d MiB of memory, more than the %d MiB asked for", e.exit.PeakMemory>>20, e.memory>>20)}
}

// nearlyAll is how much of its memory a process must have held when it was killed from outside for us to think that
// the kernel did it for want of memory: between two looks it may have grown.
const nearlyAll = 0.8

// crash is for a process that ended without saying why.
func crash(e ending) *proto.Failure {
	f := &proto.Failure{Class: proto.CLASS_PASSING, Kind: "internal"}
	switch {
	case e.exit.Signal == syscall.SIGKILL && float64(e.exit.PeakMemory) > nearlyAll*float64(e.memory):
		return outOfMemory(e)
	case e.exit.Signal == syscall.SIGKILL || e.exit.Signal == syscall.SIGTERM:
		// Neither the engine nor the data does that: it was somebody on the machine.
		f.Class, f.Kind = proto.CLASS_OURS, "killed"
		f.Message = fmt.Sprintf("the task process was ended from outside by %s", signalName(e.exit.Signal))
		return f
	case e.exit.Signal != 0:
		f.Message = fmt.Sprintf("the task process crashed with %s", signalName(e.exit.Signal))
	default:
		f.Message = fmt.Sprintf("the task process ended with status %d and without a result", e.exit.Code)
	}
	if e.lastLine != "" {
		f.Message += ": " + e.lastLine
	}
	return f
}
