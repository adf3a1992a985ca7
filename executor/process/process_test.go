package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/executor/task/tasktest"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

var testKinds = Kinds{Jobs: jobs.Kinds{tasktest.Job{}}, Work: []task.Kind{tasktest.Work{}}}

// The test binary is the task process, and the executor that is killed, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "task":
			os.Exit(Serve(testKinds))
		case "parent":
			beParent()
		}
	}
	goleak.VerifyTestMain(m)
}

// deadline is for what should take milliseconds.
const deadline = 20 * time.Second

type started struct {
	*Process
	t              *testing.T
	stdout, stderr string
	reports        []proto.Report
}

// start runs a script in a task process.
func start(t *testing.T, script string, change func(*Config)) *started {
	t.Helper()
	dir := t.TempDir()
	s := &started{t: t, stdout: filepath.Join(dir, "stdout"), stderr: filepath.Join(dir, "stderr")}
	config := configure(dir, script)
	if change != nil {
		change(&config)
	}
	var err error
	if config.Stdout, err = os.Create(s.stdout); err != nil {
		t.Fatal(err)
	}
	if config.Stderr, err = os.Create(s.stderr); err != nil {
		t.Fatal(err)
	}
	s.Process, err = Start(config)
	if err := errors.Join(config.Stdout.Close(), config.Stderr.Close()); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func configure(dir, script string) Config {
	return Config{
		File: "/proc/self/exe", Args: []string{"task"}, Env: append(os.Environ(), "GORACE=atexit_sleep_ms=0"), MemoryLimit: 512 << 20,
		Assignment: &proto.Assignment{
			MesosID: "r.run.0.1", Scratch: dir,
			Task: proto.TaskData{
				Job: "scripted", Run: "r", Kind: tasktest.Name, Stage: "run", Attempt: 1, Of: 1,
				Spec: tasktest.Spec(dir), Input: []byte(script), Cpus: 1, Memory: 512 << 20,
			},
		},
	}
}

// untilStarted waits for the first report.
func (s *started) untilStarted() {
	s.t.Helper()
	timeout := time.After(deadline)
	for {
		select {
		case report := <-s.Reports():
			switch {
			case report.Started:
				return
			case !reflect.DeepEqual(report, proto.Report{}):
				s.t.Fatalf("got report %+v, want started", report)
			}
		case <-timeout:
			s.t.Fatal("the process did not start its work")
		}
	}
}

// wait gathers reports and gives the result, nil without one, and the exit.
func (s *started) wait() (*proto.TaskResult, Exit) {
	s.t.Helper()
	timeout := time.After(deadline)
	var result *proto.TaskResult
	for {
		select {
		case report, ok := <-s.Reports():
			if ok {
				s.reports = append(s.reports, report)
				if report.Result != nil {
					result = report.Result
				}
				continue
			}
			exit, err := s.Wait()
			if err != nil {
				s.t.Error(err)
			}
			return result, exit
		case <-timeout:
			s.t.Fatal("the process did not end")
		}
	}
}

func (s *started) text(file string) string {
	s.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

func TestTaskFinishes(t *testing.T) {
	s := start(t, "echo hello\nlog careful\nfile x\nprogress 0.25\nsleep 600ms\nprogress 0.5\noutput done", nil)
	s.untilStarted()
	result, exit := s.wait()
	if result == nil || result.Failure != nil || string(result.Output) != "done" {
		t.Fatalf("got result %+v", result)
	}
	if exit.Code != 0 || exit.Signal != 0 || exit.OutOfMemory || exit.CPU <= 0 {
		t.Errorf("got exit %+v", exit)
	}
	if c := result.Counters; c.Rows != 500 || c.Cpu <= 0 || c.PeakMemory <= 0 {
		t.Errorf("got counters %+v", c)
	}
	if !slices.ContainsFunc(s.reports, func(r proto.Report) bool {
		return r.Progress != nil && r.Progress.Fraction == 0.25 && r.Progress.Phase == "working" && r.Progress.Counters.Rows == 250
	}) {
		t.Errorf("no report of progress in %+v", s.reports)
	}
	if got := s.text(s.stdout); got != "hello\n" {
		t.Errorf("got standard output %q", got)
	}
	if got := s.text(s.stderr); !strings.Contains(got, "msg=careful") || !strings.Contains(got, "task=r.run.0.1") {
		t.Errorf("got standard error %q", got)
	}
}

func TestIdleTaskGivesSignsOfLife(t *testing.T) {
	goOn := filepath.Join(t.TempDir(), "go-on")
	s := start(t, "await "+goOn, nil)
	s.untilStarted()
	for range 2 {
		select {
		case report := <-s.Reports():
			if !reflect.DeepEqual(report, proto.Report{}) {
				t.Errorf("got %+v, want an empty report", report)
			}
		case <-time.After(deadline):
			t.Fatal("the process is silent")
		}
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if result, _ := s.wait(); result == nil || result.Failure != nil {
		t.Errorf("got %+v", result)
	}
}

func TestFailuresAreReported(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		change func(*Config)
		want   proto.Failure
	}{
		"final":        {script: "final /script/work no such thing", want: proto.Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Pointer: "/script/work", Message: "no such thing"}},
		"passing":      {script: "passing try later", want: proto.Failure{Class: proto.CLASS_PASSING, Kind: "unavailable", Message: "try later"}},
		"unsettled":    {script: "unsettled who knows", want: proto.Failure{Class: proto.CLASS_PASSING, Kind: "unavailable", Message: "who knows"}},
		"plain error":  {script: "dance", want: proto.Failure{Class: proto.CLASS_PASSING, Kind: "internal", Message: `run script: unknown command "dance"`}},
		"panic":        {script: "panic oh", want: proto.Failure{Class: proto.CLASS_PASSING, Kind: "internal", Message: "the executor failed: oh"}},
		"unknown kind": {change: func(c *Config) { c.Assignment.Task.Kind = "other" }, want: proto.Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Pointer: "/kind", Message: `this executor version cannot do the kind "other"`}},
		"connections": {change: func(c *Config) { c.Assignment.ConnectionsFile = "/dev/null" },
			want: proto.Failure{Class: proto.CLASS_PASSING, Kind: "invalid", Message: "lets group or others"}},
		"huge output": {script: "output " + strings.Repeat("x", maxOutput+1), want: proto.Failure{Class: proto.CLASS_PASSING, Kind: "internal", Message: "at most 65536 are allowed"}},
		"long message": {script: "final /x " + strings.Repeat("é", 10000),
			want: proto.Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Pointer: "/x", Message: "é…"}},
		"bad spec": {change: func(c *Config) { c.Assignment.Task.Spec = []byte(`{"name": "x", "kind": "script", "script": {}}`) },
			want: proto.Failure{Class: proto.CLASS_FINAL, Kind: "invalid", Message: "does not accept the spec"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.script, test.change)
			result, exit := s.wait()
			if result == nil || result.Failure == nil || result.Output != nil {
				t.Fatalf("got result %+v, stderr %s", result, s.text(s.stderr))
			}
			got := *result.Failure
			if result.Unsettled != (name == "unsettled") {
				t.Errorf("got unsettled %v", result.Unsettled)
			}
			if got.Class != test.want.Class || got.Kind != test.want.Kind || !strings.Contains(got.Message, test.want.Message) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if test.want.Pointer != "" && got.Pointer != test.want.Pointer {
				t.Errorf("got pointer %q, want %q", got.Pointer, test.want.Pointer)
			}
			if len(proto.Encode(result)) > 16<<10 {
				t.Errorf("the result has %d bytes", len(proto.Encode(result)))
			}
			if exit.Code != 0 || exit.Signal != 0 {
				t.Errorf("got exit %+v", exit)
			}
		})
	}
}

func TestChecksNeedNoSpec(t *testing.T) {
	s := start(t, "output sound", func(c *Config) { c.Assignment.Task.Stage, c.Assignment.Task.Spec = jobs.StageCheck, nil })
	if result, _ := s.wait(); result == nil || string(result.Output) != "sound" {
		t.Errorf("got %+v", result)
	}
}

func TestDeathsWithoutResult(t *testing.T) {
	for script, want := range map[string]Exit{
		"crash":                     {Signal: syscall.SIGSEGV, Code: -1},
		"exit 3":                    {Code: 3},
		"progress 0.5\nexit 0":      {Code: 0},
		"hang 10ms\necho x\nexit 9": {Code: 9},
	} {
		t.Run(script, func(t *testing.T) {
			result, exit := start(t, script, nil).wait()
			if result != nil {
				t.Errorf("got result %+v", result)
			}
			// A Go process turns a fatal signal into status 2 unless it was sent from outside.
			if exit.Signal != want.Signal && exit.Code != 2 || want.Signal == 0 && exit.Code != want.Code {
				t.Errorf("got exit %+v, want %+v", exit, want)
			}
		})
	}
}

func TestStopIsGentle(t *testing.T) {
	s := start(t, "wait", nil)
	s.untilStarted()
	s.Stop()
	result, exit := s.wait()
	if result == nil || result.Failure == nil || result.Failure.Kind != "killed" || exit.Signal != 0 {
		t.Errorf("got result %+v, exit %+v", result, exit)
	}
	s.Stop() // of a process that has ended: nothing happens
	s.Kill()
}

func TestKillIsHard(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	s := start(t, "ignore\ntouch "+ready+"\nhang 1m", nil)
	s.untilStarted()
	await(t, "the process to ignore signals", func() bool { return exists(ready) })
	s.Stop()
	select {
	case <-s.Done():
		t.Fatal("the process did not ignore the request to end")
	case <-time.After(100 * time.Millisecond):
	}
	s.Kill()
	result, exit := s.wait()
	if result != nil || exit.Signal != syscall.SIGKILL || exit.OutOfMemory {
		t.Errorf("got result %+v, exit %+v", result, exit)
	}
}

func TestMemoryLimit(t *testing.T) {
	s := start(t, fmt.Sprintf("allocate %d\nhang 1m", 2<<30), func(c *Config) { c.MemoryLimit = 128 << 20 })
	result, exit := s.wait()
	if result != nil || !exit.OutOfMemory || exit.Signal != syscall.SIGKILL {
		t.Fatalf("got result %+v, exit %+v", result, exit)
	}
	if exit.PeakMemory < 128<<20 || exit.PeakMemory > 1<<30 {
		t.Errorf("got peak %d MiB, want a little more than 128", exit.PeakMemory>>20)
	}
}

func TestWhatAProcessLeavesIsKilled(t *testing.T) {
	// The shell stands for an engine that starts a helper and does not end it.
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	s := start(t, "", func(c *Config) {
		c.File, c.Args = "/bin/sh", []string{"-c", "sleep 100 & echo $! >" + pidFile + ".tmp; mv " + pidFile + ".tmp " + pidFile + "; exit 4"}
	})
	_, exit := s.wait()
	if exit.Code != 4 {
		t.Errorf("got exit %+v", exit)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(s.text(pidFile)))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the helper to be gone", func() bool { return gone(pid) })
}

func TestStartFails(t *testing.T) {
	_, err := Start(Config{File: "/nonexistent", Assignment: &proto.Assignment{}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestReportsThatMakeNoSenseEndTheProcess(t *testing.T) {
	s := start(t, "", func(c *Config) {
		c.File, c.Args = "/bin/sh", []string{"-c", "printf '\\377\\377\\377\\377' >&4; exec sleep 100"}
	})
	if _, exit := s.wait(); exit.Signal != syscall.SIGKILL {
		t.Errorf("got exit %+v", exit)
	}
}

// beParent is an executor that starts two task processes, says which, and waits to be killed.
func beParent() {
	dir := os.Args[2]
	for range 2 {
		c := configure(dir, "ignore\nhang 1m")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		p, err := Start(c)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		<-p.Reports()
		fmt.Println(p.pid)
	}
	select {}
}

func TestKilledExecutorLeavesNoProcess(t *testing.T) {
	parent := exec.Command("/proc/self/exe", "parent", t.TempDir())
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	var pids []int
	for len(pids) < 2 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the parent says %q", lines.Text())
		}
		pids = append(pids, pid)
	}
	// One of them is stopped: it could not see the closed pipe.
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The pipe of its output closes when all who have it are gone.
	if _, err := io.Copy(io.Discard, stdout); err != nil {
		t.Error(err)
	}
	if err := parent.Wait(); err == nil {
		t.Error("the parent was not killed")
	}
	for _, pid := range pids {
		await(t, fmt.Sprintf("task process %d to be gone", pid), func() bool { return gone(pid) })
	}
}

// await polls for something that comes soon.
func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// gone is true of a process that has ended, be it buried or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func TestTaskHandsOver(t *testing.T) {
	s := start(t, "output here\nhand-over", nil)
	s.untilStarted()
	s.HandOver()
	result, exit := s.wait()
	if result == nil || !result.HandedOver || string(result.Output) != "here" || result.Failure != nil || exit.Code != 0 {
		t.Errorf("got %+v and %+v", result, exit)
	}
}

// An order that comes before the task has begun its work, or to one that never asks for it, changes nothing else.
func TestOrderBehindTheAssignment(t *testing.T) {
	s := start(t, "output whole", nil)
	s.HandOver()
	result, exit := s.wait()
	if result == nil || result.HandedOver || string(result.Output) != "whole" || exit.Code != 0 {
		t.Errorf("got %+v and %+v", result, exit)
	}
	early := start(t, "sleep 50ms\noutput early\nhand-over", nil)
	early.HandOver()
	if result, _ := early.wait(); result == nil || !result.HandedOver || string(result.Output) != "early" {
		t.Errorf("got %+v", result)
	}
}

func TestTaskThatHandsOverUnasked(t *testing.T) {
	result, exit := start(t, "output x\ndesert", nil).wait()
	if result == nil || result.HandedOver || result.Output != nil || result.Failure == nil || exit.Code != 0 {
		t.Fatalf("got %+v and %+v", result, exit)
	}
	if f := result.Failure; f.Kind != "internal" || !strings.Contains(f.Message, "handed over") {
		t.Errorf("got %+v", f)
	}
}
