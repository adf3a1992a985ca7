package agent

import (
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/process"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// phase is how far an executor's life has come.
type phase int

const (
	launching   phase = iota // the sandbox is made, URIs are fetched
	registering              // the process runs and has not subscribed yet
	running                  // it has subscribed, though it may be disconnected now
	terminating              // it is to end
	terminated               // it has ended; updates may still be pending
)

// executor is one run of an executor: a container.
type executor struct {
	framework *framework
	user      string // the framework's, when it was launched
	info      *v1.ExecutorInfo
	command   bool // made up for a command task
	container string
	sandbox   string

	phase      phase
	process    process.Identity // zero until it is started
	stream     *wire.Stream     // its subscription, if it is connected
	tasks      map[string]*task // not yet ended, or with pending updates
	order      []*task          // the same, in the order of their coming
	completed  []*task
	memory     float64 // MB, the highest limit that it ever had
	end        *termination
	cancelWait func() // of the timer that its phase is bounded by
	cancelLife func() // gives up the launch
}

// termination says why the agent ended an executor; without one it ended itself.
type termination struct {
	reason     v1.TaskStatus_Reason
	message    string
	limitation *v1.TaskResourceLimitation
}

// task is one task of an executor.
type task struct {
	info     *v1.TaskInfo
	executor *executor
	sent     bool // given to the executor
	state    v1.TaskState
	latest   *v1.TaskStatus
	statuses []v1.TaskStatus
	pending  []*v1.TaskStatus // the first one is being delivered
	seen     map[string]bool  // UUIDs of all updates ever taken
	cancel   func()           // of the retry of the first pending update
	killed   bool             // a command task that is being killed
	drained  *link.Drain      // why it is to end; nil if the agent does not drain
}

func (t *task) id() string { return t.info.TaskID.Value }

// terminal says that a task in this state will never run again.
func terminal(state v1.TaskState) bool {
	switch state {
	case v1.TASK_FINISHED, v1.TASK_FAILED, v1.TASK_KILLED, v1.TASK_ERROR,
		v1.TASK_DROPPED, v1.TASK_GONE, v1.TASK_GONE_BY_OPERATOR, v1.TASK_LOST:
		return true
	}
	return false
}

func (e *executor) id() string { return e.info.ExecutorID.Value }

// mark is the entry in the environment of all of the container's processes that
// tells them from others.
func (e *executor) mark() string { return "MESOS_SANDBOX=" + e.sandbox }

func (e *executor) addTask(info *v1.TaskInfo) *task {
	t := &task{info: info, executor: e, state: v1.TASK_STAGING, seen: map[string]bool{}}
	e.tasks[t.id()] = t
	e.order = append(e.order, t)
	e.raiseMemory()
	return t
}

// removeTask forgets a task that has ended and has nothing pending.
func (e *executor) removeTask(t *task) {
	delete(e.tasks, t.id())
	for i, other := range e.order {
		if other == t {
			e.order = append(e.order[:i:i], e.order[i+1:]...)
			break
		}
	}
	e.completed = append(e.completed, t)
}

// commandOverhead is what a made-up executor may use besides its task, in MB.
const commandOverhead = 32

// limits are the resources of the container as it is now.
func (e *executor) limits() v1.Resources {
	sum := resource.Sum(e.info.Resources)
	if e.command {
		sum = nil // they are those of the task
	}
	for _, t := range e.order {
		if !terminal(t.state) {
			sum.Add(t.info.Resources...)
		}
	}
	return sum
}

// raiseMemory lifts the memory limit to what the tasks bring along. As in Mesos it
// is never lowered: memory is not given back the moment a task ends.
func (e *executor) raiseMemory() {
	limit := resource.Amount(e.limits(), resource.Mem)
	if e.command {
		limit += commandOverhead
	}
	e.memory = max(e.memory, limit)
}

// idle says that no task of the executor is alive.
func (e *executor) idle() bool {
	for _, t := range e.order {
		if !terminal(t.state) {
			return false
		}
	}
	return true
}

// stopTimer ends the wait that bounds the present phase.
func (e *executor) stopTimer() {
	if e.cancelWait != nil {
		e.cancelWait()
		e.cancelWait = nil
	}
}

// findTask looks a task up by framework; it may be of any executor.
func (a *Agent) findTask(framework, id string) *task {
	f := a.frameworks[framework]
	if f == nil {
		return nil
	}
	for _, e := range f.executors {
		if t := e.tasks[id]; t != nil {
			return t
		}
	}
	return nil
}

func (a *Agent) findExecutor(framework, id string) *executor {
	if f := a.frameworks[framework]; f != nil {
		return f.executors[id]
	}
	return nil
}
