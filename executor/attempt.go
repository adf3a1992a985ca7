package executor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/proto"
)

// finishTime is how long a task process may live on after it has reported its result.
const finishTime = 5 * time.Second

// silenceMost is for how long nothing may come from a task process, which says at least every process.SilenceMost that it
// lives. It was stopped then, or is out of the machine's reach; on another one the task may go on.
const silenceMost = 30 * time.Second

// silenceTicks is how often silence is looked at until it counts.
const silenceTicks = 30

// attempt is one task while it runs. Its goroutine starts the process, watches it, and tells what happens.
type attempt struct {
	id    string // Mesos task ID
	data  *proto.TaskData
	grace time.Duration // of the task's kill policy, or the executor's own

	directory string // for its log files
	stop      chan stopRequest
	handOver  chan struct{} // closed when it is to hand over

	// Of the executor's goroutine:
	progress proto.TaskProgress
	killing  bool // TASK_KILLING was sent
	leaving  bool // handOver is closed
}

// stopRequest ends a task: gently at once, hard after grace. The first one names the reason, later ones may be quicker.
type stopRequest struct {
	reason stopReason
	grace  time.Duration
}

// What an attempt tells the executor.
type (
	attemptStarted struct {
		id        string
		directory string // as the agent sees it
	}
	attemptProgress struct{ progress proto.TaskProgress }
	attemptEnded    struct {
		id      string
		outcome outcome
	}
)

// attemptEnvironment is what attempts share.
type attemptEnvironment struct {
	file        string        // the executable of task processes
	environ     []string      // of task processes
	sandbox     string        // as this process sees it
	directory   string        // as the agent sees it
	connections string        // file
	silence     time.Duration // silenceMost
	uploader    *uploader
	uploads     context.Context // ends when uploads must
	log         *slog.Logger
	tell        func(any) // blocks until the executor's goroutine has it
}

// validID refuses IDs that are no name of a folder. Mesos forbids them, too.
func validID(id string) error {
	if id == "" || id == "." || id == ".." || len(id) > 250 || strings.ContainsAny(id, "/\x00") {
		return fmt.Errorf("check task ID %q: it cannot be the name of a folder", id)
	}
	return nil
}

// run is the attempt's goroutine. The outcome is told in any case, last.
func (a *attempt) run(env *attemptEnvironment) {
	a.directory = filepath.Join(env.sandbox, "tasks", a.id)
	end, err := a.perform(env)
	if err != nil {
		end = outcome{state: mesos.TASK_FAILED, message: err.Error(), result: &proto.TaskResult{
			Failure: &proto.Failure{Class: proto.CLASS_OURS, Kind: "internal", Message: err.Error()},
		}}
	}
	if end.result.LogURI, err = env.uploader.upload(env.uploads, a); err != nil {
		env.log.Warn("logs are not uploaded, the sandbox still has them", "task", a.id, "error", err)
	}
	env.tell(attemptEnded{id: a.id, outcome: end})
}

// perform runs the process from start to end. An error means that it could not be started.
func (a *attempt) perform(env *attemptEnvironment) (outcome, error) {
	scratch := filepath.Join(a.directory, "scratch")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return outcome{}, fmt.Errorf("make task folder: %w", err)
	}
	defer env.must("remove scratch files", a.id, func() error { return os.RemoveAll(scratch) })
	stdout, err := createLog(filepath.Join(a.directory, "stdout"))
	if err != nil {
		return outcome{}, err
	}
	defer env.must("close log file", a.id, stdout.Close)
	stderr, err := createLog(filepath.Join(a.directory, "stderr"))
	if err != nil {
		return outcome{}, err
	}
	defer env.must("close log file", a.id, stderr.Close)

	p, err := process.Start(process.Config{
		File: env.file, Args: []string{taskVerb, a.id},
		Env:    append(slices.Clip(env.environ), "TMPDIR="+scratch),
		Stdout: stdout, Stderr: stderr, MemoryLimit: a.data.Memory,
		Assignment: &proto.Assignment{
			Task: *a.data, MesosID: a.id, Scratch: scratch, ConnectionsFile: env.connections,
		},
	})
	if err != nil {
		return outcome{}, err
	}
	seen := a.watch(p, env)
	env.must("wait for task process", a.id, func() error {
		seen.exit, err = p.Wait()
		return err
	})
	if seen.reported == nil {
		seen.lastLine = lastLine(stderr)
	}
	seen.memory, seen.timeout, seen.silence = a.data.Memory, a.data.Timeout, env.silence
	return conclude(seen), nil
}

// must logs when something fails that does not change how the task ended.
func (env *attemptEnvironment) must(what, id string, f func() error) {
	if err := f(); err != nil {
		env.log.Warn(what, "task", id, "error", err)
	}
}

func createLog(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create log file: %w", err)
	}
	return f, nil
}

// watch passes reports on and ends the process when asked to, until it has nothing more to report.
func (a *attempt) watch(p *process.Process, env *attemptEnvironment) (seen ending) {
	var kill, timeout <-chan time.Time
	var killAt time.Time
	if a.data.Timeout > 0 {
		timeout = time.After(a.data.Timeout)
	}
	listen := time.NewTicker(env.silence / silenceTicks)
	defer listen.Stop()
	silent := 0 // ticks in a row: while this process itself is stopped none come
	handOver := a.handOver
	stop := func(request stopRequest) {
		if seen.stopped == notStopped {
			seen.stopped = request.reason
		}
		if at := time.Now().Add(request.grace); kill == nil || at.Before(killAt) {
			kill, killAt = time.After(request.grace), at
		}
		p.Stop()
	}
	for {
		select {
		case report, ok := <-p.Reports():
			silent = 0
			switch {
			case !ok:
				kill := time.AfterFunc(finishTime, p.Kill) // it has no more to say, and should be gone
				<-p.Done()
				kill.Stop()
				return seen
			case report.Started:
				env.tell(attemptStarted{id: a.id, directory: filepath.Join(env.directory, "tasks", a.id)})
			case report.Progress != nil:
				report.Progress.MesosID = a.id
				env.tell(attemptProgress{progress: *report.Progress})
			case report.Result != nil:
				seen.reported = report.Result
				timeout, kill = nil, time.After(finishTime)
			}
		case request := <-a.stop:
			stop(request)
		case <-handOver:
			handOver = nil
			p.HandOver()
		case <-listen.C:
			if silent++; silent > silenceTicks && seen.reported == nil {
				stop(stopRequest{reason: fellSilent})
			}
		case <-timeout:
			timeout = nil
			stop(stopRequest{reason: timedOut, grace: a.grace})
		case <-kill:
			p.Kill()
		}
	}
}
