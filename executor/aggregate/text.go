package aggregate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
)

// The longest rows, in bytes.
const (
	widestCSV  = 2_000_000
	widestJSON = 16 << 20
)

// textSource is an input of CSV or JSON lines.
type textSource struct {
	*stage
	rows    *input.Rows
	columns []column
}

func (t *stage) newTextSource(store storage.Store, base storage.URI, p *plan, sh *shape) *textSource {
	rows := newRows(&input.Set{Store: store, Base: base, Files: p.Files}, t.section)
	rows.Header, rows.Ahead = p.Header, t.readAhead()
	s := &textSource{stage: t, rows: rows, columns: p.Columns}
	rows.Whole = s.whole(sh)
	return s
}

func newRows(set *input.Set, section *aggregate.Section) *input.Rows {
	in := section.Input
	rows := &input.Rows{Set: set, Widest: widestJSON}
	if in.Format == "csv" {
		rows.Widest = widestCSV
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

// readNatively says that the engine converts a column's values while it reads: those of JSON that have an inside, and
// the plain numbers of CSV, whose fractions input.Whole looks for. All others come as text, and we convert them: see
// guarded.
func (s *textSource) readNatively(c column) bool {
	if s.rows.Dialect.CSV {
		return isInteger(c.Type) || isFloat(c.Type)
	}
	return isNested(c.Type) || c.Type == "JSON"
}

// whole is the columns of CSV whose values must have no fraction, of those that are used.
func (s *textSource) whole(sh *shape) *input.Whole {
	if !s.rows.Dialect.CSV {
		return nil
	}
	w := &input.Whole{Nulls: s.section.Input.NullValues, Columns: make([]bool, len(s.columns))}
	w.Detail = func(i int, value string) string { return s.notOfType(s.columns[i], value) }
	some := false
	for i, c := range s.columns {
		w.Columns[i] = isInteger(c.Type) && sh.uses(c.Name)
		some = some || w.Columns[i]
	}
	if !some {
		return nil
	}
	return w
}

// reader is the table function that reads the rows at path: as text, but for nested values of JSON.
func (s *textSource) reader(path string) string {
	var columns []string
	for _, c := range s.columns {
		switch {
		case s.readNatively(c):
			columns = append(columns, engine.Literal(c.Name)+": "+engine.Literal(c.Type))
		case s.rows.Dialect.CSV || c.Type != "": // CSV has all its columns, used or not
			columns = append(columns, engine.Literal(c.Name)+": 'VARCHAR'")
		}
	}
	if len(columns) == 0 {
		columns = []string{"'any': 'VARCHAR'"} // rows are counted, and nothing else
	}
	list := "{" + strings.Join(columns, ", ") + "}"
	if !s.rows.Dialect.CSV {
		return fmt.Sprintf("read_json(%s, format='newline_delimited', auto_detect=false, hive_partitioning=false, maximum_object_size=%d, columns=%s)",
			engine.Literal(path), widestJSON, list)
	}
	in := s.section.Input
	nulls := append(slices.Clone(in.NullValues), "")
	return fmt.Sprintf("read_csv(%s, auto_detect=false, hive_partitioning=false, header=false, delim=%s, quote=%s, escape=%s, nullstr=%s, allow_quoted_nulls=false, "+
		`new_line='\n', `+ // else the engine goes by the first line break, which may stand in quotes
		"max_line_size=%d, buffer_size=%d, columns=%s)",
		engine.Literal(path), engine.Literal(in.Delimiter), engine.Literal(in.Quote), engine.Literal(in.Escape), engine.Literals(nulls),
		widestCSV, s.bufferSize(), list)
}

// bufferSize is how much CSV the engine holds at a time: little if it has little, and never more than one of its scanners
// takes. Of larger buffers, it divides each among several of them, and gives up on some files without need ("The Parallel CSV
// Reader currently does not support a full read on this file").
func (s *textSource) bufferSize() int64 { return min(max(s.Memory/16, 2*widestCSV), 8_000_000) }

// relation is the used columns at path with their types, as a query.
func (s *textSource) relation(path string) string {
	var items []string
	for _, c := range s.columns {
		if c.Type != "" {
			items = append(items, s.guarded(c)+" AS "+engine.Name(c.Name))
		}
	}
	if len(items) == 0 {
		items = []string{"true AS present"}
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + s.reader(path)
}

// bad marks the message of a value that does not fit its column's type: the mark, the column, the mark, the value.
const bad = "\x01"

// guarded is a column with its type, converted from text if the engine has not done it. Its own conversions would round
// 2.5 to 3 and lose parts of times, without a word.
func (s *textSource) guarded(c column) string {
	name := engine.Name(c.Name)
	if c.Type == "VARCHAR" || s.readNatively(c) {
		return name
	}
	refuse := fmt.Sprintf("CAST(error(chr(1) || %s || chr(1) || left(%s, 200)) AS %s)", engine.Literal(c.Name), name, c.Type)
	convert := fmt.Sprintf("coalesce(TRY_CAST(%[1]s AS %[2]s), CASE WHEN %[1]s IS NOT NULL THEN %[3]s END)", name, c.Type, refuse)
	switch {
	case c.Type == "DATE": // the engine would drop the time of day
		return fmt.Sprintf("CASE WHEN strlen(%[1]s) > 10 AND TRY_CAST(%[1]s AS TIMESTAMP) <> TRY_CAST(%[1]s AS DATE) THEN %[2]s ELSE %[3]s END", name, refuse, convert)
	case c.Type == "TIMESTAMP": // and the distance from UTC
		return fmt.Sprintf("CASE WHEN strlen(%[1]s) > 16 AND regexp_matches(%[1]s, '%[4]s') AND NOT regexp_matches(%[1]s, '[-+]00(:?00)?$') THEN %[2]s ELSE %[3]s END", name, refuse, convert, offset)
	case !isInteger(c.Type):
		return convert
	}
	// Short values are the most, and the length costs nothing.
	return fmt.Sprintf("CASE WHEN strlen(%[1]s) > 1 AND (contains(%[1]s, '.') AND NOT ends_with(rtrim(%[1]s, '0'), '.') "+
		"OR strlen(%[1]s) > 3 AND (contains(%[1]s, 'e-') OR contains(%[1]s, 'E-'))) THEN %[2]s ELSE %[3]s END", name, refuse, convert)
}

// each downloads the next batch while one is consumed, as a file of no more than s.batch, so that a split may be larger than
// the disk. What is wrong with the rows is a *task.Failure that says where.
func (s *textSource) each(ctx context.Context, split input.Split, counts *input.Counts, consume func(ctx context.Context, number int, relation string) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	ready := make(chan string)
	group.Go(func() error {
		defer close(ready)
		spool := &spool{ctx: groupCtx, dir: s.Dir, limit: s.batch(), ready: ready}
		err := s.rows.Feed(groupCtx, split, spool, counts)
		return errors.Join(err, spool.finish(err == nil))
	})
	group.Go(func() error {
		number := 0
		for path := range ready {
			err := consume(groupCtx, number, s.relation(path))
			if err = errors.Join(err, os.Remove(path)); err != nil {
				return err
			}
			number++
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return s.failure(ctx, err, split)
	}
	return nil
}

// batch is how much of a split lies on disk as one file, in bytes: two of them are a small part of the task's disk.
func (s *textSource) batch() int64 {
	const most = 64 << 20
	if s.Data.Disk == 0 {
		return most
	}
	return min(max(s.Data.Disk/16, 1<<20), most)
}

// spool writes rows to files of limited size, and hands each over when it is full.
type spool struct {
	ctx    context.Context // of whoever writes
	dir    string
	limit  int64
	ready  chan<- string
	number int
	file   *os.File
	size   int64
}

// Write takes whole rows.
func (s *spool) Write(rows []byte) (int, error) {
	if s.file == nil {
		file, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("rows-%d", s.number)))
		if err != nil {
			return 0, fmt.Errorf("write scratch file: %w", err)
		}
		s.file, s.size = file, 0
		s.number++
	}
	n, err := s.file.Write(rows)
	if err != nil {
		return n, fmt.Errorf("write scratch file: %w", err)
	}
	if s.size += int64(n); s.size >= s.limit {
		err = s.handOver()
	}
	return n, err
}

func (s *spool) handOver() error {
	path := s.file.Name()
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	s.file = nil
	select {
	case s.ready <- path:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// finish hands the last file over, if all is well.
func (s *spool) finish(well bool) error {
	if !well {
		if s.file == nil {
			return nil
		}
		return s.file.Close()
	}
	if s.file == nil && s.number > 0 {
		return nil
	}
	if s.file == nil { // no rows at all
		if _, err := s.Write(nil); err != nil {
			return err
		}
	}
	return s.handOver()
}
