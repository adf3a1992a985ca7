package aggregate

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/aggregate/commit"
	"github.com/tidemill/tidemill/executor/aggregate/engine"
	"github.com/tidemill/tidemill/executor/aggregate/input"
	"github.com/tidemill/tidemill/executor/aggregate/segment"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// openInput reaches the input of the spec.
func (t *stage) openInput(ctx context.Context) (storage.Store, storage.URI, error) {
	return t.open(ctx, t.section.Input.Prefix(), t.section.Input.Connection, "/aggregate/input/")
}

func (t *stage) runPlan(ctx context.Context, smallestSplit int64) (_ []byte, err error) {
	t.report("listing", 0)
	store, _, err := t.openInput(ctx)
	if err != nil {
		return nil, err
	}
	session, err := t.startEngine(ctx)
	if err != nil {
		return nil, err
	}
	defer closing(session, &err)
	sh, err := newShape(ctx, session, t.section)
	if err != nil {
		return nil, err
	}
	set, err := input.List(ctx, store, &t.section.Input)
	if err != nil {
		return nil, err
	}
	t.report("planning", 0.01)
	rows := newRows(set, t.section)
	rows.Ahead = t.readAhead()
	p, err := t.plan(ctx, session, sh, rows, smallestSplit)
	if err != nil {
		return nil, err
	}
	if len(p.Splits) == 1 {
		out, err := t.doAll(ctx, session, sh, rows, p)
		if err != nil {
			return nil, err
		}
		return proto.Encode(&proto.AggregatePlanOutput{Committed: out, Splits: 1, Partitions: 1, Bytes: set.Bytes()}), nil
	}
	uri, err := t.writePlan(ctx, p)
	if err != nil {
		return nil, err
	}
	t.report("planned", 1)
	return proto.Encode(&proto.AggregatePlanOutput{
		PlanURI: uri, Splits: uint32(len(p.Splits)), Partitions: uint32(p.Partitions), Bytes: set.Bytes(),
	}), nil
}

// mostPartitions keeps the segments of a map output from becoming tiny.
const mostPartitions = 64

func (t *stage) plan(ctx context.Context, session *engine.Session, sh *shape, rows *input.Rows, smallestSplit int64) (*plan, error) {
	columns, err := t.findColumns(ctx, session, rows, sh)
	if err != nil {
		return nil, err
	}
	if err := sh.bind(ctx, session, columns); err != nil {
		return nil, err
	}
	in := t.section.Input
	set := rows.Set
	lines := !rows.Dialect.CSV || !in.QuotedNewlines || in.Quote == ""
	p := &plan{
		Run: t.Data.Run, Files: set.Files, Columns: columns, Header: rows.Header,
		Splits:     input.Cut(set.Files, input.Target(set.Bytes(), t.Spec.Parallelism, smallestSplit, in.SplitSize), lines),
		Partitions: 1,
	}
	if len(sh.keys) > 0 && len(p.Splits) > 1 {
		p.Partitions = min(t.Spec.Parallelism, mostPartitions)
	}
	for _, key := range sh.keys {
		p.Keys = append(p.Keys, key.kind)
	}
	for _, arg := range sh.args {
		p.Args = append(p.Args, arg.kind)
	}
	return p, nil
}

// doAll is a run of one split: one task.
func (t *stage) doAll(ctx context.Context, session *engine.Session, sh *shape, rows *input.Rows, p *plan) (*proto.Output, error) {
	src := &source{stage: t, rows: rows, columns: p.Columns}
	watch := t.watch("computing", p.Splits[0].Bytes(), 0.05, 0.9)
	err := src.compute(ctx, session, sh, p.Splits[0], &watch.counts, keepResults)
	watch.stop()
	if err != nil {
		return nil, err
	}
	f, err := t.writeResult(ctx, session, sh)
	if err != nil {
		return nil, err
	}
	watch.done("committing", 0.95, f.rows, f.bytes)
	out, err := t.publishFile(ctx, sh, f)
	if err == nil {
		watch.done("done", 1, f.rows, f.bytes)
	}
	return out, err
}

// prepare opens what map and reduce tasks go by.
func (t *stage) prepare(ctx context.Context, planURI string) (*plan, *engine.Session, *shape, error) {
	p, err := t.readPlan(ctx, planURI)
	if err != nil {
		return nil, nil, nil, err
	}
	session, err := t.startEngine(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	sh, err := newShape(ctx, session, t.section)
	if err == nil {
		err = sh.setTypes(p)
	}
	if err != nil {
		closing(session, &err)
		return nil, nil, nil, err
	}
	return p, session, sh, nil
}

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
	rows := newRows(&input.Set{Store: store, Base: base, Files: p.Files}, t.section)
	rows.Header, rows.Ahead = p.Header, t.readAhead()
	src := &source{stage: t, rows: rows, columns: p.Columns}
	split := p.Splits[in.Split]
	watch := t.watch("computing", split.Bytes(), 0, 0.9)
	err = src.compute(ctx, session, sh, split, &watch.counts, keepSketches)
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
	f, err := t.writeResult(ctx, session, sh)
	if err != nil {
		return nil, err
	}
	t.Report(task.Progress{Fraction: 0.9, Phase: "writing", OutRows: f.rows, OutBytes: f.bytes})
	out := &proto.AggregateReduceOutput{Bytes: f.bytes, Rows: f.rows}
	if in.Commit {
		out.Committed, err = t.publishFile(ctx, sh, f)
	} else {
		err = upload(ctx, t.output.Work, t.reduceURI(int(t.Data.Index), t.Data.Attempt).Key, f.path, f.bytes)
	}
	if err != nil {
		return nil, err
	}
	t.Report(task.Progress{Fraction: 1, Phase: "done", OutRows: f.rows, OutBytes: f.bytes})
	return proto.Encode(out), nil
}

// reduceURI is the result file of one reduce task among several.
func (t *stage) reduceURI(index int, attempt uint32) storage.URI {
	return t.workURI("reduce", mapName(index, attempt))
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
	if index.Segments() < last {
		return nil, fmt.Errorf("read %q: it has %d segments, want at least %d", key, index.Segments(), last)
	}
	reader := storage.NewReader(ctx, t.output.Work, object, storage.Range{Offset: index[first], Length: index[last] - index[first]}, storage.ReadAhead{Chunk: 1 << 20, Parallel: 2})
	defer closing(reader, &err)
	for partition := first; partition < last; partition++ {
		path := filepath.Join(t.Dir, fmt.Sprintf("part-%d-%d", split, partition))
		if err := save(path, io.LimitReader(reader, index[partition+1]-index[partition])); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
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

// runCommit publishes the files of several reduce tasks, which it copies to one prefix of its own.
func (t *stage) runCommit(ctx context.Context) (_ []byte, err error) {
	var in proto.AggregateCommitInput
	if err := decodeInput(t.Work, &in); err != nil {
		return nil, err
	}
	p, session, sh, err := t.prepare(ctx, in.PlanURI)
	if err != nil {
		return nil, err
	}
	closing(session, &err)
	if err != nil {
		return nil, err
	}
	_ = p
	t.report("copying", 0)
	entries := make([]commit.Entry, len(in.Files))
	var rows int64
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, f := range in.Files {
		to := t.output.FileURI(t.Data.Run, t.attempt(), resultName(t.section.Output, i))
		entries[i] = entry(to, f.Bytes)
		rows += f.Rows
		group.Go(func() error { return t.move(groupCtx, t.reduceURI(i, f.Attempt), to, f.Bytes) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	t.report("committing", 0.9)
	out, err := t.publish(ctx, sh, entries, rows)
	if err != nil {
		return nil, err
	}
	t.report("done", 1)
	return proto.Encode(&proto.AggregateCommitOutput{Committed: out}), nil
}

// move copies a file from the work area to the output: within the store if they share one.
func (t *stage) move(ctx context.Context, from, to storage.URI, size int64) error {
	if from.Scheme == to.Scheme && from.Bucket == to.Bucket {
		if err := t.store.Copy(ctx, from.Key, to.Key); err != nil {
			return fmt.Errorf("copy result: %w", err)
		}
		return nil
	}
	reader := storage.NewReader(ctx, t.output.Work, storage.Object{Key: from.Key, Size: size}, storage.Range{}, t.readAhead())
	path := filepath.Join(t.Dir, filepath.Base(to.Key))
	err := save(path, reader)
	if err = firstError(err, reader.Close()); err != nil {
		return fmt.Errorf("copy result: %w", err)
	}
	return upload(ctx, t.store, to.Key, path, size)
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// runClean closes the run's commit point, or finds that the run has succeeded.
func (t *stage) runClean(ctx context.Context) ([]byte, error) {
	var in proto.CleanInput
	if err := decodeInput(t.Work, &in); err != nil {
		return nil, err
	}
	out, err := t.output.Cancel(ctx, t.Data.Run, t.attempt(), t.Data.RunCreated.UTC())
	if err != nil {
		return nil, err
	}
	return proto.Encode(&proto.CleanOutput{Committed: out}), nil
}
