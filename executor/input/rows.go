package input

import "bytes"

// Dialect is how rows are written.
type Dialect struct {
	CSV       bool // else JSON lines
	Delimiter byte
	Quote     byte // 0: none
	Escape    byte // before a quote in a quoted field; often the quote itself
}

// The states of a rowScanner between two bytes.
type rowState uint8

const (
	fieldStart rowState = iota // at the beginning of a field
	unquoted                   // in a field without quotes, or behind the closing quote
	quoted                     // inside quotes
	escaped                    // behind an escape that is not the quote, inside quotes
	quoteSeen                  // behind a quote inside quotes: the end, or the first of two
)

// rowScanner follows rows through a stream that comes in pieces. It ends every row with a line feed, and counts.
type rowScanner struct {
	dialect   Dialect
	state     rowState
	returned  bool  // the byte before was a carriage return that ended a row
	rows      int64 // that have ended and were not empty
	lines     int64 // line ends so far, in quotes or not
	rowLine   int64 // line ends before the row that is being read
	rowLength int64 // bytes of it so far
}

// scan changes data in place and returns what is left of it.
func (s *rowScanner) scan(data []byte) []byte {
	if s.simple(data) {
		s.skip(data)
		return data
	}
	out := data[:0]
	for _, c := range data {
		if s.returned {
			s.returned = false
			if c == '\n' {
				continue // the row has ended already
			}
		}
		if s.step(c) {
			out = append(out, '\n')
		} else {
			out = append(out, c)
		}
	}
	return out
}

// simple says that every line feed in data ends a row and nothing else does.
func (s *rowScanner) simple(data []byte) bool {
	if s.returned {
		return false
	}
	if !s.dialect.CSV {
		return true
	}
	if s.state == quoted || s.state == escaped || s.state == quoteSeen {
		return false
	}
	return (s.dialect.Quote == 0 || bytes.IndexByte(data, s.dialect.Quote) < 0) && bytes.IndexByte(data, '\r') < 0
}

// skip moves over data that is simple.
func (s *rowScanner) skip(data []byte) {
	if len(data) == 0 {
		return
	}
	ends := int64(bytes.Count(data, []byte{'\n'}))
	s.lines += ends
	s.rows += ends
	last := bytes.LastIndexByte(data, '\n')
	if last < 0 {
		s.rowLength += int64(len(data))
	} else {
		s.rowLine = s.lines
		s.rowLength = int64(len(data) - 1 - last)
	}
	switch data[len(data)-1] {
	case '\n', s.dialect.Delimiter:
		s.state = fieldStart
	default:
		s.state = unquoted
	}
}

// step moves over one byte and says whether it ends a row.
func (s *rowScanner) step(c byte) (end bool) {
	if s.state == quoted || s.state == escaped {
		s.rowLength++
		s.inside(c)
		return false
	}
	if s.state == quoteSeen && c == s.dialect.Quote {
		s.state = quoted // two quotes are one
		s.rowLength++
		return false
	}
	switch {
	case c == '\n' || c == '\r':
		s.endRow(c)
		return true
	case c == s.dialect.Delimiter:
		s.state = fieldStart
	case c == s.dialect.Quote && c != 0 && s.state == fieldStart:
		s.state = quoted
	default:
		s.state = unquoted
	}
	s.rowLength++
	return false
}

func (s *rowScanner) inside(c byte) {
	if c == '\n' {
		s.lines++
	}
	switch {
	case s.state == escaped:
		s.state = quoted
	case c == s.dialect.Escape && c != s.dialect.Quote && c != 0:
		s.state = escaped
	case c == s.dialect.Quote && s.dialect.Escape == s.dialect.Quote:
		s.state = quoteSeen
	case c == s.dialect.Quote:
		s.state = unquoted
	}
}

func (s *rowScanner) endRow(c byte) {
	s.returned = c == '\r'
	s.lines++
	s.rowLine = s.lines
	if s.rowLength > 0 {
		s.rows++
	}
	s.rowLength = 0
	s.state = fieldStart
}

// open says that the stream ends inside quotes.
func (s *rowScanner) open() bool { return s.state == quoted || s.state == escaped }
