package aggregate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemill/tidemill/executor/aggregate/segment"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

func (t *stage) runMap(ctx context.Context) (_ []byte, err error) {
	var in proto.AggregateMapInput
	if err := decodeInput(t.Work, &in); err != nil {
		return nil, err
	}
	p, session, sh, err := t.prepare(ctx, in.PlanURI)
	if err != nil {
		return nil, err
	}
	defer closing(session, &err)
	if int(in.Split) >= len(p.Splits) {
		return nil, task.Final("", "compute split %d: the plan has %d", in.Split, len(p.Splits))
	}
	store, base, err := t.openInput(ctx)
	if err != nil {
		return nil, err
	}
	source := t.newSource(store, base, p, sh)
	split := p.Splits[in.Split]
	watch := t.watch("computing", split.Bytes(), 0, 0.9)
	err = compute(ctx, session, sh, source, split, &watch.counts, keepSketches)
	watch.stop()
	if err != nil {
		return nil, err
	}
	out, err := t.writeSegments(ctx, session, sh, p, int(in.Split))
	if err != nil {
		return nil, err
	}
	watch.done("done", 1, out.Groups, out.Bytes)
	return proto.Encode(out), nil
}

// writeSegments writes the partial aggregates, one Parquet file for each partition, as one object.
func (t *stage) writeSegments(ctx context.Context, session *engine.Session, sh *shape, p *plan, split int) (_ *proto.AggregateMapOutput, err error) {
	path := filepath.Join(t.Dir, "map")
	object, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write partial results: %w", err)
	}
	defer closing(object, &err)
	w := segment.NewWriter(object)
	for partition := range p.Partitions {
		one := filepath.Join(t.Dir, "segment")
		query := fmt.Sprintf("COPY (%s) TO %s (FORMAT parquet, COMPRESSION zstd)", sh.partition(split, partition, p.Partitions), engine.Literal(one))
		if err := session.Exec(ctx, query); err != nil {
			return nil, engineFailure("write partial results", err)
		}
		if err := addFile(w, one); err != nil {
			return nil, err
		}
	}
	out := &proto.AggregateMapOutput{}
	if out.Groups, err = session.Int(ctx, "SELECT count(*) FROM partial"); err != nil {
		return nil, engineFailure("count groups", err)
	}
	if out.Bytes, err = w.Finish(); err != nil {
		return nil, err
	}
	key := t.workURI("map", mapName(split, t.Data.Attempt)).Key
	if _, err := t.output.Work.Put(ctx, key, object, out.Bytes, storage.Always); err != nil {
		return nil, fmt.Errorf("upload partial results: %w", err)
	}
	return out, nil
}

// partition is the query for the groups of one partition, with their sketches.
func (s *shape) partition(split, partition, of int) string {
	l := items{fmt.Sprintf("CAST(%d AS INTEGER) AS split", split)}
	for i := range s.keys {
		l.add("partial.k%d", i)
	}
	for i, p := range s.parts {
		if p.sketch() {
			l.add("sketch%d.s AS p%d", i, i)
		} else {
			l.add("partial.p%d", i)
		}
	}
	query := "SELECT " + l.String() + " FROM partial" + s.joins("sketch")
	if of > 1 {
		query += fmt.Sprintf(" WHERE hash(%s) %% %d = %d", names("k", len(s.keys)), of, partition)
	}
	return query
}

func addFile(w *segment.Writer, path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write partial results: %w", err)
	}
	defer closing(file, &err)
	return w.Add(file)
}
