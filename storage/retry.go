package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"
)

// Backoff says how often and how soon WithRetry repeats.
type Backoff struct {
	Attempts int           // tries in a row without progress, the first included
	Base     time.Duration // wait before the second try; doubles with each
	Max      time.Duration // longest wait
}

// DefaultBackoff gives up after seven tries, 6 to 13 seconds of waiting.
var DefaultBackoff = Backoff{Attempts: 7, Base: 200 * time.Millisecond, Max: 10 * time.Second}

// longestAsked bounds how long a server can make us wait.
const longestAsked = time.Minute

// WithRetry repeats what failed with ErrUnavailable, and nothing else, after
// waits that double and vary by half, or that the server asked for (Error.After,
// up to a minute). Listings go on after the last key, bodies
// go on at the byte where they broke and only in the same version (ErrCondition
// if that is gone); progress starts the count of attempts anew.
//
// A conditional Put whose answer was lost may have happened, so its repetition
// may fail because of itself. It is settled by reading back: if the object that
// stands in the way holds exactly the bytes of body, the Put has succeeded and
// returns that object, else it is ErrCondition. Two writers of the same bytes
// would both succeed; bytes must therefore name their writer. A writer that
// won and was then overwritten before it could read back gets ErrCondition,
// which is as good as the truth: its version is gone.
//
// If everything fails, a Put ends in ErrUnavailable with its outcome unknown.
func WithRetry(s Store, b Backoff) Store { return &retrying{store: s, backoff: b} }

type retrying struct {
	store   Store
	backoff Backoff
}

func (r *retrying) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		last, failures := after, 0
		for {
			var failed error
			for obj, err := range r.store.List(ctx, prefix, last) {
				if err != nil {
					failed = err
					break
				}
				last, failures = obj.Key, 0
				if !yield(obj, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			failures++
			if err := r.pause(ctx, failures, failed); err != nil {
				yield(Object{}, err)
				return
			}
		}
	}
}

func (r *retrying) Stat(ctx context.Context, key string) (obj Object, err error) {
	err = r.do(ctx, func() error {
		obj, err = r.store.Stat(ctx, key)
		return err
	})
	return obj, err
}

func (r *retrying) Get(ctx context.Context, key string, rng Range) (io.ReadCloser, Object, error) {
	var body io.ReadCloser
	var obj Object
	err := r.do(ctx, func() (err error) {
		body, obj, err = r.store.Get(ctx, key, rng)
		return err
	})
	if err != nil {
		return nil, Object{}, err
	}
	return newResumingBody(ctx, r, key, rng, obj, body), obj, nil
}

func (r *retrying) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond Condition) (obj Object, err error) {
	uncertain := false // an earlier try may have written the object
	err = r.do(ctx, func() error {
		obj, err = r.store.Put(ctx, key, body, size, cond)
		if errors.Is(err, ErrCondition) && uncertain {
			obj, err = r.settle(ctx, key, body, size, err)
		}
		uncertain = uncertain || errors.Is(err, ErrUnavailable)
		return err
	})
	if cond != Always && errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		// Only the answers of writes may be getting lost: ask once more.
		if settled, settleErr := r.settle(ctx, key, body, size, err); settleErr == nil {
			return settled, nil
		}
	}
	if err != nil {
		return Object{}, err
	}
	return obj, nil
}

// settle decides a write that failed with lost although it may have happened:
// it has if the object holds the bytes of body.
func (r *retrying) settle(ctx context.Context, key string, body io.ReaderAt, size int64, lost error) (Object, error) {
	stored, obj, err := r.store.Get(ctx, key, Range{})
	if errors.Is(err, ErrNotFound) {
		return Object{}, lost
	}
	if err != nil {
		return Object{}, err
	}
	same, err := sameBytes(stored, obj.Size, io.NewSectionReader(body, 0, size), size)
	if closeErr := stored.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return Object{}, err
	}
	if !same {
		return Object{}, lost
	}
	return obj, nil
}

func (r *retrying) Copy(ctx context.Context, from, to string) error {
	return r.do(ctx, func() error { return r.store.Copy(ctx, from, to) })
}

func (r *retrying) Delete(ctx context.Context, keys ...string) error {
	return r.do(ctx, func() error { return r.store.Delete(ctx, keys...) })
}

// do repeats f until it succeeds, fails for good or the attempts are used up.
func (r *retrying) do(ctx context.Context, f func() error) error {
	for failures := 1; ; failures++ {
		err := f()
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, failures, err); err != nil {
			return err
		}
	}
}

// pause waits before the next try after so many failures in a row, the last of
// which is err. If there is no next try it returns the error to report.
func (r *retrying) pause(ctx context.Context, failures int, err error) error {
	if !errors.Is(err, ErrUnavailable) {
		return err
	}
	if failures >= r.backoff.Attempts {
		return fmt.Errorf("give up after %d attempts: %w", failures, err)
	}
	d := r.backoff.wait(failures)
	if failed, ok := errors.AsType[*Error](err); ok {
		d = max(d, min(failed.After, longestAsked))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		// The context's error decides the kind; the failure is only told.
		return fmt.Errorf("wait to try again: %w: %v", ctx.Err(), err)
	}
	return nil
}

func (b Backoff) wait(failures int) time.Duration {
	d := b.Base
	for i := 1; i < failures && d < b.Max; i++ {
		d *= 2
	}
	d = min(d, b.Max)
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2)
}
