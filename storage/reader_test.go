package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/storage"
)

// Whatever the range, the chunks and the faults, a Reader gives the bytes in
// order, read either way.
func TestReaderGivesTheRange(t *testing.T) {
	f, below := newFaulty(t)
	s := storage.WithRetry(f, patient)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		f.script = never
		data := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "data")
		obj, err := storage.WriteAll(ctx, below, "k", data, storage.Always)
		if err != nil {
			t.Fatal(err)
		}
		offset := rapid.IntRange(0, len(data)).Draw(t, "offset")
		length := rapid.IntRange(0, len(data)+5).Draw(t, "length")
		want := data[offset:]
		if length > 0 {
			want = want[:min(length, len(want))]
		}
		ahead := storage.ReadAhead{
			Chunk:    rapid.Int64Range(1, 250).Draw(t, "chunk"),
			Parallel: rapid.IntRange(1, 5).Draw(t, "parallel"),
		}
		f.script = drawFaults(t)
		r := storage.NewReader(ctx, s, obj, storage.Range{Offset: int64(offset), Length: int64(length)}, ahead)
		var got bytes.Buffer
		if rapid.Bool().Draw(t, "small reads") {
			_, err = got.ReadFrom(iotest.OneByteReader(r))
		} else {
			_, err = io.Copy(&got, r)
		}
		if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("got %q, %v, want %q", got.Bytes(), err, want)
		}
	})
}

// watching notes how many bodies are open at once and how large they are.
type watching struct {
	storage.Store
	mu           sync.Mutex
	open, most   int
	largest      int64
	release, all chan struct{} // all is closed when as many as it holds are open
	once         sync.Once
}

func (w *watching) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	w.mu.Lock()
	w.open++
	w.most = max(w.most, w.open)
	w.largest = max(w.largest, r.Length)
	if w.open == cap(w.all) {
		w.once.Do(func() { close(w.all) })
	}
	w.mu.Unlock()
	select {
	case <-w.release:
	case <-ctx.Done():
		return nil, storage.Object{}, ctx.Err()
	}
	body, obj, err := w.Store.Get(ctx, key, r)
	w.mu.Lock()
	w.open--
	w.mu.Unlock()
	return body, obj, err
}

func TestReaderFetchesAheadWithinBounds(t *testing.T) {
	_, below := newFaulty(t)
	data := bytes.Repeat([]byte("0123456789"), 100)
	obj, err := storage.WriteAll(t.Context(), below, "k", data, storage.Always)
	if err != nil {
		t.Fatal(err)
	}
	w := &watching{Store: below, release: make(chan struct{}), all: make(chan struct{}, 4)}
	r := storage.NewReader(t.Context(), w, obj, storage.Range{}, storage.ReadAhead{Chunk: 50, Parallel: 4})
	<-w.all // four are under way before anything was read
	close(w.release)
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if w.most != 4 || w.largest != 50 {
		t.Errorf("got %d ranges of %d bytes at once, want 4 of 50", w.most, w.largest)
	}
}

func TestReaderEnds(t *testing.T) {
	_, below := newFaulty(t)
	obj, err := storage.WriteAll(t.Context(), below, "k", make([]byte, 1000), storage.Always)
	if err != nil {
		t.Fatal(err)
	}
	blocked := func() *watching {
		return &watching{Store: below, release: make(chan struct{}), all: make(chan struct{}, 2)}
	}

	t.Run("by Close, while it fetches", func(t *testing.T) {
		w := blocked()
		r := storage.NewReader(t.Context(), w, obj, storage.Range{}, storage.ReadAhead{Chunk: 10, Parallel: 2})
		<-w.all
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("read after close: got %v, want ErrInvalid", err)
		}
	})
	t.Run("by its context, never in io.EOF", func(t *testing.T) {
		w := blocked()
		ctx, cancel := context.WithCancel(t.Context())
		r := storage.NewReader(ctx, w, obj, storage.Range{}, storage.ReadAhead{Chunk: 10, Parallel: 2})
		<-w.all
		cancel()
		for range 2 {
			if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("by an error, again and again", func(t *testing.T) {
		gone := obj
		gone.ETag = "gone"
		r := storage.NewReader(t.Context(), below, gone, storage.Range{}, storage.ReadAhead{Chunk: 10})
		for range 2 {
			if n, err := io.Copy(io.Discard, r); n != 0 || !errors.Is(err, storage.ErrCondition) {
				t.Errorf("got %d bytes, %v, want ErrCondition", n, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("by a range that is not there", func(t *testing.T) {
		for _, rng := range []storage.Range{{Offset: 1001}, {Offset: -1}, {Length: -1}} {
			r := storage.NewReader(t.Context(), below, obj, rng, storage.ReadAhead{})
			if _, err := io.ReadAll(r); !errors.Is(err, storage.ErrInvalid) {
				t.Errorf("%+v: got %v, want ErrInvalid", rng, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
