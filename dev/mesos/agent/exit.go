package agent

import (
	"syscall"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/process"
)

const (
	// reapInterval is how often the agent looks whether a process has ended.
	reapInterval = 10 * time.Millisecond
	// destroyTimeout bounds how long killed processes may take to disappear.
	destroyTimeout = 10 * time.Second
	// unknownStatus is the exit status of a process that another agent had started.
	unknownStatus = -1
)

// await stays until the container's process has ended, or until the agent stops.
func (a *Agent) await(e *executor) {
	ticker := time.NewTicker(reapInterval)
	defer ticker.Stop()
	for {
		if status, ended := reap(e.process); ended {
			a.ended(e, status)
			return
		}
		select {
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// reap looks whether a process has ended: as its parent, or else by its absence.
func reap(id process.Identity) (status int32, ended bool) {
	var ws syscall.WaitStatus
	pid, err := syscall.Wait4(id.PID, &ws, syscall.WNOHANG, nil)
	switch {
	case err == nil && pid == id.PID:
		return int32(ws), true
	case err == nil:
		return 0, false
	default:
		return unknownStatus, !id.Alive()
	}
}

// ended clears up after a container: whatever is left of its processes is killed,
// its tasks are answered for.
func (a *Agent) ended(e *executor, status int32) {
	a.destroy(e) // also by its mark: an agent may have died before it noted the process
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil && a.cfg.KeepExecutors {
		return // it ended while the agent stopped; the next one will find out
	}
	end := e.end
	if end == nil {
		end = &termination{reason: v1.REASON_EXECUTOR_TERMINATED, message: "Executor terminated"}
	}
	a.log.Info("executor ended", "executor", e.id(), "framework", e.framework.id, "status", status, "why", end.message)
	if e.command {
		a.commandEnded(e, status, end)
	}
	a.terminate(e, status, end)
}

// launchFailed ends a container that never ran.
func (a *Agent) launchFailed(e *executor, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return
	}
	end := e.end
	if end == nil {
		end = &termination{reason: v1.REASON_CONTAINER_LAUNCH_FAILED, message: message}
	}
	a.log.Warn("executor could not be launched", "executor", e.id(), "framework", e.framework.id, "error", message)
	const exitCodeOne = 1 << 8
	a.terminate(e, exitCodeOne, end)
}

// terminate tells the master, and the scheduler about each task that has not ended.
func (a *Agent) terminate(e *executor, status int32, end *termination) {
	e.phase = terminated
	e.stopTimer()
	a.cameBack(e)
	if e.stream != nil {
		e.stream.Close()
		e.stream = nil
	}
	if !e.framework.terminating {
		a.report(link.Report{Exited: &link.Exited{Framework: e.framework.id, Executor: e.id(), Status: status}})
	}
	for _, t := range append([]*task{}, e.order...) {
		if !terminal(t.state) {
			update := t.agentStatus(v1.TASK_FAILED, end.reason, end.message)
			update.Limitation = end.limitation
			a.takeUpdate(t, update)
		}
	}
	if e.framework.terminating {
		for _, t := range append([]*task{}, e.order...) {
			a.finishTask(t)
		}
	}
	if len(e.order) == 0 {
		a.removeExecutor(e)
		return
	}
	a.checkpoint(e)
}

// removeExecutor forgets an executor that has ended and has nothing pending.
func (a *Agent) removeExecutor(e *executor) {
	f := e.framework
	if f.executors[e.id()] != e {
		return
	}
	delete(f.executors, e.id())
	f.completed = append(f.completed, e)
	if n := len(f.completed); n > maxCompletedExecutors {
		f.completed = f.completed[n-maxCompletedExecutors:]
	}
	a.dropCheckpoint(e)
	a.endSandbox(e)
	a.retire(f)
}

// retire moves a framework that was torn down and has nothing left to those that have
// ended.
func (a *Agent) retire(f *framework) {
	if !f.terminating || len(f.executors) > 0 || a.frameworks[f.id] != f {
		return
	}
	delete(a.frameworks, f.id)
	a.completed = append(a.completed, f)
	if n := len(a.completed); n > maxCompletedFrameworks {
		a.completed = a.completed[n-maxCompletedFrameworks:]
	}
}

// How much is remembered of what has ended, as in Mesos.
const (
	maxCompletedExecutors  = 150 // of each framework
	maxCompletedFrameworks = 50
)

// destroy kills all processes of a container and waits until they are gone.
func (a *Agent) destroy(e *executor) {
	if err := process.Destroy(e.process, e.mark(), destroyTimeout); err != nil {
		a.log.Error("container could not be destroyed", "executor", e.id(), "error", err)
	}
}

// kill ends a container without asking; why is told for its tasks.
func (a *Agent) kill(e *executor, why *termination) {
	if e.phase == terminated {
		return
	}
	if e.end == nil {
		e.end = why
	}
	e.phase = terminating
	e.stopTimer()
	if e.cancelLife != nil {
		e.cancelLife()
	}
	if e.process.PID != 0 {
		process.Signal(e.process.PID, syscall.SIGKILL)
	}
}

// shutdown does what the master wants ended: an executor, a framework, or all.
func (a *Agent) shutdown(order *link.Shutdown) {
	switch {
	case order.Framework == "":
		a.dismiss()
	case order.Executor == "":
		if f := a.frameworks[order.Framework]; f != nil {
			f.terminating = true
			for _, e := range f.executors {
				a.shutdownExecutor(e)
			}
			a.retire(f)
		}
	default:
		if e := a.findExecutor(order.Framework, order.Executor); e != nil {
			a.shutdownExecutor(e)
		}
	}
}

// shutdownExecutor asks an executor to end, and ends it when it takes too long.
func (a *Agent) shutdownExecutor(e *executor) {
	switch {
	case e.phase == terminated:
		for _, t := range append([]*task{}, e.order...) {
			if e.framework.terminating {
				a.finishTask(t)
			}
		}
		return
	case e.phase == terminating:
		return
	case e.process.PID == 0:
		a.kill(e, nil)
		return
	}
	e.phase = terminating
	e.stopTimer()
	if e.stream != nil {
		e.send(&api.Event{Type: api.Event_SHUTDOWN})
	} else {
		process.Signal(e.process.PID, syscall.SIGTERM)
	}
	e.cancelWait = a.after(a.gracePeriod(e), func() { a.kill(e, nil) })
}

// shutdownAll ends every container and returns when that is done.
func (a *Agent) shutdownAll() {
	a.mu.Lock()
	a.closing = true
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			a.shutdownExecutor(e)
		}
	}
	a.mu.Unlock()
	ticker := time.NewTicker(reapInterval)
	defer ticker.Stop()
	for a.anyAlive() {
		<-ticker.C // bounded: each executor is killed after its grace period
	}
}

func (a *Agent) anyAlive() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			if e.phase != terminated {
				return true
			}
		}
	}
	return false
}
