package aggregate_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// The HTTP server of the S3 under test never stops its clock.
func TestMain(m *testing.M) {
	// fasthttp, of the S3, leaves these two asleep whatever one does.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// lake is a folder that holds inputs and outputs, and stands in for a cluster: it runs jobs task by task.
type lake struct {
	t           testing.TB
	root        string // where objects are files
	base        string // the URI of root, without a slash at its end
	connections *connections.Set
	kind        task.Kind
	reduces     int   // reduce tasks, if there are several splits; 0: as many as the job's kind asks for
	memory      int64 // of a task, for the engine
	disk        int64
	ctx         context.Context    // of tasks; nil: the test's
	before      func(stage string) // called before each task
	during      func(dir string)   // called again and again while a task works, with its scratch directory
	runs        int
	reports     []task.Progress // of the last task
	stages      []string        // of the last run: name and number of tasks
	attempts    uint32          // of a task whose failures may pass; 0: one
	failed      int             // attempts that failed and were followed by another
}

func newLake(t testing.TB) *lake {
	t.Helper()
	root := t.TempDir()
	return &lake{
		t: t, root: root, base: "file://" + root, kind: aggregate.New(), memory: 256 << 20, disk: 1 << 30,
		connections: connect(t, fmt.Sprintf(`{"type": "file", "root": %q}`, root)),
	}
}

// connect makes connections with one named lake.
func connect(t testing.TB, entry string) *connections.Set {
	t.Helper()
	file := filepath.Join(t.TempDir(), "connections.json")
	config := fmt.Sprintf(`{"connections": {"lake": %s}}`, entry)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := connections.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// put writes an input object.
func (l *lake) put(key, content string) {
	l.t.Helper()
	if !strings.HasPrefix(l.base, "file:") {
		l.upload(key, content)
		return
	}
	path := filepath.Join(l.root, key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lake) upload(key, content string) {
	l.t.Helper()
	uri, err := storage.ParseURI(l.base + "/" + key)
	if err != nil {
		l.t.Fatal(err)
	}
	store, err := l.connections.Open(l.t.Context(), "lake", uri)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := storage.WriteAll(l.t.Context(), store, uri.Key, []byte(content), storage.Always); err != nil {
		l.t.Fatal(err)
	}
}

// copyIn copies real files below key.
func (l *lake) copyIn(pattern, key string) {
	l.t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		l.t.Fatalf("no files at %s: %v", pattern, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			l.t.Fatal(err)
		}
		l.put(key+"/"+filepath.Base(file), string(data))
	}
}

// path is where the object at uri is a file.
func (l *lake) path(uri string) string { return l.root + strings.TrimPrefix(uri, l.base) }

// spec decodes a job whose "aggregate" is given as JSON, with LAKE for the folder. The connection is always the lake.
func (l *lake) spec(section string, parallelism int) (*jobs.Spec, []byte) {
	l.t.Helper()
	section = strings.ReplaceAll(section, "LAKE", l.base)
	section = strings.ReplaceAll(section, `"uri"`, `"connection": "lake", "uri"`)
	data := []byte(fmt.Sprintf(`{"name": "test", "kind": "aggregate", "parallelism": %d, "aggregate": %s}`, parallelism, section))
	spec, problems := jobs.Decode(data, kinds.All())
	if len(problems) > 0 {
		l.t.Fatalf("spec: %v in %s", problems, data)
	}
	return spec, data
}

// do runs one task.
func (l *lake) do(ctx context.Context, spec *jobs.Spec, data *proto.TaskData) ([]byte, error) {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "scratch")
	if err := os.Mkdir(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.reports = nil
	reports := make(chan task.Progress, 10_000)
	defer func() {
		close(reports)
		for r := range reports {
			l.reports = append(l.reports, r)
		}
		if err := os.RemoveAll(dir); err != nil {
			l.t.Error(err)
		}
	}()
	data.Disk = l.disk
	if l.during != nil {
		defer l.watch(dir)()
	}
	return l.kind.Run(ctx, &task.Work{
		Data: data, Spec: spec, Connections: l.connections, Dir: dir, Memory: l.memory, Threads: 1,
		Report: func(p task.Progress) { reports <- p }, Log: slog.New(slog.NewTextHandler(testWriter{l.t}, nil)),
	})
}

// watch calls during until the returned function is called.
func (l *lake) watch(dir string) (stop func()) {
	quit, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				l.during(dir)
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-over }
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// run does a whole run, stage by stage.
func (l *lake) run(section string, parallelism int) (*proto.Output, error) {
	l.t.Helper()
	spec, raw := l.spec(section, parallelism)
	l.runs++
	run := fmt.Sprintf("test-%d", l.runs)
	created := time.Date(2026, 1, 1, 0, 0, l.runs, 0, time.UTC)
	jobKind := kinds.All().Lookup(spec.Kind)
	step := jobs.Step{}
	first := jobKind.First(spec, nil)
	step.Stage = &first
	var earlier []jobs.StageResult
	l.stages = nil
	for step.Done == nil {
		result := jobs.StageResult{Name: step.Stage.Name, Earlier: earlier}
		l.stages = append(l.stages, fmt.Sprintf("%s %d", step.Stage.Name, len(step.Stage.Inputs)))
		for i, input := range step.Stage.Inputs {
			if l.before != nil {
				l.before(step.Stage.Name)
			}
			out, attempt, err := l.try(spec, proto.TaskData{
				Run: run, Job: spec.Name, Kind: spec.Kind, Stage: step.Stage.Name, Index: uint32(i), Of: uint32(len(step.Stage.Inputs)),
				Spec: raw, Input: input, RunCreated: created,
			})
			if err != nil {
				return nil, err
			}
			result.Outputs = append(result.Outputs, out)
			result.Attempts = append(result.Attempts, attempt)
		}
		var err error
		if step, err = jobKind.Next(spec, result); err != nil {
			l.t.Fatal(err)
		}
		earlier = append(earlier, result)
		l.shareReduce(&step)
	}
	return step.Done, nil
}

// try runs a task until an attempt succeeds, and returns the number of that one.
func (l *lake) try(spec *jobs.Spec, data proto.TaskData) (out []byte, attempt uint32, err error) {
	l.t.Helper()
	for attempt = 1; ; attempt++ {
		again := data
		again.Attempt = attempt
		out, err = l.do(cmp.Or(l.ctx, l.t.Context()), spec, &again)
		if err == nil || attempt >= l.attempts || task.Classify(err).Class != proto.CLASS_PASSING {
			return out, attempt, err
		}
		l.t.Logf("%s %d, attempt %d: %v", data.Stage, data.Index, attempt, err)
		l.failed++
	}
}

// shareReduce divides the only reduce task, as if there were much to reduce.
func (l *lake) shareReduce(step *jobs.Step) {
	l.t.Helper()
	if l.reduces == 0 || step.Stage == nil || step.Stage.Name != "reduce" {
		return
	}
	var whole proto.AggregateReduceInput
	if err := proto.Decode(step.Stage.Inputs[0], &whole); err != nil {
		l.t.Fatal(err)
	}
	n := min(uint32(l.reduces), whole.LastPartition)
	if n == 1 {
		return
	}
	step.Stage.Inputs = nil
	for i := range n {
		one := whole
		one.Commit = false
		one.FirstPartition, one.LastPartition = i*whole.LastPartition/n, (i+1)*whole.LastPartition/n
		step.Stage.Inputs = append(step.Stage.Inputs, proto.Encode(&one))
	}
}

// rows reads a result back, with DuckDB, as text: one line a row.
func (l *lake) rows(out *proto.Output) []string {
	l.t.Helper()
	manifest, err := os.ReadFile(l.path(out.Manifest))
	if err != nil {
		l.t.Fatal(err)
	}
	var m struct {
		Entries []struct{ URL string }
		Rows    int64
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		l.t.Fatal(err)
	}
	var all []string
	for _, e := range m.Entries {
		path := l.path(e.URL)
		read := "SELECT * FROM read_parquet('" + path + "', hive_partitioning=false)"
		switch {
		case strings.Contains(path, ".jsonl"):
			read = "SELECT * FROM read_json('" + path + "', format='newline_delimited', hive_partitioning=false)"
		case !strings.HasSuffix(path, ".parquet"):
			read = "SELECT * FROM read_csv('" + path + "', all_varchar=true, header=true, hive_partitioning=false)"
		}
		all = append(all, query(l.t, read)...)
	}
	if int64(len(all)) != m.Rows || m.Rows != out.Rows || int64(len(m.Entries)) != out.Files {
		l.t.Errorf("%d rows were read, the manifest has %d, the output %d", len(all), m.Rows, out.Rows)
	}
	return all
}

// query asks DuckDB directly.
func query(t testing.TB, sql string) []string {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, connector, sql)
}

// mustFail expects a failure.
func (l *lake) mustFail(section string, parallelism int) *task.Failure {
	l.t.Helper()
	out, err := l.run(section, parallelism)
	if err == nil {
		l.t.Fatalf("got result %v, want a failure", out)
	}
	if entries, err := filepath.Glob(filepath.Join(l.root, "out", "data", fmt.Sprintf("test-%d", l.runs), "*")); err != nil || len(entries) > 0 {
		l.t.Errorf("visible after a failure: %v, %v", entries, err)
	}
	var f *task.Failure
	if !errors.As(err, &f) {
		f = task.Classify(err)
	}
	return f
}
