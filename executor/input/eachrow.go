package input

import (
	"bufio"
	"bytes"
	"io"
)

// Row is one row of a stream that [Rows.Feed] has written.
type Row struct {
	Raw    []byte   // with the line feed; only until the next one
	Line   int64    // line ends before it
	Fields []string // of CSV
	Quoted []bool   // by field: it stood in quotes
	Trail  bool     // there is text behind a closing quote
}

// EachRow reads what [Rows.Feed] has written row by row, without the empty ones. It is slow.
func EachRow(in io.Reader, dialect Dialect, use func(Row) error) error {
	if !dialect.CSV {
		return eachLine(in, use)
	}
	records := newRecords(in, dialect)
	records.keep = true
	for {
		records.raw = records.raw[:0]
		rec, _, err := records.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = use(Row{Raw: bytes.TrimLeft(records.raw, "\n"), Line: rec.Line - 1, Fields: rec.Fields, Quoted: rec.Quoted, Trail: rec.Trail})
		}
		if err != nil {
			return err
		}
	}
}

func eachLine(in io.Reader, use func(Row) error) error {
	buffered := bufio.NewReaderSize(in, 64<<10)
	var line []byte
	for number := int64(0); ; {
		piece, err := buffered.ReadSlice('\n')
		line = append(line, piece...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && err != io.EOF {
			return err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := use(Row{Raw: line, Line: number}); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		number++
		line = line[:0]
	}
}
