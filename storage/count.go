package storage

import (
	"context"
	"io"
	"iter"
	"sync/atomic"
)

// Totals is what went through a Counter so far.
type Totals struct {
	Requests     int64 // calls, failed ones too; a listing is one
	Errors       int64 // calls, listings and bodies that ended in an error
	BytesRead    int64 // bytes of bodies as they were read
	BytesWritten int64 // bytes of successful Puts
}

// Counter is a Store that counts. Around WithRetry it counts what the caller
// got, below it every try.
type Counter struct {
	store                                   Store
	requests, errors, bytesRead, bytesWrote atomic.Int64
}

// NewCounter counts what goes through s.
func NewCounter(s Store) *Counter { return &Counter{store: s} }

// Totals reads the counts at any time.
func (c *Counter) Totals() Totals {
	return Totals{
		Requests:     c.requests.Load(),
		Errors:       c.errors.Load(),
		BytesRead:    c.bytesRead.Load(),
		BytesWritten: c.bytesWrote.Load(),
	}
}

func (c *Counter) failed(err error) {
	if err != nil && err != io.EOF {
		c.errors.Add(1)
	}
}

// List implements Store.
func (c *Counter) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		c.requests.Add(1)
		for obj, err := range c.store.List(ctx, prefix, after) {
			c.failed(err)
			if !yield(obj, err) {
				return
			}
		}
	}
}

// Stat implements Store.
func (c *Counter) Stat(ctx context.Context, key string) (Object, error) {
	c.requests.Add(1)
	obj, err := c.store.Stat(ctx, key)
	c.failed(err)
	return obj, err
}

// Get implements Store.
func (c *Counter) Get(ctx context.Context, key string, r Range) (io.ReadCloser, Object, error) {
	c.requests.Add(1)
	body, obj, err := c.store.Get(ctx, key, r)
	c.failed(err)
	if err != nil {
		return nil, Object{}, err
	}
	return &countedBody{ReadCloser: body, counter: c}, obj, nil
}

// Put implements Store.
func (c *Counter) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond Condition) (Object, error) {
	c.requests.Add(1)
	obj, err := c.store.Put(ctx, key, body, size, cond)
	c.failed(err)
	if err == nil {
		c.bytesWrote.Add(size)
	}
	return obj, err
}

// Copy implements Store.
func (c *Counter) Copy(ctx context.Context, from, to string) error {
	c.requests.Add(1)
	err := c.store.Copy(ctx, from, to)
	c.failed(err)
	return err
}

// Delete implements Store.
func (c *Counter) Delete(ctx context.Context, keys ...string) error {
	c.requests.Add(1)
	err := c.store.Delete(ctx, keys...)
	c.failed(err)
	return err
}

type countedBody struct {
	io.ReadCloser
	counter *Counter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.counter.bytesRead.Add(int64(n))
	b.counter.failed(err)
	return n, err
}
