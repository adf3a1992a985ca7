package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage/connections"
)

// Kinds are what a build can do.
type Kinds struct {
	Jobs jobs.Kinds  // that read specs
	Work []task.Kind // that do the work
}

func (k Kinds) lookup(name string) task.Kind {
	for _, kind := range k.Work {
		if kind.Name() == name {
			return kind
		}
	}
	return nil
}

// SilenceMost is the longest time between two reports of a task process that works, on a machine with time to spare.
const SilenceMost = 2 * time.Second

const (
	engineShare    = 0.70     // of the task's memory
	goShare        = 0.20     // soft limit of Go's own heap; the rest is for stacks, code and what is in transit
	leastGoMemory  = 32 << 20 // bytes; below, collecting garbage would take all the time
	reportInterval = 250 * time.Millisecond
	lifeInterval   = SilenceMost / 2
	maxOutput      = 64 << 10 // bytes: outputs are stored by the scheduler and go through Mesos' memory
	maxPhase       = 100      // bytes
)

// Serve is a task process: it takes one assignment, does it and reports. It returns the exit status: 0 if a result was
// reported, be it a failure. It ends the process by itself when the executor is gone.
func Serve(kinds Kinds) int {
	syscall.CloseOnExec(assignmentFD)
	syscall.CloseOnExec(reportFD)
	assignments := os.NewFile(assignmentFD, "assignment")
	reports := &reporter{w: os.NewFile(reportFD, "reports")}

	var assignment proto.Assignment
	if err := receive(assignments, &assignment); err != nil {
		fmt.Fprintf(os.Stderr, "tidemill-executor: receive assignment: %v (task processes are started by an executor)\n", err)
		return 1
	}
	handOver := make(chan struct{})
	go obey(assignments, handOver)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	limitSelf(&assignment)
	result := reports.during(func() *proto.TaskResult { return perform(ctx, kinds, &assignment, handOver, reports) })
	if err := reports.send(&proto.Report{Result: result}); err != nil {
		fmt.Fprintf(os.Stderr, "tidemill-executor: report result: %v\n", err)
		return 1
	}
	return 0
}

// obey takes the executor's orders. It ends this process and its group when the executor closes the pipe, which it never
// does while it lives.
func obey(orders io.Reader, handOver chan<- struct{}) {
	told := false
	for {
		var order proto.Order
		if err := receive(orders, &order); err != nil {
			break // it is gone, or what it says cannot be understood any more
		}
		if order.HandOver && !told {
			told = true
			close(handOver)
		}
	}
	if syscall.Getpgrp() == os.Getpid() {
		killGroup(os.Getpid())
	}
	os.Exit(1)
}

// limitSelf keeps Go's part of the process modest, and makes the kernel choose this process rather than its executor when
// memory runs out.
func limitSelf(a *proto.Assignment) {
	debug.SetMemoryLimit(max(leastGoMemory, int64(goShare*float64(a.Task.Memory))))
	runtime.GOMAXPROCS(max(2, threads(a)))
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("900"), 0); err != nil {
		fmt.Fprintf(os.Stderr, "tidemill-executor: %v\n", err)
	}
}

// threads is how many the engine may use.
func threads(a *proto.Assignment) int { return max(1, int(math.Ceil(a.Task.Cpus))) }

// perform does the task and says how it went.
func perform(ctx context.Context, kinds Kinds, a *proto.Assignment, handOver <-chan struct{}, reports *reporter) *proto.TaskResult {
	output, err := work(ctx, kinds, a, handOver, reports)
	handedOver := errors.Is(err, task.ErrHandedOver) && closed(handOver)
	if handedOver {
		err = nil
	}
	if err == nil && len(output) > maxOutput {
		err = fmt.Errorf("the output of stage %s has %d bytes, at most %d are allowed", a.Task.Stage, len(output), maxOutput)
	}
	result := &proto.TaskResult{Output: output, Counters: reports.counters(), HandedOver: handedOver}
	if err != nil {
		f := task.Classify(err)
		result.Output, result.HandedOver, result.Unsettled = nil, false, f.Unsettled
		result.Failure = task.Shorten(&proto.Failure{
			Class: f.Class, Kind: f.Kind, Message: f.Message, Pointer: f.Pointer, Problems: f.Problems,
		})
	}
	return result
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// work calls the kind. A panic in it is a failure of this task with the stack in its log.
func work(ctx context.Context, kinds Kinds, a *proto.Assignment, handOver <-chan struct{}, reports *reporter) (output []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n%s", r, debug.Stack())
			err = &task.Failure{Class: proto.CLASS_PASSING, Kind: "internal", Message: fmt.Sprintf("the executor failed: %v", r)}
		}
	}()
	kind := kinds.lookup(a.Task.Kind)
	if kind == nil {
		return nil, task.Final("/kind", "this executor version cannot do the kind %q", a.Task.Kind)
	}
	var spec *jobs.Spec
	if a.Task.Stage != jobs.StageCheck {
		var problems []jobs.Problem
		if spec, problems = jobs.Decode(a.Task.Spec, kinds.Jobs); len(problems) > 0 {
			return nil, badSpec(problems)
		}
	}
	set, err := connections.Load(a.ConnectionsFile)
	if err != nil {
		return nil, &task.Failure{Class: proto.CLASS_PASSING, Kind: "invalid", Message: err.Error(), Err: err}
	}
	defer set.Close()
	if err := reports.send(&proto.Report{Started: true}); err != nil {
		return nil, err
	}
	return kind.Run(ctx, &task.Work{
		Data: &a.Task, Spec: spec, Connections: set, Dir: a.Scratch,
		Memory: int64(engineShare * float64(a.Task.Memory)), Threads: threads(a),
		Report: reports.progress, HandOver: handOver,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)).With(
			"job", a.Task.Job, "run", a.Task.Run, "task", a.MesosID),
	})
}

// badSpec is for a spec that the scheduler took and this version does not.
func badSpec(problems []jobs.Problem) error {
	f := task.Final(problems[0].Pointer, "this executor version does not accept the spec: %s", problems[0].Detail)
	for _, p := range problems {
		f.Problems = append(f.Problems, proto.Problem{Pointer: p.Pointer, Detail: p.Detail})
	}
	return f
}

// reporter sends reports; progress is gathered and sent a few times a second.
type reporter struct {
	sending sync.Mutex // may be held for long: while the executor does not read
	w       io.Writer

	mu     sync.Mutex
	latest task.Progress
	fresh  bool
}

func (r *reporter) send(report *proto.Report) error {
	r.sending.Lock()
	defer r.sending.Unlock()
	return send(r.w, report)
}

// progress is Work.Report: it only remembers.
func (r *reporter) progress(p task.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest, r.fresh = p, true
}

// during sends progress while f runs, and signs of life without.
func (r *reporter) during(f func() *proto.TaskResult) *proto.TaskResult {
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		ticker := time.NewTicker(reportInterval)
		defer ticker.Stop()
		said := time.Now()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			report := r.freshProgress()
			if report == nil && time.Since(said) < lifeInterval {
				continue
			}
			said = time.Now()
			if report == nil {
				report = &proto.Report{} // it lives
			}
			if err := r.send(report); err != nil {
				fmt.Fprintf(os.Stderr, "tidemill-executor: report progress: %v\n", err)
				return
			}
		}
	})
	result := f()
	close(done)
	sending.Wait()
	return result
}

// freshProgress is what was not sent yet; nil: nothing.
func (r *reporter) freshProgress() *proto.Report {
	r.mu.Lock()
	fraction, phase, fresh := r.latest.Fraction, r.latest.Phase, r.fresh
	r.fresh = false
	r.mu.Unlock()
	if !fresh {
		return nil
	}
	if math.IsNaN(fraction) {
		fraction = 0
	}
	return &proto.Report{Progress: &proto.TaskProgress{
		Fraction: min(max(fraction, 0), 1), Phase: phase[:min(len(phase), maxPhase)], Counters: r.counters(),
	}}
}

// counters are those of the latest progress and of this process so far.
func (r *reporter) counters() proto.Counters {
	r.mu.Lock()
	c := proto.Counters{Rows: r.latest.Rows, Bytes: r.latest.Bytes, OutRows: r.latest.OutRows, OutBytes: r.latest.OutBytes}
	r.mu.Unlock()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		c.Cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	if m, err := readMemory("self"); err == nil {
		c.PeakMemory = m.peak
	}
	return c
}
