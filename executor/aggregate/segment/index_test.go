package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

// kept is what was copied of a segment.
type kept struct {
	bytes.Buffer
}

func (*kept) Close() error { return nil }

func TestWriteAndRead(t *testing.T) {
	store, err := file.Open(file.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		long := rapid.SampledFrom([]int{20, 20_000}).Draw(rt, "long") // beyond what comes with the index, or not
		var want [][]byte
		for i := range rapid.IntRange(1, 300).Draw(rt, "segments") {
			want = append(want, bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, long).Draw(rt, "length")))
		}
		number++
		scratch, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprint(number)))
		if err != nil {
			rt.Fatal(err)
		}
		defer scratch.Close()
		w := NewWriter(scratch)
		for i, content := range want {
			if err := w.Add(Segment{Relation: i % 3, First: i, Last: i + 2, Rows: int64(i) << 40}, bytes.NewReader(content)); err != nil {
				rt.Fatal(err)
			}
		}
		body, size := w.Finish()
		if _, err := store.Put(t.Context(), "map/0-1", body, size, storage.Always); err != nil {
			rt.Fatal(err)
		}
		object, err := Open(t.Context(), store, "map/0-1")
		if err != nil || len(object.Index) != len(want) {
			rt.Fatalf("got %d segments, %v, want %d", len(object.Index), err, len(want))
		}
		var some Index
		for i, s := range object.Index {
			if s.Relation != i%3 || s.First != i || s.Last != i+2 || s.Rows != int64(i)<<40 {
				rt.Fatalf("segment %d: got %+v", i, s)
			}
			if rapid.Bool().Draw(rt, "wanted") {
				some = append(some, s)
			}
		}
		if rapid.Bool().Draw(rt, "forget") {
			object.Forget()
		}
		got := map[int]*kept{}
		err = object.Copy(t.Context(), some, storage.ReadAhead{Chunk: 4096, Parallel: 2}, func(s Segment) (io.WriteCloser, error) {
			got[s.First] = &kept{}
			return got[s.First], nil
		})
		if err != nil || len(got) != len(some) {
			rt.Fatalf("copied %d of %d: %v", len(got), len(some), err)
		}
		for i, k := range got {
			if !bytes.Equal(k.Bytes(), want[i]) {
				rt.Fatalf("segment %d has %d bytes, want %d", i, k.Len(), len(want[i]))
			}
		}
	})
}

func TestChangedBytes(t *testing.T) {
	store, err := file.Open(file.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("some bytes, among others")
	whole := Segment{Last: 1, Length: int64(len(content))}
	sum := func() uint32 {
		w := NewWriter(&buffer{})
		if err := w.Add(whole, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		return w.Index()[0].sum
	}
	whole.sum = sum()
	for bit := range 8 * len(content) {
		changed := bytes.Clone(content)
		changed[bit/8] ^= 1 << (bit % 8)
		data := append(Index{whole}.encode(), changed...)
		if _, err := storage.WriteAll(t.Context(), store, "x", data, storage.Always); err != nil {
			t.Fatal(err)
		}
		object, err := Open(t.Context(), store, "x")
		if err != nil {
			t.Fatal(err)
		}
		err = object.Copy(t.Context(), object.Index, storage.ReadAhead{}, func(Segment) (io.WriteCloser, error) { return &kept{}, nil })
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("bit %d changed: got %v", bit, err)
		}
	}
}

// buffer is a File in memory.
type buffer struct{ bytes.Buffer }

func (b *buffer) ReadAt(p []byte, offset int64) (int, error) {
	return bytes.NewReader(b.Bytes()).ReadAt(p, offset)
}

func TestBrokenIndex(t *testing.T) {
	index := func(lengths ...int64) []byte {
		var x Index
		for _, n := range lengths {
			x = append(x, Segment{Length: n})
		}
		return x.encode()
	}
	good := append(index(1, 2), "abc"...)
	changed := bytes.Clone(good)
	changed[preface+1]++
	for name, object := range map[string][]byte{
		"does not begin":             []byte("abc"),
		"checksum":                   changed,
		"segment 1 of its index is":  append(index(1, 3), "abc"...),
		"segment 0 of its index is ": append(index(-1, 3), "abc"...),
		"ends at 71 of 72":           append(index(1, 2), "abcd"...),
		"claims 65537":               make(Index, MaxSegments+1).encode(),
		"in 8 bytes":                 nil,
	} {
		size := int64(len(object))
		if object == nil {
			object, size = good, 8
		}
		_, need, err := decode(object, size)
		if need != 0 || err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: got need %d, %v", name, need, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("abc"), int64(3))
	f.Add(append(Index{{0, 0, 1, 5, 0, 1, 7}, {1, 1, 2, 6, 1, 2, 9}}.encode(), "abc"...), int64(headLength(2)+3))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		index, need, err := decode(head, size)
		if err != nil {
			return
		}
		if need != 0 {
			if need <= len(head) || int64(need) > size {
				t.Fatalf("asked for %d bytes, has %d of %d", need, len(head), size)
			}
			return
		}
		if got := index.encode(); !bytes.HasPrefix(head, got) {
			t.Fatalf("index encodes differently: %s", cmp.Diff(head, got))
		}
	})
}
