package commit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func output(store storage.Store) *Output {
	return &Output{
		Store: store, URI: storage.URI{Scheme: "s3", Bucket: "results", Key: "job/"},
		Work: store, WorkURI: storage.URI{Scheme: "s3", Bucket: "results", Key: "job/_work/"},
		Log: slog.New(slog.DiscardHandler),
	}
}

// write puts an attempt's file and returns its manifest.
func write(ctx context.Context, o *Output, run, attempt string, created time.Time) (*Manifest, error) {
	uri := o.FileURI(run, attempt, "part-00000.parquet")
	content := run + " " + attempt
	if _, err := storage.WriteAll(ctx, o.Store, uri.Key, []byte(content), storage.Always); err != nil {
		return nil, err
	}
	return &Manifest{
		Entries: []Entry{{URL: uri.String(), Mandatory: true, Meta: Meta{ContentLength: int64(len(content))}}},
		Run:     run, Attempt: attempt, Created: created, Rows: 7, Schema: []Column{{"n", "BIGINT"}},
	}, nil
}

func publish(t *testing.T, o *Output, run, attempt string, created time.Time) (uri string, err error) {
	t.Helper()
	m, err := write(t.Context(), o, run, attempt, created)
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.Publish(t.Context(), m)
	if err != nil {
		return "", err
	}
	return out.URI, nil
}

func TestPublish(t *testing.T) {
	store := newMemory()
	o := output(store)
	for _, key := range []string{"plan-1.json", "map/0-1", "logs/r1.map.0.1/stdout"} {
		if _, err := storage.WriteAll(t.Context(), store, "job/_work/r1/"+key, []byte("x"), storage.Always); err != nil {
			t.Fatal(err)
		}
	}
	m, err := write(t.Context(), o, "r1", "reduce.0.1", noon)
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %s %d %d %d", out.URI, out.Manifest, out.Rows, out.Files, out.Bytes); got !=
		"s3://results/job/data/r1/reduce.0.1/ s3://results/job/data/r1/_manifest.json 7 1 13" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(store.keys("job/")); got != "[_latest.json _work/r1/logs/r1.map.0.1/stdout data/r1/_manifest.json data/r1/reduce.0.1/part-00000.parquet]" {
		t.Errorf("got objects %s", got)
	}
	const want = `{"entries":[{"url":"s3://results/job/data/r1/reduce.0.1/part-00000.parquet","mandatory":true,"meta":{"content_length":13}}],` +
		`"run":"r1","attempt":"reduce.0.1","created":"2026-01-01T12:00:00Z","rows":7,"schema":[{"name":"n","type":"BIGINT"}]}`
	if got := strings.TrimSpace(string(store.objects["job/data/r1/_manifest.json"].data)); got != want {
		t.Errorf("got manifest %s\nwant %s", got, want)
	}
}

func TestASecondAttemptGetsTheFirstResult(t *testing.T) {
	store := newMemory()
	o := output(store)
	first, err := publish(t, o, "r1", "reduce.0.1", noon)
	if err != nil {
		t.Fatal(err)
	}
	second, err := publish(t, o, "r1", "reduce.0.2", noon)
	if err != nil || second != first {
		t.Errorf("got %q, %v, want %q", second, err, first)
	}
	if got := fmt.Sprint(store.keys("job/data/r1/")); got != "[_manifest.json reduce.0.1/part-00000.parquet]" {
		t.Errorf("got objects %s", got)
	}
}

func TestTheSecondAttemptFinishesWhatTheWinnerLeft(t *testing.T) {
	store := newMemory()
	o := output(store)
	m, err := write(t.Context(), o, "r1", "reduce.0.1", noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.claim(t.Context(), m); err != nil { // and dies
		t.Fatal(err)
	}
	if out, err := o.Cancel(t.Context(), "r1", "clean.0.1", noon); err != nil || out == nil || !strings.HasSuffix(out.URI, "/reduce.0.1/") {
		t.Errorf("got %v, %v", out, err)
	}
	latest, _, err := o.readLatest(t.Context(), "job/_latest.json")
	if err != nil || latest.Run != "r1" {
		t.Errorf("got %v, %v", latest, err)
	}
}

func TestCancelBeatsALateAttempt(t *testing.T) {
	store := newMemory()
	o := output(store)
	if out, err := o.Cancel(t.Context(), "r1", "clean.0.1", noon); err != nil || out != nil {
		t.Fatalf("got %v, %v", out, err)
	}
	if _, err := publish(t, o, "r1", "reduce.0.1", noon); !errors.Is(err, ErrCancelled) {
		t.Errorf("got %v", err)
	}
	if out, err := o.Cancel(t.Context(), "r1", "clean.0.2", noon); err != nil || out != nil {
		t.Errorf("a second time: got %v, %v", out, err)
	}
	if got := fmt.Sprint(store.keys("job/")); got != "[data/r1/_manifest.json]" {
		t.Errorf("got objects %s", got)
	}
}

func TestThreeResultsAreKept(t *testing.T) {
	store := newMemory()
	o := output(store)
	for i := range 5 {
		run := fmt.Sprintf("r%d", i)
		if _, err := storage.WriteAll(t.Context(), store, "job/_work/"+run+"/logs/x", nil, storage.Always); err != nil {
			t.Fatal(err)
		}
		if _, err := publish(t, o, run, "plan.0.1", noon.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	// A run that was created before them all ends last: its result is there for those who ask for it, but it is not the latest.
	if _, err := publish(t, o, "r-early", "plan.0.1", noon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	latest, _, err := o.readLatest(t.Context(), "job/_latest.json")
	if err != nil || latest.Run != "r4" || len(latest.Kept) != 3 || latest.Kept[2].Run != "r2" {
		t.Errorf("got %+v, %v", latest, err)
	}
	runs := []string{}
	for _, key := range append(store.keys("job/data/"), store.keys("job/_work/")...) {
		run, _, _ := strings.Cut(key, "/")
		if !slices.Contains(runs, run) {
			runs = append(runs, run)
		}
	}
	if got := fmt.Sprint(runs); got != "[r-early r2 r3 r4]" {
		t.Errorf("left are %s", got)
	}
	if _, err := publish(t, o, "r5", "plan.0.1", noon.Add(5*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := store.keys("job/data/r-early/"); len(got) != 0 {
		t.Errorf("left of the early run is %v", got)
	}
}

func TestLeftoversAreCollected(t *testing.T) {
	store := newMemory()
	o := output(store)
	mustWrite := func(run, attempt string) {
		if _, err := write(t.Context(), o, run, attempt, noon); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite("r-dead", "plan.0.1")
	if _, err := storage.WriteAll(t.Context(), store, "job/_work/r-dead/logs/x", nil, storage.Always); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Cancel(t.Context(), "r-cancelled", "clean.0.1", noon); err != nil {
		t.Fatal(err)
	}
	mustWrite("r-cancelled", "plan.0.2") // written late
	next := func(after time.Duration, run string) string {
		store.now = store.now.Add(after)
		mustWrite("r-busy", "plan.0."+run)
		if _, err := publish(t, o, run, "plan.0.1", noon); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(store.keys("job/data/")) + fmt.Sprint(store.keys("job/_work/"))
	}
	for _, test := range []struct {
		after   time.Duration
		run     string
		has, no []string
	}{
		{time.Hour, "s1", []string{"r-dead/plan", "r-cancelled/_m", "r-busy/plan", "r-dead/logs/x"}, []string{"r-cancelled/plan"}},
		{(7*24 + 1) * time.Hour, "s2", []string{"r-dead/_m", "r-cancelled/_m", "r-busy/plan"}, []string{"r-busy/_m"}},
		{time.Hour, "s3", []string{"r-dead/_m"}, []string{"r-dead/plan"}},
		{15 * 24 * time.Hour, "s4", []string{"r-busy/plan"}, []string{"r-dead", "r-cancelled"}},
	} {
		got := next(test.after, test.run)
		for _, has := range test.has {
			if !strings.Contains(got, has) {
				t.Errorf("%s: %s is missing in %s", test.run, has, got)
			}
		}
		for _, no := range test.no {
			if strings.Contains(got, no) {
				t.Errorf("%s: %s is still in %s", test.run, no, got)
			}
		}
	}
	if _, err := publish(t, o, "r-dead", "plan.0.9", noon); err != nil {
		t.Errorf("after two weeks a commit point is forgotten: %v", err)
	}
}

// publishAs is publish in a mode, with a column's name for the schema.
func publishAs(t *testing.T, o *Output, mode Mode, run, column string) (*proto.Output, error) {
	t.Helper()
	m, err := write(t.Context(), o, run, "plan.0.1", noon)
	if err != nil {
		t.Fatal(err)
	}
	m.Mode, m.Schema = mode, []Column{{column, "BIGINT"}}
	return o.Publish(t.Context(), m)
}

func TestAppend(t *testing.T) {
	store := newMemory()
	o := output(store)
	var last *proto.Output
	for i := range 6 {
		var err error
		if last, err = publishAs(t, o, Append, fmt.Sprintf("r%d", i), "n"); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprintf("%s %s %d %d", last.URI, last.Manifest, last.Rows, last.Files); got !=
		"s3://results/job/data/r5/plan.0.1/ s3://results/job/data/r5/_manifest-after-r4.json 7 1" {
		t.Errorf("got %s", got)
	}
	m, err := o.Latest(t.Context())
	if err != nil || m.Rows != 42 || len(m.Entries) != 6 || m.Base != "r4" || m.Entries[5].Run != "" || m.Entries[0].Run != "r0" {
		t.Errorf("got %+v, %v", m, err)
	}
	// Files stay as long as a kept manifest names them; manifests of results that are not kept go.
	want := "[r0/_entered.json r0/_manifest.json r0/plan.0.1/part-00000.parquet r1/_entered.json"
	if got := fmt.Sprint(store.keys("job/data/")); !strings.HasPrefix(got, want) || strings.Contains(got, "r2/_manifest-after") || strings.Count(got, "part-") != 6 {
		t.Errorf("got %s", got)
	}
	if again, err := o.Published(t.Context(), "r0"); err != nil || again.Rows != 7 {
		t.Errorf("got %v, %v", again, err)
	}
	if m, err = o.Latest(t.Context()); err != nil || m.Rows != 42 {
		t.Errorf("after an attempt of the first run woke up: got %+v, %v", m, err)
	}
	// Once something replaces them all and two weeks have passed, they are gone.
	for i := range 4 {
		store.now = store.now.Add(15 * 24 * time.Hour)
		if _, err := publish(t, o, fmt.Sprintf("s%d", i), "plan.0.1", noon.Add(time.Duration(i+1)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(store.keys("job/data/r")); got != "[]" {
		t.Errorf("left is %s", got)
	}
}

func TestModesThatDoNotFit(t *testing.T) {
	store := newMemory()
	o := output(store)
	if _, err := publishAs(t, o, FailIfExists, "r0", "n"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode   Mode
		column string
		want   error
	}{
		{FailIfExists, "n", ErrExists},
		{Append, "other", ErrIncompatible},
		{ReplacePartitions, "other", ErrIncompatible},
	} {
		run := "r-" + string(test.mode)
		if _, err := publishAs(t, o, test.mode, run, test.column); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.mode, err, test.want)
		}
		if out, err := o.Cancel(t.Context(), run, "clean.0.1", noon); out != nil || err != nil {
			t.Errorf("%s: got %v, %v", test.mode, out, err)
		}
		if got := fmt.Sprint(store.keys("job/data/" + run + "/")); got != "[_manifest.json]" {
			t.Errorf("%s: left is %s", test.mode, got)
		}
	}
	if out, err := o.Published(t.Context(), "r0"); err != nil || out.Rows != 7 {
		t.Errorf("got %v, %v", out, err)
	}
}

// Executors from before results could share files refuse what they would tidy away.
func TestOldExecutorsRefuseSharedResults(t *testing.T) {
	store := newMemory()
	o := output(store)
	kept := func() int {
		var l struct{ Kept []Result }
		if err := json.Unmarshal(store.objects["job/_latest.json"].data, &l); err != nil {
			t.Fatal(err)
		}
		return len(l.Kept)
	}
	if _, err := publishAs(t, o, Replace, "r0", "n"); err != nil || kept() != 1 {
		t.Errorf("got %d, %v", kept(), err)
	}
	if _, err := publishAs(t, o, Append, "r1", "n"); err != nil || kept() != 0 {
		t.Errorf("got %d, %v", kept(), err)
	}
}

func TestAnotherWorkAreaIsLeftAlone(t *testing.T) {
	store := newMemory()
	o := output(store)
	o.WorkURI.Key = "job/"
	if _, err := publish(t, o, "r1", "plan.0.1", noon); err != nil {
		t.Fatal(err)
	}
	store.now = store.now.Add(100 * 24 * time.Hour)
	if _, err := publish(t, o, "r2", "plan.0.1", noon); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(store.keys("job/data/")); !strings.Contains(got, "r1/plan.0.1/part-00000.parquet") {
		t.Errorf("got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"entries":[{"url":"s3://results/x","mandatory":true,"meta":{"content_length":1}}],"run":"r","attempt":"a"}`))
	f.Add([]byte(`{"run":"r","attempt":"a","cancelled":true}`))
	f.Add([]byte(`{"run":"r","kept":[{"run":"r"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ParseManifest(data, "r"); err == nil {
			again, err := encode(m)
			if err != nil {
				t.Skip("a time that JSON cannot hold")
			}
			if _, err := ParseManifest(again, "r"); err != nil {
				t.Fatalf("%q is not read back: %v", again, err)
			}
		}
		if l, err := ParseLatest(data); err == nil {
			if n := l.with(Result{Run: "new", Created: noon}); len(n.Kept) > max(Keep, len(l.Kept)) || !slices.IsSortedFunc(n.Kept, order) {
				t.Fatalf("%+v is not in order", n)
			}
		}
	})
}
