package storage_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a store whose calls, listed objects and read bytes fail when fail
// says so. It is asked before each of them.
type faulty struct {
	storage.Store
	mu   sync.Mutex
	fail func(what string) bool
	late bool // a call fails after it has been done
}

// newFaulty makes a store over an empty folder that never fails, and the store below it.
func newFaulty(t interface {
	TempDir() string
	Fatal(...any)
}) (*faulty, storage.Store) {
	s, err := file.Open(file.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return &faulty{Store: s, fail: func(string) bool { return false }}, s
}

func (f *faulty) check(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail(what) {
		return fmt.Errorf("%s: %w", what, storage.ErrUnavailable)
	}
	return nil
}

func (f *faulty) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		for obj, err := range f.Store.List(ctx, prefix, after) {
			if fault := f.check("list"); fault != nil {
				yield(storage.Object{}, fault)
				return
			}
			if !yield(obj, err) {
				return
			}
		}
	}
}

func (f *faulty) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := f.check("stat"); err != nil {
		return storage.Object{}, err
	}
	return f.Store.Stat(ctx, key)
}

func (f *faulty) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	if err := f.check("get"); err != nil {
		return nil, storage.Object{}, err
	}
	body, obj, err := f.Store.Get(ctx, key, r)
	if err != nil {
		return nil, obj, err
	}
	return &faultyBody{ReadCloser: body, store: f}, obj, nil
}

func (f *faulty) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	fault := f.check("put")
	if fault != nil && !f.late {
		return storage.Object{}, fault
	}
	obj, err := f.Store.Put(ctx, key, body, size, cond)
	if err == nil {
		err = fault
	}
	return obj, err
}

type faultyBody struct {
	io.ReadCloser
	store  *faulty
	broken error
}

// Read gives some bytes together with the error, as the io.Reader contract
// allows.
func (b *faultyBody) Read(p []byte) (int, error) {
	if b.broken != nil {
		return 0, b.broken
	}
	b.broken = b.store.check("read")
	if b.broken != nil {
		p = p[:len(p)/2]
	}
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		err = b.broken
	}
	return n, err
}
