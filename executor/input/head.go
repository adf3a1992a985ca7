package input

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/storage"
)

// headAhead is enough for the head of a file.
var headAhead = storage.ReadAhead{Chunk: 64 << 10, Parallel: 1}

// Header reads the first row of the first file that has one.
func (s *Set) Header(ctx context.Context, dialect Dialect) ([]string, error) {
	for file := range s.Files {
		fields, err := s.header(ctx, file, dialect)
		if err == io.EOF {
			continue
		}
		return fields, err
	}
	return nil, task.Final(s.Pointer+"/uri", "no object at %s has a row, not even a header", s.Base)
}

func (s *Set) header(ctx context.Context, file int, dialect Dialect) (_ []string, err error) {
	stored, err := s.openPlain(ctx, file, storage.Range{}, headAhead, &Counts{})
	if err != nil {
		return nil, err
	}
	defer closing(stored, &err)
	in := newRecords(stored, dialect)
	if err := in.skipMark(); err != nil {
		return nil, err
	}
	first, open, err := in.next()
	if open {
		return nil, task.Final("", "%s, line 1: a quoted field is not closed", s.URI(file))
	}
	return first.Fields, err
}

// Headers reads the first rows of at most so many files, spread over the input, in the order of the listing. A file
// without a row has none. Several are read at a time.
func (s *Set) Headers(ctx context.Context, dialect Dialect, files int) (map[int][]string, error) {
	headers := map[int][]string{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listers)
	for _, file := range Spread(len(s.Files), files) {
		group.Go(func() error {
			fields, err := s.header(ctx, file, dialect)
			if err == io.EOF {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			headers[file] = fields
			return err
		})
	}
	return headers, group.Wait()
}

// Spread picks n of count things, evenly, the first and the last among them; all if there are fewer.
func Spread(count, n int) []int {
	if count <= n {
		n = count
	}
	picked := make([]int, n)
	for i := range picked {
		if n > 1 {
			picked[i] = i * (count - 1) / (n - 1)
		}
	}
	return picked
}

// Head gives whole rows from the beginning of a file to sink: about most bytes of them, or the first row if that is longer.
// A file without rows gives none, and no Begin.
func (r *Rows) Head(ctx context.Context, file int, most int, sink Sink) error {
	limited := &headSink{Sink: sink, rest: most * 3 / 4}
	all := Segment{File: file, Length: r.Set.Files[file].Size}
	f := feeder{rows: &Rows{Set: r.Set, Dialect: r.Dialect, Header: r.Header, Widest: r.Widest, Ahead: headAhead}, segment: all, sink: limited, counts: &Counts{}, buffer: make([]byte, most)}
	if err := f.run(ctx); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// headSink ends a feed when it has enough.
type headSink struct {
	Sink
	rest int
}

var errEnough = errors.New("there are enough rows")

func (s *headSink) Write(rows []byte, line int64) error {
	err := s.Sink.Write(rows, line)
	if s.rest -= len(rows); err == nil && s.rest <= 0 {
		err = errEnough
	}
	return err
}
