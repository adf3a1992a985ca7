package commit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/storage"
)

// The protocol under every order of steps, with faults: several runs of one job, each with attempts that publish and
// clean-up tasks that cancel, all against one bucket. Every storage operation is a step. Which actor makes the next one
// is drawn, and so is what becomes of it: it succeeds; it fails before it took effect, or after; or the actor is dead
// from there on. What must hold is checked after every step.

var errKilled = errors.New("killed")

type fate int

const (
	succeeds fate = iota
	failsBefore
	failsAfter
	killedBefore
	killedAfter
)

// job is what all attempts of one run want.
type job struct {
	mode       Mode
	partitions []string
	schema     []Column
}

// actor is one attempt. It stops before each storage operation until the test lets it go on.
type actor struct {
	run, attempt string
	created      time.Time
	cancels      bool
	job          job

	store  *memory
	arrive chan string // the operation that it is about to do; closed when the actor has ended
	leave  chan fate
	dead   bool
	tried  bool // to win the commit point

	uri string // what it said the result is
	err error
}

func (a *actor) step(name string, do func() error) error {
	if a.dead {
		return errKilled
	}
	a.arrive <- name
	switch fate := <-a.leave; fate {
	case failsBefore:
		return fmt.Errorf("%s: %w", name, storage.ErrUnavailable)
	case killedBefore:
		a.dead = true
		return errKilled
	case failsAfter, killedAfter:
		if err := do(); err != nil {
			return err
		}
		a.dead = fate == killedAfter
		if a.dead {
			return errKilled
		}
		return fmt.Errorf("%s: %w", name, storage.ErrUnavailable)
	}
	return do()
}

// act is what the actor does with its life.
func (a *actor) act(ctx context.Context) {
	defer close(a.arrive)
	o := output(a)
	if a.cancels {
		out, err := o.Cancel(ctx, a.run, a.attempt, a.created)
		if a.err = err; out != nil {
			a.uri = out.URI
		}
		return
	}
	m := &Manifest{Run: a.run, Attempt: a.attempt, Created: a.created, Mode: a.job.mode, PartitionBy: []string{"p"}, Schema: a.job.schema}
	for _, p := range a.job.partitions {
		uri := o.FileURI(a.run, a.attempt, "p="+p)
		content := a.run + " " + a.attempt + " p=" + p
		if _, a.err = storage.WriteAll(ctx, a, uri.Key, []byte(content), storage.Always); a.err != nil {
			return
		}
		rows := int64(len(p))
		m.Rows += rows
		m.Entries = append(m.Entries, Entry{URL: uri.String(), Mandatory: true, Meta: Meta{int64(len(content)), &rows}, Partition: map[string]*string{"p": &p}})
	}
	out, err := o.Publish(ctx, m)
	if a.err = err; err == nil {
		a.uri = out.URI
	}
}

func (a *actor) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		var found iter.Seq2[storage.Object, error]
		if err := a.step("list "+prefix, func() error { found = a.store.List(ctx, prefix, after); return nil }); err != nil {
			yield(storage.Object{}, err)
			return
		}
		found(yield)
	}
}

func (a *actor) Stat(ctx context.Context, key string) (o storage.Object, err error) {
	err = a.step("stat "+key, func() error { o, err = a.store.Stat(ctx, key); return err })
	return o, err
}

func (a *actor) Get(ctx context.Context, key string, r storage.Range) (body io.ReadCloser, o storage.Object, err error) {
	err = a.step("get "+key, func() error { body, o, err = a.store.Get(ctx, key, r); return err })
	return body, o, err
}

func (a *actor) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (o storage.Object, err error) {
	a.tried = a.tried || strings.HasSuffix(key, "/"+manifestName)
	err = a.step("put "+key, func() error { o, err = a.store.Put(ctx, key, body, size, cond); return err })
	return o, err
}

func (a *actor) Copy(ctx context.Context, from, to string) error {
	return a.step("copy "+from, func() error { return a.store.Copy(ctx, from, to) })
}

func (a *actor) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys { // an S3 batch may be cut anywhere
		if err := a.step("delete "+key, func() error { return a.store.Delete(ctx, key) }); err != nil {
			return err
		}
	}
	return nil
}

// world is the bucket, who is at work, and what has been seen so far.
type world struct {
	store     *memory
	waiting   map[*actor]string
	ended     []*actor
	latest    *Latest
	visible   map[string]Result // the files of the newest result, and who wrote them
	entered   map[string]bool   // runs whose result was the newest one once
	manifests map[string]string // by run: what stood at its commit point first
	forgotten map[string]bool   // runs whose commit point was tidied away
}

func (w *world) start(ctx context.Context, a *actor) {
	a.store, a.arrive, a.leave = w.store, make(chan string), make(chan fate)
	go a.act(ctx)
	w.await(a)
}

func (w *world) await(a *actor) {
	if name, ok := <-a.arrive; ok {
		w.waiting[a] = name
		return
	}
	delete(w.waiting, a)
	w.ended = append(w.ended, a)
}

func (w *world) goOn(a *actor, f fate) {
	a.leave <- f
	w.await(a)
}

// check is what must hold at every moment.
func (w *world) check(t *rapid.T) {
	for key, s := range w.store.objects {
		run, ok := strings.CutSuffix(strings.TrimPrefix(key, "job/data/"), "/"+manifestName)
		if !ok {
			continue
		}
		if was, seen := w.manifests[run]; seen && was != string(s.data) && !w.forgotten[run] {
			t.Fatalf("the commit point of %s changed from %s to %s", run, was, s.data)
		}
		if !w.forgotten[run] {
			w.manifests[run] = string(s.data)
		}
	}
	for run, was := range w.manifests {
		if _, there := w.store.objects["job/data/"+run+"/"+manifestName]; !there && !w.forgotten[run] {
			if strings.Contains(was, `"cancelled":true`) || strings.Contains(was, `"mode":`) || w.latest == nil || w.latest.keeps(run) || len(w.latest.Kept) < Keep {
				t.Fatalf("the commit point of %s is gone: %s", run, was)
			}
			w.forgotten[run] = true
		}
	}
	w.checkLatest(t)
}

func (w *world) checkLatest(t *rapid.T) {
	s, there := w.store.objects["job/_latest.json"]
	if !there {
		if w.latest != nil {
			t.Fatalf("_latest.json is gone")
		}
		return
	}
	latest, err := ParseLatest(s.data)
	if err != nil {
		t.Fatal(err)
	}
	if w.latest != nil && latest.Created.Before(w.latest.Created) {
		t.Fatalf("_latest.json went back from %s to %s", w.latest.Run, latest.Run)
	}
	if len(latest.Kept) > Keep {
		t.Fatalf("%d results are kept", len(latest.Kept))
	}
	w.follow(t, latest)
	w.latest = latest
	for _, kept := range latest.Kept {
		m, err := ParseManifest(w.store.objects["job/data/"+kept.Run+"/"+manifestName].data, kept.Run)
		if err != nil || m.Cancelled {
			t.Fatalf("%s is kept without a result: %+v, %v", kept.Run, m, err)
		}
		for _, e := range w.result(t, kept).Entries {
			file, ok := w.store.objects[strings.TrimPrefix(e.URL, "s3://results/")]
			if !ok || int64(len(file.data)) != e.Meta.ContentLength || !strings.HasSuffix(e.URL, strings.ReplaceAll(string(file.data), " ", "/")) {
				t.Fatalf("%s is kept, and its file %s is %q", kept.Run, e.URL, file.data)
			}
		}
	}
}

// result reads the manifest of a result that is kept.
func (w *world) result(t *rapid.T, r Result) *Manifest {
	m, err := ParseManifest(w.store.objects[strings.TrimPrefix(r.Manifest, "s3://results/")].data, r.Run)
	if err != nil {
		t.Fatalf("the manifest of %s: %v", r.Run, err)
	}
	return m
}

// follow holds what a reader of _latest.json sees to a model: a set of files, to which one run after another does what
// its mode says, each at most once.
func (w *world) follow(t *rapid.T, latest *Latest) {
	if w.latest != nil && w.latest.Run == latest.Run {
		return
	}
	if w.entered[latest.Run] {
		t.Fatalf("%s is entered a second time", latest.Run)
	}
	w.entered[latest.Run] = true
	own, err := ParseManifest(w.store.objects["job/data/"+latest.Run+"/"+manifestName].data, latest.Run)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]Result{} // by URL: who wrote it
	later := map[string]bool{}  // partitions with files of runs that were asked for later
	replaced := map[string]bool{}
	for _, e := range own.Entries {
		replaced[e.partition()] = true
	}
	for url, by := range w.visible {
		if order(by, Result{Run: own.Run, Created: own.Created}) < 0 {
			later[partitionOf(url)] = true
		}
	}
	for url, by := range w.visible {
		p := partitionOf(url)
		if own.Mode == Append || own.Mode == ReplacePartitions && (!replaced[p] || later[p]) {
			next[url] = by
		}
	}
	if own.Mode == FailIfExists && w.latest != nil {
		t.Fatalf("%s is entered though there was %s", own.Run, w.latest.Run)
	}
	for _, e := range own.Entries {
		if own.Mode != ReplacePartitions || !later[e.partition()] {
			next[e.URL] = Result{Run: own.Run, Created: own.Created}
		}
	}
	result := w.result(t, latest.Kept[0])
	var rows int64
	seen := map[string]bool{}
	for _, e := range result.Entries {
		rows += e.rows()
		if _, expected := next[e.URL]; !expected || seen[e.URL] {
			t.Fatalf("after %s (%s) a reader sees %s", own.Run, own.Mode, e.URL)
		}
		seen[e.URL] = true
	}
	if len(seen) != len(next) || rows != result.Rows {
		t.Fatalf("after %s (%s) a reader sees %d files with %d rows, want %d and %d", own.Run, own.Mode, len(seen), result.Rows, len(next), rows)
	}
	w.visible = next
}

// partitionOf is the partition of a file of these tests, as entries name it.
func partitionOf(url string) string {
	_, name, _ := strings.Cut(url, "/p=")
	value, _, _ := strings.Cut(name, "/")
	return Entry{Partition: map[string]*string{"p": &value}}.partition()
}

// checkVerdicts: nobody may have been told two different things about one run.
func (w *world) checkVerdicts(t *rapid.T) {
	told := map[string]string{}
	for _, a := range w.ended {
		verdict := a.uri
		switch {
		case errors.Is(a.err, ErrCancelled):
			verdict = "no result"
		case a.cancels && a.err == nil && a.uri == "":
			verdict = "no result"
		case errors.Is(a.err, ErrExists), errors.Is(a.err, ErrIncompatible):
			if !a.tried {
				continue // it was told beforehand, which settles nothing
			}
			verdict = "no result"
		case a.err != nil:
			continue // it knows nothing
		}
		if before, ok := told[a.run]; ok && before != verdict && !w.forgotten[a.run] {
			t.Fatalf("run %s: one attempt was told %s, another %s", a.run, before, verdict)
		}
		told[a.run] = verdict
	}
	for run, verdict := range told {
		if verdict == "no result" && w.entered[run] {
			t.Fatalf("run %s was told that it has no result, and had one", run)
		}
	}
	for _, a := range w.ended {
		if a.err == nil && !a.cancels && a.job.mode != Replace && !w.entered[a.run] {
			t.Fatalf("run %s was told that it has a result, and never had one", a.run)
		}
	}
}

func TestProtocol(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		w := &world{store: newMemory(), waiting: map[*actor]string{}, manifests: map[string]string{}, forgotten: map[string]bool{}, entered: map[string]bool{}}
		modes := rapid.SampledFrom([][]Mode{{Replace}, {Append}, {ReplacePartitions}, {Append, Append, FailIfExists}, {Replace, Append, ReplacePartitions, FailIfExists}}).Draw(t, "modes")
		work := map[string]job{}
		var coming []*actor
		runs := rapid.IntRange(1, 7).Draw(t, "runs")
		for r := range runs {
			j := job{
				mode:       rapid.SampledFrom(modes).Draw(t, "mode"),
				partitions: rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "bb"}, {"a", "b", "ccc"}, nil}).Draw(t, "partitions"),
				schema:     []Column{{"n", rapid.SampledFrom([]string{"BIGINT", "BIGINT", "BIGINT", "BIGINT", "DOUBLE"}).Draw(t, "type")}},
			}
			work[fmt.Sprintf("r%d", r)] = j
			created := noon.Add(time.Duration(rapid.IntRange(0, 4).Draw(t, "created")) * time.Minute)
			for n := range rapid.IntRange(1, 3).Draw(t, "attempts") {
				coming = append(coming, &actor{run: fmt.Sprintf("r%d", r), attempt: fmt.Sprintf("plan.0.%d", n+1), created: created, job: j})
			}
			for n := range rapid.IntRange(0, 1).Draw(t, "cancels") {
				coming = append(coming, &actor{run: fmt.Sprintf("r%d", r), attempt: fmt.Sprintf("clean.0.%d", n+1), created: created, cancels: true, job: j})
			}
		}
		coming = rapid.Permutation(coming).Draw(t, "order")
		first := map[string]*actor{}
		for _, a := range coming {
			first[a.run] = a
		}
		for len(coming) > 0 || len(w.waiting) > 0 {
			atWork := slices.SortedFunc(maps.Keys(w.waiting), func(a, b *actor) int { return strings.Compare(a.run+a.attempt, b.run+b.attempt) })
			next := rapid.IntRange(0, len(atWork)+min(len(coming), 1)-1).Draw(t, "next")
			if next == len(atWork) {
				w.start(ctx, coming[0])
				coming = coming[1:]
				continue
			}
			f := rapid.SampledFrom([]fate{succeeds, succeeds, succeeds, succeeds, succeeds, failsBefore, failsAfter, killedBefore, killedAfter}).Draw(t, "fate")
			t.Logf("%s %s: %s: %d", atWork[next].run, atWork[next].attempt, w.waiting[atWork[next]], f)
			w.goOn(atWork[next], f)
			w.check(t)
		}
		w.checkVerdicts(t)
		// Whatever happened, another attempt without trouble settles each run.
		for _, run := range slices.Sorted(maps.Keys(first)) {
			a := &actor{run: run, attempt: "plan.0.9", created: first[run].created, job: work[run]}
			for w.start(ctx, a); w.waiting[a] != ""; w.check(t) {
				w.goOn(a, succeeds)
			}
			if a.err != nil && !errors.Is(a.err, ErrCancelled) && !errors.Is(a.err, ErrExists) && !errors.Is(a.err, ErrIncompatible) {
				t.Fatalf("run %s cannot be settled: %v", run, a.err)
			}
		}
		w.checkVerdicts(t)
	})
}
