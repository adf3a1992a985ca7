package input

import (
	"bytes"
	"context"
	"slices"

	"github.com/tidemill/tidemill/executor/task"
)

// Whole finds values with a fraction in CSV columns of whole numbers, because the engine rounds them. It costs nothing
// where no fraction is near.
type Whole struct {
	Columns []bool   // by field: whether it must be whole
	Nulls   []string // spellings of a missing value, which are none of its business
	// Detail is what to say of a value.
	Detail func(column int, value string) string
}

// check looks at whole rows that were just read.
func (r *Rows) check(ctx context.Context, rows []byte, segment Segment, in *records) error {
	if r.Whole == nil || !mayHaveFraction(rows) {
		return nil
	}
	at, column, value := r.Whole.find(rows, r.Dialect)
	if value == nil {
		return nil
	}
	// The scanner stands behind rows, or in the row after them.
	line := in.scanner.rowLine - int64(bytes.Count(rows[at:], []byte{'\n'})) + 1
	if segment.Offset > 0 {
		before, err := r.linesBefore(ctx, segment)
		if err != nil {
			return err
		}
		line += before
	}
	return task.Final("", "%s, line %d: %s", r.Set.URI(segment.File), line, r.Whole.Detail(column, string(value)))
}

func mayHaveFraction(text []byte) bool {
	return bytes.IndexByte(text, '.') >= 0 || bytes.Contains(text, []byte("e-")) || bytes.Contains(text, []byte("E-"))
}

// hasFraction goes by how a number is written: 2.0 and 1e3 are whole.
func hasFraction(text []byte) bool {
	if point := bytes.IndexByte(text, '.'); point >= 0 && len(bytes.Trim(text[point+1:], "0 ")) > 0 {
		return true
	}
	return bytes.Contains(text, []byte("e-")) || bytes.Contains(text, []byte("E-"))
}

// find returns the first value with a fraction, and where it begins.
func (w *Whole) find(rows []byte, d Dialect) (at, column int, value []byte) {
	for i := 0; i < len(rows); {
		text, end := field(rows, i, d)
		if column < len(w.Columns) && w.Columns[column] && hasFraction(text) && !slices.Contains(w.Nulls, string(text)) {
			return i, column, text
		}
		if column++; end < len(rows) && rows[end] == '\n' {
			column = 0
		}
		i = end + 1
	}
	return 0, 0, nil
}

// field is the field that begins at i, without its quotes, and where the delimiter or line feed behind it is.
func field(rows []byte, i int, d Dialect) (text []byte, end int) {
	begin, last := i, -1
	if d.Quote != 0 && i < len(rows) && rows[i] == d.Quote {
		begin++
		last = endOfQuoted(rows, begin, d)
		i = last
	}
	for i < len(rows) && rows[i] != d.Delimiter && rows[i] != '\n' {
		i++
	}
	if last >= 0 {
		return rows[begin:last], i
	}
	return rows[begin:i], i
}

// endOfQuoted is where the quoted text that begins at i ends.
func endOfQuoted(rows []byte, i int, d Dialect) int {
	for ; i < len(rows); i++ {
		switch {
		case rows[i] == d.Escape && i+1 < len(rows) && rows[i+1] == d.Quote, rows[i] == d.Escape && d.Escape != d.Quote:
			i++
		case rows[i] == d.Quote:
			return i
		}
	}
	return len(rows)
}
