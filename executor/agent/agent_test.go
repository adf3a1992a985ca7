package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded are the variables that a Mesos 1.12 agent gave its executor.
var recorded = map[string]string{
	"LIBPROCESS_IP": "127.0.0.1", "LIBPROCESS_PORT": "0",
	"MESOS_AGENT_ENDPOINT": "127.0.0.1:5051", "MESOS_CHECKPOINT": "1", "MESOS_DIRECTORY": "/var/lib/mesos/runs/1",
	"MESOS_EXECUTOR_ID": "exec-1", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs", "MESOS_FRAMEWORK_ID": "f-0000",
	"MESOS_HTTP_COMMAND_EXECUTOR": "0", "MESOS_RECOVERY_TIMEOUT": "15mins", "MESOS_SANDBOX": "/mnt/mesos/sandbox",
	"MESOS_SLAVE_ID": "s-S0", "MESOS_SLAVE_PID": "slave(1)@127.0.0.1:5051", "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
}

func with(changes map[string]string) func(string) string {
	return func(name string) string {
		if value, ok := changes[name]; ok {
			return value
		}
		return recorded[name]
	}
}

func TestReadEnvironment(t *testing.T) {
	got, err := ReadEnvironment(with(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Environment{
		Endpoint: "127.0.0.1:5051", FrameworkID: "f-0000", ExecutorID: "exec-1", AgentID: "s-S0",
		Sandbox: "/mnt/mesos/sandbox", Directory: "/var/lib/mesos/runs/1", Checkpoint: true,
		RecoveryTimeout: 15 * time.Minute, SubscriptionBackoff: 2 * time.Second, ShutdownGrace: 5 * time.Second,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b storage.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" {
		t.Error(diff)
	}
	got, err = ReadEnvironment(with(map[string]string{
		"MESOS_CHECKPOINT": "0", "MESOS_SANDBOX": "", "MESOS_RECOVERY_TIMEOUT": "", "MESOS_SUBSCRIPTION_BACKOFF_MAX": "",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "", TokenVariable: "secret",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want.Checkpoint, want.Sandbox = false, want.Directory
	if diff := cmp.Diff(want, got, cmp.Comparer(func(_, _ storage.Secret) bool { return true })); diff != "" {
		t.Error(diff)
	}
	if got.Token.Reveal() != "secret" || strings.Contains(fmt.Sprintf("%+v", got), "secret") {
		t.Error("the token is lost, or shown")
	}
}

func TestReadEnvironmentRefuses(t *testing.T) {
	if _, err := ReadEnvironment(func(string) string { return "" }); !errors.Is(err, ErrNotStarted) {
		t.Errorf("without variables: got %v, want %v", err, ErrNotStarted)
	}
	for name, value := range map[string]string{
		"MESOS_AGENT_ENDPOINT": "", "MESOS_FRAMEWORK_ID": "", "MESOS_EXECUTOR_ID": "", "MESOS_DIRECTORY": "",
		"MESOS_RECOVERY_TIMEOUT": "soon", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "-5secs",
	} {
		_, err := ReadEnvironment(with(map[string]string{name: value}))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%q: got error %v, want one that names it", name, value, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5secs": 5 * time.Second, "15mins": 15 * time.Minute, "1.5hrs": 90 * time.Minute, "2days": 48 * time.Hour,
		"3weeks": 21 * 24 * time.Hour, "250ms": 250 * time.Millisecond, "10us": 10 * time.Microsecond, "7ns": 7, "0ns": 0,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "secs", "5s", "5 secs", "-1secs", "NaNsecs", "Infsecs", "1e300weeks", "5secs5secs", "0x1secs7"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("15mins")
	f.Add("1.5hrs")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d < 0 {
			t.Errorf("%q: got %v", text, d)
		}
	})
}

// client of an agent that answers with handle.
func client(t *testing.T, token string, handle func(w http.ResponseWriter, call *mesosexec.Call, r *http.Request)) *Client {
	t.Helper()
	server := httptest.NewServer(answer(t, handle))
	c := NewClient(Environment{
		Endpoint: strings.TrimPrefix(server.URL, "http://"), FrameworkID: "f", ExecutorID: "e", Token: storage.NewSecret(token),
	})
	t.Cleanup(func() { c.Close(); server.Close() })
	return c
}

func answer(t *testing.T, handle func(w http.ResponseWriter, call *mesosexec.Call, r *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var call mesosexec.Call
		if err := call.Unmarshal(body); err != nil {
			t.Error(err)
		}
		if r.URL.Path != path || r.Method != http.MethodPost || r.Header.Get("Content-Type") != mediaType || r.Header.Get("Accept") != mediaType {
			t.Errorf("got %s %s with %v", r.Method, r.URL, r.Header)
		}
		if call.ExecutorID.Value != "e" || call.FrameworkID.Value != "f" {
			t.Errorf("got call of %v, %v", call.ExecutorID, call.FrameworkID)
		}
		handle(w, &call, r)
	})
}

// frame is a record as RecordIO writes it.
func frame(event *mesosexec.Event) string {
	data, err := event.Marshal()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%d\n%s", len(data), data)
}

func acknowledged(id string) *mesosexec.Event {
	return &mesosexec.Event{Type: mesosexec.Event_ACKNOWLEDGED,
		Acknowledged: &mesosexec.Event_Acknowledged{TaskID: mesos.TaskID{Value: id}, UUID: []byte{1}}}
}

func TestSubscribe(t *testing.T) {
	c := client(t, "secret", func(w http.ResponseWriter, call *mesosexec.Call, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("got Authorization %q", r.Header.Get("Authorization"))
		}
		if call.Type != mesosexec.Call_SUBSCRIBE || len(call.Subscribe.UnacknowledgedTasks) != 1 || len(call.Subscribe.UnacknowledgedUpdates) != 1 {
			t.Errorf("got %v", call)
		}
		for _, part := range []string{frame(acknowledged("a"))[:3], frame(acknowledged("a"))[3:] + frame(acknowledged("b")), "0\n"} {
			if _, err := io.WriteString(w, part); err != nil {
				t.Error(err)
			}
			w.(http.Flusher).Flush()
		}
	})
	state := mesos.TASK_RUNNING
	s, err := c.Subscribe(context.Background(), []mesos.TaskInfo{{Name: "t"}},
		[]mesosexec.Call_Update{{Status: mesos.TaskStatus{State: &state}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range []string{"a", "b"} {
		event, err := s.Next()
		if err != nil || event.Acknowledged.TaskID.Value != want {
			t.Fatalf("got %v, %v, want %s", event, err, want)
		}
	}
	if _, err := s.Next(); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
}

func TestCloseEndsNext(t *testing.T) {
	c := client(t, "", func(w http.ResponseWriter, _ *mesosexec.Call, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	s, err := c.Subscribe(context.Background(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := s.Next()
		ended <- err
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("got an event")
	}
}

func TestRefusedCalls(t *testing.T) {
	c := client(t, "", func(w http.ResponseWriter, _ *mesosexec.Call, r *http.Request) {
		if r.Header["Authorization"] != nil {
			t.Error("an Authorization header without a token")
		}
		http.Error(w, "Agent has not finished recovery"+strings.Repeat("!", 5000), http.StatusServiceUnavailable)
	})
	state := mesos.TASK_RUNNING
	_, subscribe := c.Subscribe(context.Background(), nil, nil)
	for name, err := range map[string]error{
		"SUBSCRIBE": subscribe,
		"UPDATE":    c.Update(context.Background(), mesos.TaskStatus{State: &state}),
		"MESSAGE":   c.Message(context.Background(), []byte("x")),
	} {
		var status *StatusError
		if !errors.As(err, &status) || status.Status != 503 || status.Call != name || len(status.Text) > maxErrorBytes {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAnswerlessCalls(t *testing.T) {
	c := client(t, "", func(http.ResponseWriter, *mesosexec.Call, *http.Request) { panic(http.ErrAbortHandler) })
	var status *StatusError
	if err := c.Message(context.Background(), []byte("x")); err == nil || errors.As(err, &status) {
		t.Errorf("got %v, want an error that is no answer", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Message(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestDomainSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: answer(t,
		func(w http.ResponseWriter, _ *mesosexec.Call, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })}}
	server.Start()
	defer server.Close()
	c := NewClient(Environment{DomainSocket: socket, FrameworkID: "f", ExecutorID: "e"})
	defer c.Close()
	if err := c.Message(context.Background(), []byte("x")); err != nil {
		t.Error(err)
	}
}

// hostile are records that break decoders.
var hostile = map[string]string{
	"CVE-2021-3121":   "13\n\x12\x0b\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	"negative length": "18446744073709551615\nx",
	"no length":       "abc\n",
	"long length":     "99999999999999999999999999\n",
	"too large":       "99999999\nx",
	"cut":             "100\nx",
	"not protobuf":    "2\n\xff\xff",
	"empty launch":    "2\n\x08\x02",
}

func TestHostileRecordsAreErrors(t *testing.T) {
	for name, record := range hostile {
		s := newSubscription(io.NopCloser(strings.NewReader(record)), func() {})
		if event, err := s.Next(); err == nil {
			t.Errorf("%s: got %v, want an error", name, event)
		}
	}
}

func FuzzNext(f *testing.F) {
	for _, record := range hostile {
		f.Add([]byte(record))
	}
	f.Add([]byte(frame(acknowledged("a")) + frame(acknowledged("b"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newSubscription(io.NopCloser(strings.NewReader(string(data))), func() {})
		for range 1000 {
			event, err := s.Next()
			if err != nil {
				return
			}
			if !whole(event) {
				t.Fatalf("got %v", event)
			}
		}
	})
}
