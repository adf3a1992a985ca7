package aggregate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/result"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

func (t *stage) runReduce(ctx context.Context) (_ []byte, err error) {
	var in proto.AggregateReduceInput
	if err := lake.DecodeInput(t.Data, &in); err != nil {
		return nil, err
	}
	p, session, sh, err := t.prepare(ctx, in.PlanURI)
	if err != nil {
		return nil, err
	}
	defer closing(session, &err)
	if len(in.MapAttempts) != len(p.Splits) || in.FirstPartition >= in.LastPartition || int(in.LastPartition) > p.Partitions {
		return nil, task.Final("", "merge partitions %d to %d of %d splits: the plan has %d and %d", in.FirstPartition, in.LastPartition, len(in.MapAttempts), p.Partitions, len(p.Splits))
	}
	if err := t.badRows.Bearable(in.BadRows); err != nil {
		return nil, err
	}
	incoming, err := t.openReduced(ctx, p, sh, &in)
	if err != nil {
		return nil, t.baseGone(ctx, p, err)
	}
	var state *outgoing
	if p.Increment != nil {
		if state, err = t.newOutgoing(session, sh, p, 0); err != nil {
			return nil, err
		}
		defer closing(state, &err)
	}
	folder := t.reduceURI(int(t.Data.Index), t.Data.Attempt)
	w := t.newWriter(session, t.output.Work, folder)
	if in.Commit {
		w = t.finalWriter(session)
	}
	err = t.baseGone(ctx, p, t.reduce(ctx, session, sh, incoming, w, state))
	if err == nil && state != nil && !in.Commit {
		_, err = state.put(ctx, t.output.Work, folder.Join(stateName).Key)
	}
	switch {
	case err != nil || sh.limit == 0:
	case in.Commit:
		err = t.writeKept(ctx, sh, w)
	default:
		return t.leaveFirst(ctx, session, sh, folder)
	}
	if err != nil {
		_, _ = w.Finish(ctx, false) // only waits
		return nil, err
	}
	f, err := finish(ctx, w, t.Data.Index == 0)
	if err != nil {
		return nil, err
	}
	t.Report(task.Progress{Fraction: 0.9, Phase: "writing", OutRows: f.rows, OutBytes: f.bytes})
	out := &proto.AggregateReduceOutput{Bytes: f.bytes, Rows: f.rows, Files: int64(len(f.list))}
	if in.Commit {
		if f.state, err = t.leaveState(ctx, p, state); err == nil {
			err = t.keepBadRows(ctx, in.BadRows, in.MapAttempts)
		}
		if err == nil {
			out.Committed, err = t.publishFiles(ctx, sh, f)
		}
	} else {
		err = t.writeList(ctx, folder, f)
	}
	if err != nil {
		return nil, err
	}
	t.Report(task.Progress{Fraction: 1, Phase: "done", OutRows: f.rows, OutBytes: f.bytes})
	return proto.Encode(out), nil
}

// openReduced opens what a reduce task merges: partial aggregates of an earlier run first, then those of the splits.
func (t *stage) openReduced(ctx context.Context, p *plan, sh *shape, in *proto.AggregateReduceInput) (*incoming, error) {
	t.report("reading", 0)
	places, err := t.earlier(p)
	if err != nil {
		return nil, err
	}
	for split, attempt := range in.MapAttempts {
		places = append(places, place{t.output.Work, t.workURI("map", mapName(split, attempt)).Key})
	}
	return t.openIncoming(ctx, sh, p.Partitions, int(in.FirstPartition), int(in.LastPartition), places)
}

// reduce merges round by round, and has the result's rows written by w, or keeps the first of them if there is a limit.
// What is merged goes to state, too, if that is not nil.
func (t *stage) reduce(ctx context.Context, session *engine.Session, sh *shape, incoming *incoming, w *result.Writer, state *outgoing) error {
	var leave func(context.Context) error
	if state != nil {
		leave = state.write
	}
	return incoming.each(ctx, func(merging context.Context, number, of int, read []string) error {
		t.report("merging", 0.1+0.8*float64(number)/float64(of))
		if err := t.merge(merging, session, sh, read, leave); err != nil {
			return err
		}
		if sh.limit > 0 {
			return lake.Failure("choose first rows", errors.Join(sh.keep(merging, session), dropTables(merging, session)))
		}
		// What is stored in the background goes on when all has been merged.
		if err := t.writeResult(ctx, session, sh, w); err != nil {
			return err
		}
		return dropTables(ctx, session)
	})
}

// dropTables drops all temporary tables but for the first rows.
func dropTables(ctx context.Context, session *engine.Session) error {
	tables, err := session.Strings(ctx, "SELECT table_name FROM duckdb_tables() WHERE temporary AND table_name <> 'kept'")
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := session.Exec(ctx, "DROP TABLE "+engine.Name(table)); err != nil {
			return err
		}
	}
	return nil
}

func save(path string, from io.Reader) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	defer closing(file, &err)
	_, err = io.Copy(file, from)
	return err
}
