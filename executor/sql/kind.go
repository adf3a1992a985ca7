package sql

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/sql"
	"github.com/tidemill/tidemill/proto"
)

// Pointers into the spec.
const (
	pointerStatement = "/sql/statement"
	pointerOutput    = "/sql/output"
)

// New returns the work of kind "sql". It has no state.
func New() task.Kind { return kind{} }

type kind struct{}

// Name is "sql".
func (kind) Name() string { return sql.Name }

// Run does one stage.
func (kind) Run(ctx context.Context, work *task.Work) ([]byte, error) {
	if work.Data.Stage == jobs.StageCheck {
		return runCheck(ctx, work)
	}
	section, ok := work.Spec.Section.(*sql.Section)
	if !ok {
		return nil, fmt.Errorf("run stage %q: the spec's section is a %T", work.Data.Stage, work.Spec.Section)
	}
	out, err := lake.OpenOutput(ctx, work, section.Output.URI, section.WorkURI, section.Output.Connection, pointerOutput)
	if err != nil {
		return nil, err
	}
	switch work.Data.Stage {
	case sql.StageQuery:
		return runQuery(ctx, work, section, out)
	case jobs.StageClean:
		return lake.Clean(ctx, out, work.Data)
	}
	return nil, task.Final("", "run stage %q: there is no such stage of kind sql", work.Data.Stage)
}

// runQuery does the only stage, unless an earlier attempt has.
func runQuery(ctx context.Context, work *task.Work, section *sql.Section, out *commit.Output) ([]byte, error) {
	committed, err := lake.Published(ctx, out, work.Data, pointerOutput)
	if committed == nil && err == nil {
		q := &query{Work: work, section: section, output: out}
		committed, err = q.run(ctx)
		err = lake.Placed(err, out, pointerOutput)
	}
	if err != nil {
		return nil, err
	}
	return proto.Encode(&proto.SQLOutput{Committed: committed}), nil
}

// runCheck judges statements, for which it needs neither spec nor data.
func runCheck(ctx context.Context, work *task.Work) (_ []byte, err error) {
	var in proto.CheckInput
	if err := lake.DecodeInput(work.Data, &in); err != nil {
		return nil, err
	}
	session, err := engine.Open(ctx, engine.Config{Dir: work.Dir, Memory: work.Memory, Threads: 1})
	if err != nil {
		return nil, err
	}
	defer closing(session, &err)
	out := &proto.CheckOutput{}
	for _, e := range in.Expressions {
		check, err := sql.ParseCheck(e.Text)
		if err != nil {
			return nil, task.Final(e.Pointer, "%w", err)
		}
		_, err = parse(ctx, session, check)
		var problem *expression.Problem
		if errors.As(err, &problem) {
			out.Problems = append(out.Problems, proto.Problem{Pointer: e.Pointer, Detail: problem.Detail})
		} else if err != nil {
			return nil, err
		}
	}
	return proto.Encode(out), nil
}

// parse judges a statement: the error is a *expression.Problem if something is wrong with it.
func parse(ctx context.Context, session *engine.Session, check sql.Check) (*expression.Statement, error) {
	statement, err := expression.ParseStatement(ctx, session, check.Statement, check.Tables)
	if err != nil {
		return nil, err
	}
	catalog, err := expression.ReadCatalog(ctx, session)
	if err != nil {
		return nil, err
	}
	return statement, catalog.UnknownIn(statement)
}

// closing closes c and keeps its error if there is no other.
func closing(c interface{ Close() error }, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}
