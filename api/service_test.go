package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/scheduler"
)

func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestExecutorVersions(t *testing.T) {
	s := serve(t)
	const body = "an executor"
	real := sha256Of(body)
	a := s.do("PUT", "/v1/executors/1.5.0/linux-arm64", body, "X-Checksum-Sha256", strings.ToUpper(real), "Content-Type", "application/octet-stream")
	executor := want[wire.Executor](t, a, http.StatusCreated)
	if executor.Version != "1.5.0" || executor.Artifacts[0].SHA256 != real || executor.Artifacts[0].Size != int64(len(body)) || executor.Artifacts[0].Protocol.Max != 1 {
		t.Errorf("got %+v", executor)
	}
	if got := a.header.Get("Location"); got != "/v1/executors/1.5.0" {
		t.Errorf("Location: got %q", got)
	}
	want[wire.Executor](t, s.do("PUT", "/v1/executors/1.5.0/linux-arm64", body, "X-Checksum-Sha256", real), http.StatusOK)
	want[wire.Error](t, s.do("PUT", "/v1/executors/1.5.0/linux-arm64", "other", "X-Checksum-Sha256", sha256Of("other")), http.StatusConflict)
	if s.artifacts.Has(sha256Of("other")) {
		t.Error("the refused file was kept")
	}
	if got := s.get("/artifacts/" + real + "/tidemill-executor"); string(got.body) != body {
		t.Errorf("artefact: got %d %q", got.status, got.body)
	}

	channel := want[wire.Channel](t, s.do("PUT", "/v1/channels/canary", `{"version": "1.5.0"}`), 200)
	if channel.Name != "canary" || channel.Version != "1.5.0" {
		t.Errorf("got %+v", channel)
	}
	channels := want[wire.List[wire.Channel]](t, s.get("/v1/channels"), 200)
	if len(channels.Items) != 2 || channels.Items[0].Name != "canary" {
		t.Errorf("got %+v", channels)
	}
	want[wire.Error](t, s.do("DELETE", "/v1/executors/1.5.0", ""), http.StatusConflict)
	want[wire.Channel](t, s.do("PUT", "/v1/channels/canary", `{"version": "1.4.0"}`), 200)
	want[wire.Executor](t, s.do("DELETE", "/v1/executors/1.5.0", ""), 200)
	if s.artifacts.Has(real) {
		t.Error("the removed version's file was kept")
	}

	runs := s.scheduler.Example(time.Now())
	got := want[wire.Executor](t, s.get("/v1/executors/1.5.0-rc1"), 200)
	if !slices.Equal(got.Running, []string{runs["running"]}) || got.Runs != 1 || !slices.Equal(got.Channels, []string{"canary"}) {
		t.Errorf("got %+v", got)
	}
	if list := want[wire.List[wire.Executor]](t, s.get("/v1/executors"), 200); len(list.Items) != 4 || list.Items[2].Version != "1.4.0" {
		t.Errorf("got %+v", list)
	}
}

// An upload whose registration was not answered in time may be registered after all: its file stays.
func TestUploadWithoutAnswer(t *testing.T) {
	s := serve(t)
	const body = "an executor"
	for _, test := range []struct {
		kind   scheduler.ErrorKind
		status int
		stays  bool
	}{
		{scheduler.Invalid, http.StatusUnprocessableEntity, false},
		{scheduler.Unavailable, http.StatusServiceUnavailable, true},
	} {
		s.scheduler.Refuse = func(scheduler.CommandBody) error { return &scheduler.Error{Kind: test.kind, Message: "no"} }
		want[wire.Error](t, s.do("PUT", "/v1/executors/1.5.0/linux-arm64", body, "X-Checksum-Sha256", sha256Of(body)), test.status)
		if got := s.artifacts.Has(sha256Of(body)); got != test.stays {
			t.Errorf("%s: the file is there: %v", test.kind, got)
		}
	}
}

func TestInfoAndProbes(t *testing.T) {
	s := serve(t)
	s.scheduler.Example(time.Now())
	info := want[wire.Info](t, s.get("/v1/info"), 200)
	if info.Version != "1.5.0" || info.FrameworkID == "" || !info.Mesos.Connected || info.Leader == "" || info.S3 != nil || len(info.Agents) != 3 {
		t.Errorf("got %+v", info)
	}
	if agent := info.Agents[1]; agent.Host != "mesos-2.example.net" || agent.Versions["1.5.0-rc1"] == 0 || agent.Attributes["zone"] != "b" {
		t.Errorf("got %+v", agent)
	}
	if info.Queue.Pending != 7 || info.Queue.OldestPending == nil {
		t.Errorf("got %+v", info.Queue)
	}
	if string(s.get("/metrics").body) != "up 1\n" {
		t.Error("the metrics are not there")
	}
	for _, step := range []struct {
		change func(*scheduler.View)
		status int
		says   string
	}{
		{func(*scheduler.View) {}, 200, "ok"},
		{func(v *scheduler.View) { v.Master = "" }, 200, "disconnected"},
		{func(v *scheduler.View) { v.Leading = false }, 200, "standby"},
	} {
		s.scheduler.Update(step.change)
		if got := want[wire.Health](t, s.get("/readyz"), step.status); got.Status != step.says {
			t.Errorf("got %+v, want %q", got, step.says)
		}
		want[wire.Health](t, s.get("/healthz"), 200)
	}
	if info := want[wire.Info](t, s.get("/v1/info"), 200); info.Mesos.Connected {
		t.Error("it says that it is connected")
	}
}

// An export that breaks off half-way is not taken for a whole one; one that cannot begin is a problem.
func TestExport(t *testing.T) {
	failing := errors.New("no quorum")
	for name, test := range map[string]struct {
		pieces []string
		err    error
		status int
	}{
		"whole":      {[]string{"one\n", "two\n"}, nil, 200},
		"not begun":  {nil, failing, 503},
		"broken off": {[]string{"one\n"}, failing, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(cfg *api.Config) {
				cfg.Export = func(_ context.Context, w io.Writer) error {
					for _, piece := range test.pieces {
						if _, err := io.WriteString(w, piece); err != nil {
							return err
						}
					}
					return test.err
				}
			})
			if test.status == 0 {
				response, err := s.server.Client().Get(s.server.URL + "/v1/store/export")
				if err == nil {
					_, err = io.ReadAll(response.Body)
					response.Body.Close()
				}
				if err == nil {
					t.Error("the answer looks whole")
				}
				return
			}
			a := s.get("/v1/store/export")
			if a.status != test.status || a.status == 200 && string(a.body) != "one\ntwo\n" || a.status == 503 && a.header.Get("Retry-After") == "" {
				t.Errorf("got %d %v %s", a.status, a.header, a.body)
			}
		})
	}
}
