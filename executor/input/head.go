package input

import (
	"context"
	"io"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/storage"
)

// Sample is how much of the input is looked at to find column names and types.
type Sample struct {
	Files int // so many, spread over the input, the first and the last among them
	Bytes int // of each, without compression
}

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
	return nil, task.Final(pointerURI, "no object at %s has a row, not even a header", s.Base)
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

// Heads writes whole rows from the beginnings of some files to w.
func (r *Rows) Heads(ctx context.Context, sample Sample, w io.Writer) error {
	for _, file := range Spread(len(r.Set.Files), sample.Files) {
		err := r.head(ctx, file, sample.Bytes, w)
		if err != nil {
			return err
		}
	}
	return nil
}

// Spread picks n of count things, evenly.
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

func (r *Rows) head(ctx context.Context, file, most int, w io.Writer) (err error) {
	stored, err := r.Set.openPlain(ctx, file, storage.Range{}, headAhead, &Counts{})
	if err != nil {
		return err
	}
	defer closing(stored, &err)
	in := newRecords(stored, r.Dialect)
	if err := r.begin(in, file); err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	head, err := io.ReadAll(io.LimitReader(in.in, int64(most)))
	if err != nil {
		return err
	}
	whole := len(head) < most
	head = in.scanner.scan(head)
	for !whole && in.scanner.rowLength == int64(len(head)) && in.scanner.rowLength <= r.Widest { // not even one row
		more, err := io.ReadAll(io.LimitReader(in.in, int64(most)))
		if err != nil {
			return err
		}
		whole = len(more) < most
		head = append(head, in.scanner.scan(more)...)
	}
	switch {
	case whole && in.scanner.open():
		return r.notClosed(file, in)
	case whole && in.scanner.rowLength > 0:
		head = append(head, '\n')
	case !whole:
		head = head[:len(head)-min(int(in.scanner.rowLength), len(head))] // the row that was cut
	}
	_, err = w.Write(head)
	return err
}
