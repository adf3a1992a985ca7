package archive

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

func newArchive(objects storage.Store) *Archive { return New(objects, slog.New(slog.DiscardHandler)) }

// run is an ended one with a plan of one task and a map of so many, of which every third was never launched.
func run(job string, created time.Time, number, tasks int) *scheduler.RunView {
	created = created.UTC().Round(0) // without the clock that only this process has
	id := jobs.RunID(job, created, uint64(number)<<34)
	started, ended := created.Add(time.Second), created.Add(time.Minute)
	view := &scheduler.RunView{
		Run: &proto.Run{
			ID: id, Job: job, Revision: 3, Kind: "aggregate", State: proto.RUN_FAILED, ExecutorVersion: "1.4.0", Role: "data/batch",
			Params: map[string]string{"day": "2013-07-04"}, Created: created, Started: &started, Ended: &ended,
			Stages: []proto.Stage{{Name: "plan", Tasks: 1, Done: true}, {Name: "map", Tasks: uint32(tasks)}},
			Error:  &proto.RunError{Kind: "invalid", Message: `text where "bytes" has a <number>`, Problems: []proto.Problem{{Pointer: "/a", Detail: "b"}}},
		},
		Revision: &proto.Revision{Job: job, Number: 3, Kind: "aggregate", Spec: []byte(`{"name":"` + job + `","where":"a < b"}`), Created: created.Add(-time.Hour)},
		Progress: 0.4375,
		Settled:  true,
	}
	for _, recorded := range view.Run.Stages {
		stage := &scheduler.StageView{Name: recorded.Name, Created: created.Add(time.Millisecond), Tasks: make([]*scheduler.TaskView, recorded.Tasks)}
		for i := range stage.Tasks {
			if i%3 != 2 {
				stage.Tasks[i] = &scheduler.TaskView{Task: task(id, recorded.Name, i, int(recorded.Tasks), created)}
			}
		}
		view.Stages = append(view.Stages, stage)
	}
	return view
}

func task(run, stage string, index, of int, created time.Time) *proto.Task {
	id := jobs.TaskID(run, stage, index)
	at := created.Add(time.Duration(index) * time.Millisecond)
	return &proto.Task{
		ID: id, Run: run, Stage: stage, Index: uint32(index), Of: uint32(of), State: proto.TASK_FINISHED, Created: created,
		Free: 1, Counters: proto.Counters{Rows: int64(index), Bytes: 10, OutRows: 1, OutBytes: 2, Cpu: 1234567891 * time.Nanosecond, PeakMemory: 1 << 30},
		Attempts: []proto.Attempt{
			{
				Number: 1, MesosID: jobs.MesosTaskID(id, 1), AgentID: "S1", Host: "a.example", AgentURL: "http://a.example:5051", ExecutorID: run + "_1.4.0_1",
				State: proto.TASK_LOST, Launched: at, Ended: &at, GivenUp: true, KillRequested: &at, Reason: "REASON_AGENT_REMOVED",
				Failure: &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost", Message: "gone", Pointer: "/x", Problems: []proto.Problem{{Pointer: "/y", Detail: "z"}}},
			},
			{
				Number: 2, MesosID: jobs.MesosTaskID(id, 2), AgentID: "S2", Host: "b.example", State: proto.TASK_FINISHED, Launched: at, Running: &at, Ended: &at,
				Directory: "/sandbox/" + id, LogURI: "s3://results/_work/" + id + "/", Settled: true,
			},
		},
	}
}

var day = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func write(t *testing.T, a *Archive, runs ...*scheduler.RunView) {
	t.Helper()
	if err := a.Write(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
}

// check compares what the archive has of a run with what was written, from a position of its tasks on.
func check(t *testing.T, a *Archive, want *scheduler.RunView, from int) {
	t.Helper()
	got, err := a.Run(t.Context(), want.Run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(summarize(want), got, cmp.AllowUnexported(Run{}), cmp.FilterPath(func(p cmp.Path) bool {
		return p.String() == "pair" || strings.HasPrefix(p.String(), "details")
	}, cmp.Ignore())); diff != "" {
		t.Errorf("run %s: %s", want.Run.ID, diff)
	}
	revision, err := a.Revision(t.Context(), got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Revision, revision); diff != "" {
		t.Errorf("revision of %s: %s", want.Run.ID, diff)
	}
	position := 0
	next, stop := iterate(t, a, got, from)
	defer stop()
	for wanted := range want.Tasks() {
		if position++; position <= from {
			continue
		}
		if got := next(); !reflect.DeepEqual(wanted, got) { // many tasks: cmp takes its time
			t.Fatalf("task %s: %s", wanted.Task.ID, cmp.Diff(wanted, got))
		}
	}
	if more := next(); more != nil {
		t.Errorf("there is one more task: %v", more)
	}
}

// iterate gives a run's tasks one by one, nil behind the last.
func iterate(t *testing.T, a *Archive, run *Run, from int) (next func() *scheduler.TaskView, stop func()) {
	pull, stop := iter.Pull2(a.Tasks(t.Context(), run, from))
	return func() *scheduler.TaskView {
		t.Helper()
		task, err, ok := pull()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return nil
		}
		return task
	}, stop
}

func TestRoundTrip(t *testing.T) {
	a := newArchive(newMemory())
	small, none := run("flights", day, 1, 4), run("no-tasks", day, 2, 0)
	large := run("large", day.Add(time.Hour), 3, 4*chunk)
	other := run("flights", day.AddDate(0, 0, -1), 4, 1)
	clear(large.Stages[1].Tasks[chunk : 3*chunk]) // never launched
	write(t, a, small, none, large, other)
	for _, reader := range []*Archive{a, newArchive(a.objects)} {
		for _, want := range []*scheduler.RunView{small, none, large, other} {
			check(t, reader, want, 0)
		}
		for _, from := range []int{1, 700, chunk + 1, 3*chunk + 17, 4 * chunk, 9 * chunk} {
			check(t, reader, large, from)
		}
	}
}

// A page of tasks costs one range of the details, however large the run is.
func TestTasksAreReadInPieces(t *testing.T) {
	objects := newMemory()
	a := newArchive(objects)
	large := run("large", day, 1, 10*chunk)
	write(t, a, large)
	got, err := a.Run(t.Context(), large.Run.ID)
	if err != nil {
		t.Fatal(err)
	}
	before := objects.calls["get"]
	n := 0
	for _, err := range a.Tasks(t.Context(), got, 4*chunk+10) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 100 {
			break
		}
	}
	if reads := objects.calls["get"] - before; reads > 1 {
		t.Errorf("100 tasks took %d reads", reads)
	}
}

// The format is one for other programs, too: what operations.md shows must work.
func TestLinesAreReadable(t *testing.T) {
	objects := newMemory()
	written := run("flights", day, 1, 2)
	write(t, newArchive(objects), written)
	type line struct {
		Version  int
		Run      any
		Task     map[string]any
		Revision map[string]any
	}
	var got []line
	for _, key := range append(objects.keys(runsEnding), objects.keys(detailsEnding)...) {
		if !strings.HasPrefix(key, "archive/2026-11-23/") {
			t.Errorf("got key %q", key)
		}
		body, _, err := objects.Get(t.Context(), key, storage.Range{})
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		for lines := json.NewDecoder(unpacked); ; {
			var l line
			if err := lines.Decode(&l); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if l.Version != 1 {
				t.Errorf("a line has version %d", l.Version)
			}
			got = append(got, l)
		}
	}
	if len(got) != 5 { // run, revision, plan.0, map.0, map.1
		t.Fatalf("got %d lines: %v", len(got), got)
	}
	summary := got[0].Run.(map[string]any)
	if summary["state"] != "failed" || summary["created"] != "2026-11-23T12:00:00Z" || summary["stages"].([]any)[1].(map[string]any)["states"].(map[string]any)["finished"] != 2.0 {
		t.Errorf("run: got %v", summary)
	}
	if spec := got[1].Revision["spec"].(map[string]any); spec["where"] != "a < b" {
		t.Errorf("spec: got %v", spec)
	}
	if got[4].Run != written.Run.ID || got[4].Task["attempts"].([]any)[1].(map[string]any)["log_uri"] == "" {
		t.Errorf("task: got %v", got[4])
	}
}

func TestNotFound(t *testing.T) {
	objects := newMemory()
	a := newArchive(objects)
	write(t, a, run("flights", day, 1, 1))
	for _, id := range []string{"", "flights", jobs.RunID("flights", day, 2<<34), jobs.RunID("flights", day.AddDate(0, 0, 5), 1<<34)} {
		if got, err := a.Run(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: got %v, %v, want ErrNotFound", id, got, err)
		}
	}
	before := objects.calls["list"]
	for range 100 {
		if _, err := a.Run(t.Context(), jobs.RunID("flights", day, 2<<34)); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	if lists := objects.calls["list"] - before; lists > 10 {
		t.Errorf("100 runs that are not there took %d listings", lists)
	}
}

// What another instance has written is found at once by its ID.
func TestWrittenElsewhere(t *testing.T) {
	objects := newMemory()
	reader, writer := newArchive(objects), newArchive(objects)
	first, second := run("flights", day, 1, 1), run("flights", day, 2, 1)
	write(t, writer, first)
	check(t, reader, first, 0)
	reader.index.mu.Lock()
	reader.index.listed = time.Now().Add(-2 * missAge)
	for _, d := range reader.index.byDay {
		d.listed = reader.index.listed
	}
	reader.index.mu.Unlock()
	write(t, writer, second)
	check(t, reader, second, 0)
}

func TestBrokenFiles(t *testing.T) {
	good, bad, otherDay := run("good", day, 1, 1), run("bad", day, 2, 1), run("other", day.AddDate(0, 0, -1), 3, 1)
	cut := func(data []byte) []byte { return data[:len(data)/2] }
	for name, test := range map[string]struct {
		ending  string
		spoil   func([]byte) []byte
		version int
		says    string
	}{
		"cut":               {runsEnding, cut, 0, "unexpected EOF"},
		"empty":             {runsEnding, func([]byte) []byte { return nil }, 0, "EOF"},
		"not compressed":    {runsEnding, func([]byte) []byte { return []byte(`{"version":1}`) }, 0, "gzip"},
		"flipped":           {runsEnding, func(d []byte) []byte { d[len(d)-6] ^= 1; return d }, 0, "checksum"},
		"of a newer format": {runsEnding, func([]byte) []byte { return pack(`{"version":2,"run":{}}`) }, 0, "newer tidemill"},
		"without version":   {runsEnding, func([]byte) []byte { return pack(`{"run":{}}`) }, 0, "version 0"},
		"unknown state":     {runsEnding, func([]byte) []byte { return pack(`{"version":1,"run":{"state":"asleep"}}`) }, 0, `"asleep"`},
		"details cut":       {detailsEnding, cut, 0, "EOF"},
		"details of others": {detailsEnding, func([]byte) []byte { return pack(`{"version":1,"run":"x","task":{}}`) }, 0, "run"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := newMemory()
			a := newArchive(objects)
			write(t, a, bad)
			key := objects.keys(test.ending)[0]
			write(t, a, good, otherDay)
			objects.objects[key] = test.spoil(slices.Clone(objects.objects[key]))
			objects.etags[key] = "spoilt"
			a.index.forget()

			check(t, a, good, 0)
			check(t, a, otherDay, 0)
			got, err := a.Run(t.Context(), bad.Run.ID)
			if test.ending == detailsEnding && err == nil {
				for _, taskErr := range a.Tasks(t.Context(), got, 0) {
					err = taskErr
				}
			}
			if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want ErrBroken that names %s and says %q", err, key, test.says)
			}
			page, err := a.List(t.Context(), Filter{}, Position{}, 10)
			if want := map[string]int{runsEnding: 2, detailsEnding: 3}[test.ending]; err != nil || len(page.Runs) != want {
				t.Errorf("list: got %d runs, %v, want %d", len(page.Runs), err, want)
			}
			// Written once more, it is there again.
			write(t, a, bad)
			if test.ending == runsEnding {
				check(t, a, bad, 0)
			}
		})
	}
}

func pack(text string) []byte {
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err) // a strings.Builder takes all
	}
	return []byte(out.String())
}

func TestStorageIsDown(t *testing.T) {
	objects := newMemory()
	a := newArchive(objects)
	want := run("flights", day, 1, 3)
	write(t, a, want)
	got, err := a.Run(t.Context(), want.Run.ID)
	if err != nil {
		t.Fatal(err)
	}
	objects.fail = func(string, string) error { return storage.ErrUnavailable }
	for _, err := range a.Tasks(t.Context(), got, 0) {
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, ErrBroken) {
			t.Errorf("tasks: got %v", err)
		}
	}
	if _, err := a.Revision(t.Context(), got); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, ErrBroken) {
		t.Errorf("revision: got %v", err)
	}
	a = newArchive(objects)
	if _, err := a.Run(t.Context(), want.Run.ID); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, ErrNotFound) {
		t.Errorf("run: got %v", err)
	}
	if _, err := a.List(t.Context(), Filter{}, Position{}, 10); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("list: got %v", err)
	}
	if err := a.Write(t.Context(), []*scheduler.RunView{want}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("write: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.index.busy <- struct{}{} // somebody waits for the storage
	if _, err := a.List(ctx, Filter{}, Position{}, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("list while another one waits: got %v", err)
	}
	a.index.leave()
}

// The pages of a list are the sorted list, whatever is written and joined between them.
func TestListIsAMergedSortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := newArchive(newMemory())
		all := map[string]*scheduler.RunView{}
		for i := range rapid.IntRange(0, 30).Draw(rt, "runs") {
			job := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "job")
			at := day.Add(time.Duration(rapid.IntRange(-3*24, 3*24).Draw(rt, "hours")) * time.Hour)
			view := run(job, at, i, i%3)
			view.Run.State = proto.RunState(rapid.IntRange(2, 4).Draw(rt, "state"))
			all[view.Run.ID] = view
		}
		views := slices.Collect(maps.Values(all))
		batch := rapid.IntRange(1, 7).Draw(rt, "batch")
		for part := range slices.Chunk(views, batch) {
			write(t, a, part...)
		}
		if len(views) > 0 && rapid.Bool().Draw(rt, "twice") {
			write(t, a, views[:(len(views)+1)/2]...)
		}
		filter := Filter{Job: rapid.SampledFrom([]string{"", "a", "c"}).Draw(rt, "filter job")}
		if rapid.Bool().Draw(rt, "filter state") {
			filter.States = []proto.RunState{proto.RUN_FAILED, proto.RUN_CANCELLED}
		}
		var want []string
		for _, view := range views {
			if filter.wants(&Run{Record: view.Run}) {
				want = append(want, view.Run.ID)
			}
		}
		slices.SortFunc(want, func(x, y string) int {
			p, q := (&Run{Record: all[x].Run}).Position(), (&Run{Record: all[y].Run}).Position()
			switch {
			case p.Before(q):
				return -1
			case q.Before(p):
				return 1
			}
			return 0
		})
		var got []string
		limit := rapid.IntRange(1, 10).Draw(rt, "limit")
		for after := (Position{}); ; {
			page, err := a.List(t.Context(), filter, after, limit)
			if err != nil {
				rt.Fatal(err)
			}
			if len(page.Runs) > limit {
				rt.Fatalf("a page has %d runs, more than %d", len(page.Runs), limit)
			}
			for _, r := range page.Runs {
				got = append(got, r.Record.ID)
			}
			if !page.More {
				break
			}
			after = page.Next
			if rapid.IntRange(0, 3).Draw(rt, "compact") == 0 {
				if _, err := newArchive(a.objects).Compact(t.Context()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatal(diff)
		}
	})
}

// A page that would read too many files ends early, and the next one goes on.
func TestPagesAreBounded(t *testing.T) {
	objects := newMemory()
	writer := newArchive(objects)
	days := mostReads + 50
	for i := range days {
		write(t, writer, run("rare", day.AddDate(0, 0, -i), i, 0))
	}
	a := newArchive(objects)
	filter := Filter{Job: "nobody's"}
	page, err := a.List(t.Context(), filter, Position{}, 10)
	if err != nil || !page.More || len(page.Runs) != 0 {
		t.Fatalf("first page: got %+v, %v", page, err)
	}
	page, err = a.List(t.Context(), filter, page.Next, 10)
	if err != nil || page.More {
		t.Errorf("second page: got %+v, %v", page, err)
	}
	if reads := objects.calls["get"]; reads != days {
		t.Errorf("%d files were read, want each of %d once", reads, days)
	}
}

// What is kept in memory is bounded, and what was forgotten is read again.
func TestMemoryIsBounded(t *testing.T) {
	objects := newMemory()
	writer := newArchive(objects)
	padding := strings.Repeat("x", 10<<10)
	var all []*scheduler.RunView
	for i := range 80 {
		view := run("wide", day.AddDate(0, 0, -i), i, 0)
		view.Run.Params = map[string]string{"padding": padding}
		all = append(all, view)
		write(t, writer, view)
	}
	a := newArchive(objects)
	a.index.most = 500 << 10
	for range 2 {
		for _, view := range all {
			if _, err := a.Run(t.Context(), view.Run.ID); err != nil {
				t.Fatal(err)
			}
			if a.index.size > a.index.most {
				t.Fatalf("%d bytes are in memory", a.index.size)
			}
		}
	}
	var size int64
	for _, f := range a.index.files {
		size += f.size
	}
	if size != a.index.size || len(a.index.files) < 20 {
		t.Errorf("%d files of %d bytes are in memory; %d are counted", len(a.index.files), size, a.index.size)
	}
}

func BenchmarkList(b *testing.B) {
	objects := newMemory()
	a := newArchive(objects)
	var runs []*scheduler.RunView
	for i := range 10_000 {
		runs = append(runs, run("flights", day.Add(time.Duration(i)*time.Second), i, 0))
	}
	if err := a.Write(b.Context(), runs); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if page, err := a.List(b.Context(), Filter{}, Position{}, 100); err != nil || len(page.Runs) != 100 {
			b.Fatal(fmt.Sprint(len(page.Runs)), err)
		}
	}
}
