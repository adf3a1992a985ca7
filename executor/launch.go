package executor

import (
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

// unsupported is for a task that this executor will never do.
func unsupported(message string) *proto.Failure {
	return &proto.Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Message: message}
}

// launch starts a task, once.
func (e *Executor) launch(info mesos.TaskInfo) {
	id := info.TaskID.Value
	var data proto.TaskData
	switch err := proto.Decode(info.Data, &data); {
	case err != nil:
		e.refuse(info, unsupported("the task's data cannot be read: "+err.Error()))
	case validID(id) != nil:
		e.refuse(info, unsupported(validID(id).Error()))
	case e.refusal != "":
		e.refuse(info, unsupported(e.refusal))
	case e.end != nil:
		e.refuse(info, &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost", Message: "the executor is shutting down"})
	case e.ledger.launch(info):
		a := &attempt{
			id: id, data: &data, grace: graceOf(info.KillPolicy, e.data.KillGrace),
			stop: make(chan stopRequest, 4), handOver: make(chan struct{}), progress: proto.TaskProgress{MesosID: id, Phase: "starting"},
		}
		e.log.Info("starting task", "task", id)
		e.attempts[id] = a
		e.idleSince, e.worked = time.Time{}, true
		e.update(id, mesos.TASK_STARTING, "", nil)
		e.others.Go(func() { a.run(&e.shared) })
	}
}

// refuse fails a task that was not started.
func (e *Executor) refuse(info mesos.TaskInfo, failure *proto.Failure) {
	if !e.ledger.launch(info) {
		return
	}
	e.log.Error("refused task", "task", info.TaskID.Value, "error", failure.Message)
	e.worked = true
	e.update(info.TaskID.Value, mesos.TASK_FAILED, failure.Message, proto.Encode(&proto.TaskResult{Failure: task.Shorten(failure)}))
}

// started tells that a task runs, unless it was told already that it is being killed.
func (e *Executor) started(s attemptStarted) {
	if a := e.attempts[s.id]; a == nil || a.killing {
		return
	}
	e.update(s.id, mesos.TASK_RUNNING, "", proto.Encode(&proto.Started{Directory: s.directory}))
}

func (e *Executor) ended(ended attemptEnded) {
	delete(e.attempts, ended.id)
	if len(e.attempts) == 0 {
		e.idleSince = time.Now()
	}
	o := ended.outcome
	e.log.Info("task ended", "task", ended.id, "state", o.state.String(), "message", o.message)
	e.update(ended.id, o.state, shortMessage(o.message), proto.Encode(o.result))
}

// shortMessage is for TaskStatus.message: the result says it at length.
func shortMessage(message string) string {
	const most = 250
	return task.Cut(message, most)
}

// kill ends a task gently at once and hard after its grace period. It may come twice, and for a task that never came or has ended.
func (e *Executor) kill(event *mesosexec.Event_Kill) {
	id := event.TaskID.Value
	a := e.attempts[id]
	if a == nil {
		if !e.ledger.known(id) {
			e.ledger.forbid(id)
			failure := &proto.Failure{Class: proto.CLASS_OURS, Kind: "killed", Message: "killed before it was launched"}
			e.update(id, mesos.TASK_KILLED, failure.Message, proto.Encode(&proto.TaskResult{Failure: failure}))
		}
		return
	}
	if a.killing {
		return
	}
	a.killing = true
	e.log.Info("killing task", "task", id)
	if e.killing {
		e.update(id, mesos.TASK_KILLING, "", nil)
	}
	a.request(stopRequest{reason: killed, grace: graceOf(event.KillPolicy, a.grace)})
}

// graceOf is the grace period of a kill policy, or otherwise.
func graceOf(policy *mesos.KillPolicy, otherwise time.Duration) time.Duration {
	if policy == nil || policy.GracePeriod == nil || policy.GracePeriod.Nanoseconds < 0 {
		return otherwise
	}
	return time.Duration(policy.GracePeriod.Nanoseconds)
}

// request asks the attempt's goroutine to end the task. It never blocks: at most two requests are made, a kill and a shutdown.
func (a *attempt) request(r stopRequest) { a.stop <- r }
