package aggregate

import (
	"context"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/storage"
)

// rowSource gives the rows of the input to the engine, however they are stored: what computes knows of no files.
type rowSource interface {
	// each calls consume for one batch of a split's rows after another, in their order, numbered from 0: at least once,
	// perhaps with no rows. relation is a query that gives the used columns under their names and with the plan's types;
	// it may be run until consume returns. each counts what it reads, ends when ctx does, and returns an error of consume
	// as it is, unless it knows better what the engine means by it: then it is a *task.Failure. After an error of the engine
	// about data consume may be called again with the same number and another relation: it must have left nothing behind.
	each(ctx context.Context, split input.Split, counts *input.Counts, consume func(ctx context.Context, number int, relation string) error) error
}

// newSource opens the input of a plan. base is any URI in store.
func (t *stage) newSource(session *engine.Session, store storage.Store, base storage.URI, p *plan, sh *shape) rowSource {
	if t.section.Input.Format == "parquet" {
		return t.newParquetSource(session, p.set(store, base), p, sh)
	}
	return t.newTextSource(session, p.set(store, base), p)
}
