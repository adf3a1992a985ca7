package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// The longest rows, in bytes.
const (
	widestCSV  = 2_000_000
	widestJSON = 16 << 20
)

// textSource is an input of CSV or JSON lines.
type textSource struct {
	*Source
	rows    *input.Rows
	names   []string    // of the fields of CSV files without header
	columns []Column    // that are read
	quiet   bool        // bad rows are left out and not counted
	careful atomic.Bool // values of JSON are read as text: see fast

	mu    sync.Mutex
	lines map[input.Segment]int64 // lines before segments, of those that had a bad row
}

func (t *Source) newTextSource(set *input.Set, columns []Column, names []string) *textSource {
	s := &textSource{Source: t, rows: newRows(set, t.Input), columns: columns, lines: map[input.Segment]int64{}}
	s.rows.Ahead = t.readAhead()
	if s.rows.Header {
		s.rows.Known = names
	} else {
		s.names = names
	}
	return s
}

func newRows(set *input.Set, in aggregate.Input) *input.Rows {
	rows := &input.Rows{Set: set, Widest: widestJSON}
	if in.Format == "csv" {
		rows.Widest, rows.Header = widestCSV, in.Header
		rows.Dialect = input.Dialect{CSV: true, Delimiter: in.Delimiter[0]}
		if in.Quote != "" {
			rows.Dialect.Quote, rows.Dialect.Escape = in.Quote[0], in.Quote[0]
		}
		if in.Escape != "" {
			rows.Dialect.Escape = in.Escape[0]
		}
	}
	return rows
}

// looking is a source of the same rows that only looks at them.
func (s *textSource) looking(columns []Column) *textSource {
	lenient := s.Input.BadRows != (aggregate.BadRows{})
	return &textSource{Source: s.Source, rows: s.rows, names: s.names, columns: columns, quiet: lenient, lines: map[input.Segment]int64{}}
}

// textLayout is what rows have in common that are read as one.
type textLayout struct {
	names     []string  // of the fields of CSV, unique
	constants []*string // of the partition columns
	whole     *input.Whole
}

// layout of the rows of a file.
func (s *textSource) layout(file int, header []string) *textLayout {
	l := &textLayout{names: s.names, constants: s.rows.Set.Constants(file)}
	if !s.rows.Dialect.CSV {
		return l
	}
	if header != nil {
		l.names = uniqueNames(header)
	}
	l.whole = &input.Whole{Dialect: s.rows.Dialect, Nulls: s.Input.NullValues, Columns: make([]bool, len(l.names))}
	some := false
	for _, c := range s.columns {
		if i := l.field(c); i >= 0 && engine.IsInteger(c.Type) {
			l.whole.Columns[i], some = true, true
		}
	}
	if !some {
		l.whole = nil
	}
	return l
}

// field is the number of a column's field in rows of CSV, or negative if they have none.
func (l *textLayout) field(c Column) int {
	if c.Partition {
		return -1
	}
	return slices.IndexFunc(l.names, func(name string) bool { return strings.EqualFold(name, c.Name) })
}

// same says whether rows of both can be read as one.
func (s *textSource) same(a, b *textLayout) bool {
	if !slices.Equal(a.names, b.names) {
		return false
	}
	for _, c := range s.columns {
		if i := s.partition(c); i >= 0 && (a.constants[i] == nil) != (b.constants[i] == nil) || i >= 0 && a.constants[i] != nil && *a.constants[i] != *b.constants[i] {
			return false
		}
	}
	return true
}

// partition is which of the input's partition columns a column is, or negative.
func (s *textSource) partition(c Column) int {
	if !c.Partition {
		return -1
	}
	return slices.IndexFunc(s.rows.Set.Partitions, func(name string) bool { return strings.EqualFold(name, c.Name) })
}

// Each implements [Rows]. It gives rows to the engine as they come if that does, else in scratch files: see stream and
// spool. Bad rows are left out if the spec lets them be; else the first is a *task.Failure that says where it
// is. After an error that is about data, consume is called again with the same number and without the rows that were bad: it
// must have left nothing behind.
func (s *textSource) Each(ctx context.Context, split input.Split, counts *input.Counts, consume func(ctx context.Context, number int, relation string) error) error {
	var done progress
	if s.rows.Dialect.CSV && s.Input.BadRows == (aggregate.BadRows{}) {
		bytes, rows := counts.Bytes.Load(), counts.Rows.Load()
		var err error
		if done, err = s.stream(ctx, split, counts, consume); !errors.Is(err, errUnfit) {
			return err
		}
		counts.Bytes.Store(bytes)
		counts.Rows.Store(rows)
	}
	return s.spool(ctx, split, counts, done, consume)
}

// progress is what of a split has been consumed.
type progress struct {
	batches int
	bytes   int64 // of rows, as they are given to the engine
}

// spool downloads the next batch while one is consumed, as files of no more than s.batch, so that a split may be larger than
// the disk. What is done is left out.
func (s *textSource) spool(ctx context.Context, split input.Split, counts *input.Counts, done progress, consume func(ctx context.Context, number int, relation string) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	ready := make(chan *batch)
	group.Go(func() error {
		defer close(ready)
		spool := &spool{ctx: groupCtx, source: s, limit: s.batch(), skip: done.bytes, handed: done.batches > 0, ready: ready}
		err := s.rows.Feed(groupCtx, split, spool, counts)
		return errors.Join(err, spool.finish(err == nil))
	})
	group.Go(func() error {
		number := done.batches
		for b := range ready {
			err := s.consume(groupCtx, b, func(relation string) error { return consume(groupCtx, number, relation) })
			if err = errors.Join(err, b.remove()); err != nil {
				return err
			}
			number++
		}
		return nil
	})
	return group.Wait()
}

// consume computes a batch: first as if all was well with it, and if not, in ways that take longer.
func (s *textSource) consume(ctx context.Context, b *batch, compute func(relation string) error) error {
	err := errDoubtful
	if !b.doubtful && !s.careful.Load() {
		err = compute(s.relation(b, s.fast))
	}
	if !s.rows.Dialect.CSV && dataError(err) {
		if !b.doubtful {
			s.careful.Store(true)
		}
		err = compute(s.relation(b, s.guarded))
	}
	if !dataError(err) {
		return lake.Failure("compute", err)
	}
	found, siftErr := s.sift(ctx, b)
	if siftErr != nil {
		return siftErr
	}
	if !found && !errors.Is(err, errDoubtful) {
		return lake.Failure("compute", err) // an expression that cannot be computed
	}
	return lake.Failure("compute", compute(s.relation(b, s.guarded)))
}

// errDoubtful stands for an error about data that the engine would not have noticed.
var errDoubtful = errors.New("the batch may hold values that the engine would change")

// dataError says whether the engine, or we, refused a value. A *task.Failure is more than that.
func dataError(err error) bool {
	var failure *task.Failure
	if errors.As(err, &failure) {
		return false
	}
	var said *engine.Error
	return errors.Is(err, errDoubtful) || errors.As(err, &said) && said.Reason == engine.Data
}

// batch is how much of a split lies on disk at a time, in bytes: two of them are a small part of the task's disk.
func (s *textSource) batch() int64 {
	const most = 64 << 20
	if s.Disk == 0 {
		return most
	}
	return min(max(s.Disk/16, 1<<20), most)
}

// bad takes a row that is left out. The error is a *task.Failure if it must not be.
func (s *textSource) bad(ctx context.Context, from origin, reason string, text []byte) error {
	if s.quiet {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, ok := s.lines[from.segment]
	if !ok {
		first, err := s.rows.Line(ctx, from.segment)
		if err != nil {
			return err
		}
		before = first - 1
		s.lines[from.segment] = before
	}
	return s.BadRows.add(badRow{File: s.rows.Set.URI(from.segment.File), Row: before + from.line, Reason: reason, Text: string(text)})
}
