package input

import (
	"bytes"
	"slices"
)

// Whole finds values with a fraction in CSV columns of whole numbers, because the engine rounds them. It costs nothing
// where no fraction is near.
type Whole struct {
	Dialect Dialect
	Columns []bool   // by field: whether it must be whole
	Nulls   []string // spellings of a missing value, which are none of its business
}

// Broken says whether whole rows have such a value.
func (w *Whole) Broken(rows []byte) bool {
	quoted := w.Dialect.Quote != 0 && bytes.IndexByte(rows, w.Dialect.Quote) >= 0
	if quoted {
		return mayHaveFraction(rows) && w.find(rows)
	}
	return slices.ContainsFunc(marks, func(mark []byte) bool { return w.findMarked(rows, mark) })
}

// marks are what a value with a fraction has, one of them at least.
var marks = [][]byte{[]byte("."), []byte("e-"), []byte("E-")}

// findMarked is find for rows without quotes, looking only at values that have the mark.
func (w *Whole) findMarked(rows, mark []byte) bool {
	from, column := 0, 0 // how far columns are counted
	for at := 0; ; at += len(mark) {
		next := bytes.Index(rows[at:], mark)
		if next < 0 {
			return false
		}
		at += next
		for {
			end := bytes.IndexByte(rows[from:at], '\n')
			if end < 0 {
				break
			}
			from, column = from+end+1, 0
		}
		column += bytes.Count(rows[from:at], []byte{w.Dialect.Delimiter})
		from = at
		if column < len(w.Columns) && w.Columns[column] {
			begin := 1 + max(bytes.LastIndexByte(rows[:at], w.Dialect.Delimiter), bytes.LastIndexByte(rows[:at], '\n'))
			if text, _ := field(rows, begin, w.Dialect); hasFraction(text) && !slices.Contains(w.Nulls, string(text)) {
				return true
			}
		}
	}
}

func mayHaveFraction(text []byte) bool {
	return bytes.IndexByte(text, '.') >= 0 || bytes.Contains(text, []byte("e-")) || bytes.Contains(text, []byte("E-"))
}

func hasFraction(text []byte) bool {
	if point := bytes.IndexByte(text, '.'); point >= 0 && len(bytes.Trim(text[point+1:], "0 ")) > 0 {
		return true
	}
	return bytes.Contains(text, []byte("e-")) || bytes.Contains(text, []byte("E-"))
}

func (w *Whole) find(rows []byte) bool {
	column := 0
	for i := 0; i < len(rows); {
		text, end := field(rows, i, w.Dialect)
		if column < len(w.Columns) && w.Columns[column] && hasFraction(text) && !slices.Contains(w.Nulls, string(text)) {
			return true
		}
		if column++; end < len(rows) && rows[end] == '\n' {
			column = 0
		}
		i = end + 1
	}
	return false
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
