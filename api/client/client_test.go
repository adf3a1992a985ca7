package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/api/apitest"
	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const spec = `{"name": "flights", "kind": "aggregate", "aggregate": {"input": {"uri": "s3://flights/2013/", "format": "csv"}, "measures": {"n": {"count": "*"}}, "output": {"uri": "s3://results/flights/"}}}`

// connect is a client of an API on a scheduler of apitest. Requests pass through before, which may answer instead.
func connect(t *testing.T, before func(http.ResponseWriter, *http.Request) bool) (*client.Client, *apitest.Scheduler) {
	t.Helper()
	fake := apitest.New(kinds.All())
	guard, err := access.Open(access.Config{Token: storage.NewSecret("s3cret")})
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(api.Config{
		Scheduler: fake, Kinds: kinds.All(), Artifacts: &apitest.Artifacts{}, Logs: cannedLogs{},
		Info: wire.Info{Version: "1.5.0"}, Access: guard,
	})
	server := httptest.NewUnstartedServer(nil)
	server.Config = handler.Server()
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			handler.ServeHTTP(w, r)
		}
	})
	server.Start()
	t.Cleanup(server.Close)
	return newClient(t, server.URL), fake
}

func newClient(t *testing.T, server string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Server: server, Token: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type cannedLogs struct{}

func (cannedLogs) Copy(_ context.Context, w io.Writer, attempt func() logs.Attempt, stream string, follow bool) error {
	_, err := fmt.Fprintf(w, "%s of %s, follow %v\n", stream, attempt().MesosID, follow)
	return err
}

func TestCalls(t *testing.T) {
	c, fake := connect(t, nil)
	ctx := t.Context()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, err := c.Validate(ctx, []byte(spec))
	check("validate", err)
	job, created, err := c.Submit(ctx, []byte(spec))
	if check("submit", err); !created || job.Revision != 1 {
		t.Errorf("submit: got %+v, %v", job, created)
	}
	if _, created, err = c.Submit(ctx, []byte(spec)); err != nil || created {
		t.Errorf("submit again: %v, %v", created, err)
	}
	job, created, err = c.Update(ctx, "flights", []byte(strings.Replace(spec, `"*"`, `"tailnum"`, 1)))
	if check("update", err); created || job.Revision != 2 {
		t.Errorf("update: got %+v, %v", job, created)
	}
	if job, err = c.Job(ctx, "flights"); err != nil || job.Revision != 2 {
		t.Errorf("job: got %+v, %v", job, err)
	}
	run, err := c.Start(ctx, "flights", map[string]string{"a": "b"}, "k")
	if check("start", err); run.Params["a"] != "b" {
		t.Errorf("start: got %+v", run)
	}
	if again, err := c.Start(ctx, "flights", map[string]string{"a": "b"}, "k"); err != nil || again.ID != run.ID {
		t.Errorf("start again: got %s, %v", again.ID, err)
	}
	if other, err := c.Start(ctx, "flights", nil, ""); err != nil || other.ID == run.ID {
		t.Errorf("start without key: got %s, %v", other.ID, err)
	}
	if got, err := c.Run(ctx, run.ID); err != nil || got.ID != run.ID {
		t.Errorf("run: got %+v, %v", got, err)
	}
	if got, err := c.Cancel(ctx, run.ID); err != nil || got.State != "cancelled" {
		t.Errorf("cancel: got %+v, %v", got, err)
	}
	runs := fake.Example(time.Now())
	if got, err := c.Explain(ctx, runs["waiting"]); err != nil || len(got.Waiting) != 1 {
		t.Errorf("explain: got %+v, %v", got, err)
	}
	var log bytes.Buffer
	check("logs", c.Logs(ctx, runs["running"]+".map.4", client.LogOptions{Stream: "stderr", Attempt: 1, Follow: true}, &log))
	if want := "stderr of " + runs["running"] + ".map.4.1, follow true\n"; log.String() != want {
		t.Errorf("logs: got %q, want %q", log.String(), want)
	}
	executor, created, err := c.Register(ctx, client.Upload{Version: "2.0.0+build", Platform: "linux-amd64", File: strings.NewReader("an executor")})
	if check("register", err); !created || executor.Artifacts[0].Size != 11 {
		t.Errorf("register: got %+v, %v", executor, created)
	}
	if _, created, err := c.Register(ctx, client.Upload{Version: "2.0.0+build", Platform: "linux-amd64", File: strings.NewReader("an executor")}); err != nil || created {
		t.Errorf("register again: got %v, %v", created, err)
	}
	if _, err := c.Executor(ctx, "2.0.0+build"); err != nil {
		t.Errorf("executor: %v", err)
	}
	if channel, err := c.SetChannel(ctx, "next", wire.SetChannel{Version: "2.0.0+build"}); err != nil || channel.Version != "2.0.0+build" {
		t.Errorf("set channel: got %+v, %v", channel, err)
	}
	if info, err := c.Info(ctx); err != nil || info.Version != "1.5.0" {
		t.Errorf("info: got %+v, %v", info, err)
	}
	if _, err := c.DeleteJob(ctx, "flights"); err != nil {
		t.Errorf("delete job: %v", err)
	}
	for what, n := range map[string]int{
		"jobs": count(t, c.Jobs(ctx)), "executors": count(t, c.Executors(ctx)), "channels": count(t, c.Channels(ctx)),
		"revisions": count(t, c.Revisions(ctx, "requests-by-status")), "tasks": count(t, c.Tasks(ctx, runs["running"])),
		"active runs": count(t, c.Runs(ctx, client.RunFilter{Job: "flights-by-carrier", States: []string{"running", "pending"}})),
	} {
		wanted := map[string]int{"jobs": 4, "executors": 5, "channels": 3, "revisions": 2, "tasks": 13, "active runs": 1}[what]
		if n != wanted {
			t.Errorf("%s: got %d, want %d", what, n, wanted)
		}
	}
}

func count[T any](t *testing.T, items func(func(T, error) bool)) (n int) {
	t.Helper()
	for _, err := range items {
		if err != nil {
			t.Errorf("list: %v", err)
			return -1
		}
		n++
	}
	return n
}

func TestListsReadAllPages(t *testing.T) {
	c, fake := connect(t, nil)
	fake.Update(func(v *scheduler.View) {
		for i := range 1234 {
			id := fmt.Sprintf("flights-%06d", i)
			v.Runs[id] = &scheduler.RunView{Run: &proto.Run{ID: id, Created: time.Unix(int64(i/10), 0)}}
		}
	})
	seen := map[string]bool{}
	for run, err := range c.Runs(t.Context(), client.RunFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen[run.ID] = true
	}
	if len(seen) != 1234 {
		t.Errorf("got %d runs", len(seen))
	}
	for range c.Runs(t.Context(), client.RunFilter{}) {
		break // no more pages are asked for
	}
}

func TestRefusalsAreValues(t *testing.T) {
	c, _ := connect(t, nil)
	_, _, err := c.Submit(t.Context(), []byte(`{"name": "flights", "kind": "aggregate", "paralelism": 3}`))
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Status != 422 || len(refused.Errors) == 0 || refused.Errors[0].Pointer == "" {
		t.Errorf("got %#v", err)
	}
	if text := err.Error(); !strings.Contains(text, "/paralelism") && !strings.Contains(text, "/aggregate") {
		t.Errorf("got %q", text)
	}
	if _, err := c.Job(t.Context(), "../runs"); !errors.As(err, &refused) || refused.Status != 404 || !strings.Contains(refused.Detail, "../runs") {
		t.Errorf("a name with a slash: got %v", err)
	}
	// An answer that is no problem document still is a refusal.
	c, _ = connect(t, func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "teapot", http.StatusTeapot)
		return true
	})
	if _, err := c.Info(t.Context()); !errors.As(err, &refused) || refused.Status != http.StatusTeapot {
		t.Errorf("got %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	c := newClient(t, server.URL)
	if _, err := c.Info(t.Context()); !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), server.URL) {
		t.Errorf("got %v", err)
	}
	if _, _, err := c.Register(t.Context(), client.Upload{Version: "1.0.0", Platform: "linux-amd64", File: strings.NewReader("x")}); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("register: got %v", err)
	}
	for _, address := range []string{"", "localhost:8080", "ftp://x", "http://", "http://u:p@x", "http://x/?a=b", "::"} {
		if _, err := client.New(client.Config{Server: address}); err == nil {
			t.Errorf("address %q was taken", address)
		}
	}
	// What answers is not tidemill.
	c, _ = connect(t, func(w http.ResponseWriter, _ *http.Request) bool {
		_, err := io.WriteString(w, "<html>")
		return err == nil
	})
	if _, err := c.Info(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// A server that speaks TLS is not to be reached without it, and says why.
func TestPlainToTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	c := newClient(t, strings.Replace(server.URL, "https:", "http:", 1))
	if _, err := c.Info(t.Context()); !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), "https://") {
		t.Errorf("got %v", err)
	}
}

// Calls that may be repeated are, until the service is ready again; a run is started once all the same.
func TestRepeats(t *testing.T) {
	var failures atomic.Int32
	c, fake := connect(t, func(w http.ResponseWriter, r *http.Request) bool {
		if failures.Add(-1) >= 0 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, err := io.WriteString(w, `{"status": 503, "detail": "not now"}`)
			return err == nil
		}
		return false
	})
	for _, call := range []func() error{
		func() error { _, err := c.Info(t.Context()); return err },
		func() error { _, _, err := c.Submit(t.Context(), []byte(spec)); return err },
		func() error { _, err := c.Start(t.Context(), "flights", nil, ""); return err },
	} {
		failures.Store(2)
		if err := call(); err != nil {
			t.Errorf("got %v", err)
		}
	}
	failures.Store(1)
	if _, err := c.DeleteJob(t.Context(), "flights"); err == nil {
		t.Error("a removal was repeated")
	}
	failures.Store(100)
	var refused *wire.Error
	if _, err := c.Info(t.Context()); !errors.As(err, &refused) || refused.Detail != "not now" {
		t.Errorf("got %v", err)
	}
	if left := failures.Load(); left != 96 {
		t.Errorf("tried %d times", 100-left)
	}
	failures.Store(0)
	if n := len(fake.View().Runs); n != 1 {
		t.Errorf("got %d runs", n)
	}
}

// A start whose answer is lost gives the run that it started.
func TestLostAnswer(t *testing.T) {
	var c *client.Client
	var fake *apitest.Scheduler
	var handler http.Handler
	var answered atomic.Bool // each connection has a goroutine of its own
	c, fake = connect(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/runs") || answered.Swap(true) {
			return false
		}
		handler.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	handler = api.New(api.Config{Scheduler: fake, Kinds: kinds.All(), Artifacts: &apitest.Artifacts{}, Logs: cannedLogs{}})
	if _, _, err := c.Submit(t.Context(), []byte(spec)); err != nil {
		t.Fatal(err)
	}
	run, err := c.Start(t.Context(), "flights", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if runs := fake.View().Runs; len(runs) != 1 || runs[run.ID] == nil {
		t.Errorf("got %d runs", len(runs))
	}
}

func TestWatchFollowsOverBrokenConnections(t *testing.T) {
	var streams atomic.Int32
	c, fake := connect(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/events") {
			return false
		}
		switch streams.Add(1) {
		case 1: // breaks off before anything came
			panic(http.ErrAbortHandler)
		case 2: // breaks off within an event
			w.Header().Set("Content-Type", "text/event-stream")
			if _, err := io.WriteString(w, ": hello\n\nevent: news\ndata: {}\n\nevent: run\ndata: {\"id\""); err != nil {
				return true
			}
			return true
		}
		return false
	})
	runs := fake.Example(time.Now())
	var seen []string
	run, err := c.Watch(t.Context(), runs["running"], func(run wire.Run) error {
		seen = append(seen, run.State)
		if run.State == "running" {
			fake.UpdateRun(run.ID, func(r *scheduler.RunView) { r.Run.State = proto.RUN_FAILED })
		}
		return nil
	})
	if err != nil || run.State != "failed" || fmt.Sprint(seen) != "[running failed]" {
		t.Errorf("got %s, %v after %v", run.State, err, seen)
	}
}

func TestWatchEnds(t *testing.T) {
	c, fake := connect(t, nil)
	runs := fake.Example(time.Now())
	stop := errors.New("enough")
	if _, err := c.Watch(t.Context(), runs["running"], func(wire.Run) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Watch(ctx, runs["running"], func(wire.Run) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	var refused *wire.Error
	if _, err := c.Watch(t.Context(), "none", func(wire.Run) error { return nil }); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("got %v", err)
	}
}
