package input

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/tidemill/tidemill/storage"
)

// tailAhead reads the rest of a line behind a segment, which is short.
var tailAhead = storage.ReadAhead{Chunk: 64 << 10, Parallel: 1}

// open opens the rows of a segment.
func (s *Set) open(ctx context.Context, segment Segment, ahead storage.ReadAhead, counts *Counts) (io.ReadCloser, error) {
	size := s.Files[segment.File].Size
	if segment.Length >= size {
		return s.openPlain(ctx, segment.File, storage.Range{}, ahead, counts)
	}
	from := segment.Offset
	if from > 0 {
		from-- // to see whether a line ends right before
	}
	end := segment.Offset + segment.Length
	inside, err := s.openPlain(ctx, segment.File, storage.Range{Offset: from, Length: end - from}, ahead, counts)
	if err != nil {
		return nil, err
	}
	return &lines{
		inside: inside, skipping: segment.Offset > 0,
		openRest: func() (io.ReadCloser, error) {
			if end >= size {
				return io.NopCloser(bytes.NewReader(nil)), nil
			}
			return s.openPlain(ctx, segment.File, storage.Range{Offset: end}, tailAhead, &Counts{})
		},
	}, nil
}

// lines reads the lines that begin in a range, the last one to its end.
type lines struct {
	inside   io.ReadCloser
	skipping bool // the line that began before the range is not over
	last     byte // of what was read inside
	openRest func() (io.ReadCloser, error)
	rest     io.ReadCloser
	done     bool
}

func (l *lines) Read(p []byte) (int, error) {
	for !l.done && l.rest == nil {
		n, err := l.inside.Read(p)
		if n > 0 {
			l.last = p[n-1]
			if n = l.skip(p[:n]); n > 0 {
				return n, nil
			}
		}
		if err == nil {
			continue
		}
		if err != io.EOF {
			return 0, err
		}
		if l.skipping || l.last == '\n' {
			l.done = true
		} else if l.rest, err = l.openRest(); err != nil {
			return 0, err
		}
	}
	if l.done {
		return 0, io.EOF
	}
	n, err := l.rest.Read(p)
	if i := bytes.IndexByte(p[:n], '\n'); i >= 0 {
		l.done = true
		return i + 1, nil
	}
	return n, err
}

// skip moves what is wanted of p to its beginning and says how much that is.
func (l *lines) skip(p []byte) int {
	if !l.skipping {
		return len(p)
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return 0
	}
	l.skipping = false
	return copy(p, p[i+1:])
}

func (l *lines) Close() error {
	err := l.inside.Close()
	if l.rest != nil {
		err = errors.Join(err, l.rest.Close())
	}
	return err
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

// closing closes c and keeps its error if there is no other.
func closing(c io.Closer, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}
