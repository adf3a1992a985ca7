package aggregate

import (
	"context"
	"slices"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/proto"
)

func (t *stage) runPlan(ctx context.Context, smallestSplit int64) (_ []byte, err error) {
	t.report("listing", 0)
	store, base, err := t.openInput(ctx)
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
	set, err := input.List(ctx, store, &t.section.Input, pointerInput, lake.Listing(t.Report))
	if err != nil {
		return nil, err
	}
	t.report("planning", 0.01)
	if t.section.Input.NewSince != "" {
		return t.planIncrement(ctx, session, sh, set, smallestSplit)
	}
	p, err := t.plan(ctx, session, sh, set, set, smallestSplit)
	if err != nil {
		return nil, err
	}
	if err := t.checkMode(ctx, sh); err != nil {
		return nil, err
	}
	if len(p.Splits) == 1 {
		out, err := t.doAll(ctx, session, sh, t.source.Rows(p.set(store, base), p.Columns, p.Names), p)
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

// plan plans for the files of set, by the columns that those of look have, which are of the same input.
func (t *stage) plan(ctx context.Context, session *engine.Session, sh *shape, set, look *input.Set, smallestSplit int64) (*plan, error) {
	t.source = t.newSource(session, sh) // which a run of one task goes on with
	folders := t.source.Folders(set)
	kept, err := t.source.Prune(ctx, set, folders)
	if err != nil {
		return nil, err
	}
	looked := kept
	if look != set {
		if looked, err = t.source.Prune(ctx, look, folders); err != nil {
			return nil, err
		}
	}
	if len(looked.Files) == 0 {
		looked = look // there are columns all the same
	}
	columns, names, splits, err := t.lookAtInput(ctx, kept, looked, smallestSplit)
	if err != nil {
		return nil, err
	}
	columns = slices.DeleteFunc(columns, func(c column) bool { return source.Find(folders, c.Name) >= 0 })
	columns = append(columns, folders...)
	if err := sh.bind(ctx, session, columns); err != nil {
		return nil, err
	}
	p := &plan{
		Run: t.Data.Run, Files: kept.Files, PartitionNames: set.Partitions, Folders: set.Folders, Names: names,
		Columns:    slices.DeleteFunc(columns, func(c column) bool { return !sh.uses(c.Name) }),
		Splits:     splits,
		Partitions: 1,
	}
	if len(sh.exchangeKeys()) > 0 && len(p.Splits) > 1 {
		p.Partitions = mostPartitions
	}
	for _, key := range sh.keys {
		p.Keys = append(p.Keys, key.kind)
	}
	for _, arg := range sh.args {
		p.Args = append(p.Args, arg.kind)
	}
	if sh.time != nil {
		p.Time = sh.time.kind
	}
	return p, nil
}

// lookAtInput finds the columns of the files of looked, and cuts those that are kept.
func (t *stage) lookAtInput(ctx context.Context, kept, looked *input.Set, smallestSplit int64) (columns []column, names []string, splits []input.Split, err error) {
	in := t.section.Input
	target := func(bytes int64) int64 {
		return input.Target(bytes, t.Spec.Parallelism, smallestSplit, in.SplitSize)
	}
	columns, names, segments, err := t.source.Look(ctx, looked)
	if in.Format != "parquet" {
		return columns, names, input.Cut(kept.Files, target(kept.Bytes()), t.source.Lines()), err
	}
	switch {
	case len(kept.Files) == 0:
		segments = nil
	case err == nil && looked != kept:
		_, _, segments, err = t.source.Look(ctx, kept)
	}
	return columns, nil, input.CutGroups(segments, target(input.Split(segments).Bytes())), err
}

// doAll is a run of one split: one task.
func (t *stage) doAll(ctx context.Context, session *engine.Session, sh *shape, rows source.Rows, p *plan) (*proto.Output, error) {
	watch := lake.NewWatch(t.Report, "computing", p.Splits[0].Bytes(), 0.05, 0.9)
	err := t.compute(ctx, session, sh, rows, p.Splits[0], &watch.Counts, nil)
	watch.Stop()
	if err != nil {
		return nil, err
	}
	w := t.finalWriter(session)
	if err := t.writeResult(ctx, session, sh, w); err != nil {
		return nil, err
	}
	f, err := finish(ctx, w, true)
	if err != nil {
		return nil, err
	}
	watch.Done("committing", 0.95, f.rows, f.bytes)
	if err := t.keepOwnBadRows(ctx); err != nil {
		return nil, err
	}
	out, err := t.publishFiles(ctx, sh, f)
	if err == nil {
		watch.Done("done", 1, f.rows, f.bytes)
	}
	return out, err
}
