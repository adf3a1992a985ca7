package input

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// Counts are of what was read so far. They may be read at any time.
type Counts struct {
	Bytes atomic.Int64 // as stored
	Rows  atomic.Int64
}

// plain is a range of an object, without its compression.
type plain struct {
	io.Reader
	closers []func() error
}

// Close frees everything; what was read is whole if the last Read gave io.EOF.
func (p *plain) Close() error {
	var err error
	for i := len(p.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, p.closers[i]())
	}
	return err
}

// openPlain opens a range of a file; a compressed one only as a whole.
func (s *Set) openPlain(ctx context.Context, file int, r storage.Range, ahead storage.ReadAhead, counts *Counts) (*plain, error) {
	f := s.Files[file]
	stored := storage.NewReader(ctx, s.Store, storage.Object{Key: f.Key, Size: f.Size, ETag: f.ETag}, r, ahead)
	named := &namedReader{reader: stored, set: s, file: file, bytes: &counts.Bytes}
	p := &plain{Reader: named, closers: []func() error{stored.Close}}
	var err error
	if f.Compression != Plain {
		err = p.decompress(named, f.Compression)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// namedReader counts bytes and says which object an error is about.
type namedReader struct {
	reader io.Reader
	set    *Set
	file   int
	bytes  *atomic.Int64
	failed error // what storage said, before a decoder wrapped it
}

func (n *namedReader) Read(p []byte) (int, error) {
	k, err := n.reader.Read(p)
	n.bytes.Add(int64(k))
	if err != nil && err != io.EOF {
		n.failed = n.explain(err)
		err = n.failed
	}
	return k, err
}

func (n *namedReader) explain(err error) error { return n.set.ReadFailure(n.file, err) }

// ReadFailure names the file that storage could not read, and tells a changed or vanished object from trouble with the
// store.
func (s *Set) ReadFailure(file int, err error) error {
	if errors.Is(err, storage.ErrCondition) || errors.Is(err, storage.ErrNotFound) {
		return &task.Failure{
			Class: proto.CLASS_FINAL, Kind: "conflict", Err: err,
			Message: fmt.Sprintf("object %s changed while the run was reading it", s.URI(file)),
		}
	}
	return fmt.Errorf("read %s: %w", s.URI(file), err)
}

// broken is what an error of a decoder means.
func (n *namedReader) broken(format string, err error) error {
	switch {
	case n.failed != nil:
		return n.failed
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return task.Final("", "object %s is cut short (%s: unexpected EOF)", n.set.URI(n.file), format)
	case errors.Is(err, errFormat):
		return task.Final("", "object %s is not %s", n.set.URI(n.file), format)
	}
	return task.Final("", "object %s is damaged (%s: %s)", n.set.URI(n.file), format, strings.TrimPrefix(err.Error(), format+": "))
}
