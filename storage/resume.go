package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// resumingBody reads one version of an object over as many Gets as it takes.
type resumingBody struct {
	ctx      context.Context
	retry    *retrying
	key      string
	rest     Range // what has not been read yet, with its length and version
	body     io.ReadCloser
	pending  error // came together with the last bytes
	failures int   // in a row, without a byte between them
}

func newResumingBody(ctx context.Context, r *retrying, key string, rng Range, obj Object, body io.ReadCloser) *resumingBody {
	left := max(obj.Size-rng.Offset, 0)
	if rng.Length > 0 {
		left = min(left, rng.Length)
	}
	return &resumingBody{
		ctx: ctx, retry: r, key: key, body: body,
		rest: Range{Offset: rng.Offset, Length: left, ETag: obj.ETag},
	}
}

func (b *resumingBody) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if b.rest.Length == 0 {
			return 0, b.end()
		}
		n, err := 0, b.pending
		if err == nil {
			n, err = b.body.Read(p[:min(int64(len(p)), b.rest.Length)])
		}
		if n > 0 {
			b.rest.Offset += int64(n)
			b.rest.Length -= int64(n)
			b.pending, b.failures = err, 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("read %q: %w: the body ended %d bytes early", b.key, ErrUnavailable, b.rest.Length)
		}
		if err := b.resume(err); err != nil {
			return 0, err
		}
	}
}

// end looks behind the last byte, where a store says that a checksum differs.
func (b *resumingBody) end() error {
	if b.pending == nil {
		_, b.pending = b.body.Read(make([]byte, 1))
	}
	if errors.Is(b.pending, ErrDamaged) {
		return b.pending
	}
	b.pending = io.EOF // all that was asked for has come
	return io.EOF
}

// resume opens the rest after the failure err, or returns why it cannot.
func (b *resumingBody) resume(err error) error {
	if b.rest.ETag == "" {
		return err // nothing would keep two versions apart
	}
	for {
		b.failures++
		if err := b.retry.pause(b.ctx, b.failures, err); err != nil {
			return err
		}
		body, _, openErr := b.retry.store.Get(b.ctx, b.key, b.rest)
		if openErr == nil {
			// The old body is broken: what closing it says no longer matters.
			_ = b.body.Close()
			b.body, b.pending = body, nil
			return nil
		}
		err = openErr
	}
}

func (b *resumingBody) Close() error { return b.body.Close() }

// sameBytes compares two streams of known sizes; an error of either is an error.
func sameBytes(a io.Reader, aSize int64, b io.Reader, bSize int64) (bool, error) {
	if aSize != bSize {
		return false, nil
	}
	const chunk = 64 << 10
	x, y := make([]byte, chunk), make([]byte, chunk)
	for left := aSize; left > 0; {
		n := min(left, chunk)
		if _, err := io.ReadFull(a, x[:n]); err != nil {
			return false, fmt.Errorf("read back: %w", err)
		}
		if _, err := io.ReadFull(b, y[:n]); err != nil {
			return false, fmt.Errorf("read what was written: %w", err)
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
		left -= n
	}
	return true, nil
}
