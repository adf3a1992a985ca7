package master

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
)

// elected makes a master that has just taken office, without a port of its own in use.
func elected(t *testing.T, registry string) *Master {
	t.Helper()
	m, err := New(Config{Registry: registry, AgentReregisterTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.listener.Close(); err != nil {
			t.Error(err)
		}
	})
	m.follow(m.candidate())
	return m
}

func registered(t *testing.T, m *Master, id string) *agent {
	t.Helper()
	info := &v1.AgentInfo{Hostname: "h"}
	if id != "" {
		info.ID = &v1.AgentID{Value: id}
	}
	a, err := m.register(&link.Registration{Agent: link.Encode(info), PID: "slave(1)@127.0.0.1:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRegistryOutlivesAMaster(t *testing.T) {
	file := filepath.Join(t.TempDir(), "registry")
	first := elected(t, file)
	drains, stays, lost, gone := registered(t, first, ""), registered(t, first, ""), registered(t, first, ""), registered(t, first, "")
	grace := 3 * time.Second
	first.registry.Agents[drains.id].Deactivated, first.registry.Agents[drains.id].Drain = true, &link.Drain{MaxGrace: &grace}
	first.loseAgent(lost, time.Now())
	first.markGone(gone.id)

	second := elected(t, file)
	if len(second.recovered) != 2 || second.recovered[stays.id] == nil || second.unreachable[lost.id] == nil || !second.registry.Gone[gone.id] {
		t.Fatalf("recovered %v, unreachable %v, gone %v", second.recovered, second.unreachable, second.registry.Gone)
	}
	if info := second.registry.Agents[drains.id].drainInfo(); info.State != v1.DrainState_DRAINING || info.Config.MaxGracePeriod.Nanoseconds != int64(grace) {
		t.Errorf("got %v", info)
	}
	// Whoever lost without knowing it changes nothing any more.
	first.markGone(stays.id)
	if registered(t, second, stays.id); len(second.recovered) != 1 {
		t.Errorf("still expected: %v", second.recovered)
	}
	second.giveUpRecovered(second.elected.Add(59 * time.Second))
	if len(second.recovered) != 1 {
		t.Error("an agent was given up too early")
	}
	second.giveUpRecovered(second.elected.Add(time.Minute))
	if second.unreachable[drains.id] == nil || len(second.recovered) != 0 {
		t.Errorf("recovered %v, unreachable %v", second.recovered, second.unreachable)
	}
	third := elected(t, file)
	if third.registry.Gone[stays.id] || third.recovered[stays.id] == nil || len(third.unreachable) != 2 {
		t.Errorf("recovered %v, unreachable %v, gone %v", third.recovered, third.unreachable, third.registry.Gone)
	}

	if err := os.WriteFile(file, []byte(`{"agents": 7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := third.loadRegistry(); err == nil || !strings.Contains(err.Error(), "read registry") {
		t.Errorf("got %v", err)
	}
}
