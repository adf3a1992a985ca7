package mesos_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/mesos/hook"
)

// meddler is a hook whose rules a test sets as it goes.
type meddler struct {
	mu    sync.Mutex
	rules map[string]hook.Action // by point and type, such as "scheduler call ACCEPT"
	seen  []hook.Message
}

func (m *meddler) set(what string, action hook.Action) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules = map[string]hook.Action{what: action}
}

// hook applies a rule once.
func (m *meddler) hook(message hook.Message) hook.Action {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, message)
	what := string(message.Point) + " " + message.Type
	action := m.rules[what]
	delete(m.rules, what)
	return action
}

func (m *meddler) saw(fits func(hook.Message) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range m.seen {
		if fits(message) {
			return true
		}
	}
	return false
}

func TestHooks(t *testing.T) {
	m := &meddler{}
	cluster := start(t, func(cfg *mesos.ClusterConfig) {
		cfg.Master.Hook, cfg.Agent.Hook = m.hook, m.hook
		cfg.Agent.UpdateRetryInterval = 100 * time.Millisecond
		cfg.Agent.ExecutorEnvironment = map[string]string{"REC_LOG": filepath.Join(t.TempDir(), "log")}
	})
	c := subscribe(t, cluster.URL(), frameworkInfo())
	offer := c.offer()

	// A dropped ACCEPT looks accepted, and nothing runs.
	m.set("scheduler call ACCEPT", hook.Action{Drop: true})
	c.launch(offer, command("lost", "true"))
	c.launch(offer, custom("kept", "demo", "exec "+self(t)+" demo-executor")) // so the offer is still there
	c.status("kept", v1.TASK_RUNNING)

	// A refused call has the wanted status.
	m.set("scheduler call KILL", hook.Action{Refuse: http.StatusServiceUnavailable})
	if status, _ := c.call(&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: v1.TaskID{Value: "kept"}}}); status != http.StatusServiceUnavailable {
		t.Errorf("refused KILL: got %d", status)
	}

	// A delayed call comes later.
	m.set("scheduler call RECONCILE", hook.Action{Delay: 50 * time.Millisecond})
	began := time.Now()
	c.must(&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{}})
	if waited := time.Since(began); waited < 50*time.Millisecond {
		t.Errorf("delayed RECONCILE: answered after %v", waited)
	}

	// An executor that does not get its KILL does not stop; the second one gets there.
	m.set("executor event KILL", hook.Action{Drop: true})
	c.kill("kept")
	eventually(t, "the KILL is dropped", func() bool {
		return m.saw(func(message hook.Message) bool {
			return message.Point == hook.ExecutorEvent && message.Type == "KILL" && message.Task == "kept" && message.Executor == "demo"
		})
	})
	m.set("scheduler event UPDATE", hook.Action{Repeat: 1})
	c.kill("kept")
	killed := func(e *scheduler.Event) bool {
		return e.Type == scheduler.Event_UPDATE && e.Update.Status.GetState() == v1.TASK_KILLED
	}
	first := c.next("TASK_KILLED", killed)
	again := c.next("TASK_KILLED again", killed)
	if string(first.Update.Status.UUID) != string(again.Update.Status.UUID) {
		t.Error("the repeated update is another one")
	}

	// A task that got lost between master and agent is dropped when the agent registers
	// again, and an update that got lost comes again.
	m.set("agent command RUN", hook.Action{Drop: true})
	c.launch(c.offer(), command("unheard", "true"))
	eventually(t, "the launch is lost", func() bool {
		return m.saw(func(message hook.Message) bool {
			return message.Point == hook.AgentCommand && message.Task == "unheard"
		})
	})
	m.set("agent command KILL", hook.Action{Disconnect: true})
	c.kill("unheard")
	c.status("unheard", v1.TASK_DROPPED)
	c.offers = nil // those before were rescinded
	m.set("agent report UPDATE", hook.Action{Drop: true})
	c.launch(c.offer(), command("heard late", "true"))
	c.status("heard late", v1.TASK_STARTING)
	c.status("heard late", v1.TASK_FINISHED)

	// A stream that breaks takes its offers along; the framework comes back.
	m.set("scheduler event HEARTBEAT", hook.Action{Disconnect: true})
	second := connect(t, cluster.URL(), c.info)
	if _, err := second.take(func(*scheduler.Event) bool { return false }); !errors.Is(err, errEnded) {
		t.Errorf("broken stream: got %v", err)
	}
	third := subscribe(t, cluster.URL(), c.info)
	if third.offer().FrameworkID.Value != c.info.ID.Value {
		t.Error("the framework has another ID")
	}
	if !m.saw(func(message hook.Message) bool {
		return message.Point == hook.ExecutorCall && message.Type == "UPDATE" && message.Task == "kept" && message.Framework == c.info.ID.Value
	}) {
		t.Error("the hook did not see the executor's updates")
	}
}
