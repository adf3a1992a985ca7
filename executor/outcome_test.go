package executor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/proto"
)

func TestConclude(t *testing.T) {
	const memory = 512 << 20
	finished := func() *proto.TaskResult { return &proto.TaskResult{Output: []byte("done")} }
	failed := func() *proto.TaskResult {
		return &proto.TaskResult{Failure: &proto.Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Message: "bad row"}}
	}
	for name, test := range map[string]struct {
		ending  ending
		state   mesos.TaskState
		class   proto.Class
		kind    string
		message string
	}{
		"finished":                   {ending{reported: finished()}, mesos.TASK_FINISHED, 0, "", "finished"},
		"finished, then crashed":     {ending{reported: finished(), exit: process.Exit{Signal: syscall.SIGSEGV}}, mesos.TASK_FINISHED, 0, "", "finished"},
		"finished, though killed":    {ending{reported: finished(), stopped: killed}, mesos.TASK_FINISHED, 0, "", "finished"},
		"finished, though late":      {ending{reported: finished(), stopped: timedOut}, mesos.TASK_FINISHED, 0, "", "finished"},
		"failed":                     {ending{reported: failed()}, mesos.TASK_FAILED, proto.CLASS_FINAL, "invalid", "bad row"},
		"killed":                     {ending{reported: failed(), stopped: killed}, mesos.TASK_KILLED, proto.CLASS_OURS, "killed", "killed on request"},
		"killed hard":                {ending{stopped: killed, exit: process.Exit{Signal: syscall.SIGKILL}}, mesos.TASK_KILLED, proto.CLASS_OURS, "killed", "killed on request"},
		"shut down":                  {ending{stopped: shutDown}, mesos.TASK_KILLED, proto.CLASS_OURS, "lost", "the executor was shut down"},
		"timeout":                    {ending{reported: failed(), stopped: timedOut, timeout: time.Minute}, mesos.TASK_FAILED, proto.CLASS_PASSING, "timeout", "not done within the timeout of 1m0s"},
		"silent":                     {ending{stopped: fellSilent, silence: 30 * time.Second, exit: process.Exit{Signal: syscall.SIGKILL}}, mesos.TASK_FAILED, proto.CLASS_OURS, "lost", "its process gave no sign of life for 30s"},
		"finished, though silent":    {ending{reported: finished(), stopped: fellSilent}, mesos.TASK_FINISHED, 0, "", "finished"},
		"out of memory":              {ending{exit: process.Exit{OutOfMemory: true, Signal: syscall.SIGKILL, PeakMemory: 600 << 20}}, mesos.TASK_FAILED, proto.CLASS_PASSING, "out_of_memory", "used 600 MiB of memory, more than the 512 MiB asked for"},
		"killed by the kernel":       {ending{exit: process.Exit{Signal: syscall.SIGKILL, PeakMemory: 500 << 20}}, mesos.TASK_FAILED, proto.CLASS_PASSING, "out_of_memory", "used 500 MiB of memory"},
		"killed from outside":        {ending{exit: process.Exit{Signal: syscall.SIGKILL, PeakMemory: 50 << 20}}, mesos.TASK_FAILED, proto.CLASS_OURS, "killed", "ended from outside by SIGKILL (killed)"},
		"crashed":                    {ending{exit: process.Exit{Signal: syscall.SIGABRT}, lastLine: "terminate called"}, mesos.TASK_FAILED, proto.CLASS_PASSING, "internal", "crashed with SIGABRT (aborted): terminate called"},
		"gone without a result":      {ending{exit: process.Exit{Code: 2}, lastLine: "fatal error: x"}, mesos.TASK_FAILED, proto.CLASS_PASSING, "internal", "ended with status 2 and without a result: fatal error: x"},
		"gone without a last line":   {ending{}, mesos.TASK_FAILED, proto.CLASS_PASSING, "internal", "ended with status 0 and without a result"},
		"out of memory while killed": {ending{stopped: killed, exit: process.Exit{OutOfMemory: true}}, mesos.TASK_KILLED, proto.CLASS_OURS, "killed", "killed on request"},
	} {
		t.Run(name, func(t *testing.T) {
			test.ending.memory = memory
			test.ending.exit.CPU = time.Second
			got := conclude(test.ending)
			if got.state != test.state || !strings.Contains(got.message, test.message) {
				t.Errorf("got %v, %q, want %v, %q", got.state, got.message, test.state, test.message)
			}
			if got.result.Counters.Cpu != time.Second {
				t.Errorf("got counters %+v", got.result.Counters)
			}
			if got.result.Unsettled != (test.ending.reported == nil) {
				t.Errorf("got unsettled %v", got.result.Unsettled)
			}
			f := got.result.Failure
			switch {
			case test.kind == "" && (f != nil || string(got.result.Output) != "done"):
				t.Errorf("got %+v", got.result)
			case test.kind != "" && (f == nil || f.Class != test.class || f.Kind != test.kind || got.result.Output != nil):
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestLastLine(t *testing.T) {
	for text, want := range map[string]string{
		"":             "",
		"\n\n":         "",
		"one\ntwo\n\n": "two",
		"no newline":   "no newline",
		"panic: oh\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1\nexit status 2\n":                     "panic: oh",
		"SIGSEGV: segmentation violation\nPC=0x1\n\nrax 0x0\n":                                             "SIGSEGV: segmentation violation",
		"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\nrest": "what():  std::bad_alloc",
		strings.Repeat("x\n", 100_000) + "last\n":                                                          "last",
		strings.Repeat("y", 5000): strings.Repeat("y", maxLine),
		"bad \xff byte":           "bad ? byte",
	} {
		name := filepath.Join(t.TempDir(), "stderr")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := lastLine(f); got != want {
			t.Errorf("%.40q: got %q, want %q", text, got, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if got := lastLine(f); got != "" {
			t.Errorf("of a closed file: got %q", got)
		}
	}
}
