package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/api/apitest"
	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is an API on a scheduler of apitest, served on loopback.
type service struct {
	t         testing.TB
	scheduler *apitest.Scheduler
	artifacts *apitest.Artifacts
	handler   *api.Handler
	server    *httptest.Server
	logged    *bytes.Buffer
	described *description
}

type option func(*api.Config)

func serve(t testing.TB, options ...option) *service {
	t.Helper()
	s := &service{t: t, scheduler: apitest.New(kinds.All()), artifacts: &apitest.Artifacts{}, logged: &bytes.Buffer{}}
	cfg := api.Config{
		Scheduler: s.scheduler,
		Kinds:     kinds.All(),
		Artifacts: s.artifacts,
		Logs:      cannedLogs{},
		Info:      wire.Info{Version: "1.5.0", Leader: "http://127.0.0.1:8080"},
		Metrics:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") }),
		Logger:    slog.New(slog.NewTextHandler(s.logged, nil)),
		CheckWait: 50 * time.Millisecond,
	}
	for _, o := range options {
		o(&cfg)
	}
	s.handler = api.New(cfg)
	s.server = httptest.NewUnstartedServer(s.handler)
	s.server.Config = s.handler.Server()
	s.server.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.server.Config.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		s.server.Close()
		s.server.Client().CloseIdleConnections()
	})
	s.described = readDescription(t, s.do("GET", "/openapi.json", "", "Authorization", "Bearer s3cret").body)
	return s
}

func withToken(cfg *api.Config) {
	guard, err := access.Open(access.Config{Token: storage.NewSecret("s3cret")})
	if err != nil {
		panic(err) // without a file there is nothing that could fail
	}
	cfg.Access = guard
}

// cannedLogs knows one log: that of tasks whose attempt has a directory.
type cannedLogs struct{}

func (cannedLogs) Copy(_ context.Context, w io.Writer, attempt func() logs.Attempt, stream string, follow bool) error {
	_, err := fmt.Fprintf(w, "%s of %s, follow %v\n", stream, attempt().MesosID, follow)
	return err
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request and checks that the answer is what /openapi.json says. Headers are name, value pairs.
func (s *service) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	request, err := http.NewRequest(method, s.server.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.server.Client().Do(request)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	a := answer{response.StatusCode, response.Header, data}
	if s.described != nil {
		s.described.check(s.t, method, request.URL.EscapedPath(), a)
	}
	return a
}

func (s *service) get(path string) answer { s.t.Helper(); return s.do("GET", path, "") }

// want fails unless the answer has the status, and decodes it.
func want[T any](t testing.TB, a answer, status int) T {
	t.Helper()
	var v T
	if a.status != status {
		t.Fatalf("got status %d, want %d: %s", a.status, status, a.body)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("decode %s: %v", a.body, err)
	}
	return v
}

// specOf is a valid spec under that name.
func specOf(name string) string {
	return fmt.Sprintf(`{"name": %q, "kind": "aggregate", "aggregate": {"input": {"uri": "s3://flights/2013/", "format": "csv"}, "group_by": [{"name": "carrier"}], "measures": {"flights": {"count": "*"}}, "output": {"uri": "s3://results/%s/"}}}`, name, name)
}

func TestJobIsStoredOnce(t *testing.T) {
	s := serve(t)
	spec := specOf("flights")

	a := s.do("POST", "/v1/jobs", spec)
	job := want[wire.Job](t, a, http.StatusCreated)
	if job.Name != "flights" || job.Revision != 1 || job.Checks != "passed" || job.Kind != "aggregate" {
		t.Errorf("got %+v", job)
	}
	if got := a.header.Get("Location"); got != "/v1/jobs/flights" {
		t.Errorf("Location: got %q", got)
	}
	if job := want[wire.Job](t, s.do("POST", "/v1/jobs", spec), http.StatusOK); job.Revision != 1 {
		t.Errorf("the same spec again: got revision %d, want 1", job.Revision)
	}
	other := strings.Replace(spec, `"*"`, `"tailnum"`, 1)
	want[wire.Error](t, s.do("POST", "/v1/jobs", other), http.StatusConflict)
	if job := want[wire.Job](t, s.do("PUT", "/v1/jobs/flights", other), http.StatusOK); job.Revision != 2 {
		t.Errorf("PUT: got revision %d, want 2", job.Revision)
	}
	want[wire.Job](t, s.do("PUT", "/v1/jobs/more", specOf("more")), http.StatusCreated)

	revisions := want[wire.List[wire.Revision]](t, s.get("/v1/jobs/flights/revisions"), http.StatusOK)
	if len(revisions.Items) != 2 || revisions.Items[0].Number != 1 || revisions.Items[1].Number != 2 {
		t.Errorf("revisions: got %+v", revisions)
	}
	var kept map[string]any
	if err := json.Unmarshal(revisions.Items[0].Spec, &kept); err != nil || kept["name"] != "flights" {
		t.Errorf("spec of revision 1: got %s", revisions.Items[0].Spec)
	}

	if list := want[wire.List[wire.Job]](t, s.get("/v1/jobs"), http.StatusOK); len(list.Items) != 2 || list.Items[0].Name != "flights" || list.Items[1].Name != "more" {
		t.Errorf("list: got %+v", list)
	}
	want[wire.Job](t, s.do("DELETE", "/v1/jobs/more", ""), http.StatusOK)
	want[wire.Error](t, s.get("/v1/jobs/more"), http.StatusNotFound)
	want[wire.Error](t, s.do("DELETE", "/v1/jobs/more", ""), http.StatusNotFound)
	if list := want[wire.List[wire.Job]](t, s.get("/v1/jobs"), http.StatusOK); len(list.Items) != 1 {
		t.Errorf("list after the removal: got %+v", list)
	}
}

func TestDryRunStoresNothing(t *testing.T) {
	s := serve(t)
	for _, call := range [][2]string{{"POST", "/v1/jobs?dry_run=true"}, {"PUT", "/v1/jobs/flights?dry_run=true"}} {
		job := want[wire.Job](t, s.do(call[0], call[1], specOf("flights")), http.StatusOK)
		if job.Revision != 0 || job.Checks != "passed" || job.Created != nil {
			t.Errorf("%s: got %+v", call[1], job)
		}
	}
	want[wire.Error](t, s.do("POST", "/v1/jobs?dry_run=true", `{"name": "flights"}`), http.StatusUnprocessableEntity)
	if n := len(s.scheduler.View().Jobs); n != 0 {
		t.Errorf("got %d jobs after dry runs", n)
	}
}
