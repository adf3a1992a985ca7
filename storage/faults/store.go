package faults

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/tidemill/tidemill/storage"
)

// Store decorates s. Its calls have the labels "list", "stat", "get", "put", "copy" and "delete"; those of a body that
// get returned are part of it.
func (in *Injector) Store(s storage.Store) storage.Store { return &store{below: s, in: in} }

type store struct {
	below storage.Store
	in    *Injector
}

// begin decides about a call and waits out its delay. after is what the caller returns once the call has been made,
// if it would otherwise have succeeded.
func (s *store) begin(ctx context.Context, label, key string) (f Fault, after, before error) {
	c, f := s.in.next(label, key)
	if err := wait(ctx, f.Delay); err != nil {
		return f, nil, err
	}
	switch f.Effect {
	case Refuse:
		return f, nil, injected(c, f)
	case Lose, Cut:
		return f, injected(c, f), nil
	}
	return f, nil, nil
}

func injected(c Call, f Fault) error {
	return fmt.Errorf("%s %q: %w: call %d was told to %s", c.Label, c.Key, storage.ErrUnavailable, c.N, f.Effect)
}

func wait(ctx context.Context, d time.Duration) error {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (s *store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		f, lost, err := s.begin(ctx, "list", prefix)
		if err != nil {
			yield(storage.Object{}, err)
			return
		}
		left := f.After // of Lose it is 0
		for obj, err := range s.below.List(ctx, prefix, after) {
			if lost != nil && err == nil {
				if left == 0 {
					break
				}
				left--
			}
			if !yield(obj, err) || err != nil {
				return
			}
		}
		if lost != nil {
			yield(storage.Object{}, lost)
		}
	}
}

func (s *store) Stat(ctx context.Context, key string) (storage.Object, error) {
	_, lost, err := s.begin(ctx, "stat", key)
	if err != nil {
		return storage.Object{}, err
	}
	obj, err := s.below.Stat(ctx, key)
	if err == nil && lost != nil {
		return storage.Object{}, lost
	}
	return obj, err
}

func (s *store) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	f, lost, err := s.begin(ctx, "get", key)
	if err != nil {
		return nil, storage.Object{}, err
	}
	body, obj, err := s.below.Get(ctx, key, r)
	if err != nil || lost == nil {
		return body, obj, err
	}
	if f.Effect == Cut {
		return &cutBody{ReadCloser: body, left: f.After, lost: lost}, obj, nil
	}
	_ = body.Close() // nobody will read it
	return nil, storage.Object{}, lost
}

// cutBody breaks off after so many bytes, unless it ends before that. The error comes with the last of them, as the
// contract of io.Reader allows.
type cutBody struct {
	io.ReadCloser
	left int64
	lost error
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.lost
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); b.left == 0 && err == nil {
		err = b.lost
	}
	return n, err
}

func (s *store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	_, lost, err := s.begin(ctx, "put", key)
	if err != nil {
		return storage.Object{}, err
	}
	obj, err := s.below.Put(ctx, key, body, size, cond)
	if err == nil && lost != nil {
		return storage.Object{}, lost
	}
	return obj, err
}

func (s *store) Copy(ctx context.Context, from, to string) error {
	_, lost, err := s.begin(ctx, "copy", from)
	if err != nil {
		return err
	}
	if err := s.below.Copy(ctx, from, to); err != nil {
		return err
	}
	return lost
}

func (s *store) Delete(ctx context.Context, keys ...string) error {
	key := ""
	if len(keys) > 0 {
		key = keys[0]
	}
	_, lost, err := s.begin(ctx, "delete", key)
	if err != nil {
		return err
	}
	if err := s.below.Delete(ctx, keys...); err != nil {
		return err
	}
	return lost
}
