package aggregate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

func (t *stage) runReduce(ctx context.Context) (_ []byte, err error) {
	var in proto.AggregateReduceInput
	if err := decodeInput(t.Work, &in); err != nil {
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
	if err := t.bearable(in.BadRows); err != nil {
		return nil, err
	}
	t.report("reading", 0)
	keys := make([]string, len(in.MapAttempts))
	for split, attempt := range in.MapAttempts {
		keys[split] = t.workURI("map", mapName(split, attempt)).Key
	}
	incoming, err := t.openIncoming(ctx, sh, p.Partitions, int(in.FirstPartition), int(in.LastPartition), keys)
	if err != nil {
		return nil, err
	}
	folder := t.reduceURI(int(t.Data.Index), t.Data.Attempt)
	w := t.newWriter(session, t.output.Work, folder)
	if in.Commit {
		w = t.finalWriter(session)
	}
	err = incoming.each(ctx, func(merging context.Context, number, of int, read []string) error {
		t.report("merging", 0.1+0.8*float64(number)/float64(of))
		if err := t.merge(merging, session, sh, read); err != nil {
			return err
		}
		if sh.limit > 0 {
			return engineFailure("choose first rows", errors.Join(sh.keep(merging, session), dropTables(merging, session)))
		}
		// What is stored in the background goes on when all has been merged.
		if err := t.writeResult(ctx, session, sh, w); err != nil {
			return err
		}
		return dropTables(ctx, session)
	})
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
		if err = t.keepBadRows(ctx, in.BadRows, in.MapAttempts); err == nil {
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
