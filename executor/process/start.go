package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/proto"
)

// Config is how a task process is started.
type Config struct {
	File        string   // the executable
	Args        []string // its arguments; those that make it call Serve
	Env         []string // its whole environment
	Stdout      *os.File // its log files; the caller may close them when Start has returned
	Stderr      *os.File
	Assignment  *proto.Assignment
	MemoryLimit int64 // bytes; the process is killed when it holds more. 0: no limit
}

// Exit is how a task process ended.
type Exit struct {
	Code        int            // if Signal is 0
	Signal      syscall.Signal // that ended it
	OutOfMemory bool           // it was killed because it held more than MemoryLimit
	CPU         time.Duration  // user and system
	PeakMemory  int64          // bytes
}

// Process is a task process that was started.
type Process struct {
	command *exec.Cmd
	reports chan proto.Report
	pid     int

	assignment *os.File // our end of the pipes
	results    *os.File
	orders     chan *proto.Order // to be sent behind the assignment

	mu          sync.Mutex
	ended       bool // no signal may be sent any more: the PID will be another's
	outOfMemory bool
	peak        int64

	done    chan struct{} // closed when the two below are set
	exit    Exit
	waitErr error
}

// Start starts a task process. It blocks for the few milliseconds that this takes, not until the process has begun its work.
func Start(c Config) (*Process, error) {
	assignment, toProcess, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start task process: %w", err)
	}
	fromProcess, reports, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start task process: %w", err), assignment.Close(), toProcess.Close())
	}
	p := &Process{
		command: &exec.Cmd{
			Path: c.File, Args: append([]string{"tidemill-executor"}, c.Args...), Env: c.Env,
			Stdout: c.Stdout, Stderr: c.Stderr, ExtraFiles: []*os.File{assignment, reports},
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
		},
		reports: make(chan proto.Report, 16), assignment: toProcess, results: fromProcess,
		orders: make(chan *proto.Order, 1), done: make(chan struct{}),
	}
	started := make(chan error)
	go p.run(c.MemoryLimit, started)
	err = <-started
	err = errors.Join(err, assignment.Close(), reports.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start task process: %w", err), toProcess.Close(), fromProcess.Close())
	}
	go p.talk(c.Assignment)
	return p, nil
}

// run starts the process and waits for it on one thread: the parent-death signal comes when the thread ends.
func (p *Process) run(memoryLimit int64, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.command.Start(); err != nil {
		started <- err
		return
	}
	p.pid = p.command.Process.Pid
	started <- nil

	watched := make(chan struct{})
	ending := make(chan struct{})
	go func() {
		defer close(watched)
		p.watchMemory(memoryLimit, ending)
	}()
	p.awaitEnd()
	close(ending)
	<-watched
	p.finish()
}

// awaitEnd returns when the process has ended. It leaves the zombie in place, so that its PID, and its group's, stay its own.
func (p *Process) awaitEnd() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			return // any other error shows in command.Wait
		}
	}
}

// finish kills what the process left in its group, buries it, and takes stock.
func (p *Process) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(p.pid)
	p.ended = true
	p.exit = Exit{Code: -1, OutOfMemory: p.outOfMemory, PeakMemory: p.peak}
	var bad *exec.ExitError
	if err := p.command.Wait(); err != nil && !errors.As(err, &bad) {
		p.waitErr = fmt.Errorf("wait for task process %d: %w", p.pid, err)
	}
	if state := p.command.ProcessState; state != nil {
		p.exit.Code, p.exit.CPU = state.ExitCode(), state.UserTime()+state.SystemTime()
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			p.exit.Signal = status.Signal()
		}
	}
	// What it wrote is in the pipe by now; somebody who still holds the other end must not hold up ours.
	if err := p.results.SetReadDeadline(time.Now().Add(drainTimeout)); err != nil {
		p.waitErr = errors.Join(p.waitErr, fmt.Errorf("wait for task process %d: %w", p.pid, err))
	}
	close(p.done)
}

// drainTimeout is for reading what an ended process left in its pipe.
const drainTimeout = 2 * time.Second

func killGroup(pid int) {
	// It fails only if the group is empty.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// talk hands the assignment over and passes reports on until the process closes its end.
func (p *Process) talk(assignment *proto.Assignment) {
	defer close(p.reports)
	// A process that dies before it has read everything breaks the pipe; how it ended says more than the error.
	_ = send(p.assignment, assignment)
	go p.pass()
	for {
		var report proto.Report
		if err := receive(p.results, &report); err != nil {
			if !errors.Is(err, io.EOF) {
				p.Kill() // its reports cannot be understood any more, or it died in the middle of one
			}
			return
		}
		p.reports <- report
	}
}

// pass sends orders on until the process has ended. Each is sent once, so that the pipe has room for it.
func (p *Process) pass() {
	for {
		select {
		case <-p.done:
			return
		case order := <-p.orders:
			_ = send(p.assignment, order) // how it ended says more than the error, as above
		}
	}
}

// watchMemory kills the process when it holds more than limit, before the container's own limit takes all tasks along.
func (p *Process) watchMemory(limit int64, ending <-chan struct{}) {
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	pid := strconv.Itoa(p.pid)
	for {
		select {
		case <-ending:
			return
		case <-ticker.C:
		}
		m, err := readMemory(pid)
		if err != nil {
			continue // it has just ended
		}
		p.mu.Lock()
		p.peak = max(p.peak, m.peak)
		over := limit > 0 && m.now > limit && !p.outOfMemory
		if over {
			p.outOfMemory = true
			killGroup(p.pid)
		}
		p.mu.Unlock()
	}
}

// Reports yields what the process reports; it is closed when no more can come. A process that waits for its reports to be
// received stands still.
func (p *Process) Reports() <-chan proto.Report { return p.reports }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// HandOver tells the task to end at its next checkpoint, as task.ErrHandedOver says. It does not block and is called once.
func (p *Process) HandOver() { p.orders <- &proto.Order{HandOver: true} }

// Stop asks the process to end. It does not block and may be repeated.
func (p *Process) Stop() { p.signal(p.pid, syscall.SIGTERM) }

// Kill ends the process and all of its group at once. It does not block and may be repeated.
func (p *Process) Kill() { p.signal(-p.pid, syscall.SIGKILL) }

func (p *Process) signal(pid int, signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		// It fails only if the process is a zombie already.
		_ = syscall.Kill(pid, signal)
	}
}

// Wait blocks until the process has ended and releases what it held here. It is called once, when Reports is closed. How the process
// ended is told even with an error.
func (p *Process) Wait() (Exit, error) {
	<-p.done
	return p.exit, errors.Join(p.waitErr, p.assignment.Close(), p.results.Close())
}
