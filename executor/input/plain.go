package input

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

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
	switch f.Compression {
	case Gzip:
		err = p.gunzip(named)
	case Zstd:
		err = p.unzstd(named)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *plain) gunzip(stored *namedReader) error {
	decoder, err := gzip.NewReader(stored)
	if err != nil {
		return stored.broken("gzip", err)
	}
	p.Reader = &decodedReader{reader: decoder, stored: stored, format: "gzip"}
	// Close only repeats what the last Read said, or would have said had there been one: who reads no further does not care.
	p.closers = append(p.closers, func() error { decoder.Close(); return nil }) //nolint:errcheck // see above
	return nil
}

func (p *plain) unzstd(stored *namedReader) error {
	decoder, err := zstd.NewReader(stored, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return stored.broken("zstd", err)
	}
	p.Reader = &decodedReader{reader: decoder, stored: stored, format: "zstd"}
	p.closers = append(p.closers, func() error { decoder.Close(); return nil })
	return nil
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

// explain tells a changed or vanished object from trouble with the store.
func (n *namedReader) explain(err error) error {
	if errors.Is(err, storage.ErrCondition) || errors.Is(err, storage.ErrNotFound) {
		return &task.Failure{
			Class: proto.CLASS_FINAL, Kind: "conflict", Err: err,
			Message: fmt.Sprintf("object %s changed while the run was reading it", n.set.URI(n.file)),
		}
	}
	return fmt.Errorf("read %s: %w", n.set.URI(n.file), err)
}

// broken is what an error of a decoder means.
func (n *namedReader) broken(format string, err error) error {
	switch {
	case n.failed != nil:
		return n.failed
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return task.Final("", "object %s is cut short (%s: unexpected EOF)", n.set.URI(n.file), format)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		return task.Final("", "object %s is not %s", n.set.URI(n.file), format)
	}
	return task.Final("", "object %s is damaged (%s: %s)", n.set.URI(n.file), format, strings.TrimPrefix(err.Error(), format+": "))
}

// decodedReader turns a decoder's errors into failures.
type decodedReader struct {
	reader io.Reader
	stored *namedReader
	format string
}

func (d *decodedReader) Read(p []byte) (int, error) {
	k, err := d.reader.Read(p)
	if err != nil && err != io.EOF {
		err = d.stored.broken(d.format, err)
	}
	return k, err
}
