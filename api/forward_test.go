package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/scheduler"
)

// peers is an api.Peers that the test sets.
type peers struct {
	mu       sync.Mutex
	standing api.Standing
	age      time.Duration
	err      error
	refresh  func()
	statuses []int // of forwarded requests
}

func (p *peers) Standing() api.Standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.standing
}

func (p *peers) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *peers) Fresh(context.Context) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.age, p.err
}

func (p *peers) Refresh(context.Context) error {
	if p.refresh != nil {
		p.refresh()
	}
	return nil
}

func (p *peers) forwarded(status int) { p.set(func() { p.statuses = append(p.statuses, status) }) }

// standby is an API that does not lead, beside a leader. Its view becomes the leader's when it is refreshed.
func standby(t *testing.T, options ...option) (own, leader *service, p *peers) {
	t.Helper()
	leader = serve(t, options...)
	p = &peers{standing: api.Standing{Self: "http://127.0.0.1:1", Leader: leader.server.URL, Epoch: 7, Instances: []wire.Instance{
		{URL: leader.server.URL, Host: "a", Version: "1.5.0", Leads: true}, {URL: "http://127.0.0.1:1", Host: "b", Version: "1.5.0"},
	}}}
	own = serve(t, append(options, func(cfg *api.Config) { cfg.Peers, cfg.Forwarded = p, p.forwarded })...)
	p.refresh = func() {
		newest := leader.scheduler.View()
		own.scheduler.Update(func(v *scheduler.View) {
			v.Jobs, v.Runs, v.Versions, v.Channels, v.Rollouts = newest.Jobs, newest.Runs, newest.Versions, newest.Channels, newest.Rollouts
		})
	}
	own.scheduler.Update(func(v *scheduler.View) { v.Leading, v.Master, v.Framework = false, "", scheduler.Identity{} })
	own.scheduler.Refuse = func(scheduler.CommandBody) error {
		t.Error("the standby carried out a command itself")
		return nil
	}
	return own, leader, p
}

// Whatever is changed through a standby is done by the leader and seen on the standby when the answer is there.
func TestStandbyPassesWritesOn(t *testing.T) {
	own, leader, p := standby(t, withToken)
	const token = "Bearer s3cret"
	a := own.do("POST", "/v1/jobs", specOf("flights"), "Authorization", token)
	want[wire.Job](t, a, http.StatusCreated)
	if got := a.header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-store" {
		t.Errorf("Cache-Control: got %q", got)
	}
	if got := a.header.Get("Location"); got != "/v1/jobs/flights" {
		t.Errorf("Location: got %q", got)
	}
	want[wire.Job](t, own.do("GET", "/v1/jobs/flights", "", "Authorization", token), 200)
	run := want[wire.Run](t, own.do("POST", "/v1/jobs/flights/runs", "", "Authorization", token, "Idempotency-Key", "x"), http.StatusAccepted)
	again := want[wire.Run](t, own.do("POST", "/v1/jobs/flights/runs", "", "Authorization", token, "Idempotency-Key", "x"), http.StatusAccepted)
	if run.ID != again.ID {
		t.Errorf("the idempotency key got lost: runs %s and %s", run.ID, again.ID)
	}
	want[wire.Run](t, own.do("GET", "/v1/runs/"+run.ID, "", "Authorization", token), 200)

	const body = "an executor"
	executor := want[wire.Executor](t, own.do("PUT", "/v1/executors/1.5.0/linux-arm64", body, "X-Checksum-Sha256", sha256Of(body), "Authorization", token), 201)
	if executor.Version != "1.5.0" || !leader.artifacts.Has(sha256Of(body)) {
		t.Errorf("upload: got %+v", executor)
	}
	// What the leader refuses is refused with the leader's words.
	want[wire.Error](t, own.do("POST", "/v1/jobs", strings.Replace(specOf("flights"), `"*"`, `"tailnum"`, 1), "Authorization", token), http.StatusConflict)
	want[wire.Error](t, own.do("POST", "/v1/jobs", "{", "Authorization", token), http.StatusBadRequest)
	want[wire.Error](t, own.do("POST", "/v1/jobs", specOf("other")), http.StatusUnauthorized)
	want[wire.Job](t, own.do("DELETE", "/v1/jobs/flights", "", "Authorization", token), 200)
	want[wire.Error](t, own.do("GET", "/v1/jobs/flights", "", "Authorization", token), 404)
	if got := p.statuses; len(got) != 7 || got[0] != 201 || got[4] != 409 || got[6] != 200 {
		t.Errorf("forwarded: got %v", got)
	}
}

// The dashboard of a standby may change things; a page of another origin may not, whoever leads.
func TestStandbyKnowsItsOrigin(t *testing.T) {
	own, _, p := standby(t)
	want[wire.Job](t, own.do("POST", "/v1/jobs", specOf("flights"), "Origin", own.server.URL), http.StatusCreated)
	want[wire.Error](t, own.do("POST", "/v1/jobs", specOf("more"), "Origin", "http://evil.example"), http.StatusForbidden)
	if len(p.statuses) != 1 {
		t.Errorf("forwarded: got %v", p.statuses)
	}
}

func TestStandbyWithoutLeader(t *testing.T) {
	own, _, p := standby(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer broken.Close()
	for name, test := range map[string]struct {
		leader string
		status int
		says   string
	}{
		"none":        {"", 503, "no instance leads"},
		"gone":        {"http://" + closed.Addr().String(), 503, "cannot be reached; nothing was changed"},
		"breaks off":  {broken.URL, 502, "may have been carried out"},
		"this one":    {"http://127.0.0.1:1", 503, "knows of no other that does"},
		"not a URL":   {"nowhere", 503, "which is none"},
		"not a URL 2": {"http://%zz", 503, "which is none"},
	} {
		t.Run(name, func(t *testing.T) {
			p.set(func() { p.standing.Leader = test.leader })
			a := own.do("POST", "/v1/jobs", specOf("flights"))
			if got := want[wire.Error](t, a, test.status); !strings.Contains(got.Detail, test.says) {
				t.Errorf("got %q, want %q", got.Detail, test.says)
			}
			if retry := a.header.Get("Retry-After"); (retry == "") == (test.status == 503) {
				t.Errorf("Retry-After: got %q", retry)
			}
			want[wire.Error](t, own.do("POST", "/v1/jobs/flights/runs", ""), test.status) // there is nothing to pass on
			if a := own.get("/v1/jobs"); a.status != 200 {
				t.Errorf("a read: got %d", a.status)
			}
		})
	}
}

// A leader whose machine hangs takes requests and never answers; when another instance leads, nobody waits for it longer.
func TestStandbyDoesNotWaitForAnOldLeader(t *testing.T) {
	own, _, p := standby(t)
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil { // it notices that nobody waits once it has read all
			t.Error(err)
		}
		p.set(func() { p.standing.Leader = "http://127.0.0.1:2" })
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
			t.Error("it was waited for")
		}
	}))
	defer hangs.Close()
	p.set(func() { p.standing.Leader = hangs.URL })
	a := own.do("POST", "/v1/jobs", specOf("flights"))
	if got := want[wire.Error](t, a, 502); !strings.Contains(got.Detail, "may have been carried out") {
		t.Errorf("got %q", got.Detail)
	}
}

// Two instances that take one another for the leader do not pass a request to and fro.
func TestForwardedOnceOnly(t *testing.T) {
	own, other, p := standby(t)
	back := &peers{standing: api.Standing{Self: other.server.URL, Leader: own.server.URL}}
	second := serve(t, func(cfg *api.Config) { cfg.Peers = back })
	p.set(func() { p.standing.Leader = second.server.URL })
	a := own.do("POST", "/v1/jobs", specOf("flights"))
	if got := want[wire.Error](t, a, 503); !strings.Contains(got.Detail, "does not lead") || a.header.Get("Retry-After") == "" {
		t.Errorf("got %+v, %v", got, a.header)
	}
	if len(p.statuses) != 1 || len(back.statuses) != 0 {
		t.Errorf("forwarded: got %v and %v", p.statuses, back.statuses)
	}
}

// What only the leader knows is asked of it, and done without while it does not answer.
func TestStandbyAsksTheLeader(t *testing.T) {
	for token, guard := range map[string]option{"": func(*api.Config) {}, "s3cret": withToken} {
		own, leader, p := standby(t, guard)
		authorized := []string{"Authorization", "Bearer " + token}
		runs := leader.scheduler.Example(time.Now())
		p.refresh()
		info := want[wire.Info](t, own.do("GET", "/v1/info", "", authorized...), 200)
		if info.Role != "standby" || info.Leader != leader.server.URL || info.Epoch != 7 || len(info.Instances) != 2 {
			t.Errorf("got %+v", info)
		}
		if !info.Mesos.Connected || len(info.Agents) != 3 || info.Queue.Pending != 7 || info.FrameworkID == "" {
			t.Errorf("what the leader knows: got %+v", info)
		}
		if got := want[wire.Info](t, leader.do("GET", "/v1/info", "", authorized...), 200); got.Role != "leader" {
			t.Errorf("leader: got %+v", got)
		}
		explain := "/v1/runs/" + runs["running"] + "/explain"
		if got := want[wire.Explanation](t, own.do("GET", explain, "", authorized...), 200); len(got.Waiting) == 0 {
			t.Errorf("explain: got %+v", got)
		}
		p.set(func() { p.standing.Leader = "" })
		if info := want[wire.Info](t, own.do("GET", "/v1/info", "", authorized...), 200); info.Mesos.Connected || len(info.Agents) != 0 || info.Leader != "" {
			t.Errorf("without a leader: got %+v", info)
		}
		want[wire.Explanation](t, own.do("GET", explain, "", authorized...), 200)
	}
}

// A view that is too old is shown and said to be old; one that is not there is not made up.
func TestStandbyThatCannotReadTheStore(t *testing.T) {
	own, _, p := standby(t)
	if a := own.get("/v1/jobs"); a.status != 200 || a.header.Get("Age") != "" {
		t.Errorf("fresh: got %d, Age %q", a.status, a.header.Get("Age"))
	}
	if got := want[wire.Health](t, own.get("/readyz"), 200); got.Status != "standby" {
		t.Errorf("ready: got %+v", got)
	}
	p.set(func() { p.age = time.Minute })
	if a := own.get("/v1/jobs"); a.status != 200 || a.header.Get("Age") != "60" {
		t.Errorf("old: got %d, Age %q", a.status, a.header.Get("Age"))
	}
	if got := want[wire.Health](t, own.get("/readyz"), 503); got.Status != "blind" {
		t.Errorf("old: got %+v", got)
	}
	p.set(func() { p.err = errors.New("no quorum") })
	if a := own.get("/v1/jobs"); a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "no quorum") {
		t.Errorf("none: got %d %s", a.status, a.body)
	}
	want[wire.Health](t, own.get("/readyz"), 503)
	want[wire.Health](t, own.get("/healthz"), 200)
}

// What is newer than the standby's view is found all the same: whoever was told of it by another instance asks for it.
func TestStandbyLooksAgain(t *testing.T) {
	own, leader, p := standby(t)
	refresh, times := p.refresh, 0
	p.refresh = func() { times++; refresh() }
	want[wire.Job](t, leader.do("POST", "/v1/jobs", specOf("flights")), http.StatusCreated)
	want[wire.Job](t, own.get("/v1/jobs/flights"), 200)
	if times != 1 {
		t.Errorf("the store was read %d times", times)
	}
	want[wire.Job](t, own.get("/v1/jobs/flights"), 200)
	if times != 1 {
		t.Errorf("the store was read %d times for what is known", times)
	}
	a := own.get("/v1/jobs/none")
	if got := want[wire.Error](t, a, 404); !strings.Contains(got.Detail, `there is no job "none"`) || len(a.header.Values("Content-Length")) != 1 {
		t.Errorf("got %+v, %v", got, a.header)
	}
}
