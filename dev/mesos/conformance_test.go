package mesos_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// scenario is a recording with what its replay needs. Waits of the recording are made
// short by shorter intervals, not by leaving anything out.
type scenario struct {
	name       string
	agents     int           // 1 if zero
	masters    int           // 1 if zero
	allocation time.Duration // between two rounds of offers; what is refused is so for as long at least
	awaited    bool          // rounds of offers come only while an offer is waited for
	second     time.Duration // one of the demo executor's
	configure  func(*lab)
}

var scenarios = []scenario{
	{name: "maintenance_inverse_offers", awaited: true}, // the longest: an inverse offer is refused for 5 s
	{name: "launch_errors", awaited: true, allocation: 100 * time.Millisecond},
	{name: "subscribe_and_heartbeat", configure: func(l *lab) {
		// Heartbeats come after 15 s there and after 100 ms here.
		l.master.HeartbeatInterval, l.heartbeats = 100*time.Millisecond, true
	}},
	{name: "command_task_finishes", awaited: true},
	{name: "executor_lifecycle", second: time.Second, configure: func(l *lab) {
		// There is a round of offers while it shuts down.
		l.agent.ExecutorEnvironment["DEMO_SHUTDOWN"] = "1500ms"
	}},
	{name: "executor_fetched_over_http", awaited: true, second: 100 * time.Millisecond},
	{name: "executor_cannot_be_fetched"},
	{name: "executor_killed", awaited: true},
	{name: "decline_suppress_revive", agents: 2, allocation: 100 * time.Millisecond, configure: func(l *lab) {
		l.scaleRefusals = true
	}},
	{name: "kill_unknown_and_reconcile", awaited: true},
	{name: "unacknowledged_updates_are_retried", second: 100 * time.Millisecond, configure: func(l *lab) {
		// Updates come again after 10 s there and after 2.5 s here.
		l.agent.UpdateRetryInterval = 2500 * time.Millisecond
	}},
	{name: "framework_failover", awaited: true, second: 400 * time.Millisecond},
	{name: "agent_restart_with_recovery", awaited: true, second: 600 * time.Millisecond, configure: func(l *lab) {
		l.separate, l.agent.RecoveryTimeout = true, time.Minute // as recorded
	}},
	{name: "protocol_errors"},
	{name: "agent_lost_unreachable", agents: 2, awaited: true, configure: func(l *lab) {
		l.separate, l.master.AgentTimeout = true, 4*time.Second
	}},
	{name: "executor_info_changed", awaited: true, second: 100 * time.Millisecond},
	{name: "agent_marked_gone", agents: 2, awaited: true},
	{name: "operator_views", awaited: true},
	{name: "drain_agent", agents: 2, awaited: true},
	{name: "master_restart", awaited: true, configure: func(l *lab) {
		l.master.Registry = filepath.Join(l.dir, "registry")
	}},
	{name: "standby_master_redirects", masters: 2},
	{name: "reservations_and_volumes", awaited: true, allocation: 100 * time.Millisecond, second: 100 * time.Millisecond},
	{name: "credentials", configure: func(l *lab) {
		l.master.Credentials = map[string]string{"rec": "rec-secret"}
	}},
}

// atOnce is how many scenarios run at a time: nearly all of their time is waiting.
const atOnce = 6

func TestConformance(t *testing.T) {
	var running errgroup.Group
	running.SetLimit(atOnce)
	for _, s := range scenarios {
		running.Go(func() error {
			t.Run(s.name, func(t *testing.T) { conform(t, s) })
			return nil
		})
	}
	running.Wait() //nolint:errcheck // there is none: failures are the subtests'
}

// TestEveryRecordingIsReplayed holds the scenarios to what was recorded.
func TestEveryRecordingIsReplayed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "recordings", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("recordings: %v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			t.Errorf("%s is not replayed", name)
		}
	}
}

func conform(t *testing.T, s scenario) {
	lab := newLab(t, s)
	r := &replay{
		t: t, lab: lab, bound: lab.substitutes(), streams: map[string]*stream{}, answers: map[string][]line{},
		lines: readLines(t, filepath.Join("testdata", "recordings", s.name+".jsonl")),
	}
	r.run()
	for _, s := range r.streams {
		s.close()
	}
}
