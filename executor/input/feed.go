package input

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/storage"
)

// Rows is the rows of a Set, as the engine is to get them.
type Rows struct {
	Set     *Set
	Dialect Dialect
	Header  []string // what the first row of each file must say; nil: files have no header
	Widest  int64    // bytes of the longest row that the engine takes
	Whole   *Whole   // nil: fractions are not looked for
	Ahead   storage.ReadAhead
}

// block is how much is read at a time, in bytes.
const block = 256 << 10

// Feed writes the rows of a split to w and counts as it goes. What it writes at a time is whole rows. It ends when ctx
// does. An error of w is returned as it is.
func (r *Rows) Feed(ctx context.Context, split Split, w io.Writer, counts *Counts) error {
	buffer := make([]byte, block)
	for _, segment := range split {
		if err := r.feed(ctx, segment, w, counts, &buffer); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rows) feed(ctx context.Context, segment Segment, w io.Writer, counts *Counts, buffer *[]byte) (err error) {
	stored, err := r.Set.open(ctx, segment, r.Ahead, counts)
	if err != nil {
		return err
	}
	defer closing(stored, &err)
	in := newRecords(stored, r.Dialect)
	if segment.Offset == 0 {
		if err := r.begin(in, segment.File); err == io.EOF {
			return nil // not even a header: a file without rows
		} else if err != nil {
			return err
		}
	}
	begun, counted := 0, int64(0) // bytes of the row that is not over, at the beginning of the buffer; rows in counts
	for {
		b := *buffer
		n, err := in.in.Read(b[begun : len(b)-1]) // a line feed may have to follow
		if err != nil && err != io.EOF {
			return err
		}
		rows := b[:begun+len(in.scanner.scan(b[begun:begun+n]))]
		if err == io.EOF && in.scanner.rowLength > 0 {
			if in.scanner.open() {
				return r.notClosed(segment.File, in)
			}
			rows = append(rows, '\n')
			in.scanner.endRow('\n')
		}
		if in.scanner.rowLength > r.Widest {
			return task.Final("", "%s, line %d: the row is longer than %d bytes", r.Set.URI(segment.File), in.scanner.rowLine+1, r.Widest)
		}
		whole := len(rows) - int(in.scanner.rowLength)
		if whole > 0 {
			if err := r.check(ctx, rows[:whole], segment, in); err != nil {
				return err
			}
			if _, err := w.Write(rows[:whole]); err != nil {
				return err
			}
		}
		counts.Rows.Add(in.scanner.rows - counted)
		counted = in.scanner.rows
		if err == io.EOF {
			return nil
		}
		if begun = copy(b, rows[whole:]); begun > len(b)/2 {
			*buffer = append(b, make([]byte, len(b))...) // a long row
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (r *Rows) notClosed(file int, in *records) error {
	return task.Final("", "%s, line %d: a quoted field is not closed", r.Set.URI(file), in.scanner.rowLine+1)
}

// begin moves in to the first row of data.
func (r *Rows) begin(in *records, file int) error {
	if err := in.skipMark(); err != nil || r.Header == nil {
		return err
	}
	header, _, err := in.next()
	if err != nil {
		return err
	}
	in.scanner.rows = 0
	if detail := differs(header.Fields, r.Header); detail != "" {
		return task.Final("", "%s: its header is not that of %s: %s", r.Set.URI(file), r.Set.URI(0), detail)
	}
	return nil
}

// differs says how a header is not the one that was expected.
func differs(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("column %d is %q, want %q", i+1, excerpt(got[i]), excerpt(want[i]))
		}
	}
	switch {
	case len(got) > len(want):
		return fmt.Sprintf("it has %d columns, want %d; %s is new", len(got), len(want), quoteAll(got[len(want):]))
	case len(got) < len(want):
		return fmt.Sprintf("it has %d columns, want %d; %s is missing", len(got), len(want), quoteAll(want[len(got):]))
	}
	return ""
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
