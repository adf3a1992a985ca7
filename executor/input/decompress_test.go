package input

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/tidemill/tidemill/executor/task"
)

// packed is text in one member, or one frame, of a format.
func packed(t testing.TB, format, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch format {
	case Gzip:
		w = gzip.NewWriter(&b)
	case Zstd:
		encoder, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = encoder
	case LZ4:
		w = lz4.NewWriter(&b)
	case Snappy:
		w = snappy.NewBufferedWriter(&b)
	default:
		t.Fatalf("there is no writer of %s", format)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// bzipped is "a,b\n1,2\n" and "3,4\n", each a stream of its own, as Python's bz2 writes them: Go has no writer.
const bzipped = "\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\xbf\x87\x40\x7f\x00\x00\x03\x59\x00\x00\x10\x00\x04\x30\x00\x30\x00\x20\x00\x30\xc0\x08\x69\xb2\x88\x23\x27\x8b\xb9\x22\x9c\x28\x48\x5f\xc3\xa0\x3f\x80\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x2d\x9f\xe7\x36\x00\x00\x01\x58\x00\x00\x10\x00\x04\x0c\x00\x20\x00\x21\x9a\x68\x33\x4d\x17\x3c\x5d\xc9\x14\xe1\x42\x40\xb6\x7f\x9c\xd8"

var suffixes = map[string]string{Plain: "", Gzip: ".gz", Zstd: ".zst", LZ4: ".lz4", Snappy: ".sz"}

// Files that were made by putting compressed ones behind one another are common: logs are rotated so.
func TestMembersAreOneStream(t *testing.T) {
	const first, second = "a,b\n1,2\n", "3,4\n"
	files := map[string]string{"x.bz2": bzipped}
	for _, format := range []string{Gzip, Zstd, LZ4, Snappy} {
		files["x"+suffixes[format]] = packed(t, format, first) + packed(t, format, second)
	}
	files["skip.lz4"] = "\x51\x2a\x4d\x18\x03\x00\x00\x00abc" + files["x.lz4"] + "\x50\x2a\x4d\x18\x00\x00\x00\x00"
	files["skip.zst"] = "\x51\x2a\x4d\x18\x03\x00\x00\x00abc" + files["x.zst"]
	for name, content := range files {
		set := list(t, lay(t, map[string]string{name: content}), "file:///data/")
		got, counts, err := feed(t, &Rows{Set: set, Dialect: rfc, Header: true}, Cut(set.Files, 1<<30, false)[0])
		if err != nil || got != "1,2\n3,4\n" || counts.Bytes.Load() != int64(len(content)) {
			t.Errorf("%s: got %q, %d bytes, %v", name, got, counts.Bytes.Load(), err)
		}
	}
}

// A file that was cut anywhere, or has another byte somewhere, is never taken for a whole one with fewer rows.
func TestDamageIsNoticed(t *testing.T) {
	text := strings.Repeat("1,2\n3,4\n", 20) + strings.Repeat("x", 70_000) + "\n"
	for _, format := range []string{Gzip, Zstd, LZ4, Bzip2} {
		content, first := bzipped, 48 // bytes of the first member
		if format != Bzip2 {
			member := packed(t, format, text)
			content, first = member+member, len(member)
		}
		set := list(t, lay(t, map[string]string{"whole": content}), "file:///data/")
		set.Files[0].Compression = format
		whole, _, err := feed(t, &Rows{Set: set, Dialect: rfc, Widest: 1 << 20}, Cut(set.Files, 1<<30, false)[0])
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(content) {
			if n%max(len(content)/50, 1) != 0 && n < len(content)-12 {
				continue
			}
			for what, broken := range map[string]string{"cut": content[:n], "changed": content[:n] + string(content[n]^0x55) + content[n+1:]} {
				set := list(t, lay(t, map[string]string{"x": broken}), "file:///data/")
				set.Files[0].Compression = format
				got, _, err := feed(t, &Rows{Set: set, Dialect: rfc, Widest: 1 << 20}, Cut(set.Files, 1<<30, false)[0])
				var failure *task.Failure
				switch {
				case err == nil && got == whole: // a byte that nobody needs
				case err == nil && what == "cut" && n == first && strings.HasPrefix(whole, got): // exactly between two
				case err == nil:
					t.Errorf("%s %s at byte %d of %d: got %d bytes of %d", format, what, n, len(content), len(got), len(whole))
				case !errors.As(err, &failure) || !strings.Contains(failure.Message, "file:///data/x"):
					t.Errorf("%s %s at byte %d: got %v", format, what, n, err)
				}
			}
		}
	}
}

func FuzzLZ4Frames(f *testing.F) {
	f.Add([]byte(packed(f, LZ4, strings.Repeat("ab", 100))), 3)
	f.Add([]byte("\x51\x2a\x4d\x18\x03\x00\x00\x00abc"), 1)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		// However it is cut into pieces, the same is found.
		whole, pieces := lz4Frames{}, lz4Frames{}
		whole.follow(data)
		for rest := data; len(rest) > 0; {
			n := min(max(piece, 1), len(rest))
			pieces.follow(rest[:n])
			rest = rest[n:]
		}
		if whole.at != pieces.at || whole.skip != pieces.skip || whole.seen != pieces.seen || !bytes.Equal(whole.field, pieces.field) {
			t.Errorf("got %+v, want %+v", pieces, whole)
		}
	})
}
