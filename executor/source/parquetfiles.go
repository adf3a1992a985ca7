package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/parquet"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/storage"
)

// parquetFiles is what one task knows of an input of Parquet files.
type parquetFiles struct {
	*Source
	set    *input.Set
	counts *input.Counts
	files  int // scratch files so far

	mu      sync.Mutex // guards what follows
	layouts map[string]*layout
	footers map[int]*parquet.Footer // by file; some that were read and will be needed again
	kept    int64                   // bytes of footers
}

// layout is the columns of all files that have the same schema.
type layout struct {
	file  int      // one that has it: the first of those that were looked at
	names []string // of columns, different ones
	keep  []bool   // whether they are used
	types []string // of those that are; nil until somebody has asked
}

// find is the number of a used column, or -1.
func (l *layout) find(name string) int {
	return slices.IndexFunc(l.names, func(other string) bool { return strings.EqualFold(other, name) })
}

// mostKept bounds the footers that are kept, in bytes of their own.
const mostKept = 16 << 20

func (t *Source) newParquetFiles(set *input.Set) *parquetFiles {
	return &parquetFiles{
		Source: t, set: set, counts: &input.Counts{},
		layouts: map[string]*layout{}, footers: map[int]*parquet.Footer{},
	}
}

func (p *parquetFiles) object(file int) storage.Object {
	f := p.set.Files[file]
	return storage.Object{Key: f.Key, Size: f.Size, ETag: f.ETag}
}

// footer reads the footer of a file, or takes the one that was kept, which is not kept any longer.
func (p *parquetFiles) footer(ctx context.Context, file int) (*parquet.Footer, error) {
	p.mu.Lock()
	footer := p.footers[file]
	delete(p.footers, file)
	if footer != nil {
		p.kept -= int64(footer.Size())
	}
	p.mu.Unlock()
	if footer != nil {
		return footer, nil
	}
	footer, read, err := parquet.Read(ctx, p.set.Store, p.object(file))
	p.counts.Bytes.Add(read)
	if errors.Is(err, parquet.ErrDamaged) || errors.Is(err, parquet.ErrEncrypted) {
		failure := task.Final("", "object %s is %s", p.set.URI(file), err)
		failure.Err = err
		return nil, failure
	}
	if err != nil {
		return nil, p.set.ReadFailure(file, err)
	}
	return footer, nil
}

// keepFooter keeps a footer for the next who asks, if there is room.
func (p *parquetFiles) keepFooter(file int, footer *parquet.Footer) {
	if size := int64(footer.Size()); p.kept+size <= mostKept {
		p.kept += size
		p.footers[file] = footer
	}
}

// layout finds the columns of a footer. The caller holds the lock.
func (p *parquetFiles) layout(file int, footer *parquet.Footer) *layout {
	l := p.layouts[footer.Schema]
	if l != nil {
		l.file = min(l.file, file)
		return l
	}
	l = &layout{file: file, keep: make([]bool, len(footer.Columns))}
	for _, c := range footer.Columns {
		l.names = append(l.names, c.Name)
	}
	l.names = uniqueNames(l.names)
	for i, name := range l.names {
		partition := slices.ContainsFunc(p.set.Partitions, func(other string) bool { return strings.EqualFold(other, name) })
		l.keep[i] = !partition && p.Uses(name)
	}
	p.layouts[footer.Schema] = l
	return l
}

// types asks the engine which types it gives to the used columns of a layout. path is a scratch file of a file that has it.
func (p *parquetFiles) types(ctx context.Context, l *layout, file int, path string) error {
	types := make([]string, len(l.names))
	err := p.Session.Query(ctx, "DESCRIBE SELECT * FROM "+readParquet(path), func(row []driver.Value) error {
		name, okName := row[0].(string)
		kind, okKind := row[1].(string)
		for i := range l.names {
			if okName && okKind && l.keep[i] && name == parquet.Name(i) {
				types[i] = kind
				return nil
			}
		}
		return fmt.Errorf("describe columns of %s: got %v and %v", p.set.URI(file), row[0], row[1])
	})
	if err != nil {
		return p.unreadable(file, path, err)
	}
	l.types = types
	return nil
}

// unreadable names the file that the engine refused.
func (p *parquetFiles) unreadable(file int, path string, err error) error {
	var said *engine.Error
	if !errors.As(err, &said) || said.Reason == engine.Memory || said.Reason == engine.Cancelled {
		return lake.Failure("read "+p.set.URI(file), err)
	}
	message := strings.ReplaceAll(said.Message, path, "the file")
	failure := task.Final("", "object %s cannot be read: %s", p.set.URI(file), message)
	failure.Err = err
	return failure
}

// readParquet is the table function for scratch files of one layout.
func readParquet(paths ...string) string {
	return "read_parquet(" + engine.Literals(paths) + ", hive_partitioning=false)"
}

// footersAtOnce is how many are read at the same time.
const footersAtOnce = 32

// lookAt reads the footers of some files, and calls visit for each of them: in any order, one at a time.
func (p *parquetFiles) lookAt(ctx context.Context, files []int, visit func(file int, footer *parquet.Footer, l *layout) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(footersAtOnce)
	for _, file := range files {
		group.Go(func() error {
			footer, err := p.footer(ctx, file)
			if err != nil {
				return err
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			l := p.layout(file, footer)
			if l.types == nil && slices.Contains(l.keep, true) {
				if err := p.describe(ctx, file, footer, l); err != nil {
					return err
				}
			}
			p.keepFooter(file, footer)
			return visit(file, footer, l)
		})
	}
	return group.Wait()
}

// describe finds the types of a layout by a file without rows.
func (p *parquetFiles) describe(ctx context.Context, file int, footer *parquet.Footer, l *layout) error {
	path := filepath.Join(p.Dir, p.Prefix+"schema")
	if err := footer.Fetch(ctx, p.set.Store, p.object(file), nil, l.keep, path, storage.ReadAhead{}, &p.counts.Bytes); err != nil {
		return err
	}
	return errors.Join(p.types(ctx, l, file, path), os.Remove(path))
}

// columns are those of some layouts together, in the order of their files. Those that are used have a type: the declared
// one, or the one that holds the values of all files.
func (p *parquetFiles) columns(layouts []*layout) ([]Column, error) {
	var columns []Column
	for _, l := range layouts {
		for _, name := range l.names {
			if Find(columns, name) < 0 {
				columns = append(columns, Column{Name: name})
			}
		}
	}
	for i, c := range columns {
		if !p.declared(c.Name) && p.Uses(c.Name) {
			kind, err := p.unified(c.Name, layouts)
			if err != nil {
				return nil, err
			}
			columns[i].Type = kind
		}
	}
	return p.declare(columns, p.set.Partitions, false)
}

// unified is the type of a column in all files that have it.
func (p *parquetFiles) unified(name string, layouts []*layout) (string, error) {
	kind, from := "", 0
	for _, l := range layouts {
		i := l.find(name)
		if i < 0 || !l.keep[i] {
			continue
		}
		if kind == "" {
			kind, from = l.types[i], l.file
			continue
		}
		both, ok := unify(kind, l.types[i])
		if !ok {
			return "", p.conflict(name, kind, from, l.types[i], l.file)
		}
		if both != kind {
			kind, from = both, l.file
		}
	}
	return kind, nil
}

func (p *parquetFiles) conflict(name, a string, fileA int, b string, fileB int) error {
	return task.Final(p.at("columns"), "column %q is %s in %s and %s in %s; declare its type under %s",
		name, a, p.set.URI(fileA), b, p.set.URI(fileB), p.at("columns"))
}
