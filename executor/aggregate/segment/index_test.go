package segment

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func TestWriteAndRead(t *testing.T) {
	root := t.TempDir()
	store, err := file.Open(file.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 20), 1, 500).Draw(rt, "segments")
		var object bytes.Buffer
		w := NewWriter(&object)
		for _, segment := range want {
			if err := w.Add(bytes.NewReader(segment)); err != nil {
				rt.Fatal(err)
			}
		}
		size, err := w.Finish()
		if err != nil || size != int64(object.Len()) {
			rt.Fatalf("got size %d, %v, want %d", size, err, object.Len())
		}
		obj, err := storage.WriteAll(t.Context(), store, "map/0-1", object.Bytes(), storage.Always)
		if err != nil {
			rt.Fatal(err)
		}
		index, err := Read(t.Context(), store, obj)
		if err != nil || len(index) != len(want) {
			rt.Fatalf("got %d segments, %v, want %d", len(index), err, len(want))
		}
		for i, segment := range want {
			var got bytes.Buffer
			if err := index[i].Copy(&got, bytes.NewReader(object.Bytes()[index[i].Offset:])); err != nil || !bytes.Equal(got.Bytes(), segment) {
				rt.Fatalf("segment %d: got %x, %v, want %x", i, got.Bytes(), err, segment)
			}
			if len(segment) == 0 {
				continue
			}
			broken := bytes.Clone(segment)
			broken[rapid.IntRange(0, len(broken)-1).Draw(rt, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			if err := index[i].Copy(io.Discard, bytes.NewReader(broken)); !errors.Is(err, storage.ErrUnavailable) {
				rt.Fatalf("segment %d: a changed bit gives %v", i, err)
			}
			if err := index[i].Copy(io.Discard, bytes.NewReader(segment[1:])); !errors.Is(err, storage.ErrUnavailable) {
				rt.Fatalf("segment %d: a missing byte gives %v", i, err)
			}
		}
	})
}

func TestBrokenIndex(t *testing.T) {
	index := func(lengths ...int64) []byte {
		var x Index
		for _, n := range lengths {
			x = append(x, Segment{Offset: x.end(), Length: n})
		}
		return x.encode()
	}
	good := append([]byte("abc"), index(1, 2)...)
	changed := bytes.Clone(good)
	changed[3]++
	for name, object := range map[string][]byte{
		"does not end":               []byte("abc"),
		"checksum":                   changed,
		"segment 1 of its index is":  append([]byte("abc"), index(1, 3)...),
		"segment 0 of its index is ": append([]byte("abc"), index(-1, 3)...),
		"ends at 3 of 4":             append([]byte("abcd"), index(1, 2)...),
		"claims 65537":               append([]byte("abc"), make(Index, MaxSegments+1).encode()...),
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
	f.Add(append([]byte("abc"), Index{{0, 1, 7}, {1, 2, 9}}.encode()...), int64(3+24+16))
	f.Fuzz(func(t *testing.T, tail []byte, size int64) {
		index, need, err := decode(tail, size)
		if err != nil {
			return
		}
		if need != 0 {
			if need <= len(tail) || int64(need) > size {
				t.Fatalf("asked for %d bytes, has %d of %d", need, len(tail), size)
			}
			return
		}
		if got := index.encode(); !bytes.HasSuffix(tail, got) {
			t.Fatalf("index %v encodes differently", index)
		}
	})
}
