package aggregate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/result"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// With a limit, a task that merges keeps the first rows of all its rounds, in the table kept. If it is the only one, they
// are the result. Else it leaves them in the work area as Parquet, whatever the output's format, so that the commit task
// can put the first rows of all tasks in order.

// firstRows is the object in the folder of a reduce task.
const firstRows = "first.parquet"

// keep adds the result rows of the tables to the table kept, of whose rows it drops some that are certainly not among the
// first.
func (s *shape) keep(ctx context.Context, session *engine.Session) error {
	create := "CREATE TEMP TABLE IF NOT EXISTS kept AS FROM (" + s.finish() + ") LIMIT 0"
	if err := session.Exec(ctx, create+"; INSERT INTO kept "+s.finish()); err != nil {
		return err
	}
	rows, err := session.Int(ctx, "SELECT count(*) FROM kept")
	if err != nil || rows <= 2*s.limit {
		return err
	}
	return session.Exec(ctx, "CREATE TEMP TABLE pruned AS FROM kept"+s.order()+"; DROP TABLE kept; ALTER TABLE pruned RENAME TO kept")
}

// leaveFirst stores the first of the rows in the table kept in a reduce task's folder.
func (t *stage) leaveFirst(ctx context.Context, session *engine.Session, sh *shape, folder storage.URI) ([]byte, error) {
	path := filepath.Join(t.Dir, firstRows)
	if err := session.Exec(ctx, "COPY (FROM kept"+sh.order()+") TO "+engine.Literal(path)+" ("+intermediate+")"); err != nil {
		return nil, lake.Failure("write first rows", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look at first rows: %w", err)
	}
	if err := lake.Upload(ctx, t.output.Work, folder.Join(firstRows).Key, path, info.Size()); err != nil {
		return nil, err
	}
	rows, err := session.Int(ctx, "SELECT count(*) FROM kept")
	if err != nil {
		return nil, lake.Failure("count first rows", err)
	}
	out := &proto.AggregateReduceOutput{Bytes: info.Size(), Rows: min(rows, sh.limit), Files: 1}
	t.Report(task.Progress{Fraction: 1, Phase: "done", OutRows: out.Rows, OutBytes: out.Bytes})
	return proto.Encode(out), nil
}

// mergeFirst writes the first of the rows that reduce tasks have left.
func (t *stage) mergeFirst(ctx context.Context, session *engine.Session, sh *shape, reduced []proto.AggregateFile) (*files, error) {
	paths := make([]string, len(reduced))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(fetches)
	for i, task := range reduced {
		paths[i] = filepath.Join(t.Dir, fmt.Sprintf("first-%d", i))
		group.Go(func() error {
			object := storage.Object{Key: t.reduceURI(i, task.Attempt).Join(firstRows).Key, Size: task.Bytes}
			return t.download(groupCtx, object, paths[i])
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read first rows: %w", err)
	}
	var l engine.List
	columns, _ := sh.columns()
	for _, c := range columns {
		l.Add("CAST(%[1]s AS %[2]s) AS %[1]s", engine.Name(c.name), c.kind)
	}
	query := fmt.Sprintf("FROM (SELECT %s FROM read_parquet(%s, hive_partitioning=false))%s", l, engine.Literals(paths), sh.order())
	w := t.finalWriter(session)
	if err := w.Write(ctx, query, sh.limit); err != nil {
		return nil, lake.Failure("write result", err)
	}
	return finish(ctx, w, true)
}

// writeKept writes the first of the rows in the table kept as the result.
func (t *stage) writeKept(ctx context.Context, sh *shape, w *result.Writer) error {
	return lake.Failure("write result", w.Write(ctx, "FROM kept"+sh.order(), sh.limit))
}
