package mesos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Process is a master or an agent as a process of its own, which can be killed and
// stopped like one.
type Process struct {
	url     string
	command *exec.Cmd
	done    chan struct{} // closed when it has ended
	err     error         // how; once done is closed
}

// StartProcess starts a program that runs RunMaster or RunAgent, and returns when it has
// said that it is ready. What it logs goes to diagnostics. It dies with the process
// that started it.
func StartProcess(diagnostics io.Writer, program string, args ...string) (*Process, error) {
	p := &Process{command: exec.Command(program, args...), done: make(chan struct{})}
	p.command.Stderr = diagnostics
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.command.StdoutPipe()
	if err == nil {
		err = p.command.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	first, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		defer close(p.done)
		p.err = p.command.Wait()
	}()
	url, ready := strings.CutPrefix(strings.TrimSpace(first), "ready ")
	if err != nil || !ready {
		return nil, errors.Join(fmt.Errorf("start %s: it is not ready: %q", program, first), err, p.Kill())
	}
	p.url = url
	return p, nil
}

// URL is where it answers.
func (p *Process) URL() string { return p.url }

// PID is the process's ID.
func (p *Process) PID() int { return p.command.Process.Pid }

// Kill ends it with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Pause stops it with SIGSTOP: to its peers it is as if the network had gone.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets it go on after Pause.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

// Stop ends it in order, with SIGTERM, and waits; the error is how it ended. One that
// has ended already is left alone.
func (p *Process) Stop() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-p.done
	return p.err
}

func (p *Process) signal(signal syscall.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", p.PID(), err)
	}
	return nil
}
