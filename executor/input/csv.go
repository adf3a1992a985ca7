package input

import (
	"bufio"
	"io"
)

// record is one row of CSV.
type record struct {
	Fields []string
	Quoted []bool // by field: it stood in quotes
	Line   int64  // 1-based, of the file, where it begins
	Trail  bool   // there is text behind a closing quote
}

// records reads CSV row by row, for headers, samples and finding a bad row again: not for speed.
type records struct {
	in      *bufio.Reader
	scanner rowScanner
	keep    bool // what is read, in raw
	raw     []byte
}

func newRecords(in io.Reader, dialect Dialect) *records {
	return &records{in: bufio.NewReaderSize(in, 64<<10), scanner: rowScanner{dialect: dialect}}
}

// mark is the byte order mark of UTF-8.
const mark = "\uFEFF"

// skipMark moves over a byte order mark at the beginning of a file.
func (r *records) skipMark() error {
	head, err := r.in.Peek(len(mark))
	if string(head) == mark {
		_, err = r.in.Discard(len(mark))
	}
	if err == io.EOF {
		return nil // shows with the next read
	}
	return err
}

// next returns the next row that is not empty; io.EOF at the end. open says that the file ended inside quotes.
func (r *records) next() (_ record, open bool, err error) {
	rec := record{}
	field, inQuotes := []byte{}, false
	begun := false
	for {
		c, err := r.in.ReadByte()
		if err == io.EOF && begun {
			rec.Fields, rec.Quoted = append(rec.Fields, string(field)), append(rec.Quoted, inQuotes)
			return rec, r.scanner.open(), nil
		}
		if err != nil {
			return record{}, false, err
		}
		if r.keep {
			r.raw = append(r.raw, c)
		}
		if r.scanner.returned {
			r.scanner.returned = false
			if c == '\n' {
				continue
			}
		}
		before, line := r.scanner.state, r.scanner.rowLine+1
		if r.scanner.step(c) {
			if !begun {
				continue // an empty line
			}
			rec.Fields, rec.Quoted = append(rec.Fields, string(field)), append(rec.Quoted, inQuotes)
			return rec, false, nil
		}
		if !begun {
			begun, rec.Line = true, line
		}
		switch after := r.scanner.state; {
		case after == fieldStart: // a delimiter
			rec.Fields, rec.Quoted = append(rec.Fields, string(field)), append(rec.Quoted, inQuotes)
			field, inQuotes = field[:0], false
		case before == fieldStart && after == quoted:
			inQuotes = true
		case after == quoteSeen || after == escaped:
		case before == quoted && after == unquoted: // the closing quote, when another character escapes
		default:
			rec.Trail = rec.Trail || inQuotes && after == unquoted
			field = append(field, c)
		}
	}
}
