package service

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/hook"
	"github.com/tidemill/tidemill/dev/mesos/master"
)

// serviceVariable holds, in the environment, the configuration with which this test binary is a scheduler service.
const serviceVariable = "TIDEMILL_TEST_SERVICE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv("MESOS_EXECUTOR_ID") != "", len(os.Args) == 2 && os.Args[1] == "task":
		os.Exit(runExecutor())
	case os.Getenv(serviceVariable) != "":
		if err := runService(os.Getenv(serviceVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// runService serves until it is killed. It says its URL when it is ready.
func runService(text string) error {
	cfg := Defaults()
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	cfg.Ready = func(url string) { fmt.Println(url) }
	return Run(context.Background(), cfg)
}

// lab is a cluster, and directories for a service.
type lab struct {
	t       *testing.T
	cluster *mesos.Cluster
	dir     string
	cfg     Config
}

// newLab starts a cluster of two agents. meddle, if not nil, sees what goes between it and the service.
func newLab(t *testing.T, meddle hook.Hook) *lab {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	cluster, err := mesos.StartCluster(mesos.ClusterConfig{
		Agents: 2,
		Dir:    t.TempDir(),
		Master: master.Config{AllocationInterval: 50 * time.Millisecond, Hook: meddle, Logger: quiet},
		Agent: agent.Config{
			Resources: "cpus:4;mem:4096;disk:10240", Hostname: "127.0.0.1", UpdateRetryInterval: 200 * time.Millisecond, Logger: quiet,
			// The race detector would have each process sleep for a second before it exits.
			ExecutorEnvironment: map[string]string{"GORACE": "atexit_sleep_ms=0"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	l := &lab{t: t, cluster: cluster, dir: t.TempDir(), cfg: Defaults()}
	l.cfg.Listen = "127.0.0.1:0"
	l.cfg.DataDir = filepath.Join(l.dir, "data")
	l.cfg.Mesos.Master = cluster.URL()
	l.cfg.Mesos.User = "nobody"
	l.cfg.Executor.Linger = 12 * time.Second
	l.cfg.Executor.ConnectionsFile = l.write("connections.json",
		fmt.Sprintf(`{"connections": {"s3": {"type": "file", "root": %q}}}`, l.dir))
	l.cfg.ConnectionsFile = l.cfg.Executor.ConnectionsFile
	return l
}

func (l *lab) write(name, content string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// spawn starts the service as a process of its own, to be killed.
func (l *lab) spawn() (url string, kill func()) {
	l.t.Helper()
	text, err := json.Marshal(map[string]any{
		"Listen": l.cfg.Listen, "DataDir": l.cfg.DataDir, "ConnectionsFile": l.cfg.ConnectionsFile, "Executor": l.cfg.Executor,
		"Mesos": map[string]string{"Master": l.cfg.Mesos.Master, "User": l.cfg.Mesos.User},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), serviceVariable+"="+string(text))
	var log bytes.Buffer
	child.Stderr = &log
	out, err := child.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		l.t.Fatal(err)
	}
	stopped := false
	kill = func() {
		if stopped {
			return
		}
		stopped = true
		if err := child.Process.Kill(); err != nil {
			l.t.Errorf("kill service: %v", err)
		}
		if err := child.Wait(); err == nil {
			l.t.Error("the service ended by itself")
		}
		if l.t.Failed() {
			l.t.Logf("service %d:\n%s", child.Process.Pid, log.String())
		}
	}
	l.t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		kill()
		l.t.Fatalf("service said %q: %v\n%s", line, err, log.String())
	}
	return strings.TrimSpace(line), kill
}

// run runs the service in this process.
func (l *lab) run() (url string, stop func()) {
	l.t.Helper()
	ready, ended := make(chan string, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	cfg := l.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Ready = func(url string) { ready <- url }
	go func() { ended <- Run(ctx, cfg) }()
	select {
	case url = <-ready:
	case err := <-ended:
		cancel()
		l.t.Fatalf("run: %v", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			l.t.Errorf("run: %v", err)
		}
		if l.t.Failed() {
			l.t.Logf("service:\n%s", log.String())
		}
	}
	l.t.Cleanup(stop)
	return url, stop
}

func (l *lab) client(url string) *client.Client {
	l.t.Helper()
	c, err := client.New(client.Config{Server: url, Token: l.cfg.Token.Reveal()})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(c.Close)
	return c
}

// register uploads the executor and points the channel stable at it.
func (l *lab) register(c *client.Client) {
	l.t.Helper()
	version, content := artifact()
	if _, _, err := c.Register(l.t.Context(), client.Upload{Version: version, Platform: "linux-amd64", File: strings.NewReader(content)}); err != nil {
		l.t.Fatal(err)
	}
	if _, err := c.SetChannel(l.t.Context(), "stable", wire.SetChannel{Version: version}); err != nil {
		l.t.Fatal(err)
	}
}

// submit stores a job and starts a run whose map tasks wait for the gate.
func (l *lab) submit(c *client.Client, gate string) wire.Run {
	l.t.Helper()
	return l.submitWith(c, map[string]string{"gate": gate})
}

func (l *lab) submitWith(c *client.Client, params map[string]string) wire.Run {
	l.t.Helper()
	spec := fmt.Sprintf(`{"name": "idle", "kind": "aggregate", "resources": {"cpus": 0.1, "memory": "64MiB", "disk": "1MiB"},
		"aggregate": {"input": {"uri": "file://%[1]s/in/", "format": "csv"}, "measures": {"n": {"count": "*"}},
		"output": {"uri": "file://%[1]s/out/"}}}`, l.dir)
	if _, _, err := c.Submit(l.t.Context(), []byte(spec)); err != nil {
		l.t.Fatal(err)
	}
	run, err := c.Start(l.t.Context(), "idle", params, "once")
	if err != nil {
		l.t.Fatal(err)
	}
	return run
}

// until polls a run.
func (l *lab) until(c *client.Client, id, what string, done func(wire.Run) bool) wire.Run {
	l.t.Helper()
	limit := time.Now().Add(40 * time.Second)
	for {
		run, err := c.Run(l.t.Context(), id)
		if err != nil {
			l.t.Fatal(err)
		}
		if done(run) {
			return run
		}
		if wire.Ended(run.State) || time.Now().After(limit) {
			text, err := json.MarshalIndent(run, "", " ")
			l.t.Fatalf("waiting for %s: %s %v", what, text, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func mapsRun(run wire.Run) bool {
	for _, stage := range run.Stages {
		if stage.Name == "map" && stage.Tasks.Running == splits {
			return true
		}
	}
	return false
}
