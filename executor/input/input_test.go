package input

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rfc = Dialect{CSV: true, Delimiter: ',', Quote: '"', Escape: '"'}

// lay puts objects into a new store, below data/.
func lay(t testing.TB, objects map[string]string) storage.Store {
	t.Helper()
	root := t.TempDir()
	for name, content := range objects {
		path := filepath.Join(root, "data", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	store, err := file.Open(file.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func list(t testing.TB, store storage.Store, uri string) *Set {
	t.Helper()
	set, err := List(t.Context(), store, &aggregate.Input{URI: uri, Compression: "auto"}, "/aggregate/input", func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// collector is a sink that keeps what it gets, and refuses bad rows unless it is lenient.
type collector struct {
	text    strings.Builder
	segment Segment
	headers [][]string
	lenient bool
	bad     []string // "file:line: reason: text"
	lines   []int64  // where writes began
}

func (c *collector) Begin(segment Segment, header []string) error {
	c.segment = segment
	c.headers = append(c.headers, header)
	return nil
}

func (c *collector) Write(rows []byte, line int64) error {
	c.text.Write(rows)
	c.lines = append(c.lines, line)
	return nil
}

func (c *collector) Bad(line int64, reason string, text []byte) error {
	what := fmt.Sprintf("%d:%d: %s: %s", c.segment.File, line, reason, text)
	if !c.lenient {
		return errors.New(what)
	}
	c.bad = append(c.bad, what)
	return nil
}

func feed(t testing.TB, r *Rows, split Split) (string, *Counts, error) {
	t.Helper()
	sink := &collector{}
	counts := &Counts{}
	if r.Widest == 0 {
		r.Widest = 2_000_000
	}
	err := r.Feed(t.Context(), split, sink, counts)
	return sink.text.String(), counts, err
}

func TestList(t *testing.T) {
	store := lay(t, map[string]string{
		"b.csv": "1", "a.csv.gz": "22", "_SUCCESS": "", ".a.crc": "x", "_work/run/plan.json": "x", "sub/c.csv.zst": "333", "sub/_x": "x",
	})
	for _, test := range []struct{ uri, want string }{
		{"file:///data/", "[data/a.csv.gz:2:gzip data/b.csv:1:none data/sub/c.csv.zst:3:zstd]"},
		{"file:///data/b.csv", "[data/b.csv:1:none]"},
		{"file:///data/*.csv*", "[data/a.csv.gz:2:gzip data/b.csv:1:none]"},
		{"file:///data/?.csv", "[data/b.csv:1:none]"},
		{"file:///data/sub/*", "[data/sub/c.csv.zst:3:zstd]"},
		{"file:///data/*/*", "[data/sub/c.csv.zst:3:zstd]"},
		{"file:///data/_work/run/*", "[data/_work/run/plan.json:1:none]"},
		{"file:///data/nothing/", "there are no objects at file:///data/nothing/"},
		{"file:///data/c.csv", "there is no object file:///data/c.csv"},
		{"file:///data/sub", "there is no object file:///data/sub; a prefix ends in a slash"},
	} {
		set, err := List(t.Context(), store, &aggregate.Input{URI: test.uri, Compression: "auto"}, "/aggregate/input", func(int) {})
		if err != nil {
			var failure *task.Failure
			if !errors.As(err, &failure) || failure.Pointer != "/aggregate/input/uri" || failure.Kind != "not_found" || !strings.Contains(failure.Message, test.want) {
				t.Errorf("%s: got %v, want %q", test.uri, err, test.want)
			}
			continue
		}
		got := []string{}
		for _, f := range set.Files {
			got = append(got, fmt.Sprintf("%s:%d:%s", f.Key, f.Size, f.Compression))
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: got %v, want %s", test.uri, got, test.want)
		}
	}
}

func TestFeed(t *testing.T) {
	for _, test := range []struct {
		name    string
		files   []string // in order
		dialect Dialect
		header  []string
		want    string
		rows    int64
	}{
		{"two files", []string{"a,b\n1,2\n3,4\n", "a,b\n5,6\n"}, rfc, []string{"a", "b"}, "1,2\n3,4\n5,6\n", 3},
		{"no line feed at the end", []string{"a\n1\n2", "a\n3"}, rfc, []string{"a"}, "1\n2\n3\n", 3},
		{"carriage returns", []string{"a\r\n1\r\n2\r\n", "a\n3\n", "a\r4\r5"}, rfc, []string{"a"}, "1\n2\n3\n4\n5\n", 5},
		{"mixed line ends", []string{"1\n2\r\n3\r\n4\n"}, rfc, nil, "1\n2\n3\n4\n", 4},
		{"line breaks in quotes", []string{"a,b\r\n1,\"x\r\ny\"\r\n2,\"z\n\"\r\n"}, rfc, []string{"a", "b"}, "1,\"x\r\ny\"\n2,\"z\n\"\n", 2},
		{"quotes in quotes", []string{"\"a\"\"\r\n\",b\r\n"}, rfc, nil, "\"a\"\"\r\n\",b\n", 1},
		{"a quote inside a field", []string{"5\" pipe\r\n6\r\n"}, rfc, nil, "5\" pipe\n6\n", 2},
		{"another escape", []string{"\"a\\\"\r\n\",b\r\n"}, Dialect{CSV: true, Delimiter: ',', Quote: '"', Escape: '\\'}, nil, "\"a\\\"\r\n\",b\n", 1},
		{"byte order mark", []string{mark + "a\n1\n", mark + "a\n2\n"}, rfc, []string{"a"}, "1\n2\n", 2},
		{"byte order mark without header", []string{mark + "1\n"}, rfc, nil, "1\n", 1},
		{"quoted header over two lines", []string{"\"a\nb\",c\n1,2\n"}, rfc, []string{"a\nb", "c"}, "1,2\n", 1},
		{"empty files", []string{"", "a\n", "a\n1\n"}, rfc, []string{"a"}, "1\n", 1},
		{"no quote character", []string{"\"1\r\n2\"\r\n"}, Dialect{CSV: true, Delimiter: ','}, nil, "\"1\n2\"\n", 2},
		{"JSON lines", []string{"{\"a\":\"x\"}\n{}", mark + "{\"b\":\"\"}\n"}, Dialect{}, nil, "{\"a\":\"x\"}\n{}\n{\"b\":\"\"}\n", 3},
	} {
		for _, format := range []string{Plain, Gzip, Zstd, LZ4, Snappy} {
			t.Run(test.name+"/"+format, func(t *testing.T) {
				objects := map[string]string{}
				for i, text := range test.files {
					name := fmt.Sprintf("%d", i)
					if format != Plain {
						text, name = packed(t, format, text), name+suffixes[format]
					}
					objects[name] = text
				}
				set := list(t, lay(t, objects), "file:///data/")
				got, counts, err := feed(t, &Rows{Set: set, Dialect: test.dialect, Header: test.header != nil}, Cut(set.Files, 1<<30, false)[0])
				if err != nil || got != test.want {
					t.Errorf("got %q, %v, want %q", got, err, test.want)
				}
				if counts.Rows.Load() != test.rows || counts.Bytes.Load() != set.Bytes() {
					t.Errorf("got %d rows and %d bytes, want %d and %d", counts.Rows.Load(), counts.Bytes.Load(), test.rows, set.Bytes())
				}
			})
		}
	}
}

func TestFeedFailures(t *testing.T) {
	long := packed(t, Gzip, "a,b\n"+strings.Repeat("1,2\n", 10000))
	zlong := packed(t, Zstd, "a,b\n"+strings.Repeat("1,2\n", 10000))
	for _, test := range []struct {
		name, object, content string
		want                  string
	}{
		{"gzip cut short", "a.gz", long[:len(long)-10], "object file:///data/a.gz is cut short (gzip: unexpected EOF)"},
		{"gzip cut in its header", "a.gz", long[:5], "object file:///data/a.gz is cut short (gzip: unexpected EOF)"},
		{"gzip of nothing", "a.gz", "", "object file:///data/a.gz is cut short (gzip: unexpected EOF)"},
		{"not gzip", "a.gz", "1,2\n3,4\n5,6\n", "object file:///data/a.gz is not gzip"},
		{"gzip with a wrong sum", "a.gz", long[:len(long)-8] + "xxxx" + long[len(long)-4:], "object file:///data/a.gz is damaged (gzip: invalid checksum)"},
		{"zstd cut short", "a.zst", zlong[:len(zlong)-3], "object file:///data/a.zst is cut short (zstd: unexpected EOF)"},
		{"not lz4", "a.lz4", "1,2\n3,4\n5,6\n", "object file:///data/a.lz4 is not lz4"},
		{"lz4 of nothing", "a.lz4", "", "object file:///data/a.lz4 is cut short (lz4: unexpected EOF)"},
		{"not snappy", "a.snappy", "1,2\n3,4\n5,6\n", "object file:///data/a.snappy is not snappy"},
		{"not bzip2", "a.bz2", "1,2\n3,4\n5,6\n", "object file:///data/a.bz2 is not bzip2"},
		{"bzip2 cut short", "a.bz2", bzipped[:len(bzipped)-5], "object file:///data/a.bz2 is cut short (bzip2: unexpected EOF)"},
		{"bzip2 with a wrong sum", "a.bz2", bzipped[:12] + "x" + bzipped[13:], "object file:///data/a.bz2 is damaged (bzip2"},
		{"not zstd", "a.zst", "1,2\n3,4\n5,6\n", "object file:///data/a.zst is not zstd"},
		{"another header", "b.csv", "d,c\n1,2\n", `file:///data/b.csv: its header has none of the columns of the other files: it has "d", "c", they have "a", "b"`},
		{"no header at all", "b.csv", strings.Repeat("x", 1000) + "\n", `it has "` + strings.Repeat("x", 60) + `…"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := list(t, lay(t, map[string]string{"0.csv": "a,b\n1,2\n", test.object: test.content}), "file:///data/")
			_, _, err := feed(t, &Rows{Set: set, Dialect: rfc, Header: true, Known: []string{"a", "b"}, Widest: 500_000}, Cut(set.Files, 1<<30, false)[0])
			var failure *task.Failure
			if !errors.As(err, &failure) || !strings.Contains(failure.Message, test.want) || failure.Class.String() != "CLASS_FINAL" {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// The beginning of a file that was cut short is good enough to find its columns; reading all of it names the file.
func TestHeaderOfFileCutShort(t *testing.T) {
	long := packed(t, Gzip, "a,b\n"+strings.Repeat("1,2\n", 10000))
	set := list(t, lay(t, map[string]string{"a.gz": long[:len(long)-20]}), "file:///data/")
	header, err := set.Header(t.Context(), rfc)
	if err != nil || strings.Join(header, ",") != "a,b" {
		t.Errorf("got %q, %v", header, err)
	}
}

func TestObjectThatChanges(t *testing.T) {
	store := lay(t, map[string]string{"a.csv": "1\n2\n"})
	set := list(t, store, "file:///data/")
	if _, err := storage.WriteAll(t.Context(), store, "data/a.csv", []byte("3\n4\n"), storage.Always); err != nil {
		t.Fatal(err)
	}
	_, _, err := feed(t, &Rows{Set: set, Dialect: rfc}, Cut(set.Files, 1<<30, false)[0])
	if err == nil || !strings.Contains(err.Error(), "object file:///data/a.csv changed while the run was reading it") {
		t.Errorf("got %v", err)
	}
}

// However files are cut, each row is fed once, in order.
func TestCutting(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var want strings.Builder
		objects := map[string]string{}
		for i := range rapid.IntRange(1, 4).Draw(rt, "files") {
			var text strings.Builder
			for range rapid.IntRange(0, 40).Draw(rt, "rows") {
				fmt.Fprintf(&text, "%s\n", rapid.StringMatching(`[a-z]{1,12}`).Draw(rt, "row"))
			}
			content := text.String()
			want.WriteString(content)
			if rapid.Bool().Draw(rt, "unended") {
				content = strings.TrimSuffix(content, "\n")
			}
			objects[fmt.Sprint(i)] = content
		}
		set := list(t, lay(t, objects), "file:///data/")
		splits := Cut(set.Files, rapid.Int64Range(1, 200).Draw(rt, "target"), true)
		var got strings.Builder
		var rows, total int64
		for _, split := range splits {
			out, counts, err := feed(t, &Rows{Set: set, Dialect: rfc, Ahead: storage.ReadAhead{Chunk: 7, Parallel: 2}}, split)
			if err != nil {
				rt.Fatal(err)
			}
			got.WriteString(out)
			rows += counts.Rows.Load()
			total += split.Bytes()
		}
		if got.String() != want.String() {
			rt.Fatalf("got %q, want %q", got.String(), want.String())
		}
		if rows != int64(strings.Count(want.String(), "\n")) || total != set.Bytes() {
			rt.Fatalf("got %d rows of %d bytes", rows, total)
		}
	})
}

func TestCutKeepsTheTarget(t *testing.T) {
	files := make([]File, 12)
	for i := range files {
		files[i] = File{Size: 700_000 + int64(i%3)*20_000, Compression: Gzip}
	}
	var total int64
	for _, f := range files {
		total += f.Size
	}
	if got := Cut(files, Target(total, 4, SmallestSplit, 64<<20), true); len(got) != 4 {
		t.Errorf("got %d splits of 12 equal files, want 4: %v", len(got), got)
	}
	if got := Cut([]File{{Size: 1 << 30, Compression: Plain}}, 64<<20, true); len(got) != 16 {
		t.Errorf("got %d splits of 1 GiB, want 16", len(got))
	}
	if got := Cut([]File{{Size: 1 << 30, Compression: Plain}}, 64<<20, false); len(got) != 1 {
		t.Errorf("got %d splits of a file that must not be cut", len(got))
	}
}

// The scanner must split rows exactly as a plain CSV reader does, wherever the stream is cut into pieces.
func TestScannerAgreesWithCSV(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.StringMatching(`[ab,"\n]{0,6}`), 2, 2), 1, 10).Draw(rt, "rows")
		var text bytes.Buffer
		w := csv.NewWriter(&text)
		w.UseCRLF = rapid.Bool().Draw(rt, "crlf")
		if err := w.WriteAll(want); err != nil {
			rt.Fatal(err)
		}
		size := rapid.IntRange(1, 9).Draw(rt, "piece")
		scanner := rowScanner{dialect: rfc}
		var out []byte
		for rest := bytes.Clone(text.Bytes()); len(rest) > 0; {
			n := min(size, len(rest))
			out = append(out, scanner.scan(rest[:n])...)
			rest = rest[n:]
		}
		if scanner.rows != int64(len(want)) || scanner.rowLength != 0 {
			rt.Fatalf("got %d rows, want %d", scanner.rows, len(want))
		}
		in := newRecords(bytes.NewReader(out), rfc)
		for i := 0; ; i++ {
			rec, open, err := in.next()
			if err == io.EOF && i == len(want) {
				break
			}
			if err != nil || open {
				rt.Fatalf("row %d: open %t, %v", i, open, err)
			}
			for f := range rec.Fields {
				if got := strings.ReplaceAll(rec.Fields[f], "\r\n", "\n"); got != want[i][f] {
					rt.Fatalf("row %d: got %q, want %q", i, rec.Fields, want[i])
				}
			}
		}
	})
}

// A row that is never closed, or too long, ends with its first line: the rows after it are read.
func TestRowsThatSwallowOthers(t *testing.T) {
	wide := strings.Repeat("y", 300)
	for _, test := range []struct {
		name, text, want string
		bad              []string
	}{
		{"at the end", "1,2\n3,\"4\n5,6\n7,8", "1,2\n5,6\n7,8\n", []string{`0:2: a quoted field is not closed: 3,"4`}},
		{"in the last line", "1,2\n3,\"4", "1,2\n", []string{`0:2: a quoted field is not closed: 3,"4`}},
		{"carriage returns", "1,2\r\n3,\"4\r\n5,6\r\n", "1,2\n5,6\n", []string{`0:2: a quoted field is not closed: 3,"4`}},
		{"a long field", "1,2\n3," + wide + "\n5,6\n", "1,2\n5,6\n", []string{"0:2: the row is longer than 100 bytes: 3," + wide}},
		{"a long last field", "1,2\n3," + wide, "1,2\n", []string{"0:2: the row is longer than 100 bytes: 3," + wide}},
		{"an open quote far from the end", "1,\"2\n" + strings.Repeat("3,4\n", 100), strings.Repeat("3,4\n", 100), []string{`0:1: the row is longer than 100 bytes: 1,"2`}},
	} {
		for _, piece := range []int64{3, 50, 1 << 20} {
			if piece > 50 && test.name == "a long field" {
				continue // it is read as a whole: whoever takes it must know
			}
			set := list(t, lay(t, map[string]string{"0.csv": test.text}), "file:///data/")
			sink := &collector{lenient: true}
			rows := &Rows{Set: set, Dialect: rfc, Widest: 100, Ahead: storage.ReadAhead{Chunk: piece, Parallel: 1}}
			if err := rows.Feed(t.Context(), Cut(set.Files, 1<<30, false)[0], sink, &Counts{}); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(test.name, "a long") { // how much of it is kept depends on the pieces
				for i := range sink.bad {
					sink.bad[i] = sink.bad[i][:40]
					test.bad[i] = test.bad[i][:40]
				}
			}
			if sink.text.String() != test.want || !slices.Equal(sink.bad, test.bad) {
				t.Errorf("%s in pieces of %d: got %q and %q", test.name, piece, sink.text.String(), sink.bad)
			}
		}
	}
}

// Wherever a file is cut, its lines have the numbers that an editor shows.
func TestLines(t *testing.T) {
	text := "a,b\r\n" + strings.Repeat("1,2\n\r\n3,4\r\n", 20)
	set := list(t, lay(t, map[string]string{"0.csv": text}), "file:///data/")
	for target := range int64(60) {
		rows := &Rows{Set: set, Dialect: rfc, Header: true, Widest: 100}
		for _, split := range Cut(set.Files, target, true) {
			for _, segment := range split {
				sink := &collector{}
				if err := rows.Feed(t.Context(), Split{segment}, sink, &Counts{}); err != nil {
					t.Fatal(err)
				}
				first, err := rows.Line(t.Context(), segment)
				if err != nil {
					t.Fatal(err)
				}
				if len(sink.lines) == 0 {
					continue
				}
				lines := strings.SplitAfter(text, "\n")
				want := strings.ReplaceAll(strings.Join(lines[first-1+sink.lines[0]-1:], ""), "\r", "")
				if !strings.HasPrefix(want, sink.text.String()) || len(sink.headers[0]) != 2 {
					t.Errorf("cut at %d, segment %+v: rows do not begin in line %d: %q", target, segment, first+sink.lines[0]-1, sink.text.String())
				}
			}
		}
	}
}

func TestMalformedJSON(t *testing.T) {
	for line, want := range map[string]string{
		`{"a":1}`:             "",
		` {"a":[1,{"b":2}]} `: "",
		`{"a":1`:              "the JSON object is cut short",
		`[1]`:                 "it is not a JSON object",
		`{"a":1}{"a":2}`:      "it has more than one JSON object",
		`{"a":x}`:             "malformed JSON at byte 6",
		`{"a":1,"a":2}`:       `malformed JSON at byte 8: duplicate object member name`,
	} {
		if got := MalformedJSON([]byte(line)); want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestFeedEndsWithContext(t *testing.T) {
	set := list(t, lay(t, map[string]string{"a.csv": strings.Repeat("1\n", 1<<20)}), "file:///data/")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := (&Rows{Set: set, Dialect: rfc, Widest: 1 << 20}).Feed(ctx, Cut(set.Files, 1<<30, false)[0], &collector{}, &Counts{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
