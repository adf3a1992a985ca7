package sql

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/jobs/sql"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// table is one table that the statement reads.
type table struct {
	name    string
	pointer string // into the spec
	number  int    // in the spec
	source  *source.Source
	job     string // whose result it is; empty: it is files
	set     *input.Set
	kept    *input.Set // without the files of folders that do not matter
	split   input.Split
	columns []source.Column // all of them; those that are used have a type
	names   []string        // see source.Source.Look
	schema  []commit.Column // of a job's result
	parquet *source.Kept    // once it was fetched, if it is Parquet
	files   []string        // scratch files, if it is text
}

// bytes is how much has to be read of it, as stored.
func (t *table) bytes() int64 { return t.split.Bytes() }

// find lists the files of a table and looks at them. uses says what the statement does with it.
func (q *query) find(ctx context.Context, uses expression.Table, number int, from *proto.Source) (*table, error) {
	spec := &q.section.Tables[number]
	t := &table{name: spec.Name, number: number, pointer: jobs.JoinPointer("/sql/tables", strconv.Itoa(number))}
	in, err := spec.Input, error(nil)
	if spec.IsJob() {
		t.job = spec.Job
		t.pointer += "/job"
		in, err = q.result(ctx, t, from)
	} else {
		t.pointer += "/input"
		err = q.list(ctx, t, &in)
	}
	if err != nil {
		return nil, err
	}
	prefix := fmt.Sprintf("table-%d-", number)
	t.source = source.New(source.Config{
		Input: in, Pointer: t.pointer, Session: q.session, Dir: q.Dir, Prefix: prefix, Memory: q.Memory, Disk: q.Data.Disk, Log: q.Log,
		Report:  func(phase string, fraction float64) { q.report(phase+" of "+t.name, fraction) },
		BadRows: source.NewBadRows(&in, t.pointer, filepath.Join(q.Dir, prefix+"bad-rows")),
		Footers: source.UsualFooters,
		Uses: func(column string) bool {
			return uses.All || slices.ContainsFunc(q.statement.Columns, func(name string) bool { return strings.EqualFold(name, column) })
		},
		Where: uses.Where,
	})
	if err := t.look(ctx); err != nil {
		return nil, q.gone(t, err)
	}
	return t, nil
}

// list finds the files of an input.
func (q *query) list(ctx context.Context, t *table, in *aggregate.Input) error {
	store, _, err := lake.Open(ctx, q.Work, in.Prefix(), in.Connection, t.pointer)
	if err == nil {
		t.set, err = input.List(ctx, store, in, t.pointer, lake.Listing(q.Report))
	}
	return err
}

// look finds the columns of a table, and what has to be read.
func (t *table) look(ctx context.Context) (err error) {
	folders := t.source.Folders(t.set)
	if t.kept, err = t.source.Prune(ctx, t.set, folders); err != nil {
		return err
	}
	looked := t.kept
	if len(t.kept.Files) == 0 {
		looked = t.set
	}
	var segments []input.Segment
	if len(looked.Files) == 0 { // a job's result without rows in any folder
		t.columns = columnsOf(t.schema)
	} else if t.columns, t.names, segments, err = t.source.Look(ctx, looked); err != nil {
		return err
	}
	t.columns = slices.DeleteFunc(t.columns, func(c source.Column) bool { return source.Find(folders, c.Name) >= 0 })
	t.columns = append(t.columns, folders...)
	if len(t.schema) > 0 {
		slices.SortStableFunc(t.columns, func(a, b source.Column) int { return place(t.schema, a) - place(t.schema, b) })
	}
	switch {
	case len(t.kept.Files) == 0:
		t.split = nil
	case t.source.Input.Format == "parquet":
		t.split = segments
	default:
		for i, f := range t.kept.Files {
			t.split = append(t.split, input.Segment{File: i, Length: f.Size})
		}
	}
	return nil
}

// place is where a column stands in a schema.
func place(schema []commit.Column, c source.Column) int {
	return slices.IndexFunc(schema, func(s commit.Column) bool { return strings.EqualFold(s.Name, c.Name) })
}

func columnsOf(schema []commit.Column) []source.Column {
	var columns []source.Column
	for _, c := range schema {
		columns = append(columns, source.Column{Name: c.Name, Type: c.Type})
	}
	return columns
}

// result finds the files of what a job has published, and the input that they are.
func (q *query) result(ctx context.Context, t *table, from *proto.Source) (in aggregate.Input, err error) {
	if from == nil {
		return in, task.Final(t.pointer, "the run was started without the place of the result of job %q", t.job)
	}
	store, uri, err := lake.Open(ctx, q.Work, from.URI, from.Connection, t.pointer)
	if err != nil {
		return in, err
	}
	published := &commit.Output{Store: store, URI: uri, Work: store, WorkURI: uri, Log: q.Log}
	var m *commit.Manifest
	if from.Run != "" {
		m, err = published.Of(ctx, from.Run, from.Manifest)
	} else {
		m, err = published.Latest(ctx)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return in, q.missing(t, "run %q of job %q has no result, or not any more: the newest %d are kept", from.Run, t.job, commit.Keep)
	case err != nil:
		return in, fmt.Errorf("read result of job %q: %w", t.job, err)
	case m == nil:
		return in, q.missing(t, "job %q has not published a result yet", t.job)
	}
	q.Log.Info("read the result of a job", "table", t.name, "job", t.job, "run", m.Run, "files", len(m.Entries))
	if t.schema, err = q.checkSchema(ctx, t, m.Schema); err != nil {
		return in, err
	}
	if t.set, err = filesOf(m, store, uri, t.pointer); err != nil {
		return in, err
	}
	in = aggregate.Input{Format: m.FilesFormat(), Compression: "auto", Delimiter: ",", Quote: `"`, Escape: `"`, Header: true, QuotedNewlines: true, HivePartitions: true}
	if in.Format == "" {
		in.Format = "parquet" // there are no files
	}
	for _, c := range t.schema {
		if in.Format != "parquet" || slices.Contains(m.PartitionBy, c.Name) {
			in.Columns = append(in.Columns, aggregate.Column{Name: c.Name, Type: textType(c.Type, in.Format)})
		}
	}
	return in, nil
}

func (q *query) missing(t *table, format string, args ...any) error {
	failure := task.Final(t.pointer, format, args...)
	failure.Kind = "not_found"
	return failure
}

// filesOf is the files that a manifest names.
func filesOf(m *commit.Manifest, store storage.Store, at storage.URI, pointer string) (*input.Set, error) {
	set := &input.Set{Store: store, Base: at, Pointer: pointer, Partitions: m.PartitionBy}
	folders := map[string]int{}
	for _, e := range m.Entries {
		uri, err := storage.ParseURI(e.URL)
		if err != nil || uri.Scheme != at.Scheme || uri.Bucket != at.Bucket {
			return nil, task.Final(pointer, "the manifest of run %q names %q, which is not in the store of its output", m.Run, e.URL)
		}
		file := input.NewFile(storage.Object{Key: uri.Key, Size: e.Meta.ContentLength})
		if len(m.PartitionBy) > 0 {
			var values []*string
			id := ""
			for _, name := range m.PartitionBy {
				value := e.Partition[name]
				values = append(values, value)
				if value != nil {
					id += strconv.Quote(*value)
				}
				id += "/"
			}
			n, known := folders[id]
			if !known {
				n = len(set.Folders)
				folders[id] = n
				set.Folders = append(set.Folders, values)
			}
			file.Folder = n
		}
		set.Files = append(set.Files, file)
	}
	return set, nil
}

// checkSchema makes sure that the types in a manifest are types, and gives the engine's names for them.
func (q *query) checkSchema(ctx context.Context, t *table, schema []commit.Column) ([]commit.Column, error) {
	if len(schema) == 0 {
		return nil, task.Final(t.pointer, "the result of job %q does not say what its columns are: run the job again", t.job)
	}
	var all []commit.Column
	for _, c := range schema {
		kind, err := expression.Type(ctx, q.session, c.Type)
		var problem *expression.Problem
		if errors.As(err, &problem) {
			return nil, task.Final(t.pointer, "the result of job %q has a column %q of an unknown type %q", t.job, c.Name, c.Type)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, commit.Column{Name: c.Name, Type: kind})
	}
	return all, nil
}

// textType is how values of a type are read that package result has written as text; Parquet keeps them as they are.
func textType(kind, format string) string {
	if format != "parquet" && (kind == "BLOB" || format == "csv" && engine.IsNested(kind)) {
		return "VARCHAR"
	}
	return kind
}

// restored is the SQL of a column as it was before package result wrote it.
func (t *table) restored(c source.Column) (value, kind string) {
	i := place(t.schema, c)
	name := engine.Name(c.Name)
	if i < 0 || t.schema[i].Type == c.Type {
		return name, c.Type
	}
	switch kind := t.schema[i].Type; {
	case kind == "BLOB":
		return "from_base64(" + name + ")", kind
	case engine.IsNested(kind):
		return "CAST(CAST(" + name + " AS JSON) AS " + kind + ")", kind
	default:
		return "CAST(" + name + " AS " + kind + ")", kind
	}
}

// gone says of a job's result that vanished while it was read that the next attempt may find a newer one.
func (q *query) gone(t *table, err error) error {
	if t.job == "" || !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrCondition) || q.section.Tables[t.number].Run != "" {
		return err
	}
	failure := task.Passing("the result of job %q was replaced by newer ones while it was read: %w", t.job, err)
	failure.Pointer = t.pointer
	return failure
}

// sourceOf is what the reference of a table came to.
func sourceOf(section *sql.Section, sources []proto.Source, number int) *proto.Source {
	n := 0
	for i := range section.Tables {
		if !section.Tables[i].IsJob() {
			continue
		}
		if i == number && n < len(sources) {
			return &sources[n]
		}
		n++
	}
	return nil
}
