package mesos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/election"
	"github.com/tidemill/tidemill/dev/mesos/master"
)

// lab is our Mesos, set up like the recorded one.
type lab struct {
	t      *testing.T
	name   string
	dir    string
	self   string // the test binary
	client *http.Client
	master master.Config
	agent  agent.Config

	heartbeats    bool // all recorded ones are waited for; otherwise the first one of a stream
	scaleRefusals bool // "refuse_seconds" count tenths of seconds
	separate      bool // the first agent is a process of its own
	wasDropped    string
	masterDied    bool

	rounds      chan struct{}   // each brings one of offers; nil if they come by themselves
	group       *election.Group // of several masters; nil for one
	life        context.Context // of all that the lab starts
	masters     []*master.Master
	stopMaster  []func() // and waits for its end
	masterURL   string   // of the one that is called
	agentURLs   []string
	process     *mesos.Process
	executorPID int
	artefacts   *httptest.Server
	background  sync.WaitGroup

	mu       sync.Mutex
	requests []string // of artefacts
	toAgent  bool     // operators' calls go there now
}

func newLab(t *testing.T, s scenario) *lab {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	l := &lab{t: t, name: s.name, dir: t.TempDir(), self: self, client: &http.Client{
		Transport:     &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	l.master = master.Config{Logger: quiet, BatchReleases: true, AllocationInterval: s.allocation}
	l.agent = agent.Config{
		Logger: quiet, MemoryPollInterval: -1, // as the recorded one, which limited nothing
		ExecutorEnvironment: map[string]string{"DEMO_SECOND": max(s.second, time.Millisecond).String()},
	}
	if s.masters > 1 {
		l.group = election.NewGroup()
	}
	if s.awaited {
		l.rounds = make(chan struct{})
		l.master.Rounds = l.rounds
	}
	if s.configure != nil {
		s.configure(l)
	}
	l.artefacts = httptest.NewServer(http.HandlerFunc(l.serveArtefact))
	ctx, cancel := context.WithCancel(context.Background())
	l.life = ctx
	for range max(s.masters, 1) {
		l.startMaster(ctx)
	}
	if s.masters > 1 {
		l.group.Lead(l.masters[0].Address())
	}
	l.masterURL = l.masters[0].URL()
	t.Cleanup(func() {
		cancel()
		l.stopProcess()
		l.artefacts.Close()
		l.background.Wait()
		l.client.CloseIdleConnections()
	})
	for i := range max(s.agents, 1) {
		l.startAgent(ctx, i)
	}
	l.awaitAgents(max(s.agents, 1))
	return l
}

func (l *lab) startMaster(ctx context.Context) {
	l.t.Helper()
	cfg := l.master
	if l.group != nil {
		cfg.Election = l.group
	}
	m, err := master.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	l.masters = append(l.masters, m)
	l.stopMaster = append(l.stopMaster, func() {
		cancel()
		<-stopped
	})
	l.background.Go(func() {
		defer close(stopped)
		l.check(m.Run(ctx))
	})
}

// elect lets the standby lead, with all agents, as a subscription there was answered at
// last.
func (l *lab) elect() {
	if l.group == nil || l.masters[1].Leads() {
		return
	}
	l.group.Lead(l.masters[1].Address())
	l.awaitAgents(len(l.agentURLs))
}

func (l *lab) check(err error) {
	if err != nil && !errors.Is(err, agent.ErrGone) {
		l.t.Error(err)
	}
}

func (l *lab) startAgent(ctx context.Context, i int) {
	cfg := l.agent
	cfg.Master = l.masterURL
	if l.group != nil {
		cfg.Election = l.group
	}
	cfg.WorkDir = filepath.Join(l.dir, fmt.Sprintf("agent-%d", i))
	cfg.Attributes = []string{"zone:a;rack:r1", "zone:b;rack:r2"}[i]
	if l.separate && i == 0 {
		l.startProcess(cfg)
		return
	}
	a, err := agent.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.agentURLs = append(l.agentURLs, a.URL())
	l.background.Go(func() { l.check(a.Run(ctx)) })
}

// startProcess starts the agent as a process, and waits until its port is open.
func (l *lab) startProcess(cfg agent.Config) {
	args := []string{
		"mesos-agent", "--master", cfg.Master, "--work-dir", cfg.WorkDir, "--attributes", cfg.Attributes,
		"--memory-poll-interval", "-1s", "--recovery-timeout", cfg.RecoveryTimeout.String(),
	}
	for name, value := range cfg.ExecutorEnvironment {
		args = append(args, "--executor-env", name+"="+value)
	}
	log, err := os.OpenFile(filepath.Join(l.dir, "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the process has its own
	if l.process, err = mesos.StartProcess(log, l.self, args...); err != nil {
		l.t.Fatal(err)
	}
	l.agentURLs = append(l.agentURLs, l.process.URL())
}

// stopProcess ends the agent's process in order, if there is one.
func (l *lab) stopProcess() {
	if l.process == nil {
		return
	}
	if err := l.process.Stop(); err != nil {
		l.t.Errorf("agent: %v", err)
	}
}

// get reads a JSON view.
func (l *lab) get(url string) map[string]any {
	l.t.Helper()
	response, err := l.client.Get(url)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	view := map[string]any{}
	if err := json.NewDecoder(response.Body).Decode(&view); err != nil {
		l.t.Fatalf("%s: %v", url, err)
	}
	return view
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (l *lab) awaitAgents(n int) {
	l.t.Helper()
	eventually(l.t, "agents register", func() bool {
		return l.get(l.masterURL + "/metrics/snapshot")["master/slaves_connected"] == float64(n)
	})
}

func (l *lab) url() string { return l.masterURL }

// operatorURL is the master's, and the agent's from the call on that only agents
// answer, as recorded.
func (l *lab) operatorURL(recorded line) string {
	if recorded.Raw != nil && strings.Contains(*recorded.Raw, "GET_CONTAINERS") || l.name == "executor_fetched_over_http" {
		l.toAgent = true
	}
	if l.toAgent {
		return l.agentURLs[0]
	}
	return l.masterURL
}

// serveArtefact serves the demo executor and notes who asks.
func (l *lab) serveArtefact(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.requests = append(l.requests, r.Method+" "+r.URL.Path)
	l.mu.Unlock()
	fmt.Fprintf(w, "#!/bin/sh\nexec %s demo-executor\n", l.self)
}

// request expects one that was recorded, in the recorded order.
func (l *lab) request(t *testing.T, recorded line) {
	t.Helper()
	want := recorded.Method + " " + recorded.Path
	eventually(t, want, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.requests) > 0
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests[0] != want {
		t.Errorf("line %d: recorded %s, got %s", recorded.number, want, l.requests[0])
	}
	l.requests = l.requests[1:]
}

// note does to our cluster what was done to the recorded one.
func (l *lab) note(what string, r *replay) {
	switch {
	case what == "SIGKILL executor":
		if err := syscall.Kill(l.executorPID, syscall.SIGKILL); err != nil {
			l.t.Fatal(err)
		}
	case what == "SIGKILL agent":
		l.awaitAcknowledged()
		l.must(l.process.Kill())
	case what == "SIGKILL master":
		l.stopMaster[0]()
		l.masterDied = true
	case what == "master starts again":
		l.master.Listen = l.masters[0].Address()
		l.startMaster(l.life)
		l.awaitAgents(len(l.agentURLs))
	case what == "subscribe at a standby":
		l.masterURL = l.masters[1].URL()
	case what == "SIGSTOP agent (a partition)":
		l.must(l.process.Pause())
	case what == "SIGCONT agent (the partition heals)":
		l.must(l.process.Resume())
	case what == "agent starts again":
		l.startAgent(l.t.Context(), 0)
	case strings.HasPrefix(what, "the stream is dropped"):
		l.wasDropped = "scheduler-b"
		r.streams[l.wasDropped].close()
		eventually(l.t, "framework is disconnected", func() bool {
			return l.get(l.masterURL + "/metrics/snapshot")["master/frameworks_disconnected"] == 1.0
		})
	}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// round brings a round of offers if they do not come by themselves.
func (l *lab) round() {
	select {
	case l.rounds <- struct{}{}:
	default:
	}
}

// letRoundsPass waits for as many rounds of offers as the recorded seconds had, less one:
// the last of them was within milliseconds of the end of a refusal.
func (l *lab) letRoundsPass(seconds float64) {
	rounds := func() float64 {
		return l.get(l.masterURL + "/metrics/snapshot")["allocator/mesos/allocation_runs"].(float64)
	}
	enough := rounds() + seconds - 1
	eventually(l.t, "rounds of offers pass", func() bool { return rounds() >= enough })
}

// awaitAcknowledged waits until the agent has noted all acknowledgements: one that is
// killed earlier delivers again what it had delivered, and rightly so.
func (l *lab) awaitAcknowledged() {
	eventually(l.t, "acknowledgements reach the agent", func() bool {
		files, err := filepath.Glob(filepath.Join(l.dir, "agent-*", "meta", "containers", "*.json"))
		if err != nil {
			l.t.Fatal(err)
		}
		for _, file := range files {
			record, err := os.ReadFile(file)
			if err != nil || strings.Contains(string(record), `"pending":`) {
				return false
			}
		}
		return true
	})
}

// ourCall changes a recorded call where our times are shorter.
func (l *lab) ourCall(body any) any {
	if !l.scaleRefusals {
		return body
	}
	return rewrite(body, func(key string, value any) any {
		if seconds, ok := value.(float64); ok && key == "refuse_seconds" {
			return seconds / 10
		}
		return value
	})
}

// recordedEvent is an event as it would have been recorded with our configuration.
func (l *lab) recordedEvent(body any) any {
	interval := l.master.HeartbeatInterval
	if interval == 0 {
		return body
	}
	return rewrite(body, func(key string, value any) any {
		if key == "heartbeat_interval_seconds" {
			return interval.Seconds()
		}
		return value
	})
}

// rewrite copies a JSON tree with its leaves changed.
func rewrite(tree any, change func(key string, value any) any) any {
	switch tree := tree.(type) {
	case map[string]any:
		copied := map[string]any{}
		for key, value := range tree {
			copied[key] = change(key, rewrite(value, change))
		}
		return copied
	case []any:
		copied := make([]any, len(tree))
		for i := range tree {
			copied[i] = rewrite(tree[i], change)
		}
		return copied
	}
	return tree
}

// comparableView leaves out what is not compared, and empty lists, which Mesos writes
// or not from view to view.
func (l *lab) comparableView(view any) any {
	switch view := view.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, value := range view {
			value = l.comparableView(value)
			if _, ofAgent := view["attributes"]; ofAgent && key == "checkpoint" {
				key = "agent_checkpoint"
			}
			list, isList := value.([]any)
			if _, skip := notCompared[key]; !skip && (!isList || len(list) > 0) {
				kept[key] = value
			}
		}
		return kept
	case []any:
		kept := make([]any, len(view))
		for i := range view {
			kept[i] = l.comparableView(view[i])
		}
		return kept
	}
	return view
}
