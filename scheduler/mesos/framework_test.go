package mesos

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// configured is a configuration for a master.
func configured(master string, change func(*Config)) Config {
	cfg := Config{Master: master, Name: "tidemill", User: "nobody", Principal: "p", Roles: roles("b", "a", "b"), Hostname: "h1", WebUIURL: "http://h1:8080"}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// registered is as whom that configuration would be known.
func registered(t *testing.T, cfg Config) scheduler.Identity {
	t.Helper()
	info, err := cfg.framework()
	if err != nil {
		t.Fatal(err)
	}
	return scheduler.Identity{ID: "fw-1", Info: info}
}

func order(m *master) (types []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.calls {
		types = append(types, c.Type.String())
	}
	return types
}

func TestFirstSubscriptionRegisters(t *testing.T) {
	m := newMaster(t, func(s *stream) { s.subscribed(0) }, good)
	cfg := configured(m.URL, nil)
	want := registered(t, cfg).Info
	s := connectAs(t, cfg, scheduler.Identity{}, nil)
	s.subscriptions(2)
	if got := s.frameworkUpdates(); len(got) != 1 || !bytes.Equal(got[0].Info, want) || got[0].Refused != "" {
		t.Errorf("updates: got %v, want the info that was subscribed with, once", got)
	}
	if got := order(m); !slices.Equal(got, []string{"SUBSCRIBE", "SUBSCRIBE"}) {
		t.Errorf("calls: got %v", got)
	}
	info := m.received(sched.Call_SUBSCRIBE)[0].Subscribe.FrameworkInfo
	if !slices.Equal(info.Roles, []string{"a", "b"}) || info.ID != nil {
		t.Errorf("framework: got %v", info)
	}
}

// A record from before FrameworkInfo was kept: what is configured is presented, and remembered then.
func TestIdentityWithoutInfo(t *testing.T) {
	m := newMaster(t, good)
	cfg := configured(m.URL, nil)
	s := connectAs(t, cfg, scheduler.Identity{ID: "fw-1"}, nil)
	s.subscriptions(1)
	if got := s.frameworkUpdates(); len(got) != 1 || !bytes.Equal(got[0].Info, registered(t, cfg).Info) {
		t.Errorf("updates: got %v", got)
	}
	if call := m.received(sched.Call_SUBSCRIBE)[0]; call.FrameworkID.GetValue() != "fw-1" || call.Subscribe.FrameworkInfo.ID.GetValue() != "fw-1" {
		t.Errorf("subscribe: got %v", call)
	}
}

func TestUnchangedConfigurationIsNotSent(t *testing.T) {
	m := newMaster(t, good)
	cfg := configured(m.URL, nil)
	s := connectAs(t, cfg, registered(t, configured(m.URL, func(c *Config) { c.Roles = roles("a", "b") })), nil)
	s.subscriptions(1)
	s.Send([]scheduler.Call{scheduler.Revive{Roles: []string{"a"}}})
	eventually(t, "REVIVE", func() bool { return len(m.received(sched.Call_REVIVE)) == 1 })
	if got := order(m); !slices.Equal(got, []string{"SUBSCRIBE", "REVIVE"}) || len(s.frameworkUpdates()) != 0 {
		t.Errorf("calls: got %v, updates %v", got, s.frameworkUpdates())
	}
}

// A changed configuration goes out before anything else, and once only.
func TestChangedConfigurationIsSentFirst(t *testing.T) {
	drop := make(chan struct{})
	m := newMaster(t, func(s *stream) { s.subscribed(15 * time.Second); s.rescind("after"); <-drop }, good)
	answered := make(chan struct{})
	m.answer = func(c *sched.Call) (int, string) {
		if c.Type == sched.Call_UPDATE_FRAMEWORK {
			<-answered
			return http.StatusOK, ""
		}
		return http.StatusAccepted, ""
	}
	cfg := configured(m.URL, nil)
	old := registered(t, configured(m.URL, func(c *Config) {
		c.Name, c.Roles, c.Hostname, c.WebUIURL = "other", roles("a", "z"), "h2", "http://h2:8080"
	}))
	s := connectAs(t, cfg, old, nil)
	s.subscriptions(1)
	s.Send([]scheduler.Call{scheduler.Accept{OfferIDs: []string{"o"}, AgentID: "a"}, scheduler.Revive{Roles: []string{"a"}}})
	eventually(t, "UPDATE_FRAMEWORK", func() bool { return len(m.received(sched.Call_UPDATE_FRAMEWORK)) == 1 })
	close(answered)
	eventually(t, "REVIVE", func() bool { return len(m.received(sched.Call_REVIVE)) == 1 })
	if got, want := order(m), []string{"SUBSCRIBE", "UPDATE_FRAMEWORK", "ACCEPT", "REVIVE"}; !slices.Equal(got, want) {
		t.Errorf("calls: got %v, want %v", got, want)
	}
	presented := m.received(sched.Call_SUBSCRIBE)[0].Subscribe.FrameworkInfo
	if presented.Name != "other" || !slices.Equal(presented.Roles, []string{"a", "z"}) || presented.ID.GetValue() != "fw-1" {
		t.Errorf("SUBSCRIBE presents %v, want what is registered", presented)
	}
	call := m.received(sched.Call_UPDATE_FRAMEWORK)[0]
	changed := call.UpdateFramework.FrameworkInfo
	if call.FrameworkID.GetValue() != "fw-1" || changed.ID.GetValue() != "fw-1" || changed.Name != "tidemill" || !slices.Equal(changed.Roles, []string{"a", "b"}) {
		t.Errorf("UPDATE_FRAMEWORK: got %v", call)
	}
	want := registered(t, cfg).Info
	if got := s.frameworkUpdates(); len(got) != 1 || !bytes.Equal(got[0].Info, want) || got[0].Refused != "" {
		t.Errorf("updates: got %v", got)
	}
	close(drop)
	s.subscriptions(2)
	if got := len(m.received(sched.Call_UPDATE_FRAMEWORK)); got != 1 {
		t.Errorf("UPDATE_FRAMEWORK was sent %d times, want once", got)
	}
	if again := m.received(sched.Call_SUBSCRIBE)[1].Subscribe.FrameworkInfo; again.Name != "tidemill" {
		t.Errorf("the second SUBSCRIBE presents %v, want what was accepted", again)
	}
}

func TestRefusedChange(t *testing.T) {
	m := newMaster(t, good)
	m.answer = func(c *sched.Call) (int, string) {
		if c.Type == sched.Call_UPDATE_FRAMEWORK {
			return http.StatusForbidden, "Not authorized to use role 'b'"
		}
		return http.StatusAccepted, ""
	}
	var journal journal
	cfg := configured(m.URL, func(c *Config) { c.Log = journal.logger() })
	s := connectAs(t, cfg, registered(t, configured(m.URL, func(c *Config) { c.Roles = roles("a") })), nil)
	s.subscriptions(1)
	eventually(t, "the refusal", func() bool { return len(s.frameworkUpdates()) == 1 })
	const why = "the master answered 403 Not authorized to use role 'b'"
	if got := s.frameworkUpdates()[0]; got.Refused != why || !bytes.Equal(got.Info, registered(t, cfg).Info) {
		t.Errorf("got %+v", got)
	}
	if text := journal.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "Not authorized to use role") {
		t.Errorf("log: %s", text)
	}
	if n := len(m.received(sched.Call_SUBSCRIBE)); n != 1 {
		t.Errorf("SUBSCRIBE was sent %d times: a refused change ended the subscription", n)
	}
}

// A change that got no answer was not refused: it is asked for again, under a new subscription.
func TestLostChange(t *testing.T) {
	m := newMaster(t, good)
	m.answer = func(c *sched.Call) (int, string) {
		if c.Type == sched.Call_UPDATE_FRAMEWORK && len(m.received(sched.Call_UPDATE_FRAMEWORK)) <= tries {
			panic(http.ErrAbortHandler)
		}
		return http.StatusOK, ""
	}
	cfg := configured(m.URL, nil)
	s := connectAs(t, cfg, registered(t, configured(m.URL, func(c *Config) { c.Roles = roles("a") })), nil)
	s.subscriptions(2)
	eventually(t, "the update", func() bool { return len(s.frameworkUpdates()) == 1 })
	if got := s.frameworkUpdates()[0]; got.Refused != "" || !bytes.Equal(got.Info, registered(t, cfg).Info) {
		t.Errorf("got %+v, want what is configured to be accepted", got)
	}
	down, ok := s.events()[slices.IndexFunc(s.events(), func(e scheduler.Event) bool { _, is := e.(scheduler.Disconnected); return is })].(scheduler.Disconnected)
	if !ok || !strings.Contains(down.Reason, "UPDATE_FRAMEWORK") {
		t.Errorf("got %+v", down)
	}
}

// Mesos was not asked at all if the subscription has ended before: that is no refusal either.
func TestChangeAfterTheSubscription(t *testing.T) {
	c, err := New(configured("http://127.0.0.1:1", nil))
	if err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	s := &subscription{connection: c, ctx: over}
	c.handle(t.Context(), envelope{name: "UPDATE_FRAMEWORK", subscription: s, answered: func(_ int, _ string, err error) {
		t.Errorf("got the answer %v", err)
	}}, nil)
}

// What is registered is refused, such as a role that was taken away meanwhile: what is configured now gets a chance.
func TestConfigurationMendsWhatIsRegistered(t *testing.T) {
	m := newMaster(t, func(s *stream) { s.open(); s.fail("Not authorized to use role 'z'"); s.stay() }, good)
	cfg := configured(m.URL, nil)
	s := connectAs(t, cfg, registered(t, configured(m.URL, func(c *Config) { c.Roles = roles("z") })), nil)
	s.subscriptions(1)
	if got := m.received(sched.Call_SUBSCRIBE); len(got) != 2 || !slices.Equal(got[1].Subscribe.FrameworkInfo.Roles, []string{"a", "b"}) {
		t.Errorf("subscribe: got %v", got)
	}
	if got := s.frameworkUpdates(); len(got) != 1 || !bytes.Equal(got[0].Info, registered(t, cfg).Info) {
		t.Errorf("updates: got %v", got)
	}
}

// Roles may change while the scheduler runs; they are asked for at each subscription.
func TestRolesOfTheNextSubscription(t *testing.T) {
	drop := make(chan struct{})
	m := newMaster(t, func(s *stream) { s.subscribed(15 * time.Second); s.rescind("after"); <-drop }, good)
	m.answer = func(*sched.Call) (int, string) { return http.StatusOK, "" }
	var mu sync.Mutex
	now := []string{"a"}
	cfg := configured(m.URL, func(c *Config) {
		c.Roles = func() []string {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	})
	s := connectAs(t, cfg, registered(t, cfg), nil)
	s.subscriptions(1)
	mu.Lock()
	now = []string{"a", "b"}
	mu.Unlock()
	close(drop)
	s.subscriptions(2)
	eventually(t, "the update", func() bool { return len(s.frameworkUpdates()) == 1 })
	if got := m.received(sched.Call_UPDATE_FRAMEWORK)[0].UpdateFramework.FrameworkInfo.Roles; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("roles: got %v", got)
	}
}

func TestImmutable(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"user":         {func(c *Config) { c.User = "root" }, `--mesos-user is "nobody" now, but framework fw-1 is registered with "root"`},
		"principal":    {func(c *Config) { c.Principal = "q" }, `--mesos-principal is "p" now, but framework fw-1 is registered with "q"`},
		"no principal": {func(c *Config) { c.Principal = "" }, `registered with ""`},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaster(t, good)
			c, err := New(configured(m.URL, nil))
			if err != nil {
				t.Fatal(err)
			}
			err = c.Run(t.Context(), registered(t, configured(m.URL, test.change)), func(e scheduler.Event) { t.Errorf("got %v", e) })
			if !errors.Is(err, ErrImmutable) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "tidemill teardown") {
				t.Errorf("run: got %v, want %q", err, test.want)
			}
			if got := order(m); len(got) != 0 {
				t.Errorf("calls: got %v, want none", got)
			}
		})
	}
	c, err := New(configured("http://127.0.0.1:1", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context(), scheduler.Identity{ID: "fw-1", Info: hostile}, nil); err == nil || !strings.Contains(err.Error(), "decode framework info") {
		t.Errorf("a damaged record: got %v", err)
	}
}

func TestTeardown(t *testing.T) {
	removed := func(s *stream) { s.open(); s.fail("Framework has been removed"); s.stay() }
	for name, test := range map[string]struct {
		scripts []func(*stream)
		answer  func(nth int) int // 0: none
		sent    int
		want    string
	}{
		"taken":                    {[]func(*stream){good}, func(int) int { return 202 }, 1, ""},
		"answer lost, and removed": {[]func(*stream){good, removed}, func(int) int { return 0 }, 1, ""},
		"answer lost, but alive":   {[]func(*stream){good}, func(n int) int { return []int{0, 202}[n] }, 2, ""},
		"removed before":           {[]func(*stream){removed}, nil, 0, ""},
		"refused":                  {[]func(*stream){good}, func(int) int { return 403 }, 1, "tear down framework fw-1: the master answered 403 because"},
		"unknown credentials":      {[]func(*stream){func(s *stream) { s.WriteHeader(401) }}, nil, 0, "--mesos-principal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMaster(t, test.scripts...)
			var mu sync.Mutex
			n := 0
			m.answer = func(c *sched.Call) (int, string) {
				if c.Type != sched.Call_TEARDOWN {
					t.Errorf("got %v", c)
				}
				mu.Lock()
				defer mu.Unlock()
				n++
				status := test.answer(n - 1)
				if status == 0 {
					panic(http.ErrAbortHandler)
				}
				return status, "because"
			}
			// Another configuration than the registered one, also in what cannot be changed, does not matter any more.
			cfg := configured(m.URL, nil)
			identity := registered(t, configured(m.URL, func(c *Config) { c.Name, c.User = "other", "root" }))
			c, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			c.pace.backoffMin, c.pace.backoffMax = time.Millisecond, 20*time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err = c.teardown(ctx, identity)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			calls := m.received(sched.Call_TEARDOWN)
			if len(calls) != test.sent {
				t.Fatalf("TEARDOWN was sent %d times, want %d", len(calls), test.sent)
			}
			for _, call := range calls {
				if call.FrameworkID.GetValue() != "fw-1" {
					t.Errorf("got %v", call)
				}
			}
			if first := m.received(sched.Call_SUBSCRIBE)[0].Subscribe.FrameworkInfo; first.Name != "other" || first.ID.GetValue() != "fw-1" {
				t.Errorf("SUBSCRIBE presents %v", first)
			}
		})
	}
	if err := Teardown(t.Context(), configured("http://127.0.0.1:1", nil), scheduler.Identity{}); err == nil || !strings.Contains(err.Error(), "none is registered") {
		t.Errorf("without a framework: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Teardown(ctx, configured("http://127.0.0.1:1", nil), scheduler.Identity{ID: "fw-1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: got %v", err)
	}
}

// TestOnlyTeardownTearsDown: ending a Connection in any other way never does.
func TestOnlyTeardownTearsDown(t *testing.T) {
	m := newMaster(t, good)
	s := connect(t, m.URL, nil)
	s.subscriptions(1)
	s.close()
	s.ended <- nil
	if got := order(m); !slices.Equal(got, []string{"SUBSCRIBE"}) {
		t.Errorf("calls: got %v", got)
	}
}
