package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/process"
)

// defaultKillGrace is how long a command may take to end after SIGTERM if its kill
// policy does not say.
const defaultKillGrace = 3 * time.Second

// commandScript runs a command and leaves its exit status in a file ($0), where an
// agent finds it that was started again meanwhile. It outlives the SIGTERM that goes
// to all of the container, so that the command may take its grace period.
const commandScript = `trap : TERM; "$@"; code=$?; echo "$code" > "$0"; exit "$code"`

func (e *executor) commandWrapper() []string {
	argv := []string{"sh", "-c", commandScript, e.statusFile()}
	command := e.info.GetCommand()
	if command.GetShell() {
		return append(argv, "/bin/sh", "-c", command.GetValue())
	}
	argv = append(argv, command.GetValue())
	if len(command.Arguments) > 1 {
		argv = append(argv, command.Arguments[1:]...) // the first one is the program's own name
	}
	return argv
}

// statusFile stands beside the sandbox.
func (e *executor) statusFile() string {
	return filepath.Join(filepath.Dir(e.sandbox), e.container+".status")
}

// commandStarted tells what Mesos' own command executor would.
func (a *Agent) commandStarted(e *executor) {
	for _, t := range e.order {
		t.sent = true
		for _, state := range []v1.TaskState{v1.TASK_STARTING, v1.TASK_RUNNING} {
			a.takeUpdate(t, a.commandStatus(t, state, ""))
		}
	}
}

func (a *Agent) commandStatus(t *task, state v1.TaskState, message string) *v1.TaskStatus {
	now := float64(time.Now().UnixNano()) / 1e9
	id := uuid.New()
	status := &v1.TaskStatus{
		TaskID: t.info.TaskID, State: &state, Source: v1.SOURCE_EXECUTOR.Enum(), Timestamp: &now, UUID: id[:],
	}
	if message != "" {
		status.Message = &message
	}
	return a.complete(t.executor, status)
}

// commandEnded says how the command of a task ended, unless the agent had ended it.
func (a *Agent) commandEnded(e *executor, status int32, end *termination) {
	if end.reason != v1.REASON_EXECUTOR_TERMINATED {
		return
	}
	ws := syscall.WaitStatus(status)
	if text, err := os.ReadFile(e.statusFile()); err == nil {
		if code, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			ws = fromShell(code)
		}
	}
	for _, t := range append([]*task{}, e.order...) {
		state, message := outcome(ws)
		if t.killed {
			state = v1.TASK_KILLED
		}
		if !terminal(t.state) {
			a.takeUpdate(t, a.commandStatus(t, state, message))
		}
	}
}

// fromShell turns a shell's $? back into a wait status.
func fromShell(code int) syscall.WaitStatus {
	if code > 128 {
		return syscall.WaitStatus(code - 128)
	}
	return syscall.WaitStatus(code << 8)
}

func outcome(ws syscall.WaitStatus) (v1.TaskState, string) {
	switch {
	case ws.Signaled():
		return v1.TASK_FAILED, "Command terminated with signal " + signalName(ws.Signal())
	case ws.Exited() && ws.ExitStatus() == 0:
		return v1.TASK_FINISHED, "Command exited with status 0"
	case ws.Exited():
		return v1.TASK_FAILED, fmt.Sprintf("Command exited with status %d", ws.ExitStatus())
	default:
		return v1.TASK_FAILED, "Command ended while no agent was there to see it"
	}
}

// signalName is as strsignal(3) has it: "Killed", "Terminated".
func signalName(signal syscall.Signal) string {
	name := signal.String()
	if name == "" {
		return strconv.Itoa(int(signal))
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// killCommand ends a command task gracefully, then hard.
func (a *Agent) killCommand(t *task, policy *v1.KillPolicy) {
	e := t.executor
	if t.killed || e.phase >= terminating {
		return
	}
	t.killed = true
	for _, capability := range e.framework.info.Capabilities {
		if capability.Type == v1.FrameworkInfo_Capability_TASK_KILLING_STATE {
			a.takeUpdate(t, a.commandStatus(t, v1.TASK_KILLING, ""))
		}
	}
	a.checkpoint(e)
	grace := defaultKillGrace
	if policy == nil {
		policy = t.info.GetKillPolicy()
	}
	if period := policy.GetGracePeriod(); period != nil {
		grace = time.Duration(period.Nanoseconds)
	}
	process.Signal(e.process.PID, syscall.SIGTERM)
	e.cancelWait = a.after(grace, func() { a.kill(e, nil) })
}

// killTask passes the master's kill on to whoever runs the task.
func (a *Agent) killTask(order *link.Kill) error {
	t := a.findTask(order.Framework, order.Task)
	if t == nil || terminal(t.state) {
		a.log.Warn("kill for a task that does not run here", "task", order.Task, "framework", order.Framework)
		return nil
	}
	var policy *v1.KillPolicy
	if order.Policy != nil {
		policy = &v1.KillPolicy{}
		if err := order.Policy.Decode(policy); err != nil {
			return fmt.Errorf("kill task %q: %w", order.Task, err)
		}
	}
	switch e := t.executor; {
	case !t.sent:
		a.killQueued(t)
	case e.command:
		a.killCommand(t, policy)
	default:
		e.sendKill(t, policy)
	}
	return nil
}

// killQueued ends a task that its executor has not got yet, and an executor that
// would find nothing to do.
func (a *Agent) killQueued(t *task) {
	e := t.executor
	a.takeUpdate(t, t.agentStatus(v1.TASK_KILLED, v1.REASON_TASK_KILLED_DURING_LAUNCH, "Killed before delivery to the executor"))
	if e.phase < running && e.idle() {
		a.kill(e, nil)
	}
}
