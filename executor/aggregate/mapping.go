package aggregate

import (
	"context"

	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
)

func (t *stage) runMap(ctx context.Context) (_ []byte, err error) {
	var in proto.AggregateMapInput
	if err := lake.DecodeInput(t.Data, &in); err != nil {
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
	rows := t.newSource(session, sh).Rows(p.set(store, base), p.Columns, p.Names)
	split := p.Splits[in.Split]
	out, err := t.newOutgoing(session, sh, p, int(in.Split))
	if err != nil {
		return nil, err
	}
	defer closing(out, &err)
	watch := lake.NewWatch(t.Report, "computing", split.Bytes(), 0, 0.9)
	err = t.compute(ctx, session, sh, rows, split, &watch.Counts, out.write)
	watch.Stop()
	if err != nil {
		return nil, err
	}
	if err := out.write(ctx); err != nil {
		return nil, err
	}
	done, err := out.upload(ctx)
	if err != nil {
		return nil, err
	}
	if done.BadRows, err = t.storeBadRows(ctx, int(in.Split)); err != nil {
		return nil, err
	}
	watch.Done("done", 1, done.Groups, done.Bytes)
	return proto.Encode(done), nil
}
