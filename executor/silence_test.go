package executor

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/executor/task/tasktest"
	"github.com/tidemill/tidemill/proto"
)

// A task process that is stopped for a while goes on; one that stays so is killed, and its task is lost.
func TestStoppedTaskProcess(t *testing.T) {
	for name, test := range map[string]struct {
		silence time.Duration
		wakes   bool
	}{
		"for a moment": {silenceMost, true},
		"for ever":     {5 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			work := t.TempDir()
			goOn := filepath.Join(work, "go-on")
			a := &attempt{
				id: "stopped-" + strings.ReplaceAll(name, " ", "-"), stop: make(chan stopRequest), handOver: make(chan struct{}),
				data: &proto.TaskData{
					Job: "scripted", Run: "r", Kind: tasktest.Name, Stage: "run", Of: 1, Attempt: 1,
					Spec: tasktest.Spec(work), Input: []byte("await " + goOn + "\noutput done"), Cpus: 1, Memory: 512 << 20,
				},
			}
			started := make(chan struct{})
			env := &attemptEnvironment{
				file: "/proc/self/exe", environ: append(os.Environ(), "GORACE=atexit_sleep_ms=0"), sandbox: t.TempDir(),
				silence: test.silence, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
				tell: func(what any) {
					if _, ok := what.(attemptStarted); ok {
						close(started)
					}
				},
			}
			ended := make(chan outcome, 1)
			go func() {
				end, err := a.perform(env)
				if err != nil {
					t.Error(err)
				}
				ended <- end
			}()
			<-started
			pid := taskProcess(t, a.id)
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if test.wakes {
				awaitStopped(t, pid)
				if err := os.WriteFile(goOn, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
			}
			end := <-ended
			switch f := end.result.Failure; {
			case test.wakes && (end.state != mesos.TASK_FINISHED || string(end.result.Output) != "done"):
				t.Errorf("got %v, %q", end.state, end.message)
			case !test.wakes && (f == nil || f.Class != proto.CLASS_OURS || f.Kind != "lost" || !end.result.Unsettled || end.message != "its process gave no sign of life for 5s"):
				t.Errorf("got %v, %q, %+v", end.state, end.message, f)
			}
		})
	}
}

// taskProcess finds the process of a task by its arguments.
func taskProcess(t *testing.T, id string) int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err != nil || !bytes.HasSuffix(line, []byte("\x00"+taskVerb+"\x00"+id+"\x00")) {
			continue // another one, or gone
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("task %s has no process", id)
	return 0
}

func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	for limit := time.Now().Add(deadline); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "T") {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("process %d is not stopped: %s", pid, stat)
		}
	}
}
