package storagetest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/storage"
)

// calls is every method of a store once, on an object that may not be there.
func calls(ctx context.Context, s storage.Store) map[string]error {
	errs := map[string]error{}
	_, errs["stat"] = s.Stat(ctx, "k")
	_, _, errs["get"] = s.Get(ctx, "k", storage.Range{})
	_, errs["put"] = storage.WriteAll(ctx, s, "k", []byte("x"), storage.Always)
	_, errs["create"] = storage.WriteAll(ctx, s, "k", []byte("x"), storage.IfAbsent)
	_, errs["replace"] = storage.WriteAll(ctx, s, "k", []byte("x"), storage.IfMatch("e"))
	big := bytes.NewReader(make([]byte, 17<<20))
	_, errs["put big"] = s.Put(ctx, "big", big, big.Size(), storage.Always)
	errs["copy"] = s.Copy(ctx, "k", "l")
	errs["delete"] = s.Delete(ctx, "k")
	for _, err := range s.List(ctx, "k", "") {
		errs["list"] = err
	}
	return errs
}

func testMissingObject(t *testing.T, target Target) {
	s := target.Empty(t)
	put(t, s, "dir/file", "x")
	for _, key := range []string{"none", "dir", "dir/none", "dir/file/none"} {
		_, err := s.Stat(t.Context(), key)
		want(t, "stat "+key, err, storage.ErrNotFound)
		_, _, err = s.Get(t.Context(), key, storage.Range{Offset: 5, Length: 5})
		want(t, "get "+key, err, storage.ErrNotFound)
		if err != nil && !strings.Contains(err.Error(), key) {
			t.Errorf("get %s: got error %q, want one that names the key", key, err)
		}
	}
}

func testMissingBucket(t *testing.T, target Target) {
	for what, err := range calls(t.Context(), target.Missing) {
		want(t, what, err, storage.ErrNoBucket)
	}
}

func testWrongKeys(t *testing.T, target Target) {
	if target.Denied == nil {
		t.Skip("there are no keys")
	}
	for what, err := range calls(t.Context(), target.Denied) {
		want(t, what, err, storage.ErrDenied)
	}
}

func testCancelledContext(t *testing.T, target Target) {
	s := target.Empty(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, err := range calls(ctx, s) {
		want(t, what, err, context.Canceled)
	}
	if got := list(t, s, "", ""); len(got) != 0 {
		t.Errorf("got %q after writes that were cancelled", got)
	}
}

// cancelling ends its context when it is read at an offset.
type cancelling struct {
	io.ReaderAt
	from   int64
	cancel context.CancelFunc
}

func (c cancelling) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= c.from {
		c.cancel()
	}
	return c.ReaderAt.ReadAt(p, offset)
}

func testCancelledTransfer(t *testing.T, target Target) {
	s := target.Empty(t)
	data := noise(24 << 20)

	ctx, cancel := context.WithCancel(t.Context())
	source := cancelling{bytes.NewReader(data), 12 << 20, cancel}
	_, err := s.Put(ctx, "up", source, int64(len(data)), storage.Always)
	want(t, "cancelled put", err, context.Canceled)
	if got := list(t, s, "", ""); len(got) != 0 {
		t.Errorf("got %q after a write that was cancelled", got)
	}
	clean(t, target, s)

	if _, err := s.Put(t.Context(), "down", bytes.NewReader(data), int64(len(data)), storage.Always); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	body, obj, err := s.Get(ctx, "down", storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, body, 1000); err != nil {
		t.Fatal(err)
	}
	cancel()
	want(t, "cancelled get", readAll(body), context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	r := storage.NewReader(ctx, s, obj, storage.Range{}, storage.ReadAhead{Chunk: 1 << 20, Parallel: 2})
	if _, err := io.CopyN(io.Discard, r, 1000); err != nil {
		t.Fatal(err)
	}
	cancel()
	want(t, "cancelled reader", readAll(r), context.Canceled)
}
