package input

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemill/tidemill/storage"
)

// Suspect says what is wrong with a row, or nothing. For CSV it is given the fields, for JSON lines the line.
type Suspect struct {
	Fields func(fields []string, trail bool) string
	Line   func(line []byte) string
}

// Locate reads a split again until it finds the row that suspect means. It is for rows that the engine refused without
// saying where they are, so it may be slow. where is the URI and the line; it is empty if nothing is found.
func (r *Rows) Locate(ctx context.Context, split Split, suspect Suspect) (where, detail string, err error) {
	for _, segment := range split {
		line, detail, err := r.locate(ctx, segment, suspect)
		if err != nil {
			return "", "", err
		}
		if detail == "" {
			continue
		}
		if segment.Offset > 0 {
			before, err := r.linesBefore(ctx, segment)
			if err != nil {
				return "", "", err
			}
			line += before
		}
		return fmt.Sprintf("%s, line %d", r.Set.URI(segment.File), line), detail, nil
	}
	return "", "", nil
}

func (r *Rows) locate(ctx context.Context, segment Segment, suspect Suspect) (line int64, detail string, err error) {
	stored, err := r.Set.open(ctx, segment, r.Ahead, &Counts{})
	if err != nil {
		return 0, "", err
	}
	defer closing(stored, &err)
	in := newRecords(stored, r.Dialect)
	if segment.Offset == 0 {
		if err := r.begin(in, segment.File); err == io.EOF {
			return 0, "", nil
		} else if err != nil {
			return 0, "", err
		}
	}
	if !r.Dialect.CSV {
		return locateLine(ctx, in.in, suspect.Line)
	}
	for {
		rec, _, err := in.next()
		if err == io.EOF {
			return 0, "", nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, "", err
		}
		if detail := suspect.Fields(rec.Fields, rec.Trail); detail != "" {
			return rec.Line, detail, nil
		}
	}
}

func locateLine(ctx context.Context, in *bufio.Reader, suspect func([]byte) string) (number int64, detail string, err error) {
	var line []byte
	for {
		piece, err := in.ReadSlice('\n')
		line = append(line, piece...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && err != io.EOF {
			return 0, "", err
		}
		number++
		if len(bytes.TrimSpace(line)) > 0 {
			if detail := suspect(line); detail != "" {
				return number, detail, nil
			}
		}
		if err == io.EOF {
			return 0, "", nil
		}
		if err := ctx.Err(); err != nil {
			return 0, "", err
		}
		line = line[:0]
	}
}

// linesBefore counts the line ends before the first line that begins in a segment.
func (r *Rows) linesBefore(ctx context.Context, segment Segment) (n int64, err error) {
	before := Segment{File: segment.File, Length: segment.Offset - 1}
	if before.Length == 0 {
		return 1, nil
	}
	stored, err := r.Set.openPlain(ctx, before.File, storage.Range{Length: before.Length}, r.Ahead, &Counts{})
	if err != nil {
		return 0, err
	}
	defer closing(stored, &err)
	buffer := make([]byte, block)
	for {
		k, err := stored.Read(buffer)
		n += int64(bytes.Count(buffer[:k], []byte{'\n'}))
		if err == io.EOF {
			return n + 1, nil // and the end of the line that began before
		}
		if err != nil {
			return 0, err
		}
	}
}

// MalformedJSON says what is wrong with a line that is not one JSON object.
func MalformedJSON(line []byte) string {
	value := jsontext.Value(bytes.TrimSpace(line))
	if len(value) > 0 && value[0] != '{' {
		return "it is not a JSON object"
	}
	decoder := jsontext.NewDecoder(bytes.NewReader(value))
	_, err := decoder.ReadValue()
	if err == nil {
		if _, err = decoder.ReadToken(); err == io.EOF {
			return ""
		}
		return "it has more than one JSON object"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "the JSON object is cut short"
	}
	var wrong *jsontext.SyntacticError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("malformed JSON at byte %d: %v", wrong.ByteOffset+1, wrong.Err)
	}
	return fmt.Sprintf("malformed JSON: %v", err)
}

// closing closes c and keeps its error if there is no other.
func closing(c io.Closer, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}
