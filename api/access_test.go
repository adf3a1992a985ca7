package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/api/audit"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/scheduler"
)

// tokens are the entries of a tokens file by name; the secret of each is its name.
var tokens = map[string]string{
	"viewer": "roles: [viewer]", "submitter": "roles: [submitter]", "deployer": "roles: [deployer]", "admin": "roles: [admin]",
	"s3cret":  "roles: [viewer]", // with which the description is read
	"flights": "roles: [submitter], jobs: [flights-*]",
	"batch":   "roles: [submitter, deployer], mesos_roles: [data/batch]",
	"late":    "roles: [admin], expires: 2020-01-01",
}

// withTokens guards the API by those, and writes to an audit log.
func withTokens(t *testing.T, log *bytes.Buffer, change func(*access.Config)) option {
	t.Helper()
	text := "tokens:\n"
	for name, more := range tokens {
		text += fmt.Sprintf("  - {name: %s, sha256: %x, %s}\n", name, sha256.Sum256([]byte(name)), more)
	}
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := access.Config{File: path}
	if change != nil {
		change(&cfg)
	}
	guard, err := access.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *api.Config) { cfg.Access, cfg.Audit, cfg.MesosRole = guard, audit.To(log), "tidemill" }
}

func bearer(name string) []string { return []string{"Authorization", "Bearer " + name} }

// entries are those of an audit log.
func entries(t *testing.T, log *bytes.Buffer) (all []audit.Entry) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	log.Reset()
	return all
}

// Whatever /openapi.json describes has a role; whoever has not that role changes nothing and is told so.
func TestEveryOperationAsksForItsRole(t *testing.T) {
	var log bytes.Buffer
	s := serve(t, withTokens(t, &log, nil), func(cfg *api.Config) {
		cfg.Export = func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "{}\n"); return err }
	})
	reached := 0
	s.scheduler.Refuse = func(scheduler.CommandBody) error {
		reached++
		return &scheduler.Error{Kind: scheduler.Unavailable, Message: "this is a test"}
	}
	has := map[string][]string{
		"viewer": {"viewer"}, "submitter": {"viewer", "submitter"}, "deployer": {"viewer", "deployer"}, "admin": {"viewer", "submitter", "deployer", "admin"},
	}
	changing, sum := map[string]bool{}, sha256Of("an executor")
	for path, methods := range s.described.paths {
		for method, about := range methods {
			operation, described := about.(map[string]any)
			if !described {
				continue
			}
			method, role := strings.ToUpper(method), fmt.Sprint(operation["x-tidemill-role"])
			says := fmt.Sprint(operation["description"])
			switch {
			case role == "anybody":
				if method != "GET" || !strings.Contains(says, "Needs no token.") {
					t.Errorf("%s %s is for anybody: %s", method, path, says)
				}
				continue
			case !slices.Contains(has["admin"], role):
				t.Errorf("%s %s: role %q", method, path, role)
			case !strings.Contains(says, "Needs the role `"+role+"`."):
				t.Errorf("%s %s does not say that it needs the role %s: %s", method, path, role, says)
			}
			target := strings.NewReplacer("{name}", "flights", "{id}", "none", "{version}", "9.9.9", "{platform}", "linux-amd64", "{action}", "pause").Replace(path)
			body := ""
			if operation["requestBody"] != nil {
				body = specOf("flights")
			}
			if strings.HasPrefix(path, "/v1/executors/") {
				body = "an executor"
			}
			if method != "GET" {
				changing[role] = true
			}
			ask := func(token string) answer {
				t.Helper()
				return s.do(method, target, body, "Authorization", token, "X-Checksum-Sha256", sum)
			}
			reached = 0
			for _, token := range []string{"", "Bearer none", "Bearer late", "Basic admin"} {
				want[wire.Error](t, ask(token), http.StatusUnauthorized)
			}
			for name, roles := range has {
				if slices.Contains(roles, role) {
					continue
				}
				refused := want[wire.Error](t, ask("Bearer "+name), http.StatusForbidden)
				if !strings.Contains(refused.Detail, "role "+role) || !strings.Contains(refused.Detail, name) {
					t.Errorf("%s %s as %s: got %q", method, path, name, refused.Detail)
				}
			}
			if reached > 0 || s.artifacts.Has(sum) {
				t.Errorf("%s %s: something was done for those who may not", method, path)
			}
			for name, roles := range has {
				if slices.Contains(roles, role) {
					if a := ask("Bearer " + name); a.status == 401 || a.status == 403 {
						t.Errorf("%s %s as %s: got %d %s", method, path, name, a.status, a.body)
					}
				}
			}
			if err := s.artifacts.Delete(t.Context(), sum, func() bool { return false }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(changing) < 2 {
		t.Errorf("roles that change something: %v", changing)
	}
	for _, e := range entries(t, &log) {
		if e.Action == "" || e.Request == "" || e.Address != "127.0.0.1" || e.Event == audit.Refused != (e.Status == 401 || e.Status == 403) {
			t.Errorf("audit: got %+v", e)
		}
	}
}

func TestExpiredToken(t *testing.T) {
	s := serve(t, withTokens(t, &bytes.Buffer{}, nil))
	a := s.do("GET", "/v1/jobs", "", bearer("late")...)
	if got := want[wire.Error](t, a, 401); !strings.Contains(got.Detail, "has expired at 2020-01-01") || !strings.Contains(a.header.Get("WWW-Authenticate"), "expired") {
		t.Errorf("got %+v, %v", got, a.header)
	}
}

// A submitter of some jobs or roles has nothing to do with others, be they new or there.
func TestSubmittersOfSomeJobs(t *testing.T) {
	s := serve(t, withTokens(t, &bytes.Buffer{}, nil))
	inRole := func(name, role string) string {
		return strings.Replace(specOf(name), `"kind"`, fmt.Sprintf(`"role": %q, "kind"`, role), 1)
	}
	for _, spec := range []string{specOf("flights-1"), specOf("other"), inRole("batch-1", "data/batch")} {
		want[wire.Job](t, s.do("POST", "/v1/jobs", spec, bearer("admin")...), 201)
	}
	runs := map[string]string{}
	for _, job := range []string{"flights-1", "other", "batch-1"} {
		runs[job] = want[wire.Run](t, s.do("POST", "/v1/jobs/"+job+"/runs", "", bearer("admin")...), 202).ID
	}
	before := len(s.scheduler.View().Runs)
	for _, test := range []struct {
		token, call, body string
		status            int
	}{
		{"flights", "POST /v1/jobs", specOf("flights-2"), 201},
		{"flights", "POST /v1/jobs", specOf("weather"), 403},
		{"flights", "POST /v1/jobs?dry_run=true", specOf("weather"), 403},
		{"flights", "PUT /v1/jobs/other", specOf("other"), 403},
		{"flights", "PUT /v1/jobs/flights-1", inRole("flights-1", "any"), 200},
		{"flights", "POST /v1/jobs/other/runs", "", 403},
		{"flights", "POST /v1/jobs/none/runs", "", 404},
		{"flights", "POST /v1/runs/" + runs["other"] + "/cancel", "", 403},
		{"flights", "POST /v1/runs/" + runs["flights-1"] + "/cancel", "", 202},
		{"flights", "DELETE /v1/jobs/other", "", 403},
		{"flights", "GET /v1/jobs/other", "", 200},
		{"batch", "POST /v1/jobs", specOf("no-role"), 403}, // it would have the first one
		{"batch", "POST /v1/jobs", inRole("batch-2", "data/batch"), 201},
		{"batch", "PUT /v1/jobs/other", inRole("other", "data/batch"), 403}, // it is another's
		{"batch", "POST /v1/jobs/other/runs", "", 403},
		{"batch", "POST /v1/runs/" + runs["other"] + "/cancel", "", 403},
		{"batch", "DELETE /v1/jobs/other", "", 403},
		{"batch", "POST /v1/jobs/batch-1/runs", "", 202},
		{"batch", "POST /v1/runs/" + runs["batch-1"] + "/cancel", "", 202},
		{"batch", "DELETE /v1/jobs/batch-1", "", 200},
		{"batch", "PUT /v1/channels/new", `{"version": "1.4.0"}`, 200},
	} {
		method, path, _ := strings.Cut(test.call, " ")
		if a := s.do(method, path, test.body, bearer(test.token)...); a.status != test.status {
			t.Errorf("%s as %s: got %d, want %d: %s", test.call, test.token, a.status, test.status, a.body)
		}
	}
	view := s.scheduler.View()
	if job := view.Jobs["other"]; job.Job.Deleted || len(job.Revisions) != 1 || len(view.Runs) != before+1 {
		t.Errorf("got %+v and %d runs", job.Job, len(view.Runs))
	}
}

// What changes something is in the audit log before it is done, and afterwards with how it ended.
func TestAudit(t *testing.T) {
	var log bytes.Buffer
	s := serve(t, withTokens(t, &log, nil))
	s.scheduler.Refuse = func(scheduler.CommandBody) error {
		if lines := strings.Count(log.String(), `"event":"asked"`); lines == 0 {
			t.Error("a change is carried out before it is written down")
		}
		return nil
	}
	const secret = "hush-hush"
	for _, test := range []struct {
		token, call, body string
		headers           []string
		action            string
		target            map[string]string
		facts             map[string]any
		status            int
	}{
		{"submitter", "POST /v1/jobs?dry_run=true", specOf("flights"), nil, "post-job", map[string]string{"job": "flights"}, map[string]any{"dry_run": "true", "name": "flights", "kind": "aggregate"}, 200},
		{"submitter", "PUT /v1/jobs/flights", specOf("flights"), nil, "put-job", map[string]string{"job": "flights"}, map[string]any{"name": "flights", "kind": "aggregate"}, 201},
		{"submitter", "POST /v1/jobs/flights/runs", `{"params": {"key": "` + secret + `"}}`, []string{"Idempotency-Key", "k1"}, "start-run", map[string]string{"job": "flights"}, map[string]any{"idempotency_key": "k1"}, 202},
		{"submitter", "POST /v1/jobs", `{"name": `, nil, "post-job", map[string]string{}, map[string]any{}, 400},
		{"deployer", "PUT /v1/executors/9.9.9/linux-amd64", secret, []string{"X-Checksum-Sha256", sha256Of(secret)}, "put-executor", map[string]string{"version": "9.9.9", "platform": "linux-amd64"},
			map[string]any{"bytes": float64(len(secret)), "x_checksum_sha256": sha256Of(secret)}, 201},
		{"deployer", "PUT /v1/channels/a%2Fb", `{"version": "1.4.0"}`, nil, "set-channel", map[string]string{"channel": "a/b"}, map[string]any{"version": "1.4.0"}, 422},
		{"deployer", "PUT /v1/channels/canary", `{"version": "1.4.0", "password": "` + secret + `"}`, nil, "set-channel", map[string]string{"channel": "canary"}, map[string]any{"version": "1.4.0"}, 422},
	} {
		method, path, _ := strings.Cut(test.call, " ")
		a := s.do(method, path, test.body, append(test.headers, bearer(test.token)...)...)
		if strings.Contains(log.String(), secret) || strings.Contains(log.String(), "Bearer") {
			t.Errorf("%s: a secret is in the audit log: %s", test.call, &log)
		}
		got := entries(t, &log)
		if a.status != test.status || len(got) != 2 {
			t.Errorf("%s: got %d %s, and %+v", test.call, a.status, a.body, got)
			continue
		}
		asked, answered := got[0], got[1]
		if asked.Event != audit.Asked || asked.Actor != test.token || asked.Action != test.action || fmt.Sprint(asked.Target) != fmt.Sprint(test.target) || fmt.Sprint(asked.Facts) != fmt.Sprint(test.facts) || asked.Status != 0 {
			t.Errorf("%s: asked %+v", test.call, asked)
		}
		if answered.Event != audit.Answered || answered.Status != test.status || answered.Actor != test.token || answered.Request != asked.Request || answered.Location != a.header.Get("Location") {
			t.Errorf("%s: answered %+v", test.call, answered)
		}
		if id := a.header.Get("X-Request-Id"); id != asked.Request || id == "" {
			t.Errorf("%s: X-Request-Id %q, asked %q", test.call, id, asked.Request)
		}
	}
	s.do("GET", "/v1/jobs", "", bearer("viewer")...)
	if got := entries(t, &log); len(got) > 0 {
		t.Errorf("a read: got %+v", got)
	}
	s.do("DELETE", "/v1/jobs/flights", "", append(bearer("viewer"), "X-Forwarded-For", "10.1.2.3")...)
	got := entries(t, &log)
	if len(got) != 1 || got[0].Event != audit.Refused || got[0].Status != 403 || got[0].Actor != "viewer" || got[0].Target["job"] != "flights" || got[0].ForwardedFor != "10.1.2.3" {
		t.Errorf("refused: got %+v", got)
	}
}

// Somebody without a token cannot push out of the log what matters.
func TestRefusalsAreBounded(t *testing.T) {
	var log bytes.Buffer
	s := serve(t, withTokens(t, &log, nil))
	for range 300 {
		s.do("DELETE", "/v1/jobs/flights", "")
	}
	if got := entries(t, &log); len(got) < 100 || len(got) > 280 {
		t.Errorf("got %d entries of 300 refusals", len(got))
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// What cannot be written down is not done.
func TestAuditThatCannotBeWritten(t *testing.T) {
	log := audit.To(fullDisk{})
	s := serve(t, func(cfg *api.Config) { cfg.Audit = log })
	a := s.do("POST", "/v1/jobs", specOf("flights"))
	if got := want[wire.Error](t, a, 503); !strings.Contains(got.Detail, "nothing was changed") || a.header.Get("Retry-After") == "" {
		t.Errorf("got %+v", got)
	}
	if n := len(s.scheduler.View().Jobs); n > 0 || log.Failures() != 1 {
		t.Errorf("got %d jobs, %d failures", n, log.Failures())
	}
	if got := s.logged.String(); !strings.Contains(got, "no space left") || !strings.Contains(got, "request="+a.header.Get("X-Request-Id")) {
		t.Errorf("logged: %s", got)
	}
	want[wire.List[wire.Job]](t, s.get("/v1/jobs"), 200)
}

func TestSubmissionsAreLimited(t *testing.T) {
	var log bytes.Buffer
	s := serve(t, withTokens(t, &log, func(cfg *access.Config) { cfg.Rate, cfg.Burst = 0.01, 3 }))
	calls := []string{"POST /v1/jobs", "PUT /v1/jobs/flights", "POST /v1/jobs?dry_run=true", "POST /v1/jobs", "POST /v1/jobs/flights/runs"}
	for i, call := range calls {
		method, path, _ := strings.Cut(call, " ")
		body := specOf("flights")
		if strings.HasSuffix(path, "/runs") {
			body = ""
		}
		a := s.do(method, path, body, bearer("submitter")...)
		if i < 3 {
			if a.status > 201 {
				t.Errorf("%s: got %d", call, a.status)
			}
			continue
		}
		refused := want[wire.Error](t, a, 429)
		if !strings.Contains(refused.Detail, `"submitter" sends too many submissions`) || a.header.Get("Retry-After") != "100" {
			t.Errorf("%s: got %q, Retry-After %q", call, refused.Detail, a.header.Get("Retry-After"))
		}
	}
	if got := entries(t, &log); len(got) != 8 || got[7].Event != audit.Refused || got[7].Status != 429 {
		t.Errorf("audit: got %+v", got)
	}
	want[wire.Run](t, s.do("POST", "/v1/jobs/flights/runs", "", bearer("admin")...), 202) // has a limit of his own
	want[wire.Job](t, s.do("DELETE", "/v1/jobs/flights", "", bearer("submitter")...), 200)
}

// A standby refuses what it can refuse; what it passes on is the leader's to decide, who writes down whom it came from,
// under the same request ID.
func TestStandbyAndWho(t *testing.T) {
	var log bytes.Buffer // of both
	known := &peers{standing: api.Standing{Leads: true, Instances: []wire.Instance{{URL: "http://127.0.0.1:1"}}}}
	own, leader, _ := standby(t, withTokens(t, &log, func(cfg *access.Config) { cfg.Rate, cfg.Burst = 0.001, 1 }), func(cfg *api.Config) { cfg.Peers = known })
	a := own.do("POST", "/v1/jobs", specOf("flights"), append(bearer("submitter"), "X-Forwarded-For", "10.1.2.3", "X-Request-Id", "AAAA")...)
	want[wire.Job](t, a, 201)
	got := entries(t, &log)
	id := a.header.Values("X-Request-Id")
	if len(got) != 2 || len(id) != 1 || id[0] == "AAAA" || got[0].Request != id[0] || got[1].Request != id[0] {
		t.Fatalf("got %+v and %v", got, id)
	}
	if got[0].ForwardedBy != "http://127.0.0.1:1" || got[0].ForwardedFor != "10.1.2.3, 127.0.0.1" || got[0].Actor != "submitter" {
		t.Errorf("got %+v", got[0])
	}
	want[wire.Error](t, own.do("DELETE", "/v1/jobs/flights", "", bearer("viewer")...), 403)
	if got := entries(t, &log); len(got) != 1 || got[0].Event != audit.Refused || got[0].ForwardedBy != "" {
		t.Errorf("got %+v", got)
	}
	want[wire.Error](t, own.do("POST", "/v1/jobs", specOf("more"), bearer("submitter")...), 429)
	if job := leader.scheduler.View().Jobs["flights"]; job == nil {
		t.Error("the job is not there")
	}
}

func TestArtifactServer(t *testing.T) {
	s := serve(t, withToken)
	const body = "an executor"
	want[wire.Executor](t, s.do("PUT", "/v1/executors/1.5.0/linux-arm64", body, "X-Checksum-Sha256", sha256Of(body), "Authorization", "Bearer s3cret"), 201)
	server := s.handler.ArtifactServer()
	for path, status := range map[string]int{"/artifacts/" + sha256Of(body) + "/tidemill-executor": 200, "/": 404, "/healthz": 404, "/metrics": 404, "/v1/info": 404, "/artifacts/": 404} {
		recorder, request := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
		request.Header.Set("Authorization", "Bearer s3cret")
		server.Handler.ServeHTTP(recorder, request)
		if recorder.Code != status || status == 200 && recorder.Body.String() != body {
			t.Errorf("%s: got %d %s", path, recorder.Code, recorder.Body)
		}
	}
	if server.ReadHeaderTimeout == 0 {
		t.Error("it has no limits")
	}
}
