package aggregate

import (
	"context"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
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
	set, err := input.List(ctx, store, &t.section.Input, t.listingProgress())
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
	if err := t.checkMode(ctx, sh); err != nil {
		return nil, err
	}
	if len(p.Splits) == 1 {
		out, err := t.doAll(ctx, session, sh, t.newSource(session, store, base, p, sh), p)
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

func (t *stage) plan(ctx context.Context, session *engine.Session, sh *shape, rows *input.Rows, smallestSplit int64) (*plan, error) {
	columns, splits, err := t.lookAtInput(ctx, session, sh, rows, smallestSplit)
	if err != nil {
		return nil, err
	}
	if err := sh.bind(ctx, session, columns); err != nil {
		return nil, err
	}
	p := &plan{
		Run: t.Data.Run, Files: rows.Set.Files, Columns: columns, Header: rows.Header,
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

// lookAtInput finds the columns of the input and cuts it.
func (t *stage) lookAtInput(ctx context.Context, session *engine.Session, sh *shape, rows *input.Rows, smallestSplit int64) ([]column, []input.Split, error) {
	in, set := t.section.Input, rows.Set
	target := func(bytes int64) int64 {
		return input.Target(bytes, t.Spec.Parallelism, smallestSplit, in.SplitSize)
	}
	if in.Format == "parquet" {
		columns, segments, err := t.planParquet(ctx, session, set, sh)
		return columns, input.CutGroups(segments, target(input.Split(segments).Bytes())), err
	}
	columns, err := t.findColumns(ctx, session, rows, sh)
	lines := !rows.Dialect.CSV || !in.QuotedNewlines || in.Quote == ""
	return columns, input.Cut(set.Files, target(set.Bytes()), lines), err
}

// doAll is a run of one split: one task.
func (t *stage) doAll(ctx context.Context, session *engine.Session, sh *shape, source rowSource, p *plan) (*proto.Output, error) {
	watch := t.watch("computing", p.Splits[0].Bytes(), 0.05, 0.9)
	err := t.compute(ctx, session, sh, source, p.Splits[0], &watch.counts, nil)
	watch.stop()
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
	watch.done("committing", 0.95, f.rows, f.bytes)
	out, err := t.publishFiles(ctx, sh, f)
	if err == nil {
		watch.done("done", 1, f.rows, f.bytes)
	}
	return out, err
}
