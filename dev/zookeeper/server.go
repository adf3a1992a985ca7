package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/dev/maven"
)

const (
	startTimeout = 60 * time.Second // of a loaded machine
	stopTimeout  = 10 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// Config says what a server is like. Only Dir is needed.
type Config struct {
	Dir      string        // for its data, configuration and log; made if it is not there, kept afterwards
	TickTime time.Duration // session timeouts are 2 to 20 ticks; 0: 100 ms
	HeapMiB  int           // of Java; 0: 128. It keeps the last 500 requests: twice their size is needed
	// Volatile: do not wait for the disk. For tests of other things: what is acknowledged may be lost when the machine
	// fails (not when the process does).
	Volatile bool
}

// Server is a ZooKeeper. Its methods are for one goroutine.
type Server struct {
	config  Config
	java    string
	jars    string
	address string // chosen with the first start, and kept
	process *exec.Cmd
	exited  chan struct{} // closed when process has ended
	mu      sync.Mutex
	exit    error // of process; after exited
}

// Start fetches ZooKeeper if that was never done, starts it, and returns when it serves. It runs until Stop or Kill, or
// until this process ends.
func Start(ctx context.Context, config Config) (*Server, error) {
	java, err := maven.Java()
	if err != nil {
		return nil, err
	}
	if config.Dir, err = filepath.Abs(config.Dir); err != nil {
		return nil, fmt.Errorf("start ZooKeeper: %w", err)
	}
	if config.TickTime == 0 {
		config.TickTime = 100 * time.Millisecond
	}
	if config.HeapMiB == 0 {
		config.HeapMiB = 128
	}
	folder, err := bundle.Folder(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{config: config, java: java, jars: folder, address: "127.0.0.1:0"}
	if err := s.Restart(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Address is the host:port for clients. It stays the same over restarts.
func (s *Server) Address() string { return s.address }

// PID is the process's.
func (s *Server) PID() int { return s.process.Process.Pid }

// Restart starts a server that was stopped or killed, with the data and address it had, and returns when it serves.
func (s *Server) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.launch(); err != nil {
		return fmt.Errorf("start ZooKeeper: %w", err)
	}
	if err := s.await(ctx); err != nil {
		return errors.Join(fmt.Errorf("start ZooKeeper: %w\n%s", err, s.tail()), s.Kill())
	}
	return nil
}

func (s *Server) launch() error {
	if err := s.configure(); err != nil {
		return err
	}
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	fsync := "yes"
	if s.config.Volatile {
		fsync = "no"
	}
	cmd := exec.Command(s.java, "-XX:+UseSerialGC", fmt.Sprintf("-Xmx%dm", s.config.HeapMiB), "-XX:-UsePerfData",
		"-XX:+ExitOnOutOfMemoryError", // it would only stop answering
		"-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.forceSync="+fsync,
		"-Dzookeeper.maxResponseCacheSize=0", // 400 answers, which may be large
		"-cp", s.config.Dir+":"+filepath.Join(s.jars, "*"),
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(s.config.Dir, "zoo.cfg"))
	cmd.Dir = s.config.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	exited := make(chan struct{})
	s.process, s.exited = cmd, exited
	go func() {
		err := errors.Join(cmd.Wait(), log.Close())
		s.mu.Lock()
		s.exit = err
		s.mu.Unlock()
		close(exited)
	}()
	return nil
}

func (s *Server) logFile() string { return filepath.Join(s.config.Dir, "log") }

// configure writes the server's configuration and how it logs.
func (s *Server) configure() error {
	data := filepath.Join(s.config.Dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"zoo.cfg": fmt.Sprintf("tickTime=%d\ninitLimit=10\nsyncLimit=5\ndataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\n"+
			"admin.enableServer=false\n4lw.commands.whitelist=srvr,mntr\n", s.config.TickTime.Milliseconds(), data, port),
		"logback.xml": `<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder>` +
			`<pattern>%d %p %m%n</pattern></encoder></appender><root level="INFO"><appender-ref ref="out"/></root></configuration>`,
	} {
		if err := os.WriteFile(filepath.Join(s.config.Dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// bound is the line in which the server says which port it was given.
var bound = regexp.MustCompile(`bound to port /127\.0\.0\.1:(\d+)`)

// await returns when the server serves: it listens before that.
func (s *Server) await(ctx context.Context) error {
	for {
		if strings.HasSuffix(s.address, ":0") {
			log, err := os.ReadFile(s.logFile())
			if err != nil {
				return err
			}
			if found := bound.FindSubmatch(log); found != nil {
				s.address = "127.0.0.1:" + string(found[1])
			}
		} else if answer, err := s.ask(ctx, "srvr"); err == nil && strings.Contains(answer, "Mode: ") {
			return nil
		}
		select {
		case <-time.After(pollEvery):
		case <-s.exited:
			return fmt.Errorf("it has ended: %w", s.exitError())
		case <-ctx.Done():
			return fmt.Errorf("wait until it serves: %w", ctx.Err())
		}
	}
}

func (s *Server) exitError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit
}

// ask sends one of the four-letter commands.
func (s *Server) ask(ctx context.Context, command string) (string, error) {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }() // the answer is all that matters
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, command); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	return string(answer), err
}

// tail is the end of the server's log, for errors.
func (s *Server) tail() string {
	const most = 2000
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}

// Stop ends the server in its own way, and kills it if that takes too long. It returns when it has ended; it may be
// called again, and after Kill.
func (s *Server) Stop() error {
	if err := s.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("stop ZooKeeper: it has not ended after %s", stopTimeout), s.Kill())
	}
}

// Kill ends the server without a warning (SIGKILL), frozen or not, and returns when it has ended.
func (s *Server) Kill() error {
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.exited
	return nil
}

// Pause freezes the server (SIGSTOP): its connections stay open and nothing answers.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets a frozen server go on (SIGCONT).
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

// signal is no error when the process has ended.
func (s *Server) signal(signal syscall.Signal) error {
	if err := s.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to ZooKeeper: %w", signal, err)
	}
	return nil
}
