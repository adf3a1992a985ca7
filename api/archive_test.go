package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/archive"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

// switched is object storage that can be turned off.
type switched struct {
	storage.Store
	off atomic.Bool
}

func (s *switched) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	if s.off.Load() {
		return nil, storage.Object{}, storage.ErrUnavailable
	}
	return s.Store.Get(ctx, key, r)
}

// withArchive is a service with an archive, and a function that moves ended runs there.
func withArchive(t *testing.T, options ...option) (s *service, objects *switched, move func(ids ...string)) {
	t.Helper()
	folder, err := file.Open(file.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	objects = &switched{Store: folder}
	past := archive.New(objects, slog.New(slog.DiscardHandler))
	s = serve(t, append(options, func(cfg *api.Config) { cfg.Archive = past })...)
	return s, objects, func(ids ...string) {
		t.Helper()
		var runs []*scheduler.RunView
		for _, id := range ids {
			runs = append(runs, s.scheduler.View().Runs[id])
		}
		if err := past.Write(t.Context(), runs); err != nil {
			t.Fatal(err)
		}
		if _, err := s.scheduler.Do(t.Context(), scheduler.ArchiveRuns{Runs: ids}); err != nil {
			t.Fatal(err)
		}
	}
}

// ended are the runs of the example that have ended.
func ended(s *service) []string {
	var out []string
	for id, run := range s.scheduler.View().Runs {
		if jobs.Terminal(run.Run.State) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// pages reads a list by pages of that size.
func pages(t *testing.T, s *service, path, limit string) []any {
	t.Helper()
	var out []any
	for query := "limit=" + limit; ; {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		list := want[wire.List[any]](t, s.get(path+separator+query), 200)
		out = append(out, list.Items...)
		if list.Incomplete != "" {
			t.Errorf("%s is incomplete: %s", path, list.Incomplete)
		}
		if list.Next == "" {
			return out
		}
		query = "limit=" + limit + "&cursor=" + url.QueryEscape(list.Next)
	}
}

// estimates of the time that is left change with the time.
var estimates = cmpopts.IgnoreMapEntries(func(key string, _ any) bool { return key == "time_left_seconds" })

// Whoever reads does not see whether a run is live or in the archive.
func TestArchivedRunsAreReadLikeLiveOnes(t *testing.T) {
	s, _, move := withArchive(t)
	runs := s.scheduler.Example(time.Now())
	all := ended(s)
	if len(all) < 3 {
		t.Fatalf("the example has %d ended runs", len(all))
	}
	var task string // of a run that will be in the archive, with attempts
	for of := range s.scheduler.View().Runs[runs["failed"]].Tasks() {
		if len(of.Task.Attempts) > 0 {
			task = of.Task.ID
		}
	}
	read := func() map[string]any {
		out := map[string]any{}
		for _, id := range all {
			at := "/v1/runs/" + id
			for _, path := range []string{at, at + "/explain"} {
				var body any
				if err := json.Unmarshal(s.get(path).body, &body); err != nil {
					t.Fatal(err)
				}
				out[path] = body
			}
			for _, path := range []string{at + "/tasks", at + "/tasks?state=finished", at + "/tasks?state=failed,killed"} {
				out[path] = pages(t, s, path, "3")
			}
			_, events, _ := strings.Cut(string(s.get(at+"/events").body), "\ndata: ")
			out[at+"/events"], _, _ = strings.Cut(events, "\n")
		}
		for _, path := range []string{"/v1/runs", "/v1/runs?job=flights-by-carrier", "/v1/runs?state=failed,running", "/v1/runs?state=pending"} {
			for _, limit := range []string{"1", "2", "100"} {
				out[path+" by "+limit] = pages(t, s, path, limit)
			}
		}
		for _, path := range []string{"/v1/tasks/" + task + "/logs", "/v1/tasks/" + task + "/logs?stream=stderr&attempt=1&follow=true", "/v1/tasks/" + task + ".1/logs"} {
			out[path] = string(s.get(path).body)
		}
		return out
	}
	before := read()
	for _, ids := range [][]string{all[:1], all[1:]} { // some, then the others
		move(ids...)
		if diff := cmp.Diff(before, read(), estimates); diff != "" {
			t.Fatalf("with %v in the archive: %s", ids, diff)
		}
	}
	if left := ended(s); len(left) != 0 {
		t.Errorf("still live: %v", left)
	}
	for _, id := range all {
		cancelled := want[wire.Run](t, s.do("POST", "/v1/runs/"+id+"/cancel", ""), http.StatusAccepted)
		if cancelled.ID != id || !wire.Ended(cancelled.State) {
			t.Errorf("cancel %s: got %+v", id, cancelled)
		}
	}
	for _, path := range []string{"/v1/runs/nope", "/v1/runs/" + jobs.RunID("nope", time.Now(), 1), "/v1/tasks/" + task + "/logs?attempt=9", "/v1/tasks/nope/logs", "/v1/tasks/" + task + "0/logs"} {
		want[wire.Error](t, s.get(path), http.StatusNotFound)
	}
}

// An attempt's log is read with the spec of its run, which says how the work area is reached.
func TestArchivedLogsKnowTheirSpec(t *testing.T) {
	reader := &specLogs{}
	s, _, move := withArchive(t, func(cfg *api.Config) { cfg.Logs = reader })
	runs := s.scheduler.Example(time.Now())
	view := s.scheduler.View().Runs[runs["succeeded"]]
	var task *proto.Task
	for of := range view.Tasks() {
		task = of.Task
	}
	move(runs["succeeded"])
	s.get("/v1/tasks/" + task.ID + "/logs")
	if got := reader.last.Load(); got == nil || !sameJSON(t, got.Spec, view.Revision.Spec) || got.MesosID != task.Attempts[0].MesosID || got.LogURI != task.Attempts[0].LogURI {
		t.Errorf("got %+v", got)
	}
}

type specLogs struct{ last atomic.Pointer[logs.Attempt] }

func (l *specLogs) Copy(_ context.Context, w io.Writer, attempt func() logs.Attempt, _ string, _ bool) error {
	a := attempt()
	l.last.Store(&a)
	_, err := w.Write(nil)
	return err
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(x, y)
}

func TestRepeatedStartOfAnArchivedRun(t *testing.T) {
	s, _, move := withArchive(t)
	want[wire.Job](t, s.do("POST", "/v1/jobs", specOf("flights")), 201)
	start := func() answer { return s.do("POST", "/v1/jobs/flights/runs", "", "Idempotency-Key", "k1") }
	run := want[wire.Run](t, start(), http.StatusAccepted)
	s.scheduler.UpdateRun(run.ID, succeed)
	move(run.ID)
	again := start()
	if got := want[wire.Run](t, again, http.StatusAccepted); got.ID != run.ID || got.State != "succeeded" || got.Output == nil {
		t.Errorf("got %+v", got)
	}
	if got := again.header.Get("Location"); got != "/v1/runs/"+run.ID {
		t.Errorf("Location: got %q", got)
	}

	// Somebody has removed old days from the archive.
	other := want[wire.Run](t, s.do("POST", "/v1/jobs/flights/runs", "", "Idempotency-Key", "k2"), http.StatusAccepted)
	s.scheduler.UpdateRun(other.ID, succeed)
	if _, err := s.scheduler.Do(t.Context(), scheduler.ArchiveRuns{Runs: []string{other.ID}}); err != nil {
		t.Fatal(err)
	}
	gone := want[wire.Error](t, s.do("POST", "/v1/jobs/flights/runs", "", "Idempotency-Key", "k2"), http.StatusConflict)
	if !strings.Contains(gone.Detail, other.ID) {
		t.Errorf("got %q", gone.Detail)
	}
}

// An archive that cannot be read is not taken for one without the run, and live runs are shown all the same.
func TestUnreadableArchive(t *testing.T) {
	s, objects, move := withArchive(t)
	runs := s.scheduler.Example(time.Now())
	want[wire.Job](t, s.do("POST", "/v1/jobs", specOf("flights")), 201)
	keyed := want[wire.Run](t, s.do("POST", "/v1/jobs/flights/runs", "", "Idempotency-Key", "k1"), http.StatusAccepted)
	s.scheduler.UpdateRun(keyed.ID, succeed)
	move(append(ended(s), keyed.ID)...)
	objects.off.Store(true)

	id := runs["succeeded"]
	for _, path := range []string{"/v1/runs/" + id, "/v1/runs/" + id + "/tasks", "/v1/runs/" + id + "/explain", "/v1/runs/" + id + "/events", "/v1/tasks/" + id + ".plan.0/logs"} {
		a := s.get(path)
		if got := want[wire.Error](t, a, http.StatusServiceUnavailable); !strings.Contains(got.Detail, "the archive cannot be read") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %q, %v", path, got.Detail, a.header)
		}
	}
	want[wire.Error](t, s.do("POST", "/v1/jobs/flights/runs", "", "Idempotency-Key", "k1"), http.StatusServiceUnavailable)
	want[wire.Error](t, s.do("POST", "/v1/runs/"+id+"/cancel", ""), http.StatusServiceUnavailable)

	list := want[wire.List[wire.Run]](t, s.get("/v1/runs"), 200)
	if len(list.Items) != len(s.scheduler.View().Runs) || !strings.Contains(list.Incomplete, "archive") {
		t.Errorf("got %d runs, incomplete %q", len(list.Items), list.Incomplete)
	}
	if active := want[wire.List[wire.Run]](t, s.get("/v1/runs?state=running,pending"), 200); active.Incomplete != "" {
		t.Errorf("active runs are never archived, and the list says %q", active.Incomplete)
	}
	want[wire.Run](t, s.get("/v1/runs/"+runs["running"]), 200)

	c, err := client.New(client.Config{Server: s.server.URL, HTTP: s.server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	var last error
	for _, err := range c.Runs(t.Context(), client.RunFilter{}) {
		if last = err; err == nil {
			shown++
		}
	}
	if !errors.As(last, new(*client.Incomplete)) || shown != len(list.Items) {
		t.Errorf("the client shows %d runs, then %v", shown, last)
	}
}

// A run that goes to the archive while it is watched ends its stream as it should.
func TestWatchedRunGoesToTheArchive(t *testing.T) {
	s, _, move := withArchive(t)
	runs := s.scheduler.Example(time.Now())
	id := runs["running"]
	response, err := s.server.Client().Get(s.server.URL + "/v1/runs/" + id + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	// The end and the move are one step for whoever looks ten times a second.
	s.scheduler.Update(func(v *scheduler.View) {
		run := *v.Runs[id]
		record := *run.Run
		run.Run = &record
		succeed(&run)
		v.Runs[id] = &run
	})
	move(id)
	data, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(data), "event: done") || !strings.Contains(string(data), `"state":"succeeded"`) {
		t.Errorf("got %s, %v", data, err)
	}
}
