package source

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/parquet"
)

// Kept is Parquet files of which all that is needed lies in the scratch directory.
type Kept struct {
	source  *parquetSource
	batches []*parquetBatch
}

// Keep fetches all of a split of Parquet files, and leaves it there. columns are those that Look found.
func (t *Source) Keep(ctx context.Context, set *input.Set, columns []Column, split input.Split, counts *input.Counts) (*Kept, error) {
	s := t.newParquetSource(set, columns)
	s.counts = counts
	split, err := s.resolve(ctx, split)
	if err != nil {
		return nil, err
	}
	k := &Kept{source: s}
	ready := make(chan *parquetBatch)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(ready)
		return s.fetchAll(ctx, split, ready)
	})
	group.Go(func() error {
		for b := range ready {
			if err := s.settle(ctx, b); err != nil {
				return err
			}
			k.add(b)
			counts.Rows.Add(b.rows)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return k, nil
}

// add adds a batch. Consecutive ones that are alike become one: a query has a part for each. Of footers, which may be large,
// it keeps what bad rows are numbered by.
func (k *Kept) add(b *parquetBatch) {
	for i, part := range b.parts {
		small := &parquet.Footer{Rows: part.footer.Rows}
		for _, group := range part.footer.Groups {
			small.Groups = append(small.Groups, parquet.Group{Rows: group.Rows, First: group.First})
		}
		b.parts[i].footer = small
	}
	if last := len(k.batches) - 1; last >= 0 && k.batches[last].like(b.layout, b.folder) {
		k.batches[last].parts = append(k.batches[last].parts, b.parts...)
		k.batches[last].rows += b.rows
		return
	}
	k.batches = append(k.batches, b)
}

// Relations are queries that give the used columns, under their names and with their types, of some rows each, in order.
// They may be run as often as one likes. There is one at least.
func (k *Kept) Relations() []string {
	var all []string
	for _, b := range k.batches {
		all = append(all, k.source.relation(b))
	}
	if len(all) == 0 {
		all = []string{"SELECT " + k.source.items(nil, nil).String() + " WHERE false"}
	}
	return all
}

// Explain says what is wrong with the files if an error of the engine in session, which has run a query over Relations, is
// theirs: they are damaged, or have values that do not fit. Else it is nil.
func (k *Kept) Explain(ctx context.Context, session *engine.Session, err error) error {
	if !mayBeData(err) {
		return nil
	}
	k.source.Session = session
	for _, b := range k.batches {
		if damaged := k.source.readable(ctx, b); damaged != nil {
			return damaged
		}
		doubtful, conditions := k.source.doubtful(b)
		if len(doubtful) == 0 {
			continue
		}
		for _, part := range b.parts {
			if _, err := k.source.report(ctx, b, part, doubtful, conditions); err != nil {
				return lake.Failure("look for bad rows", err)
			}
		}
	}
	return nil
}
