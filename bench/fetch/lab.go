package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/build"
	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/master"
	"github.com/tidemill/tidemill/dev/s3"
)

const version = "1.0.0-fetch"

// makeExecutor builds an executor and makes its file so large. Programs may have anything behind them.
func makeExecutor(ctx context.Context, top, file string, size int64) (err error) {
	if err := build.Short(ctx, top, file, version, build.Behaviour{}); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("pad executor: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("pad executor: %w", err)
	}
	if info.Size() > size {
		return fmt.Errorf("pad executor: it has %d bytes already", info.Size())
	}
	random := rand.NewChaCha8([32]byte{1})
	if _, err := io.CopyN(f, random, size-info.Size()); err != nil {
		return fmt.Errorf("pad executor: %w", err)
	}
	return nil
}

// lab is a scheduler's process, and master and agents in this one.
type lab struct {
	options
	dir                 string
	scheduler, executor string // files

	process *exec.Cmd
	log     bytes.Buffer
	counter *counter
	client  *client.Client
	gate    string
}

// result is what was measured. Memory is the most so far, in bytes.
type result struct {
	running, transfer          time.Duration
	gets, heads, most, again   int
	started, uploaded, fetched int64
	cpu                        time.Duration
}

// measure starts everything, lets all agents fetch the file, and ends everything.
func (l *lab) measure(ctx context.Context, kind string) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return r, fmt.Errorf("make directory: %w", err)
	}
	l.gate = filepath.Join(l.dir, "gate")
	var flags []string
	switch kind {
	case "directory": // the data directory has them
	case "s3":
		server, err := l.startS3(ctx)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		flags = []string{"--objects", "s3://tidemill/scheduler", "--connections-file", l.connections()}
	default:
		return r, fmt.Errorf("-objects: %q is neither directory nor s3", kind)
	}
	cluster, err := mesos.StartCluster(mesos.ClusterConfig{
		Agents: l.agents, Dir: filepath.Join(l.dir, "mesos"),
		Master: master.Config{AllocationInterval: 200 * time.Millisecond, Logger: quiet()},
		// Room for one task: so each agent gets one of the runs. Time for the file, as docs/operations.md advises.
		Agent: agent.Config{Resources: "cpus:1;mem:1024;disk:10240", ExecutorRegistrationTimeout: 10 * time.Minute, Logger: quiet()},
	})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if err := l.startScheduler(ctx, cluster.Master.URL(), flags); err != nil {
		return r, err
	}
	defer func() {
		if err = errors.Join(err, l.stop()); err != nil {
			err = fmt.Errorf("%w; the scheduler says\n%s", err, l.log.Bytes())
		}
	}()
	return l.fetchAll(ctx)
}

// quiet leaves out what is of no interest here.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

func (l *lab) connections() string { return filepath.Join(l.dir, "connections.json") }

func (l *lab) startS3(ctx context.Context) (*s3.Server, error) {
	server, err := s3.Start(ctx, s3.Config{DataDir: filepath.Join(l.dir, "s3")})
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(map[string]any{"connections": map[string]any{"s3": map[string]any{
		"type": "s3", "endpoint": server.URL(), "region": server.Region(), "path_style": true,
		"access_key": server.AccessKey(), "secret_key": server.SecretKey(),
	}}})
	if err == nil {
		err = os.WriteFile(l.connections(), data, 0o600)
	}
	if err == nil {
		err = server.CreateBucket(ctx, "tidemill")
	}
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return server, nil
}

// startScheduler returns when it answers and is subscribed.
func (l *lab) startScheduler(ctx context.Context, master string, flags []string) (err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a port: %w", err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	if l.counter, err = newCounter("http://"+address, l.rate); err != nil {
		return err
	}
	l.process = exec.Command(l.scheduler, append([]string{"serve", "--listen", address, "--mesos-master", master,
		"--artifact-url", l.counter.url + "/artifacts", "--data-dir", filepath.Join(l.dir, "scheduler"),
		"--executor-linger", "1s", "--scheduling-launch-timeout", "10m", "--scheduling-stall-after", "10m"}, flags...)...)
	l.process.Stderr = &l.log
	l.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := l.process.Start(); err != nil {
		return errors.Join(fmt.Errorf("start scheduler: %w", err), l.counter.close())
	}
	if l.client, err = client.New(client.Config{Server: "http://" + address}); err == nil {
		err = l.await(ctx, "the scheduler knows all agents", func() (bool, error) {
			info, err := l.client.Info(ctx)
			return err == nil && info.Mesos.Connected, err
		})
	}
	if err != nil {
		return errors.Join(err, l.stop())
	}
	return nil
}

// stop ends the scheduler in order.
func (l *lab) stop() error {
	err := l.process.Process.Signal(syscall.SIGTERM)
	return errors.Join(err, l.process.Wait(), l.counter.close())
}

// await polls until done says that it is over, be it with an error.
func (l *lab) await(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		over, err := done()
		if over {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// fetchAll registers the version and has it run on each agent, twice.
func (l *lab) fetchAll(ctx context.Context) (r result, err error) {
	if r.started, err = l.memory(); err != nil {
		return r, err
	}
	if err := l.register(ctx); err != nil {
		return r, err
	}
	if r.uploaded, err = l.memory(); err != nil {
		return r, err
	}
	if r.running, err = l.runEverywhere(ctx, "first"); err != nil {
		_, _, _, _, unserved := l.counter.counted()
		return r, errors.Join(err, unserved)
	}
	if r.gets, r.heads, r.most, r.transfer, err = l.counter.counted(); err != nil {
		return r, err
	}
	if r.fetched, err = l.memory(); err != nil {
		return r, err
	}
	if r.cpu, err = l.cpu(); err != nil {
		return r, err
	}
	if _, err = l.runEverywhere(ctx, "second"); err != nil {
		return r, err
	}
	gets, _, _, _, err := l.counter.counted()
	r.again = gets - r.gets
	return r, err
}

func (l *lab) register(ctx context.Context) error {
	f, err := os.Open(l.executor)
	if err != nil {
		return fmt.Errorf("register executor: %w", err)
	}
	defer f.Close()
	if _, _, err := l.client.Register(ctx, client.Upload{Version: version, Platform: runtime.GOOS + "-" + runtime.GOARCH, File: f}); err != nil {
		return fmt.Errorf("register executor: %w", err)
	}
	spec := fmt.Appendf(nil, `{"name": "fetch", "kind": "aggregate", "executor": {"version": %q},
		"resources": {"cpus": 0.7, "memory": "512MiB", "disk": "0B"},
		"aggregate": {"input": {"uri": "s3://none/in/", "format": "csv"}, "measures": {"n": {"count": "*"}}, "output": {"uri": "s3://results/fetch/"}}}`, version)
	_, _, err = l.client.Submit(ctx, spec)
	return err
}

// runEverywhere starts one run for each agent, lets them end when all run, and waits for that. It returns how long it
// took until all ran. No run may need a second attempt.
func (l *lab) runEverywhere(ctx context.Context, round string) (took time.Duration, err error) {
	begun := time.Now()
	gate := l.gate + round
	var runs []string
	for n := range l.agents {
		run, err := l.client.Start(ctx, "fetch", map[string]string{"until": gate}, fmt.Sprintf("%s-%d", round, n))
		if err != nil {
			return 0, err
		}
		runs = append(runs, run.ID)
	}
	hosts := map[string]bool{}
	for _, id := range runs {
		err := l.await(ctx, "run "+id+" has its task running", func() (bool, error) {
			for task, err := range l.client.Tasks(ctx, id) {
				if err != nil {
					return false, err
				}
				if len(task.Attempts) > 1 {
					return true, fmt.Errorf("the first attempt of run %s failed: %+v", id, task.Attempts[0].Failure)
				}
				if task.State == "running" {
					hosts[task.Attempts[0].Agent] = true
					return true, nil
				}
			}
			return false, nil
		})
		if err != nil {
			return 0, err
		}
	}
	took = time.Since(begun)
	if len(hosts) != l.agents {
		return 0, fmt.Errorf("%d agents run the version at first try, want %d", len(hosts), l.agents)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		return 0, fmt.Errorf("open the gate: %w", err)
	}
	for _, id := range runs {
		var run wire.Run
		err := l.await(ctx, "run "+id+" has ended", func() (_ bool, err error) {
			run, err = l.client.Run(ctx, id)
			return err == nil && run.Ended != nil, err
		})
		if err == nil && run.State != "succeeded" {
			err = fmt.Errorf("run %s %s: %+v", id, run.State, run.Error)
		}
		if err != nil {
			return 0, err
		}
	}
	return took, nil
}

// memory is the most that the scheduler's process has had in memory, in bytes.
func (l *lab) memory() (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", l.process.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the scheduler's memory: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(text, " kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the scheduler's memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.Join(errors.New("read the scheduler's memory: no VmHWM"), lines.Err())
}

// cpu is what the scheduler's process has used so far, user and system.
func (l *lab) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.process.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the scheduler's CPU time: %w", err)
	}
	// The program's name is in parentheses and may hold anything; user and system are the 12th and 13th field after it.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the scheduler's CPU time: %q", data)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all platforms that Go runs on
	var sum time.Duration
	for _, text := range fields[11:13] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the scheduler's CPU time: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
