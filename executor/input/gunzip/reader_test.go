package gunzip

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// compressed is content as one member.
func compressed(t testing.TB, content []byte, level int, header gzip.Header) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Header = header
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func decompress(source io.Reader) ([]byte, error) {
	r, err := NewReader(source)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// standard is what the standard library makes of a file.
func standard(file []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// contents are of many kinds: rows, noise, runs, and mixtures of them.
func contents() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var rows bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&rows, `{"id":%d,"low":%d,"price":%.2f,"city":"Malmö"}`+"\n", i, random.IntN(100), random.Float64()*100)
	}
	skewed := make([]byte, 200_000) // codes of all lengths
	for i := range skewed {
		for skewed[i] = 0; random.Uint32()&1 == 0 && skewed[i] < 250; skewed[i]++ {
		}
	}
	return map[string][]byte{
		"nothing": nil, "one byte": {7}, "noise": noise, "rows": rows.Bytes(), "skewed": skewed,
		"run": bytes.Repeat([]byte{'a'}, 1<<20), "short period": bytes.Repeat([]byte("abcde"), 100_000),
		"mixture": bytes.Join([][]byte{noise[:70_000], rows.Bytes()[:200_000], bytes.Repeat([]byte("xy"), 40_000), noise[:70_000]}, nil),
	}
}

func TestContents(t *testing.T) {
	for name, content := range contents() {
		for _, level := range []int{gzip.NoCompression, gzip.HuffmanOnly, gzip.BestSpeed, gzip.DefaultCompression, gzip.BestCompression} {
			file := compressed(t, content, level, gzip.Header{})
			for how, source := range map[string]io.Reader{
				"whole": bytes.NewReader(file), "halves": iotest.HalfReader(bytes.NewReader(file)), "with the end": iotest.DataErrReader(bytes.NewReader(file)),
			} {
				if got, err := decompress(source); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s, level %d, %s: got %d bytes and %v, want %d", name, level, how, len(got), err, len(content))
				}
			}
		}
	}
	file := compressed(t, contents()["rows"][:50_000], 6, gzip.Header{})
	if got, err := decompress(iotest.OneByteReader(bytes.NewReader(file))); err != nil || len(got) != 50_000 {
		t.Errorf("by bytes: got %d bytes and %v", len(got), err)
	}
}

func TestMembersAndHeaders(t *testing.T) {
	header := gzip.Header{Name: "name", Comment: "comment", Extra: []byte("extra"), OS: 3}
	file := slicesOf(compressed(t, []byte("one "), 6, header), compressed(t, nil, 6, gzip.Header{}), compressed(t, []byte("two"), 0, gzip.Header{}))
	if got, err := decompress(bytes.NewReader(file)); err != nil || string(got) != "one two" {
		t.Errorf("got %q and %v", got, err)
	}
	// A later member must not refer to an earlier one.
	raw := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x03 | 0x02<<3, 0, 0, 0, 0}
	if _, err := decompress(bytes.NewReader(slicesOf(file, raw))); err == nil {
		t.Error("a match before the member's beginning was taken")
	}
	summed := []byte{0x1f, 0x8b, 8, flagSum, 0, 0, 0, 0, 0, 3, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if _, err := decompress(bytes.NewReader(summed)); !errors.Is(err, ErrHeader) {
		t.Errorf("a header with a wrong sum: got %v", err)
	}
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestEveryCutIsNoticed(t *testing.T) {
	for _, level := range []int{0, 1, 6} {
		content := []byte(strings.Repeat("some text, and some more; ", 40))
		file := compressed(t, content, level, gzip.Header{Name: "x"})
		for n := 1; n < len(file); n++ {
			got, err := decompress(bytes.NewReader(file[:n]))
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(content, got) {
				t.Fatalf("level %d, %d of %d bytes: got %q and %v", level, n, len(file), got, err)
			}
		}
	}
	if _, err := NewReader(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("nothing: got %v", err)
	}
}

func TestDamage(t *testing.T) {
	file := compressed(t, []byte(strings.Repeat("some text, and some more; ", 40)), 6, gzip.Header{})
	for i := range file {
		for bit := range 8 {
			broken := bytes.Clone(file)
			broken[i] ^= 1 << bit
			want, wantErr := standard(broken)
			got, err := decompress(bytes.NewReader(broken))
			if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
				t.Errorf("bit %d of byte %d: got %d bytes and %v, want %d and %v", bit, i, len(got), err, len(want), wantErr)
			}
		}
	}
	if _, err := decompress(bytes.NewReader(append(bytes.Clone(file), "garbage that follows"...))); !errors.Is(err, ErrHeader) {
		t.Errorf("garbage behind it: got %v", err)
	}
	failure := errors.New("the network is gone")
	if _, err := decompress(io.MultiReader(bytes.NewReader(file[:20]), iotest.ErrReader(failure))); !errors.Is(err, failure) {
		t.Errorf("an error of the source: got %v", err)
	}
}

func TestRandomContents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var content []byte
		for range rapid.IntRange(1, 30).Draw(rt, "pieces") {
			piece := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(rt, "piece")
			content = append(content, bytes.Repeat(piece, rapid.IntRange(1, 3000).Draw(rt, "times"))...)
		}
		file := compressed(t, content, rapid.IntRange(-2, 9).Draw(rt, "level"), gzip.Header{})
		if got, err := decompress(bytes.NewReader(file)); err != nil || !bytes.Equal(got, content) {
			rt.Fatalf("got %d bytes and %v, want %d", len(got), err, len(content))
		}
	})
}

func FuzzReader(f *testing.F) {
	for _, content := range contents() {
		f.Add(compressed(f, content[:min(len(content), 2000)], 6, gzip.Header{}))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		want, wantErr := standard(file)
		got, err := decompress(bytes.NewReader(file))
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes and %v, want %d and %v", len(got), err, len(want), wantErr)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	content := contents()["rows"]
	file := compressed(b, content, 6, gzip.Header{})
	into := make([]byte, 256<<10)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(file))
		for err == nil {
			_, err = r.Read(into)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
