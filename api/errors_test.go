package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// Each mistake has its own status and points at what is wrong.
func TestMistakesAreLocated(t *testing.T) {
	good := specOf("flights")
	with := func(old, new string) string {
		changed := strings.Replace(good, old, new, 1)
		if changed == good {
			t.Fatalf("%q is not in the spec", old)
		}
		return changed
	}
	tests := []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		at                       string // pointer or parameter of one of the problems
		says                     string // in the detail of that problem, or of the answer
	}{
		{"wrong type", "POST", "/v1/jobs", with(`"aggregate", "agg`, `"aggregate", "parallelism": "4", "agg`), nil, 422, "/parallelism", "number"},
		{"unknown field", "POST", "/v1/jobs", with(`"aggregate", "agg`, `"aggregate", "paralelism": 4, "agg`), nil, 422, "/paralelism", "parallelism"},
		{"duplicate key", "POST", "/v1/jobs", with(`"aggregate", "agg`, `"aggregate", "kind": "aggregate", "agg`), nil, 422, "/kind", ""},
		{"unknown channel", "POST", "/v1/jobs", with(`"aggregate", "agg`, `"aggregate", "executor": {"channel": "none"}, "agg`), nil, 422, "/executor/channel", ""},
		{"unknown version", "POST", "/v1/jobs", with(`"aggregate", "agg`, `"aggregate", "executor": {"version": "9.9.9"}, "agg`), nil, 422, "/executor/version", ""},
		{"name with a slash", "POST", "/v1/jobs", with(`"flights"`, `"a/b"`), nil, 422, "/name", ""},
		{"name with a slash in the path", "PUT", "/v1/jobs/a%2Fb", with(`"flights"`, `"a/b"`), nil, 422, "/name", ""},
		{"other name in the path", "PUT", "/v1/jobs/other", good, nil, 422, "/name", "other"},
		{"no JSON", "POST", "/v1/jobs", `{"name": flights}`, nil, 400, "", "line 1"},
		{"nothing", "POST", "/v1/jobs", "", nil, 400, "", "body"},
		{"half of it", "POST", "/v1/jobs", good[:len(good)/2], nil, 400, "", ""},
		{"two of it", "POST", "/v1/jobs", good + good, nil, 400, "", "more text"},
		{"bad UTF-8", "POST", "/v1/jobs", with("carrier", "car\xffrier"), nil, 400, "", "UTF-8"},
		{"deep nesting", "POST", "/v1/jobs", strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), nil, 400, "", ""},
		{"deep objects", "POST", "/v1/jobs", strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000), nil, 400, "", ""},
		{"an array", "POST", "/v1/jobs", `[1, 2]`, nil, 422, "", "object"},
		{"null", "POST", "/v1/jobs", `null`, nil, 422, "", "object"},
		{"10 MiB", "POST", "/v1/jobs", `{"name": "` + strings.Repeat("x", 10<<20) + `"}`, nil, 413, "", "1048576"},
		{"a little too large", "PUT", "/v1/jobs/flights", `{"name": "` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, "", "1048576"},
		{"YAML", "POST", "/v1/jobs", "name: flights", []string{"Content-Type", "application/yaml"}, 415, "", "application/json"},
		{"text", "PUT", "/v1/jobs/flights", good, []string{"Content-Type", "text/plain; charset=utf-8"}, 415, "", "application/json"},
		{"start with text", "POST", "/v1/jobs/here/runs", "{}", []string{"Content-Type", "text/plain"}, 415, "", "application/json"},
		{"start with a long parameter", "POST", "/v1/jobs/here/runs", `{"params": {"a/b": "` + strings.Repeat("x", 5000) + `"}}`, nil, 422, "/params/a~1b", "4096"},
		{"start with a parameter without name", "POST", "/v1/jobs/here/runs", `{"params": {"": "x"}}`, nil, 422, "/params/", "1 to 100"},
		{"unknown parameter", "POST", "/v1/jobs?dryrun=true", good, nil, 422, "dryrun", "unknown"},
		{"bad parameter", "POST", "/v1/jobs?dry_run=perhaps", good, nil, 422, "dry_run", ""},

		{"start with a wrong type", "POST", "/v1/jobs/here/runs", `{"params": {"a": 1}}`, nil, 422, "/params/a", "string"},
		{"start with an unknown field", "POST", "/v1/jobs/here/runs", `{"param": {}}`, nil, 422, "/param", ""},
		{"start with a duplicate key", "POST", "/v1/jobs/here/runs", `{"params": {}, "params": {}}`, nil, 400, "", "duplicate"},
		{"start with bad UTF-8", "POST", "/v1/jobs/here/runs", "{\"params\": {\"a\": \"\xff\"}}", nil, 400, "", "UTF-8"},
		{"start with deep nesting", "POST", "/v1/jobs/here/runs", strings.Repeat(`[`, 100_000), nil, 400, "", ""},
		{"start with 2 MiB", "POST", "/v1/jobs/here/runs", strings.Repeat(" ", 2<<20) + "{}", nil, 413, "", "1048576"},
		{"start with a long key", "POST", "/v1/jobs/here/runs", "", []string{"Idempotency-Key", strings.Repeat("k", 201)}, 422, "Idempotency-Key", "200"},
		{"start of nothing", "POST", "/v1/jobs/none/runs", "", nil, 404, "", "none"},

		{"no such job", "GET", "/v1/jobs/none", "", nil, 404, "", "none"},
		{"no such job's revisions", "GET", "/v1/jobs/none/revisions", "", nil, 404, "", "none"},
		{"no such run", "GET", "/v1/runs/none", "", nil, 404, "", "none"},
		{"no such run's tasks", "GET", "/v1/runs/none/tasks", "", nil, 404, "", "none"},
		{"no such run's events", "GET", "/v1/runs/none/events", "", nil, 404, "", "none"},
		{"no such run to explain", "GET", "/v1/runs/none/explain", "", nil, 404, "", "none"},
		{"no such run to cancel", "POST", "/v1/runs/none/cancel", "", nil, 404, "", "none"},
		{"no such task", "GET", "/v1/tasks/none.map.0/logs", "", nil, 404, "", "none.map.0"},
		{"no such version", "GET", "/v1/executors/none", "", nil, 404, "", "none"},
		{"no such path", "GET", "/v2/jobs", "", nil, 404, "", "/v2/jobs"},
		{"no such asset", "GET", "/assets/none.js", "", nil, 404, "", "none.js"},
		{"no such method", "PATCH", "/v1/jobs", "{}", nil, 405, "", "GET, HEAD, POST"},
		{"unknown state", "GET", "/v1/runs?state=done", "", nil, 422, "state", "succeeded"},
		{"limit too small", "GET", "/v1/runs?limit=0", "", nil, 422, "limit", "1"},
		{"limit too large", "GET", "/v1/jobs?limit=5000", "", nil, 422, "limit", "1000"},
		{"limit no number", "GET", "/v1/jobs?limit=all", "", nil, 422, "limit", ""},
		{"start with an empty key", "POST", "/v1/jobs/here/runs", "", []string{"Idempotency-Key", ""}, 422, "Idempotency-Key", "empty"},
		{"made-up cursor", "GET", "/v1/jobs?cursor=%21", "", nil, 422, "cursor", "cursor"},
		{"unknown stream", "GET", "/v1/tasks/none.map.0/logs?stream=both", "", nil, 422, "stream", "stderr"},

		{"executor without sum", "PUT", "/v1/executors/1.5.0/linux-amd64", "x", nil, 400, "X-Checksum-Sha256", "missing"},
		{"executor with half a sum", "PUT", "/v1/executors/1.5.0/linux-amd64", "x", []string{"X-Checksum-Sha256", "abc"}, 422, "X-Checksum-Sha256", "64"},
		{"executor with a wrong sum", "PUT", "/v1/executors/1.5.0/linux-amd64", "x", []string{"X-Checksum-Sha256", strings.Repeat("0", 64)}, 422, "", "SHA-256"},
		{"executor without platform", "PUT", "/v1/executors/1.5.0/linux", "x", []string{"X-Checksum-Sha256", strings.Repeat("0", 64)}, 422, "platform", "linux-amd64"},
		{"executor with a bad version", "PUT", "/v1/executors/1_5/linux-amd64", "x", []string{"X-Checksum-Sha256", strings.Repeat("0", 64)}, 422, "version", ""},
		{"other bytes for a version", "PUT", "/v1/executors/1.4.0/linux-amd64", "x", []string{"X-Checksum-Sha256", strings.Repeat("0", 64)}, 409, "", "1.4.0"},
		{"version in use", "DELETE", "/v1/executors/1.4.0", "", nil, 409, "", "stable"},
		{"no such version to remove", "DELETE", "/v1/executors/none", "", nil, 404, "", "none"},
		{"channel to nowhere", "PUT", "/v1/channels/canary", `{"version": "9.9.9"}`, nil, 422, "/version", ""},
		{"channel without version", "PUT", "/v1/channels/canary", `{}`, nil, 422, "", "version"},
		{"reason of two lines", "POST", "/v1/channels/stable/rollout/pause", `{"reason": "slow\n::error::"}`, nil, 422, "/reason", "one line"},
		{"reason with an escape", "POST", "/v1/channels/stable/rollout/abort", `{"reason": "\u001b[31m"}`, nil, 422, "/reason", "control"},
		{"channel without body", "PUT", "/v1/channels/canary", "", nil, 400, "", "body"},
		{"channel with a bad name", "PUT", "/v1/channels/Can%2Fary", `{"version": "1.4.0"}`, nil, 422, "name", ""},
	}
	s := serve(t)
	want[wire.Job](t, s.do("POST", "/v1/jobs", specOf("here")), 201)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s.t = t
			got := want[wire.Error](t, s.do(test.method, test.path, test.body, test.headers...), test.status)
			if got.Status != test.status || got.Title == "" || got.Detail == "" {
				t.Errorf("got %+v", got)
			}
			located := slices.IndexFunc(got.Errors, func(p wire.Problem) bool { return p.Pointer == test.at && p.Parameter == "" || p.Parameter == test.at })
			text := got.Detail
			if test.at != "" && located < 0 {
				t.Fatalf("nothing points at %q: %+v", test.at, got)
			}
			if located >= 0 {
				text += " " + got.Errors[located].Detail
			}
			if !strings.Contains(text, test.says) {
				t.Errorf("%q does not say %q", text, test.says)
			}
		})
	}
	s.t = t
}

func TestChecksAreWaitedFor(t *testing.T) {
	found := []jobs.Problem{{Pointer: "/aggregate/where", Detail: "a subquery is not allowed"}}
	t.Run("failed", func(t *testing.T) {
		s := serve(t)
		s.scheduler.Check = func(*jobs.Spec) (proto.CheckState, []jobs.Problem) { return proto.CHECKS_FAILED, found }
		for _, path := range []string{"/v1/jobs", "/v1/jobs?dry_run=true"} {
			refused := want[wire.Error](t, s.do("POST", path, specOf("flights")), 422)
			if len(refused.Errors) != 1 || refused.Errors[0].Pointer != "/aggregate/where" || refused.Errors[0].Detail != found[0].Detail {
				t.Errorf("got %+v", refused)
			}
		}
		if len(s.scheduler.View().Jobs) > 0 {
			t.Error("the job was stored")
		}
	})
	t.Run("too slow", func(t *testing.T) {
		s := serve(t)
		s.scheduler.Check = func(*jobs.Spec) (proto.CheckState, []jobs.Problem) { return proto.CHECKS_PENDING, nil }
		if job := want[wire.Job](t, s.do("POST", "/v1/jobs", specOf("flights")), 201); job.Checks != "pending" {
			t.Errorf("got checks %q", job.Checks)
		}
	})
	t.Run("in time", func(t *testing.T) {
		s := serve(t, func(cfg *api.Config) { cfg.CheckWait = 20 * time.Second })
		s.scheduler.Check = func(*jobs.Spec) (proto.CheckState, []jobs.Problem) {
			go s.scheduler.Update(func(v *scheduler.View) {
				for key := range v.Checks {
					v.Checks[key] = &scheduler.CheckView{State: proto.CHECKS_FAILED, Problems: found}
				}
			})
			return proto.CHECKS_PENDING, nil
		}
		want[wire.Error](t, s.do("POST", "/v1/jobs", specOf("flights")), 422)
	})
}

// Every kind of error that the scheduler gives has one status.
func TestErrorsOfTheSchedulerAreMapped(t *testing.T) {
	tests := []struct {
		err    error
		status int
		shown  bool
	}{
		{&scheduler.Error{Kind: scheduler.Invalid, Message: "it is wrong", Problems: []jobs.Problem{{Pointer: "/a~1b", Detail: "no"}}}, 422, true},
		{&scheduler.Error{Kind: scheduler.NotFound, Message: "it is not there"}, 404, true},
		{&scheduler.Error{Kind: scheduler.Conflict, Message: "it clashes"}, 409, true},
		{&scheduler.Error{Kind: scheduler.Unavailable, Message: "not now"}, 503, true},
		{fmt.Errorf("wrapped: %w", &scheduler.Error{Kind: scheduler.Unavailable, Message: "not now"}), 503, true},
		{&scheduler.Error{Kind: scheduler.Internal, Message: "the core is broken"}, 500, true},
		{context.DeadlineExceeded, 503, false},
		{context.Canceled, 503, false},
		{errors.New("disk /dev/sda is full"), 500, false},
	}
	s := serve(t)
	for _, test := range tests {
		s.scheduler.Refuse = func(scheduler.CommandBody) error { return test.err }
		a := s.do("POST", "/v1/jobs/x/runs", "")
		got := want[wire.Error](t, a, test.status)
		var refused *scheduler.Error
		if errors.As(test.err, &refused) && !strings.Contains(got.Detail, refused.Message) {
			t.Errorf("%v: got %q", test.err, got.Detail)
		}
		if !test.shown && strings.Contains(string(a.body), "/dev/sda") {
			t.Errorf("%v is shown: %s", test.err, a.body)
		}
		if (a.header.Get("Retry-After") != "") != (test.status == 503) {
			t.Errorf("%v: Retry-After is %q", test.err, a.header.Get("Retry-After"))
		}
	}
	if !strings.Contains(s.logged.String(), "/dev/sda") {
		t.Error("the unknown error was not logged")
	}
}

func TestPanicIsAnswered(t *testing.T) {
	s := serve(t)
	s.scheduler.Refuse = func(scheduler.CommandBody) error { panic("broken") }
	want[wire.Error](t, s.do("POST", "/v1/jobs/x/runs", ""), 500)
	if !strings.Contains(s.logged.String(), "request panicked") {
		t.Errorf("got log %q", s.logged)
	}
	s.scheduler.Refuse = nil
	want[wire.Error](t, s.do("POST", "/v1/jobs/x/runs", ""), 404)
}

// A body without a length is bounded, too, and its sender gets to read why.
func TestChunkedBodyIsBounded(t *testing.T) {
	s := serve(t)
	body := io.MultiReader(strings.NewReader(`{"name": "`), io.LimitReader(endless{}, 10<<20))
	response, err := s.server.Client().Post(s.server.URL+"/v1/jobs", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %s", response.Status)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A sender that goes away in the middle harms nobody.
func TestCutOffRequest(t *testing.T) {
	s := serve(t)
	connection, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(connection, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"name\":"); err != nil {
		t.Fatal(err)
	}
	if err := connection.Close(); err != nil {
		t.Fatal(err)
	}
	want[wire.List[wire.Job]](t, s.get("/v1/jobs"), 200)
	if len(s.scheduler.View().Jobs) > 0 {
		t.Error("half a job was stored")
	}
}
