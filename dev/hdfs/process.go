package hdfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

const pollEvery = 20 * time.Millisecond

// process is one running Java program with a log file.
type process struct {
	name    string
	logFile string
	command *exec.Cmd
	exited  chan struct{} // closed when it has ended

	mu   sync.Mutex
	exit error // after exited
}

// launch starts a program. Its log is made anew.
func launch(name, logFile string, cmd *exec.Cmd) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	p := &process{name: name, logFile: logFile, command: cmd, exited: make(chan struct{})}
	go func() {
		err := errors.Join(cmd.Wait(), log.Close())
		p.mu.Lock()
		p.exit = err
		p.mu.Unlock()
		close(p.exited)
	}()
	return p, nil
}

// await returns the first group of what pattern finds in the log, as soon as it is there.
func (p *process) await(ctx context.Context, pattern *regexp.Regexp) (string, error) {
	for {
		log, err := os.ReadFile(p.logFile)
		if err != nil {
			return "", err
		}
		if found := pattern.FindSubmatch(log); found != nil {
			return string(found[1]), nil
		}
		select {
		case <-time.After(pollEvery):
		case <-p.exited:
			p.mu.Lock()
			defer p.mu.Unlock()
			return "", fmt.Errorf("the %s has ended: %w\n%s", p.name, p.exit, p.tail())
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the %s: %w\n%s", p.name, ctx.Err(), p.tail())
		}
	}
}

// tail is the end of the log, for errors.
func (p *process) tail() string {
	const most = 3000
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}

// kill ends the program without a warning, if it has not ended, and returns when it has.
func (p *process) kill() error {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the %s: %w", p.name, err)
	}
	<-p.exited
	return nil
}
