package input

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/storage"
)

// Rows is the rows of a Set, as the engine is to get them.
type Rows struct {
	Set     *Set
	Dialect Dialect
	Header  bool     // the first row of each file names its columns
	Known   []string // columns of which a header must have one at least; nil: any header will do
	Widest  int64    // bytes of the longest row that the engine takes
	Ahead   storage.ReadAhead
}

// Sink takes the rows of a split, in order.
type Sink interface {
	// Begin says where the rows come from that are written next. header is the first row of the file, nil if it has none.
	Begin(segment Segment, header []string) error
	// Write takes whole rows. line is where the first of them begins, counted from 1 on in its segment: in its file, if the
	// segment is at its beginning. See [Rows.Line]. One of them may be longer than Widest, by less than a block.
	Write(rows []byte, line int64) error
	// Bad takes a row that cannot be told from what follows it. An error ends the feed.
	Bad(line int64, reason string, text []byte) error
}

// block is how much is read at a time, in bytes.
const block = 256 << 10

// Feed gives the rows of a split to sink and counts as it goes. It ends when ctx does. An error of sink is returned as it
// is.
//
// A quoted field that is never closed, or whose row becomes too long, would swallow the rows after it: such a row ends
// with its first line.
func (r *Rows) Feed(ctx context.Context, split Split, sink Sink, counts *Counts) error {
	buffer := make([]byte, block)
	for _, segment := range split {
		f := feeder{rows: r, segment: segment, sink: sink, counts: counts, buffer: buffer}
		err := f.run(ctx)
		if err != nil {
			return err
		}
		buffer = f.buffer
	}
	return nil
}

// feeder feeds one segment.
type feeder struct {
	rows    *Rows
	segment Segment
	sink    Sink
	counts  *Counts
	in      *records
	buffer  []byte
	begun   int   // bytes of the row that is not over, at the beginning of the buffer
	line    int64 // of the row that is written next
	counted int64 // rows that are in counts
	dropped bool  // the rest of the line is that of a row that was too long
}

func (f *feeder) run(ctx context.Context) (err error) {
	stored, err := f.rows.Set.open(ctx, f.segment, f.rows.Ahead, f.counts)
	if err != nil {
		return err
	}
	defer closing(stored, &err)
	f.in = newRecords(stored, f.rows.Dialect)
	header, err := f.rows.begin(ctx, f.in, f.segment)
	if err == io.EOF {
		return nil // not even a header: a file without rows
	}
	if err != nil {
		return err
	}
	if err := f.sink.Begin(f.segment, header); err != nil {
		return err
	}
	f.line = f.in.scanner.lines + 1
	for {
		n, err := f.in.in.Read(f.buffer[f.begun : len(f.buffer)-1]) // a line feed may have to follow
		if err != nil && err != io.EOF {
			return err
		}
		if err := f.take(f.buffer[f.begun:f.begun+n], err == io.EOF); err != nil {
			return err
		}
		f.counts.Rows.Add(f.in.scanner.rows - f.counted)
		f.counted = f.in.scanner.rows
		if err == io.EOF {
			return nil
		}
		if f.begun > len(f.buffer)/2 {
			f.buffer = append(f.buffer, make([]byte, len(f.buffer))...) // a long row
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// take passes on the rows that end in data, which stands in the buffer behind what has begun.
func (f *feeder) take(data []byte, last bool) error {
	scanner := &f.in.scanner
	for {
		if f.dropped {
			if data = f.drop(data); f.dropped {
				return nil
			}
		}
		rows := f.buffer[:f.begun+len(scanner.scan(data))]
		if last && scanner.rowLength > 0 && !scanner.open() {
			rows = append(rows, '\n')
			scanner.endRow('\n')
		}
		whole := len(rows) - int(scanner.rowLength)
		if whole > 0 {
			if err := f.sink.Write(rows[:whole], f.line); err != nil {
				return err
			}
			f.line = scanner.rowLine + 1
		}
		rest := rows[whole:]
		var reason string
		switch {
		case scanner.rowLength > f.rows.Widest:
			reason = fmt.Sprintf("the row is longer than %d bytes", f.rows.Widest)
		case last && scanner.rowLength > 0:
			reason = "a quoted field is not closed"
		default:
			f.begun = copy(f.buffer, rest)
			return nil
		}
		next, err := f.bad(reason, rest)
		if err != nil {
			return err
		}
		f.begun = 0
		data = f.buffer[:copy(f.buffer, next)]
	}
}

// bad gives the first line of a row away, and begins again behind it.
func (f *feeder) bad(reason string, row []byte) (next []byte, err error) {
	scanner := &f.in.scanner
	line := scanner.rowLine + 1
	end := bytes.IndexByte(row, '\n')
	if f.dropped = end < 0; f.dropped {
		end = len(row)
	} else {
		next = row[end+1:]
	}
	*scanner = rowScanner{dialect: scanner.dialect, rows: scanner.rows + 1, lines: line, rowLine: line}
	f.line = line + 1
	return next, f.sink.Bad(line, reason, bytes.TrimRight(row[:end], "\r"))
}

// drop moves to the line after a row that was too long.
func (f *feeder) drop(data []byte) []byte {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return nil
	}
	f.dropped = false
	return f.buffer[:copy(f.buffer, data[end+1:])]
}

// begin moves in to the first row of data of a segment, and returns the header of its file. io.EOF says that there is
// none.
func (r *Rows) begin(ctx context.Context, in *records, segment Segment) (header []string, err error) {
	switch {
	case segment.Offset > 0 && r.Header:
		header, err = r.Set.header(ctx, segment.File, r.Dialect)
	case segment.Offset > 0:
		return nil, nil
	default:
		err = in.skipMark()
		if err == nil && r.Header {
			var first record
			first, _, err = in.next()
			header = first.Fields
			in.scanner.rows = 0
		}
	}
	if err != nil || !r.Header || r.Known == nil {
		return header, err
	}
	return header, r.Set.Related(segment.File, header, r.Known)
}

// Related makes sure that a header has one at least of the columns that other files have: else it is no header, or the
// file is another kind of thing.
func (s *Set) Related(file int, header, known []string) error {
	for _, name := range header {
		if slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, strings.TrimSpace(name)) }) {
			return nil
		}
	}
	return task.Final("", "%s: its header has none of the columns of the other files: it has %s, they have %s", s.URI(file), quoteAll(header), quoteAll(known))
}

// Line is where the first row of a segment is in its file, from 1 on. It may have to read all that is before it.
func (r *Rows) Line(ctx context.Context, segment Segment) (int64, error) {
	if segment.Offset == 0 {
		return 1, nil
	}
	before, err := r.linesBefore(ctx, segment)
	return before + 1, err
}

func quoteAll(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == 5 {
			b.WriteString("…")
			break
		}
		fmt.Fprintf(&b, "%q", excerpt(name))
	}
	return b.String()
}

// excerpt is a name, or the beginning of what can hardly be one: of data that is compressed, or has another delimiter.
func excerpt(name string) string {
	const most = 60
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return name
}
