package aggregate

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/tidemill/tidemill/executor/aggregate/sketch"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// Sketches are built by our own code, one group at a time: the engine sorts what goes into them by group, spilling if
// it must, and hands it over in pages. So memory holds one sketch and one page, however many groups there are.

// keeper says what is kept of the sketches of a part.
type keeper int

const (
	keepSketches keeper = iota // as bytes, to be merged
	keepResults                // what measures ask of them
)

// One page of values, and one of sketches, which are up to some kilobytes each.
const (
	valuePage  = 50_000
	sketchPage = 1_000
)

// builder is a sketch that is being built, of either kind.
type builder interface {
	update(row []driver.Value) error // of a value, or of a sketch to be merged
	bytes() ([]byte, error)
	results() ([]driver.Value, error)
}

// sketchGroups builds the sketches of part i out of the table staging.
func sketchGroups(ctx context.Context, session *engine.Session, sh *shape, i int, keep keeper) error {
	p := sh.parts[i]
	keys := names("k", len(sh.keys))
	columns := append(keys[:len(keys):len(keys)], fmt.Sprintf("CAST(a%d AS %s) AS v", p.arg, counted(sh.args[p.arg].kind)))
	value := "v"
	if p.function == aggregate.ApproxQuantile {
		columns[len(columns)-1] = fmt.Sprintf("CAST(a%d AS DOUBLE) AS v", p.arg)
		columns.add("count(*) AS n")
		value = "v, n"
	}
	grouped := append(keys[:len(keys):len(keys)], "v")
	query := fmt.Sprintf("SELECT gid, %s FROM (SELECT %s FROM staging WHERE a%d IS NOT NULL GROUP BY %s) AS values_of JOIN (SELECT rowid AS gid, * FROM partial) AS partial ON %s ORDER BY gid, v",
		value, columns, p.arg, grouped, sh.sameGroup("values_of", "partial"))
	return buildGroups(ctx, session, sh, i, query, valuePage, keep, func() (builder, error) { return newBuilder(sh, i) })
}

// mergeSketches merges the sketches of part i that stand in Parquet files, in the order of the splits.
func mergeSketches(ctx context.Context, session *engine.Session, sh *shape, i int, read string) error {
	query := fmt.Sprintf("SELECT gid, p%d AS s FROM %s AS pieces JOIN (SELECT rowid AS gid, * FROM partial) AS partial ON %s WHERE pieces.p%d IS NOT NULL ORDER BY gid, split",
		i, read, sh.sameGroup("pieces", "partial"), i)
	return buildGroups(ctx, session, sh, i, query, sketchPage, keepResults, func() (builder, error) { return newMerger(sh, i) })
}

// buildGroups runs a query whose rows begin with gid and are in its order, and keeps a row for each.
func buildGroups(ctx context.Context, session *engine.Session, sh *shape, i int, query string, page int, keep keeper, begin func() (builder, error)) error {
	table, columns := fmt.Sprintf("sketch%d", i), "s BLOB"
	if keep == keepResults {
		table, columns = fmt.Sprintf("result%d", i), sh.resultColumns(i)
	}
	if err := session.Exec(ctx, "CREATE TEMP TABLE "+table+" (gid BIGINT, "+columns+"); CREATE TEMP TABLE sorted AS "+query); err != nil {
		return err
	}
	count, err := session.Int(ctx, "SELECT count(*) FROM sorted")
	if err != nil {
		return err
	}
	g := &groups{begin: begin, keep: keep}
	err = session.Append(ctx, table, func(add func(...driver.Value) error) error {
		g.add = add
		for from := int64(0); from < count; from += int64(page) {
			query := fmt.Sprintf("SELECT * FROM sorted WHERE rowid >= %d AND rowid < %d ORDER BY rowid", from, from+int64(page))
			if err := session.Query(ctx, query, g.row); err != nil {
				return err
			}
		}
		return g.end()
	})
	if err != nil {
		return err
	}
	return session.Exec(ctx, "DROP TABLE sorted")
}

// resultColumns defines what measures ask of part i.
func (s *shape) resultColumns(i int) string {
	if s.parts[i].function == aggregate.ApproxDistinct {
		return "v0 BIGINT"
	}
	var l items
	for k := range s.ranks(i) {
		l.add("v%d DOUBLE", k)
	}
	return l.String()
}

// groups takes rows in the order of their groups.
type groups struct {
	begin   func() (builder, error)
	add     func(...driver.Value) error
	keep    keeper
	current int64
	sketch  builder
}

func (g *groups) row(values []driver.Value) error {
	gid, ok := values[0].(int64)
	if !ok {
		return fmt.Errorf("read group number: got %T", values[0])
	}
	if g.sketch == nil || gid != g.current {
		if err := g.end(); err != nil {
			return err
		}
		next, err := g.begin()
		if err != nil {
			return err
		}
		g.current, g.sketch = gid, next
	}
	return g.sketch.update(values[1:])
}

// end keeps the sketch of the group that is over.
func (g *groups) end() error {
	if g.sketch == nil {
		return nil
	}
	if g.keep == keepSketches {
		data, err := g.sketch.bytes()
		if err != nil {
			return err
		}
		return g.add(g.current, data)
	}
	results, err := g.sketch.results()
	if err != nil {
		return err
	}
	return g.add(append([]driver.Value{g.current}, results...)...)
}

func newBuilder(sh *shape, i int) (builder, error) {
	if sh.parts[i].function == aggregate.ApproxDistinct {
		s, err := sketch.NewDistinct()
		return &distinctBuilder{s}, err
	}
	s, err := sketch.NewQuantiles()
	return &quantileBuilder{s, sh.ranks(i)}, err
}

func newMerger(sh *shape, i int) (builder, error) {
	if sh.parts[i].function == aggregate.ApproxDistinct {
		u, err := sketch.NewDistinctUnion()
		return &distinctMerger{u}, err
	}
	s, err := sketch.NewQuantiles()
	return &quantileMerger{quantileBuilder{s, sh.ranks(i)}}, err
}

type distinctBuilder struct{ sketch *sketch.Distinct }

func (b *distinctBuilder) update(row []driver.Value) error { return b.sketch.Update(row[0]) }
func (b *distinctBuilder) bytes() ([]byte, error)          { return b.sketch.Bytes() }
func (b *distinctBuilder) results() ([]driver.Value, error) {
	n, err := b.sketch.Estimate()
	return []driver.Value{n}, err
}

type distinctMerger struct{ union *sketch.DistinctUnion }

func (m *distinctMerger) update(row []driver.Value) error {
	data, err := sketchBytes(row)
	if err != nil {
		return err
	}
	return m.union.Merge(data)
}

func (m *distinctMerger) bytes() ([]byte, error) {
	s, err := m.union.Result()
	if err != nil {
		return nil, err
	}
	return s.Bytes()
}

func (m *distinctMerger) results() ([]driver.Value, error) {
	s, err := m.union.Result()
	if err != nil {
		return nil, err
	}
	return (&distinctBuilder{s}).results()
}

type quantileBuilder struct {
	sketch *sketch.Quantiles
	ranks  []float64
}

func (b *quantileBuilder) update(row []driver.Value) error {
	value, okValue := row[0].(float64)
	times, okTimes := row[1].(int64)
	if !okValue || !okTimes {
		return fmt.Errorf("put %T, %T times, into a KLL sketch", row[0], row[1])
	}
	b.sketch.Update(value, times)
	return nil
}

func (b *quantileBuilder) bytes() ([]byte, error) { return b.sketch.Bytes() }

func (b *quantileBuilder) results() ([]driver.Value, error) {
	row := make([]driver.Value, len(b.ranks))
	for i, q := range b.ranks {
		value, ok, err := b.sketch.At(q)
		if err != nil {
			return nil, err
		}
		if ok {
			row[i] = value
		}
	}
	return row, nil
}

type quantileMerger struct{ quantileBuilder }

func (m *quantileMerger) update(row []driver.Value) error {
	data, err := sketchBytes(row)
	if err != nil {
		return err
	}
	return m.sketch.Merge(data)
}

func sketchBytes(row []driver.Value) ([]byte, error) {
	data, ok := row[0].([]byte)
	if !ok {
		return nil, fmt.Errorf("read sketch: got %T", row[0])
	}
	return data, nil
}
