package mesos_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
)

// standby asks a master where the leader is.
func standby(t *testing.T, url string) (status int, location string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url+"/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request) // which follows nothing
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close() //nolint:errcheck // not read
	return response.StatusCode, response.Header.Get("Location")
}

func awaitLeader(t *testing.T, cluster *mesos.Cluster, agents int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := cluster.AwaitLeader(ctx, agents); err != nil {
		t.Fatal(err)
	}
}

func TestTasksOutliveTheLeader(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Masters, cfg.Agents = 2, 2 })
	awaitLeader(t, cluster, 2)
	c := subscribe(t, cluster.Masters[0].URL(), frameworkInfo())
	offer := c.offer()
	c.launch(offer, command("one", "sleep 300"))
	c.status("one", v1.TASK_RUNNING)
	other := 1 - agentOf(t, cluster, offer)
	goneID, err := cluster.AgentID(t.Context(), other)
	if err == nil {
		err = cluster.Gone(t.Context(), other)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-cluster.AgentEnded(other)
	want := "//localhost" + strings.TrimPrefix(cluster.Masters[0].Address(), "127.0.0.1") + "/master/state"
	if status, location := standby(t, cluster.Masters[1].URL()); status != http.StatusTemporaryRedirect || location != want {
		t.Errorf("a standby says %d %q, want %q", status, location, want)
	}

	cluster.Lead(-1)
	if _, err := c.take(func(*scheduler.Event) bool { return false }); err != errEnded {
		t.Errorf("a leader no more, and the stream: %v", err)
	}
	for _, m := range cluster.Masters {
		if status, _ := standby(t, m.URL()); status != http.StatusServiceUnavailable {
			t.Errorf("nobody leads, and a master says %d", status)
		}
	}
	cluster.Lead(1)
	awaitLeader(t, cluster, 1)
	c = subscribe(t, cluster.Masters[1].URL(), c.info)
	c.reconcile("one", offer.AgentID)
	if got := c.status("one", v1.TASK_RUNNING); got.GetReason() != v1.REASON_RECONCILIATION {
		t.Errorf("got %v", got)
	}
	c.reconcile("never", goneID) // the registry tells
	if got := c.status("never", v1.TASK_GONE_BY_OPERATOR).GetMessage(); got != "Reconciliation: Task is gone" {
		t.Errorf("got %q", got)
	}

	// The first one comes back as another master.
	if err := cluster.StopMaster(1); err != nil {
		t.Fatal(err)
	}
	cluster.Lead(0)
	awaitLeader(t, cluster, 1)
	c = subscribe(t, cluster.Masters[0].URL(), c.info)
	c.kill("one")
	c.status("one", v1.TASK_KILLED)
}

// TestExpectedAgentGivesSilence restarts a master whose agent is away: it says nothing
// about the agent's tasks until it gives the agent up.
func TestExpectedAgentGivesSilence(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) {
		cfg.Agents, cfg.Agent.KeepExecutors = 2, true
		cfg.Master.Registry = filepath.Join(cfg.Dir, "registry")
		cfg.Master.AgentReregisterTimeout, cfg.Master.AgentTimeout = 1500*time.Millisecond, 400*time.Millisecond
	})
	awaitLeader(t, cluster, 2)
	away, err := cluster.AgentID(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	here, err := cluster.AgentID(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	info := frameworkInfo()
	c := subscribe(t, cluster.URL(), info)
	cluster.Partition(0)
	if err := cluster.StopMaster(0); err != nil {
		t.Fatal(err)
	}
	if err := cluster.StartMaster(0); err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, cluster, 1)
	c = subscribe(t, cluster.URL(), c.info)
	c.reconcile("somewhere", away)
	c.reconcile("mark", here) // is answered in its turn
	first := c.next("an answer", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_UPDATE })
	if got := first.Update.Status; got.TaskID.Value != "mark" || got.GetState() != v1.TASK_GONE {
		t.Errorf("the agent is expected back, and the master says %v", got)
	}
	if got := operatorCall(t, cluster.URL(), `{"type":"GET_AGENTS"}`); !strings.Contains(got, `"recovered_agents":[{`) || !strings.Contains(got, away.Value) {
		t.Errorf("got %s", got)
	}
	failure := c.next("the agent to be given up", isFailure)
	if got := failure.Failure.AgentID.Value; got != away.Value {
		t.Errorf("%s is lost, want %s", got, away.Value)
	}
	c.reconcile("somewhere", away)
	if got := c.status("somewhere", v1.TASK_UNREACHABLE); got.GetUnreachableTime() == nil {
		t.Errorf("got %v", got)
	}
	cluster.Heal(0)
	awaitLeader(t, cluster, 2)
}

func TestPartitionsHeal(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Master.AgentTimeout = 500 * time.Millisecond })
	c := subscribe(t, cluster.URL(), frameworkInfo())
	gate := filepath.Join(t.TempDir(), "gate")
	c.launch(c.offer(), command("ends", "while [ ! -e "+gate+" ]; do sleep 0.01; done"), command("lives", "sleep 300"))
	c.status("ends", v1.TASK_RUNNING)
	cluster.Partition(0)
	touch(t, gate)
	states := map[string]v1.TaskState{}
	for len(states) < 2 {
		status := c.next("an update", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_UPDATE }).Update.Status
		if status.GetState() == v1.TASK_UNREACHABLE {
			states[status.TaskID.Value] = status.GetState()
		}
	}
	c.next("the agent's loss", isFailure)
	cluster.Heal(0)
	seen := map[string]bool{}
	for len(seen) < 2 {
		status := c.next("an update", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_UPDATE }).Update.Status
		switch {
		case status.TaskID.Value == "lives" && status.GetReason() == v1.REASON_AGENT_REREGISTERED && status.GetState() == v1.TASK_RUNNING,
			status.TaskID.Value == "ends" && status.GetState() == v1.TASK_FINISHED:
			seen[status.TaskID.Value] = true
		}
	}
	c.kill("lives")
	c.status("lives", v1.TASK_KILLED)
}

// TestShortPartitionIsNotNoticed holds messages back for less than it takes.
func TestShortPartitionIsNotNoticed(t *testing.T) {
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	offer := c.offer()
	cluster.Partition(0)
	c.launch(offer, command("one", "true"))
	c.reconcile("one", offer.AgentID)
	if got := c.status("one", v1.TASK_STAGING); got.GetReason() != v1.REASON_RECONCILIATION {
		t.Errorf("got %v", got)
	}
	cluster.Heal(0)
	c.status("one", v1.TASK_FINISHED)
}

// TestZooKeeperReplacesADeadLeader kills the leading master with -9, and stops the next
// one for longer than its session.
func TestZooKeeperReplacesADeadLeader(t *testing.T) {
	dir := t.TempDir()
	zk := zookeepertest.URL(t, zookeepertest.Shared(t).Address(), "mesos:secret")
	begin := func() *mesos.Process {
		p, err := mesos.StartProcess(io.Discard, self(t), "mesos-master", "--zk", zk, "--zk-session-timeout", "1s",
			"--registry", filepath.Join(dir, "registry"), "--allocation-interval", "50ms")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			p.Kill() //nolint:errcheck // it may be dead, which is the point
		})
		return p
	}
	first := begin()
	eventually(t, "the first one leads", func() bool { status, _ := standby(t, first.URL()); return status == http.StatusOK })
	second := begin()
	eventually(t, "the second one knows the leader", func() bool {
		status, location := standby(t, second.URL())
		return status == http.StatusTemporaryRedirect && strings.HasPrefix(location, "//localhost:")
	})
	agent, err := mesos.StartProcess(io.Discard, self(t), "mesos-agent", "--master", zk, "--work-dir", filepath.Join(dir, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := subscribe(t, first.URL(), frameworkInfo())
	c.launch(c.offer(), command("one", "sleep 300"))
	c.status("one", v1.TASK_RUNNING)

	takesOver := func(p *mesos.Process) {
		t.Helper()
		eventually(t, "another one leads, with the agent", func() bool {
			if status, _ := standby(t, p.URL()); status != http.StatusOK {
				return false
			}
			_, metrics := get(t, p.URL()+"/metrics/snapshot")
			return strings.Contains(metrics, `"master/slaves_connected":1,`)
		})
		c = subscribe(t, p.URL(), c.info)
		c.must(&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{}})
		c.status("one", v1.TASK_RUNNING)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	takesOver(second)
	third := begin()
	if err := second.Pause(); err != nil {
		t.Fatal(err)
	}
	takesOver(third)
	if err := second.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the late one has stepped down", func() bool {
		status, location := standby(t, second.URL())
		return status == http.StatusTemporaryRedirect && strings.HasSuffix(third.URL()+"/master/state", strings.TrimPrefix(location, "//localhost"))
	})
	c.kill("one")
	c.status("one", v1.TASK_KILLED)
}

// TestAgentTriesItsMastersInTurn gives an agent a list of which one leads.
func TestAgentTriesItsMastersInTurn(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Masters = 3 })
	cluster.Lead(2)
	awaitLeader(t, cluster, 1)
	p, err := mesos.StartProcess(io.Discard, self(t), "mesos-agent", "--master", cluster.URLs(), "--work-dir", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, cluster, 2)
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	awaitLeader(t, cluster, 1)
}
