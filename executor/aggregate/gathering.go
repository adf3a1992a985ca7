package aggregate

import (
	"context"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
)

// gathering is the table pieces while it grows: the partial aggregates of one batch after another. Groups that come again
// and again are merged, so that a few hot keys never fill it; where nearly every row is a group of its own, merging would
// only cost, and the pieces go on as they are, to be merged once, by whoever merges all of them.
type gathering struct {
	stage   *stage
	session *engine.Session
	shape   *shape
	most    int64 // rows that are worth keeping: beyond, they are merged or handed on
	// handOn writes the rows of the table partial, which may hold a group several times, where they need no more room
	// here. If it is nil, they stay: the engine spills.
	handOn func(ctx context.Context) error

	batches int64
	rows    int64 // of the table
	merged  int64 // rows that the last merging left
	handed  bool  // some have been handed on
	// repeated says that a batch has groups with several rows, besides those of values.
	repeated bool
}

// add aggregates one batch, a query for rows of keys and arguments.
func (g *gathering) add(ctx context.Context, number int, rows string) error {
	single, err := g.shape.gather(ctx, g.session, rows, number, g.stage.Memory)
	if err != nil {
		return err
	}
	g.batches++
	g.repeated = g.repeated || !single
	// The batch is in: no error from here on is one of its rows.
	return lake.Failure("merge partial results", g.tidy(ctx))
}

// tidy keeps the table small.
func (g *gathering) tidy(ctx context.Context) (err error) {
	if g.rows, err = g.session.Int(ctx, "SELECT count(*) FROM pieces"); err != nil {
		return err
	}
	if g.rows <= g.most || g.handOn == nil && g.rows < 2*g.merged {
		return nil
	}
	if err := g.mergeIfItPays(ctx); err != nil {
		return err
	}
	if g.handOn == nil || g.rows <= g.most/2 {
		return nil
	}
	g.handed = true
	if err := g.session.Exec(ctx, "ALTER TABLE pieces RENAME TO partial"); err != nil {
		return err
	}
	if err := g.handOn(ctx); err != nil {
		return err
	}
	g.rows, g.merged = 0, 0
	return g.session.Exec(ctx, "ALTER TABLE partial RENAME TO pieces; TRUNCATE pieces")
}

// worthMerging is the share of rows that must go away to make merging cheaper than carrying them on.
const worthMerging = 0.5

// mergeIfItPays merges the pieces if that leaves few enough.
func (g *gathering) mergeIfItPays(ctx context.Context) error {
	g.merged = g.rows
	if keys := g.shape.rowKeys(); len(keys) > 0 {
		groups, err := g.session.Int(ctx, "SELECT approx_count_distinct(hash("+keys.String()+")) FROM pieces")
		if err != nil {
			return err
		}
		if float64(groups) > worthMerging*float64(g.rows) {
			return nil
		}
	}
	return g.merge(ctx)
}

func (g *gathering) merge(ctx context.Context) (err error) {
	if err := g.stage.mergePieces(ctx, g.session, g.shape, "merged", "pieces"); err != nil {
		return err
	}
	if err := g.session.Exec(ctx, "ALTER TABLE merged RENAME TO pieces"); err != nil {
		return err
	}
	g.rows, err = g.session.Int(ctx, "SELECT count(*) FROM pieces")
	g.merged = g.rows
	return err
}

// finish makes the table partial. Its groups are one row each if nobody merges them later.
func (g *gathering) finish(ctx context.Context) error {
	var err error
	switch {
	case g.batches == 1 && !g.handed && !g.repeated:
	case g.handOn == nil:
		err = g.merge(ctx)
	default:
		err = g.mergeIfItPays(ctx)
	}
	if err != nil {
		return err
	}
	return g.session.Exec(ctx, "ALTER TABLE pieces RENAME TO partial")
}
