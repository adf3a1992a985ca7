package sql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/result"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/jobs/sql"
	"github.com/tidemill/tidemill/proto"
)

// query is the only stage of a run at work.
type query struct {
	*task.Work
	section   *sql.Section
	output    *commit.Output
	session   *engine.Session // that looks at the tables and loads them
	statement *expression.Statement
	tables    []*table
	columns   []column // of the result
}

// Shares of the task, for its progress.
const (
	found    = 0.05
	loaded   = 0.6
	computed = 0.95
)

func (q *query) run(ctx context.Context) (*proto.Output, error) {
	watch, err := q.load(ctx)
	if err != nil {
		return nil, err
	}
	files, err := q.compute(ctx, watch)
	if err != nil {
		return nil, err
	}
	var rows, bytes int64
	entries := make([]commit.Entry, len(files))
	for i, f := range files {
		entries[i] = lake.Entry(q.output, q.Data, f, q.section.Output.PartitionBy)
		rows, bytes = rows+f.Rows, bytes+f.Bytes
	}
	watch.Done("committing", computed, rows, bytes)
	out, err := lake.Publish(ctx, q.output, q.manifest(entries, rows), pointerOutput)
	if err == nil {
		watch.Done("done", 1, rows, bytes)
	}
	return out, err
}

// load brings the tables into the scratch directory, and finds out what the result is like.
func (q *query) load(ctx context.Context) (watch *lake.Watch, err error) {
	if q.session, err = q.open(ctx, q.Data.Disk); err != nil {
		return nil, err
	}
	defer closing(q.session, &err)
	check, err := sql.ParseCheck(q.section.Expressions()[0].Text)
	if err != nil {
		return nil, err
	}
	q.statement, err = parse(ctx, q.session, check)
	var problem *expression.Problem
	if errors.As(err, &problem) {
		return nil, task.Final(pointerStatement, "%s", problem.Detail)
	}
	if err != nil {
		return nil, err
	}
	var in proto.SQLInput
	if err := lake.DecodeInput(q.Data, &in); err != nil {
		return nil, err
	}
	q.report("listing", 0)
	for _, uses := range q.statement.Tables {
		for number := range q.section.Tables {
			if q.section.Tables[number].Name != uses.Name {
				continue
			}
			t, err := q.find(ctx, uses, number, sourceOf(q.section, in.Sources, number))
			if err != nil {
				return nil, err
			}
			q.tables = append(q.tables, t)
		}
	}
	if err := q.bind(ctx); err != nil {
		return nil, err
	}
	return q.fetch(ctx)
}

func (q *query) open(ctx context.Context, disk int64) (*engine.Session, error) {
	return engine.Open(ctx, engine.Config{Dir: q.Dir, Memory: q.Memory, Disk: disk, Threads: q.Threads})
}

// compute runs the statement over the tables, and stores the files of its result.
func (q *query) compute(ctx context.Context, watch *lake.Watch) (files []result.File, err error) {
	disk := int64(0)
	if q.Data.Disk > 0 {
		left, err := q.diskLeft()
		if err != nil {
			return nil, err
		}
		disk = max(left, 1<<20)
	}
	session, err := q.open(ctx, disk)
	if err != nil {
		return nil, err
	}
	defer closing(session, &err)
	for _, t := range q.tables {
		if err := session.Exec(ctx, "CREATE TEMP VIEW "+engine.Name(t.name)+" AS "+t.relation()); err != nil {
			return nil, lake.Failure(fmt.Sprintf("open table %q", t.name), err)
		}
	}
	watch.Done("computing", loaded, 0, 0)
	w := result.NewWriter(result.Config{
		Session: session, Memory: q.Memory, Output: q.section.Output, Pointer: pointerOutput, Dir: q.Dir,
		Store: q.output.Store, Folder: q.output.FileURI(q.Data.Run, lake.Attempt(q.Data), ""),
	})
	// However small the result is, the statement runs once.
	if err := w.Write(ctx, q.selection(), math.MaxInt64); err != nil {
		_, storeErr := w.Finish(ctx, false)
		return nil, errors.Join(q.explain(ctx, session, err), ignoreCancelled(storeErr))
	}
	files, err = w.Finish(ctx, true)
	return files, lake.Failure("write result", err)
}

// ignoreCancelled drops what follows from another error.
func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// explain says what an error of the statement means: a file may be damaged, or have a value that does not fit.
func (q *query) explain(ctx context.Context, session *engine.Session, err error) error {
	for _, t := range q.tables {
		if t.parquet == nil {
			continue
		}
		if found := t.parquet.Explain(ctx, session, err); found != nil {
			return found
		}
	}
	failed := lake.Failure("run the statement", err)
	var failure *task.Failure
	if errors.As(failed, &failure) && failure.Pointer == "" {
		failure.Pointer = pointerStatement
	}
	return failed
}

func (q *query) manifest(entries []commit.Entry, rows int64) *commit.Manifest {
	out := q.section.Output
	m := &commit.Manifest{
		Entries: entries, Run: q.Data.Run, Attempt: lake.Attempt(q.Data), Created: q.Data.RunCreated.UTC(), Rows: rows,
		Format: out.Format, PartitionBy: out.PartitionBy,
	}
	for _, c := range q.columns {
		m.Schema = append(m.Schema, commit.Column{Name: c.name, Type: c.stored})
	}
	if out.Mode != aggregate.Replace {
		m.Mode = commit.Mode(out.Mode)
	}
	return m
}

// report says how far the task is.
func (q *query) report(phase string, fraction float64) {
	q.Report(task.Progress{Fraction: fraction, Phase: phase})
}

// selection is the statement with the types that files keep. Where nothing has to be cast it stays as it is.
func (q *query) selection() string {
	same := true
	var values []string
	for _, c := range q.columns {
		value := engine.Name(c.name)
		if c.kind != c.stored {
			same = false
			value = fmt.Sprintf("CAST(%s AS %s) AS %s", value, c.stored, value)
		}
		values = append(values, value)
	}
	if same {
		return "FROM " + q.statement.SQL()
	}
	return "SELECT " + strings.Join(values, ", ") + " FROM " + q.statement.SQL()
}
