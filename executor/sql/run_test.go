package sql_test

import (
	"context"
	stdsql "database/sql"
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

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/sql"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage/connections"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lake is a folder that holds tables and results. It runs tasks as an executor would.
type lake struct {
	t           testing.TB
	root        string // where objects are files
	base        string // the URI of root, without a slash at its end
	connections *connections.Set
	memory      int64 // for the engine
	disk        int64
	threads     int
	ctx         context.Context   // of tasks
	report      []task.Progress   // of the last task
	during      func(dir string)  // called at each report
	sources     map[string]string // the run of a job that tables read; the newest if missing
	runs        int
}

func newLake(t testing.TB) *lake {
	t.Helper()
	root := t.TempDir()
	file := filepath.Join(t.TempDir(), "connections.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"connections": {"lake": {"type": "file", "root": %q}}}`, root), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := connections.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return &lake{t: t, root: root, base: "file://" + root, connections: set, memory: 256 << 20, disk: 1 << 30, threads: 2, ctx: t.Context(), sources: map[string]string{}}
}

// put writes an object.
func (l *lake) put(key, content string) {
	l.t.Helper()
	path := filepath.Join(l.root, key)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		l.t.Fatal(err)
	}
}

// write has DuckDB write a query as an object. options are those of COPY.
func (l *lake) write(key, query, options string) {
	l.t.Helper()
	path := filepath.Join(l.root, key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	ask(l.t, nil, fmt.Sprintf("COPY (%s) TO '%s' (%s)", query, path, options))
}

// path is where the object at uri is a file.
func (l *lake) path(uri string) string { return l.root + strings.TrimPrefix(uri, l.base) }

// files is a table of files below a folder. more is more of the input.
func files(name, folder, format, more string) string {
	return fmt.Sprintf(`{"name": %q, "input": {"uri": "LAKE/%s/", "format": %q%s}}`, name, folder, format, more)
}

// published is a table that is the result of a job.
func published(name, job string) string { return fmt.Sprintf(`{"name": %q, "job": %q}`, name, job) }

// spec decodes a job that reads tables. Its results are below its name. output is more of the output.
func (l *lake) spec(name, statement, output string, tables ...string) (*jobs.Spec, []byte) {
	l.t.Helper()
	text, err := json.Marshal(statement)
	if err != nil {
		l.t.Fatal(err)
	}
	if output != "" {
		output = ", " + output
	}
	section := fmt.Sprintf(`{"tables": [%s], "statement": %s, "output": {"uri": "LAKE/%s/"%s}}`, strings.Join(tables, ", "), text, name, output)
	section = strings.NewReplacer("LAKE", l.base, `"uri"`, `"connection": "lake", "uri"`).Replace(section)
	data := fmt.Appendf(nil, `{"name": %q, "kind": "sql", "sql": %s}`, name, section)
	spec, problems := jobs.Decode(data, kinds.All())
	if len(problems) > 0 {
		l.t.Fatalf("spec: %v in %s", problems, data)
	}
	return spec, data
}

// task is the data of a task of a run's stage.
func (l *lake) task(spec *jobs.Spec, data []byte, run int, stage string) *proto.TaskData {
	l.t.Helper()
	d := &proto.TaskData{
		Run: fmt.Sprintf("run-%d", run), Job: spec.Name, Kind: spec.Kind, Stage: stage, Of: 1, Attempt: 1, Spec: data,
		RunCreated: time.Date(2026, 1, 1, 0, 0, run, 0, time.UTC), Disk: l.disk,
	}
	if stage != "query" {
		d.Input = proto.Encode(&proto.CleanInput{})
		return d
	}
	var sources []proto.Source
	for _, r := range spec.Section.(jobs.Referrer).References() {
		s := proto.Source{Job: r.Job, URI: l.base + "/" + r.Job + "/", Connection: "lake"}
		if s.Run = l.sources[r.Job]; s.Run != "" {
			s.Manifest = l.base + "/" + r.Job + "/data/" + s.Run + "/_manifest.json"
		}
		sources = append(sources, s)
	}
	d.Input = kinds.All().Lookup(spec.Kind).First(spec, sources).Inputs[0]
	return d
}

// do runs one task.
func (l *lake) do(spec *jobs.Spec, data *proto.TaskData) ([]byte, error) {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "scratch")
	if err := os.Mkdir(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			l.t.Error(err)
		}
	}()
	reports := make(chan task.Progress)
	ended := make(chan struct{})
	l.report = nil
	go func() {
		defer close(ended)
		for p := range reports {
			l.report = append(l.report, p)
			if l.during != nil {
				l.during(dir)
			}
		}
	}()
	defer func() { close(reports); <-ended }()
	return sql.New().Run(l.ctx, &task.Work{
		Data: data, Spec: spec, Connections: l.connections, Dir: dir, Memory: l.memory, Threads: l.threads,
		Report: func(p task.Progress) { reports <- p }, Log: slog.New(slog.NewTextHandler(l.t.Output(), nil)),
	})
}

// run does a whole run of a job.
func (l *lake) run(name, statement, output string, tables ...string) (*proto.Output, error) {
	l.t.Helper()
	spec, data := l.spec(name, statement, output, tables...)
	l.runs++
	raw, err := l.do(spec, l.task(spec, data, l.runs, "query"))
	if err != nil {
		return nil, err
	}
	step, err := kinds.All().Lookup(spec.Kind).Next(spec, jobs.StageResult{Name: "query", Outputs: [][]byte{raw}})
	if err != nil {
		l.t.Fatal(err)
	}
	return step.Done, nil
}

// must is run for what has to succeed, and gives the rows of the result.
func (l *lake) must(name, statement, output string, tables ...string) []string {
	l.t.Helper()
	out, err := l.run(name, statement, output, tables...)
	if err != nil {
		l.t.Fatalf("%s: %v", statement, err)
	}
	return l.rows(out)
}

// fail is run for what has to fail, and gives how. Nothing may be visible.
func (l *lake) fail(name, statement, output string, tables ...string) *task.Failure {
	l.t.Helper()
	out, err := l.run(name, statement, output, tables...)
	if err == nil {
		l.t.Fatalf("%s: got result %v, want a failure", statement, out)
	}
	if _, err := os.Stat(filepath.Join(l.root, name, "data", fmt.Sprintf("run-%d", l.runs), "_manifest.json")); err == nil {
		l.t.Errorf("%s: a result is visible", statement)
	}
	return task.Classify(err)
}

func (l *lake) manifest(out *proto.Output) *commit.Manifest {
	l.t.Helper()
	data, err := os.ReadFile(l.path(out.Manifest))
	if err != nil {
		l.t.Fatal(err)
	}
	m := &commit.Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		l.t.Fatal(err)
	}
	return m
}

// rows reads the files that a result's manifest names with DuckDB, as text: one line a row.
func (l *lake) rows(out *proto.Output) []string {
	l.t.Helper()
	m := l.manifest(out)
	var all []string
	for _, e := range m.Entries {
		read := map[string]string{"parquet": "parquet('%s'", "csv": "csv('%s', all_varchar=true", "jsonl": "json('%s', format='newline_delimited'"}[m.Format]
		all = append(all, ask(l.t, nil, fmt.Sprintf("FROM read_"+read+", hive_partitioning=%t)", l.path(e.URL), len(m.PartitionBy) > 0))...)
	}
	if int64(len(all)) != m.Rows || m.Rows != out.Rows || int64(len(m.Entries)) != out.Files {
		l.t.Errorf("%d rows were read, the manifest has %d, the output %d", len(all), m.Rows, out.Rows)
	}
	return all
}

// ask runs statements on a DuckDB of its own, in UTC, and gives the rows of the last one, as text: one line a row.
func ask(t testing.TB, before []string, statement string) []string {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := stdsql.OpenDB(connector) // closes the connector, too
	db.SetMaxOpenConns(1)
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, s := range append([]string{"SET TimeZone='UTC'"}, before...) {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if strings.HasPrefix(statement, "COPY ") {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		return nil
	}
	rows, err := db.QueryContext(t.Context(), "SELECT COLUMNS(*)::VARCHAR FROM ("+statement+"\n)")
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for rows.Next() {
		values, into := make([]stdsql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = "∅"
			if v.Valid {
				texts[i] = v.String
			}
		}
		all = append(all, strings.Join(texts, "|"))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}
