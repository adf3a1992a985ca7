package mesos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// master is a scripted HTTP master: each SUBSCRIBE is handled by the next of its scripts, the last one again and again.
type master struct {
	*httptest.Server
	t       *testing.T
	answer  func(*sched.Call) (status int, body string) // to calls other than SUBSCRIBE; nil: 202
	mu      sync.Mutex
	scripts []func(*stream)
	calls   []*sched.Call
	headers []http.Header
}

// stream is one subscription, as the master sees it.
type stream struct {
	http.ResponseWriter
	request *http.Request
	call    *sched.Call
	t       *testing.T
	conn    net.Conn // after a hijack
	gone    bool     // the client
}

func newMaster(t *testing.T, scripts ...func(*stream)) *master {
	m := &master{t: t, scripts: scripts}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	if r.Method != http.MethodPost || r.URL.Path != "/api/v1/scheduler" && r.URL.Path != "/master/api/v1/scheduler" {
		m.t.Errorf("request: got %s %s", r.Method, r.URL.Path)
	}
	call := new(sched.Call)
	if err := call.Unmarshal(body); err != nil {
		m.t.Errorf("decode call: %v", err)
	}
	if r.Header.Get("Content-Type") != protobuf || r.Header.Get("Accept") != protobuf {
		m.t.Errorf("headers: got %v", r.Header)
	}
	m.mu.Lock()
	m.calls = append(m.calls, call)
	m.headers = append(m.headers, r.Header.Clone())
	script := m.scripts[0]
	if call.Type == sched.Call_SUBSCRIBE && len(m.scripts) > 1 {
		m.scripts = m.scripts[1:]
	}
	m.mu.Unlock()
	if call.Type == sched.Call_SUBSCRIBE {
		if r.Header.Get(streamHeader) != "" {
			m.t.Error("SUBSCRIBE has a stream ID")
		}
		script(&stream{ResponseWriter: w, request: r, call: call, t: m.t})
		return
	}
	status, text := http.StatusAccepted, ""
	if m.answer != nil {
		status, text = m.answer(call)
	}
	w.WriteHeader(status)
	if _, err := io.WriteString(w, text); err != nil {
		m.t.Logf("answer %v: %v", call.Type, err)
	}
}

func (m *master) received(kind sched.Call_Type) []*sched.Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.calls), func(c *sched.Call) bool { return c.Type != kind })
}

// The steps of scripts.

func (s *stream) open() {
	s.Header().Set("Content-Type", protobuf)
	s.Header().Set(streamHeader, "stream-1")
	s.WriteHeader(http.StatusOK)
	s.flush()
}

func (s *stream) flush() {
	if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil {
		s.t.Logf("flush: %v", err)
	}
}

func (s *stream) raw(text string) {
	out := io.Writer(s.ResponseWriter)
	if s.conn != nil {
		out = s.conn
	}
	_, err := io.WriteString(out, text)
	if err == nil && s.conn == nil {
		err = http.NewResponseController(s.ResponseWriter).Flush()
	}
	s.gone = err != nil // which a test that cares sees otherwise
}

func (s *stream) record(data []byte) { s.raw(fmt.Sprintf("%d\n%s", len(data), data)) }

func (s *stream) event(e *sched.Event) {
	data, err := e.Marshal()
	if err != nil {
		s.t.Errorf("encode event: %v", err)
	}
	s.record(data)
}

// subscribed answers as Mesos does: SUBSCRIBED, then a heartbeat. An interval of 0 is not sent.
func (s *stream) subscribed(heartbeat time.Duration) {
	s.open()
	e := &sched.Event{Type: sched.Event_SUBSCRIBED, Subscribed: &sched.Event_Subscribed{
		FrameworkID: &mesosgo.FrameworkID{Value: "fw-1"},
		MasterInfo:  &mesosgo.MasterInfo{ID: "master-1", IP: 1, Port: ptr(uint32(5050))},
	}}
	if heartbeat > 0 {
		e.Subscribed.HeartbeatIntervalSeconds = ptr(heartbeat.Seconds())
	}
	s.event(e)
	s.event(&sched.Event{Type: sched.Event_HEARTBEAT})
}

func (s *stream) rescind(id string) {
	s.event(&sched.Event{Type: sched.Event_RESCIND, Rescind: &sched.Event_Rescind{OfferID: mesosgo.OfferID{Value: id}}})
}

func (s *stream) fail(text string) {
	s.event(&sched.Event{Type: sched.Event_ERROR, Error: &sched.Event_Error{Message: text}})
}

// stay keeps the stream open until the client goes away.
func (s *stream) stay() { <-s.request.Context().Done() }

// hijack answers with that text instead of HTTP. What is written afterwards goes the same way.
func (s *stream) hijack(text string) {
	conn, _, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil {
		s.t.Errorf("hijack: %v", err)
		return
	}
	s.conn = conn
	s.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			s.t.Logf("close: %v", err)
		}
	})
	s.raw(text)
}

// trickle sends a byte now and then until the client goes away.
func (s *stream) trickle() {
	for !s.gone {
		s.raw("x")
		time.Sleep(5 * time.Millisecond)
	}
}

// good is a subscription that holds.
func good(s *stream) {
	s.subscribed(15 * time.Second)
	s.rescind("after")
	s.stay()
}

// session is a Connection that runs against a master.
type session struct {
	*Connection
	t       *testing.T
	mu      sync.Mutex
	seen    []scheduler.Event // without
	updates []scheduler.FrameworkUpdated
	more    chan struct{}
	ended   chan error
	cancel  context.CancelFunc
}

func roles(all ...string) func() []string { return func() []string { return all } }

func connect(t *testing.T, url string, change func(*Connection)) *session {
	t.Helper()
	return connectAs(t, Config{Master: url, Name: "tidemill", User: "nobody", Roles: roles("data/batch"), WebUIURL: "http://127.0.0.1:8080"}, scheduler.Identity{}, change)
}

func connectAs(t *testing.T, cfg Config, identity scheduler.Identity, change func(*Connection)) *session {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.pace.backoffMin, c.pace.backoffMax = time.Millisecond, 20*time.Millisecond
	if change != nil {
		change(c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	s := &session{Connection: c, t: t, more: make(chan struct{}, 1), ended: make(chan error, 1), cancel: cancel}
	go func() { s.ended <- c.Run(ctx, identity, s.deliver) }()
	t.Cleanup(s.close)
	return s
}

func (s *session) deliver(e scheduler.Event) {
	s.mu.Lock()
	if update, ok := e.(scheduler.FrameworkUpdated); ok {
		s.updates = append(s.updates, update)
	} else {
		s.seen = append(s.seen, e)
	}
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *session) frameworkUpdates() []scheduler.FrameworkUpdated {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.updates)
}

func (s *session) events() []scheduler.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// until waits for events to satisfy done.
func (s *session) until(what string, done func([]scheduler.Event) bool) {
	s.t.Helper()
	limit := time.After(15 * time.Second)
	for !done(s.events()) {
		select {
		case <-s.more:
		case err := <-s.ended:
			s.ended <- err
			s.t.Fatalf("waiting for %s: run ended: %v; events %v", what, err, s.events())
		case <-limit:
			s.t.Fatalf("waiting for %s: events %v", what, s.events())
		}
	}
}

// subscriptions waits for the n-th Subscribed whose stream is known to work.
func (s *session) subscriptions(n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d subscriptions", n), func(events []scheduler.Event) bool {
		return count[scheduler.Subscribed](events) >= n && slices.Contains(events, scheduler.Event(scheduler.Rescind{OfferID: "after"}))
	})
}

func count[E scheduler.Event](events []scheduler.Event) (n int) {
	for _, e := range events {
		if _, ok := e.(E); ok {
			n++
		}
	}
	return n
}

func (s *session) close() {
	s.cancel()
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		s.t.Error("run did not end")
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waiting for %s", what)
		}
	}
}
