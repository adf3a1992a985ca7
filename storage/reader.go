package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ReadAhead says how a Reader fetches: up to Parallel ranges of Chunk bytes at
// once. A Reader never holds more than Parallel×Chunk bytes. A field that is 0
// is taken from DefaultReadAhead.
type ReadAhead struct {
	Chunk    int64 // bytes of one range request
	Parallel int   // ranges that are being fetched or wait to be read
}

// DefaultReadAhead holds at most 32 MiB.
var DefaultReadAhead = ReadAhead{Chunk: 8 << 20, Parallel: 4}

// Reader yields a range of one version of an object in order while it fetches
// the ranges ahead in parallel. It is for one goroutine.
type Reader struct {
	cancel context.CancelFunc
	chunks chan (<-chan chunk) // in order; each is sent one chunk when it is fetched
	free   chan []byte         // buffers that may be filled
	fetch  sync.WaitGroup      // the planner and all fetchers

	current []byte // what is left of the chunk being read
	buffer  []byte // the whole buffer of that chunk
	err     error  // sticky
}

type chunk struct {
	data []byte
	err  error
}

// NewReader opens the bytes of obj that r selects; obj is as List, Stat or Get
// gave it, and only this version is read: a Read fails with ErrCondition when it is
// gone. r.ETag is not used. It returns at once, errors come with Read. Fetching
// ends when ctx does; the caller must Close. s should retry (see WithRetry): a
// range that fails fails the Reader.
func NewReader(ctx context.Context, s Store, obj Object, r Range, ahead ReadAhead) *Reader {
	ctx, cancel := context.WithCancel(ctx)
	size := cmp.Or(ahead.Chunk, DefaultReadAhead.Chunk)
	parallel := cmp.Or(ahead.Parallel, DefaultReadAhead.Parallel)
	d := &Reader{
		cancel: cancel,
		chunks: make(chan (<-chan chunk), parallel+1), // and the error that ends it
		free:   make(chan []byte, parallel),
	}
	if r.Offset < 0 || r.Length < 0 || r.Offset > obj.Size {
		d.err = fmt.Errorf("read %q: %w: range %d+%d of %d bytes", obj.Key, ErrInvalid, r.Offset, r.Length, obj.Size)
		return d
	}
	end := obj.Size
	if r.Length > 0 {
		end = min(end, r.Offset+r.Length)
	}
	for range parallel {
		d.free <- nil // made when first needed, so that a small object takes little
	}
	d.fetch.Add(1)
	go func() {
		defer d.fetch.Done()
		defer close(d.chunks)
		d.plan(ctx, s, obj, r.Offset, end, size)
	}()
	return d
}

// plan starts a fetch for each chunk as soon as a buffer is free. The number of
// buffers bounds both the memory and the chunks channel, which never blocks.
func (d *Reader) plan(ctx context.Context, s Store, obj Object, offset, end, size int64) {
	for offset < end {
		var buffer []byte
		select {
		case buffer = <-d.free:
		case <-ctx.Done():
			result := make(chan chunk, 1)
			result <- chunk{err: ctx.Err()}
			d.chunks <- result
			return
		}
		n := min(size, end-offset)
		if int64(cap(buffer)) < n {
			buffer = make([]byte, n)
		}
		result := make(chan chunk, 1)
		d.chunks <- result
		part := Range{Offset: offset, Length: n, ETag: obj.ETag}
		if n == obj.Size {
			part.Length = 0 // a whole object may be compared with its checksum
		}
		d.fetch.Go(func() {
			err := fetchRange(ctx, s, obj.Key, part, buffer[:n])
			result <- chunk{data: buffer[:n], err: err}
		})
		offset += n
	}
}

func fetchRange(ctx context.Context, s Store, key string, r Range, into []byte) error {
	body, _, err := s.Get(ctx, key, r)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(body, into)
	if err == nil {
		err = verified(body)
	}
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("read %q at %d: %w: fewer than %d bytes came", key, r.Offset, ErrUnavailable, len(into))
	}
	return err
}

// verified looks behind the last byte of a body, where a store says that a checksum differs.
func verified(body io.Reader) error {
	if _, err := body.Read(make([]byte, 1)); errors.Is(err, ErrDamaged) {
		return err
	}
	return nil
}

// Read implements io.Reader. Errors match the sentinels or the context's error,
// and come again with every later Read.
func (d *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.next(); err != nil {
		return 0, err
	}
	n := copy(p, d.current)
	d.current = d.current[n:]
	return n, nil
}

// WriteTo implements io.WriterTo, so that io.Copy needs no buffer of its own.
func (d *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := d.next(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(d.current)
		total += int64(n)
		d.current = d.current[n:]
		if err != nil {
			return total, err
		}
	}
}

// next makes sure that current has bytes.
func (d *Reader) next() error {
	if len(d.current) > 0 {
		return nil
	}
	if d.err != nil {
		return d.err
	}
	if d.buffer != nil {
		d.free <- d.buffer
		d.buffer = nil
	}
	result, ok := <-d.chunks
	if !ok {
		d.err = io.EOF
		return d.err
	}
	c := <-result
	if c.err != nil {
		d.err = c.err
		d.cancel() // the chunks behind it are of no use
		return d.err
	}
	d.current, d.buffer = c.data, c.data
	return nil
}

// Close stops fetching and waits until nothing of it runs any more. Reading
// afterwards is an error. It may be called again.
func (d *Reader) Close() error {
	d.cancel()
	d.fetch.Wait()
	d.current = nil
	if d.err == nil {
		d.err = fmt.Errorf("read: %w: the reader is closed", ErrInvalid)
	}
	return nil
}
