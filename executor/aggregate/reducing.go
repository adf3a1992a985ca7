package aggregate

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/aggregate/segment"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
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
	t.report("reading", 0)
	files, err := t.fetchPartitions(ctx, &in)
	if err != nil {
		return nil, err
	}
	t.report("merging", 0.5)
	if err := t.merge(ctx, session, sh, files); err != nil {
		return nil, err
	}
	folder := t.reduceURI(int(t.Data.Index), t.Data.Attempt)
	w := t.newWriter(session, t.output.Work, folder)
	if in.Commit {
		w = t.finalWriter(session)
	}
	if err := t.writeResult(ctx, session, sh, w); err != nil {
		return nil, err
	}
	f, err := finish(ctx, w, t.Data.Index == 0)
	if err != nil {
		return nil, err
	}
	t.Report(task.Progress{Fraction: 0.9, Phase: "writing", OutRows: f.rows, OutBytes: f.bytes})
	out := &proto.AggregateReduceOutput{Bytes: f.bytes, Rows: f.rows, Files: int64(len(f.list))}
	if in.Commit {
		out.Committed, err = t.publishFiles(ctx, sh, f)
	} else {
		err = t.writeList(ctx, folder, f)
	}
	if err != nil {
		return nil, err
	}
	t.Report(task.Progress{Fraction: 1, Phase: "done", OutRows: f.rows, OutBytes: f.bytes})
	return proto.Encode(out), nil
}

// fetchPartitions downloads the segments of some partitions of all splits, as files in the order of the splits.
func (t *stage) fetchPartitions(ctx context.Context, in *proto.AggregateReduceInput) ([]string, error) {
	all := make([][]string, len(in.MapAttempts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for split, attempt := range in.MapAttempts {
		group.Go(func() (err error) {
			all[split], err = t.fetchSplit(ctx, split, attempt, int(in.FirstPartition), int(in.LastPartition))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read partial results: %w", err)
	}
	var files []string
	for _, some := range all {
		files = append(files, some...)
	}
	return files, nil
}

func (t *stage) fetchSplit(ctx context.Context, split int, attempt uint32, first, last int) (files []string, err error) {
	key := t.workURI("map", mapName(split, attempt)).Key
	object, err := t.output.Work.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	index, err := segment.Read(ctx, t.output.Work, object)
	if err != nil {
		return nil, err
	}
	if len(index) < last {
		return nil, fmt.Errorf("read %q: it has %d segments, want at least %d", key, len(index), last)
	}
	end := index[last-1].Offset + index[last-1].Length
	reader := storage.NewReader(ctx, t.output.Work, object, storage.Range{Offset: index[first].Offset, Length: end - index[first].Offset}, storage.ReadAhead{Chunk: 1 << 20, Parallel: 2})
	defer closing(reader, &err)
	for partition := first; partition < last; partition++ {
		path := filepath.Join(t.Dir, fmt.Sprintf("part-%d-%d", split, partition))
		if err := saveSegment(path, index[partition], reader); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

func saveSegment(path string, s segment.Segment, from io.Reader) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	defer closing(file, &err)
	return s.Copy(file, from)
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
