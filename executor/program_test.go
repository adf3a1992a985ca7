package executor

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	own "github.com/tidemill/tidemill/executor/describe"
)

// program is the executor as a process of its own, started as an agent does.
type program struct {
	*run
	cmd    *exec.Cmd
	stderr bytes.Buffer
	exited chan error
}

func startProgram(t *testing.T) *program {
	t.Helper()
	t.Parallel()
	a := newScriptedAgent(t)
	a.data.Version = own.Own().Version
	p := &program{run: &run{scriptedAgent: a, sandbox: t.TempDir(), work: t.TempDir()}, exited: make(chan error, 1)}
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Dir, p.cmd.Stderr = p.sandbox, &p.stderr
	p.cmd.Env = []string{
		"GORACE=atexit_sleep_ms=0", "MESOS_AGENT_ENDPOINT=" + a.address, "MESOS_FRAMEWORK_ID=f", "MESOS_EXECUTOR_ID=e",
		"MESOS_SLAVE_ID=s", "MESOS_DIRECTORY=" + p.sandbox, "MESOS_SANDBOX=" + p.sandbox, "MESOS_CHECKPOINT=1",
		"MESOS_RECOVERY_TIMEOUT=1mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX=50ms", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs",
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() {
		if p.exited != nil {
			p.signal(syscall.SIGKILL)
			<-p.exited
		}
	})
	return p
}

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

func (p *program) awaitExit() error {
	p.t.Helper()
	select {
	case err := <-p.exited:
		p.exited = nil
		return err
	case <-time.After(deadline):
		p.t.Fatalf("the executor did not exit; it says %s", p.stderr.String())
		return nil
	}
}

// children are the PIDs of the executor's task processes.
func (p *program) children() []int {
	p.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var pids []int
	for _, name := range tasks {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // that thread has just ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				p.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestKilledExecutorLeavesNoProcess(t *testing.T) {
	p := startProgram(t)
	for _, id := range []string{"a", "b", "c"} {
		p.launch(id, p.task("ignore\nhang 1m"))
	}
	for _, id := range []string{"a", "b", "c"} {
		p.awaitState(id, mesos.TASK_RUNNING)
	}
	pids := p.children()
	if len(pids) != 3 {
		t.Fatalf("got task processes %v, want 3", pids)
	}
	p.signal(syscall.SIGKILL)
	if err := p.awaitExit(); err == nil {
		t.Error("the executor was not killed")
	}
	for _, pid := range pids {
		p.await(fmt.Sprintf("task process %d to be gone", pid), func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH || zombie(pid) })
	}
}

// zombie is true of a process that has ended and that nobody buries, since its parent is gone and init is none.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(rest, "Z")
}

func TestKilledTaskProcessIsReported(t *testing.T) {
	p := startProgram(t)
	p.launch("t", p.task("wait"))
	p.awaitState("t", mesos.TASK_RUNNING)
	for _, pid := range p.children() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	f := result(t, p.awaitState("t", mesos.TASK_FAILED)).Failure
	if f.Kind != "killed" || !strings.Contains(f.Message, "from outside by SIGKILL") {
		t.Errorf("got %+v", f)
	}
}

func TestStoppedExecutorWakesUp(t *testing.T) {
	p := startProgram(t)
	goOn := filepath.Join(t.TempDir(), "go-on")
	done := filepath.Join(t.TempDir(), "done")
	p.launch("t", p.task("await "+goOn+"\noutput late\ntouch "+done))
	p.awaitState("t", mesos.TASK_RUNNING)
	p.signal(syscall.SIGSTOP)
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.await("the task to finish", func() bool { _, err := os.Stat(done); return err == nil })
	p.breakStream() // the agent has given it up meanwhile
	p.checkStates("t", "STARTING", "RUNNING")
	p.signal(syscall.SIGCONT)
	if got := result(t, p.awaitState("t", mesos.TASK_FINISHED)); string(got.Output) != "late" {
		t.Errorf("got %+v", got)
	}
}

func TestProgramShutsDownOnSIGTERM(t *testing.T) {
	p := startProgram(t)
	p.launch("t", p.task("wait"))
	p.awaitState("t", mesos.TASK_RUNNING)
	p.signal(syscall.SIGTERM)
	if err := p.awaitExit(); err != nil {
		t.Errorf("it exited with %v; it says %s", err, p.stderr.String())
	}
	p.checkStates("t", "STARTING", "RUNNING", "KILLED")
}

func TestProgramStartedByHand(t *testing.T) {
	for name, test := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"version":  {[]string{"--version"}, 0, own.Own().Version + "\n", ""},
		"describe": {[]string{"--describe"}, 0, `"protocol":{"min":1,"max":2},"kinds":[`, ""},
		"help":     {[]string{"--help"}, 0, "what Mesos agents start", ""},
		"nonsense": {[]string{"--nonsense"}, 2, "", `unknown argument "--nonsense"`},
		"task":     {[]string{"task"}, 1, "", "task processes are started by an executor"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := exec.Command("/proc/self/exe", test.args...)
			// One variable makes the test binary the program, but it is not enough to be started by an agent.
			cmd.Env = []string{"MESOS_EXECUTOR_ID=e", "GORACE=atexit_sleep_ms=0"}
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != test.status {
				t.Errorf("got %v, want status %d", err, test.status)
			}
			if !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("got %q and %q", stdout.String(), stderr.String())
			}
		})
	}
}
