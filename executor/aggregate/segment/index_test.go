package segment

import (
	"bytes"
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
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 50), 1, 700).Draw(rt, "segments")
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
		if err != nil || index.Segments() != len(want) {
			rt.Fatalf("got %d segments, %v, want %d", index.Segments(), err, len(want))
		}
		for i, segment := range want {
			if got := object.Bytes()[index[i]:index[i+1]]; !bytes.Equal(got, segment) {
				rt.Fatalf("segment %d: got %x, want %x", i, got, segment)
			}
		}
	})
}

func TestBrokenIndex(t *testing.T) {
	good := append([]byte("abc"), Index{0, 1, 3}.encode()...)
	for name, object := range map[string][]byte{
		"does not end":       []byte("abc"),
		"checksum":           bytes.Replace(good, []byte{1, 0, 0, 0, 0, 0, 0, 0}, []byte{2, 0, 0, 0, 0, 0, 0, 0}, 1),
		"do not ascend":      append([]byte("abc"), Index{0, 4, 3}.encode()...),
		"ends at 3 of 4":     append([]byte("abcd"), Index{0, 1, 3}.encode()...),
		"claims 65537":       append([]byte("abc"), make(Index, MaxSegments+2).encode()...),
		"in 8 bytes":         nil,
		"claims 2 segments ": Index{0, 1, 3}.encode()[8:],
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
	f.Add(append([]byte("abc"), Index{0, 1, 3}.encode()...), int64(3+24+16))
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
