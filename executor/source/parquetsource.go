package source

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
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/parquet"
	"github.com/tidemill/tidemill/executor/task"
)

// parquetSource is an input of Parquet files. A batch is some row groups, as scratch files of the columns that are used.
type parquetSource struct {
	*parquetFiles
	columns []Column // that are used
}

func (t *Source) newParquetSource(set *input.Set, columns []Column) *parquetSource {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c Column) bool { return c.Type == "" || !t.Uses(c.Name) })
	if t.parquet == nil {
		t.parquet = t.newParquetFiles(set)
	}
	return &parquetSource{parquetFiles: t.parquet, columns: columns}
}

// parquetBatch is what the engine reads at a time: row groups of files that have the same layout and constants.
type parquetBatch struct {
	layout *layout
	folder int
	parts  []rowGroups
	bytes  int64
	rows   int64
}

// rowGroups is some row groups of one file.
type rowGroups struct {
	file   int
	footer *parquet.Footer
	groups []int
	path   string // of the scratch file
}

// Each implements [Rows]. It fetches the next batch while one is consumed.
func (s *parquetSource) Each(ctx context.Context, split input.Split, counts *input.Counts, consume func(ctx context.Context, number int, relation string) error) error {
	s.counts = counts
	split, err := s.resolve(ctx, split)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	ready := make(chan *parquetBatch)
	group.Go(func() error {
		defer close(ready)
		return s.fetchAll(ctx, split, ready)
	})
	group.Go(func() error {
		number := 0
		for b := range ready {
			if err := s.consume(ctx, b, number, consume); err != nil {
				return err
			}
			counts.Rows.Add(b.rows)
			number++
		}
		if number == 0 && ctx.Err() == nil {
			return lake.Failure("compute", consume(ctx, 0, "SELECT "+s.items(nil, nil).String()+" WHERE false"))
		}
		return nil
	})
	return group.Wait()
}

// resolve finds the row groups of files that the plan has not looked into.
func (s *parquetSource) resolve(ctx context.Context, split input.Split) (input.Split, error) {
	var files []int
	for _, segment := range split {
		if segment.Groups == 0 {
			files = append(files, segment.File)
		}
	}
	if len(files) == 0 {
		return split, nil
	}
	groups, err := s.look(ctx, files, s.columns)
	if err != nil {
		return nil, err
	}
	var all input.Split
	for _, segment := range split {
		if segment.Groups > 0 {
			all = append(all, segment)
			continue
		}
		for _, group := range groups {
			if group.file == segment.File {
				all = append(all, segments([]rowGroup{group})...)
			}
		}
	}
	return all, nil
}

// look finds the row groups of some files that may matter, in order.
func (p *parquetFiles) look(ctx context.Context, files []int, columns []Column) ([]rowGroup, error) {
	filter := newFilter(p.Where, p.set.Partitions)
	found := map[int][]rowGroup{}
	err := p.lookAt(ctx, files, func(file int, footer *parquet.Footer, l *layout) error {
		found[file] = filter.rowGroups(file, footer, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var groups []rowGroup
	for _, file := range files {
		groups = append(groups, found[file]...)
	}
	return p.possible(ctx, filter, groups, columns)
}

// fetchAll makes batches of a split's row groups, fetches and sends them.
func (s *parquetSource) fetchAll(ctx context.Context, split input.Split, ready chan<- *parquetBatch) error {
	var current *parquetBatch
	send := func() error {
		if current == nil {
			return nil
		}
		b := current
		current = nil
		if err := s.fetch(ctx, b); err != nil {
			return err
		}
		select {
		case ready <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	limit := s.batchBytes()
	for i, segment := range split {
		if i%footersAtOnce == 0 {
			if err := s.readAheadFooters(ctx, split[i:min(i+footersAtOnce, len(split))]); err != nil {
				return err
			}
		}
		footer, err := s.footer(ctx, segment.File)
		if err != nil {
			return err
		}
		if segment.Group+segment.Groups > len(footer.Groups) {
			return task.Final("", "read %s: it has %d row groups, and the plan wants number %d", s.set.URI(segment.File), len(footer.Groups), segment.Group+segment.Groups-1)
		}
		s.mu.Lock()
		l := s.layout(segment.File, footer)
		s.mu.Unlock()
		for g := segment.Group; g < segment.Group+segment.Groups; g++ {
			bytes := footer.Bytes([]int{g}, l.keep)
			if current != nil && (!current.like(l, s.set.Files[segment.File].Folder) || current.bytes+bytes > limit) {
				if err := send(); err != nil {
					return err
				}
			}
			if current == nil {
				current = &parquetBatch{layout: l, folder: s.set.Files[segment.File].Folder}
			}
			current.add(segment.File, footer, g, bytes)
		}
	}
	return send()
}

// readAheadFooters reads the footers of some segments that are not in memory, many at a time.
func (s *parquetSource) readAheadFooters(ctx context.Context, some input.Split) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, segment := range some {
		group.Go(func() error {
			footer, err := s.footer(ctx, segment.File)
			if err == nil {
				s.mu.Lock()
				s.kept += int64(footer.Size())
				s.footers[segment.File] = footer
				s.mu.Unlock()
			}
			return err
		})
	}
	return group.Wait()
}

// like says whether row groups of a layout and folder may be in the batch.
func (b *parquetBatch) like(l *layout, folder int) bool { return b.layout == l && b.folder == folder }

func (b *parquetBatch) add(file int, footer *parquet.Footer, group int, bytes int64) {
	b.bytes += bytes
	b.rows += footer.Groups[group].Rows
	if last := len(b.parts) - 1; last >= 0 && b.parts[last].file == file {
		b.parts[last].groups = append(b.parts[last].groups, group)
		return
	}
	b.parts = append(b.parts, rowGroups{file: file, footer: footer, groups: []int{group}})
}

// batchBytes is how much of a split lies on disk as one batch, in bytes as stored: two of them are a small part of the
// task's disk. A row group may be more.
func (p *parquetFiles) batchBytes() int64 {
	const most = 32 << 20
	if p.Disk == 0 {
		return most
	}
	return min(max(p.Disk/16, 1<<20), most)
}

// fetch writes the scratch files of a batch; none if no column is used.
func (s *parquetSource) fetch(ctx context.Context, b *parquetBatch) error {
	if !slices.Contains(b.layout.keep, true) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	ahead := s.readAhead()
	group.SetLimit(ahead.Parallel)
	for i := range b.parts {
		part := &b.parts[i]
		s.files++
		part.path = filepath.Join(s.Dir, fmt.Sprintf("%srows-%d.parquet", s.Prefix, s.files))
		group.Go(func() error {
			err := part.footer.Fetch(ctx, s.set.Store, s.object(part.file), part.groups, b.layout.keep, part.path, ahead, &s.counts.Bytes)
			if err != nil {
				return s.set.ReadFailure(part.file, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (b *parquetBatch) paths() (all []string) {
	for _, part := range b.parts {
		if part.path != "" {
			all = append(all, part.path)
		}
	}
	return all
}

func (b *parquetBatch) remove() (err error) {
	for _, path := range b.paths() {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// consume computes a batch and removes it.
func (s *parquetSource) consume(ctx context.Context, b *parquetBatch, number int, compute func(ctx context.Context, number int, relation string) error) (err error) {
	defer func() { err = errors.Join(err, b.remove()) }()
	if err := s.settle(ctx, b); err != nil {
		return err
	}
	err = compute(ctx, number, s.relation(b))
	if !mayBeData(err) {
		return lake.Failure("compute", err)
	}
	if damaged := s.readable(ctx, b); damaged != nil {
		return damaged
	}
	return s.withoutBadRows(ctx, b, number, err, compute)
}

// settle finds the types of a batch that was fetched.
func (s *parquetSource) settle(ctx context.Context, b *parquetBatch) error {
	if paths := b.paths(); len(paths) > 0 && b.layout.types == nil {
		if err := s.types(ctx, b.layout, b.parts[0].file, paths[0]); err != nil {
			return err
		}
	}
	return s.fits(b)
}

// relation is the rows of a batch as a query.
func (s *parquetSource) relation(b *parquetBatch) string {
	from := fmt.Sprintf("range(%d)", b.rows) // nothing but their number is used
	if paths := b.paths(); len(paths) > 0 {
		from = readParquet(paths...)
	}
	return "SELECT " + s.items(b, s.guarded).String() + " FROM " + from
}

// fits makes sure that each column has a type that becomes the plan's: a file may have one that the plan has not seen.
func (s *parquetSource) fits(b *parquetBatch) error {
	for _, c := range s.columns {
		i := b.layout.find(c.Name)
		if i < 0 || !b.layout.keep[i] || s.declared(c.Name) || widens(b.layout.types[i], c.Type) {
			continue
		}
		return s.conflict(c.Name, b.layout.types[i], b.parts[0].file, c.Type, 0)
	}
	return nil
}

// items are the used columns of a batch with their types. Those that it lacks are missing.
func (s *parquetSource) items(b *parquetBatch, convert func(c Column, from, name string) string) engine.List {
	var l engine.List
	for _, c := range s.columns {
		value := "NULL"
		if b != nil {
			value = s.value(b, c, convert)
		}
		l.Add("CAST(%s AS %s) AS %s", value, c.Type, engine.Name(c.Name))
	}
	if len(l) == 0 {
		l.Add("true AS present")
	}
	return l
}

// value is a column's value in a batch.
func (s *parquetSource) value(b *parquetBatch, c Column, convert func(c Column, from, name string) string) string {
	for i, name := range s.set.Partitions {
		if !strings.EqualFold(name, c.Name) {
			continue
		}
		if text := s.set.Constants(b.parts[0].file)[i]; text != nil {
			return engine.Literal(*text)
		}
		return "NULL"
	}
	i := b.layout.find(c.Name)
	if i < 0 {
		return "NULL"
	}
	return convert(c, b.layout.types[i], parquet.Name(i))
}

// guarded is a column converted to its declared type. A value that does not fit is an error.
func (s *parquetSource) guarded(c Column, from, name string) string {
	if from == c.Type || widens(from, c.Type) {
		return name
	}
	return fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END", unfit(c, from, name), refusal("a value is not "+c.Type, from, name), name)
}

// lenient is guarded, for rows that fit.
func lenient(c Column, from, name string) string {
	if from == c.Type || widens(from, c.Type) {
		return name
	}
	return fmt.Sprintf("TRY_CAST(%s AS %s)", name, c.Type)
}

// unfit is the condition that a value does not become one of the column's type, or would lose a part: a fraction, a time
// of day.
func unfit(c Column, from, name string) string {
	condition := fmt.Sprintf("%[1]s IS NOT NULL AND TRY_CAST(%[1]s AS %[2]s) IS NULL", name, c.Type)
	switch {
	case engine.IsInteger(c.Type) && (engine.IsFloat(from) || isDecimal(from)):
		condition += fmt.Sprintf(" OR %[1]s <> trunc(%[1]s)", name)
	case c.Type == "DATE" && (slices.Contains(timestamps, from) || from == "TIMESTAMP WITH TIME ZONE"):
		condition += fmt.Sprintf(" OR %[1]s <> TRY_CAST(%[1]s AS DATE)", name)
	case from == "VARCHAR":
		condition = misfit(c, name)
	}
	return "(" + condition + ")"
}

// mayBeData says whether the engine failed in a way that a bad value or a damaged file may be behind. A *task.Failure is
// more than that.
func mayBeData(err error) bool {
	var failure *task.Failure
	var said *engine.Error
	return !errors.As(err, &failure) && errors.As(err, &said) && said.Reason != engine.Memory && said.Reason != engine.Cancelled
}

// readable reads all of a batch, to tell a damaged file from an expression that cannot be computed.
func (s *parquetSource) readable(ctx context.Context, b *parquetBatch) error {
	for _, part := range b.parts {
		if part.path == "" {
			continue
		}
		var l engine.List
		for i, keep := range b.layout.keep {
			if keep {
				l.Add("count(%s)", parquet.Name(i))
			}
		}
		if err := s.Session.Exec(ctx, "SELECT "+l.String()+" FROM "+readParquet(part.path)); err != nil {
			return s.unreadable(part.file, part.path, err)
		}
	}
	return nil
}
