//go:build endtoend

package endtoend

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program of ours that a test started.
type process struct {
	t    *testing.T
	name string
	args []string
	env  []string

	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
}

// start runs a program of bin. With ready set it waits for a line "ready URL" on its standard output and returns the URL.
func start(t *testing.T, name string, env []string, ready bool, args ...string) (*process, string) {
	t.Helper()
	p := &process{t: t, name: name, args: args, env: env, log: &tail{}}
	url := p.launch(ready)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("log of %s %s:\n%s", name, strings.Join(args, " "), p.log)
		}
	})
	return p, url
}

func (p *process) launch(ready bool) string {
	p.t.Helper()
	p.cmd = exec.Command(filepath.Join(bin, p.name), p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Dir = top // not this process's, which the embedded S3 has moved
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	url := make(chan string, 1)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(io.TeeReader(out, p.log))
		for lines.Scan() {
			if u, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				select {
				case url <- u:
				default:
				}
			}
		}
		p.cmd.Wait() //nolint:errcheck // the tests kill it
	}()
	if !ready {
		return ""
	}
	select {
	case u := <-url:
		return u
	case <-p.done:
		p.t.Fatalf("%s %v ended before it was ready:\n%s", p.name, p.args, p.log)
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%s %v is not ready after 30 s:\n%s", p.name, p.args, p.log)
	}
	return ""
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL) //nolint:errcheck // it may have ended
	<-p.done
}

// stop ends it gracefully, or with force after ten seconds.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.t.Errorf("%s did not stop within 15 s of SIGTERM", p.name)
		p.kill()
	}
}

// tail keeps the last part of a log.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 256<<10 {
		l.buf.Next(l.buf.Len() - 128<<10)
	}
	return l.buf.Write(b)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// found is a process seen in /proc.
type found struct {
	pid  int
	args []string
}

// below lists the processes whose working directory or program lies below dir and whose arguments match.
func below(dir string, match func(args []string) bool) ([]found, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []found
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() { // the embedded S3 moved this process's own working directory
			continue
		}
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if !strings.HasPrefix(cwd, dir) {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(line) == 0 {
			continue // it has ended
		}
		if args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"); match(args) {
			all = append(all, found{pid, args})
		}
	}
	return all, nil
}

func isExecutor(args []string) bool {
	return strings.HasSuffix(args[0], "tidemill-executor") && len(args) == 1
}

func isTask(args []string) bool {
	return strings.HasSuffix(args[0], "tidemill-executor") && len(args) > 1 && args[1] == "task"
}

// childrenOf returns those of all whose parent is pid.
func childrenOf(t *testing.T, pid int, all []found) []found {
	t.Helper()
	var children []found
	for _, p := range all {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
		if err != nil {
			continue // it has ended
		}
		// The program's name is in parentheses and may hold anything; the parent is the second field after it.
		rest := string(stat[bytes.LastIndexByte(stat, ')')+1:])
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			children = append(children, p)
		}
	}
	return children
}
