package aggregate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
)

// kept reads what a run has put into the quarantine: "file:row: reason: text", in order.
func (l *lake) kept(run string) []string {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(l.root, "bad", run, "*.jsonl.zst"))
	if err != nil {
		l.t.Fatal(err)
	}
	var all []string
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			l.t.Fatal(err)
		}
		decoder, err := zstd.NewReader(file)
		if err != nil {
			l.t.Fatal(err)
		}
		lines := json.NewDecoder(decoder)
		for {
			var row struct {
				File, Reason, Text string
				Row                int64
			}
			if err := lines.Decode(&row); err == io.EOF {
				break
			} else if err != nil {
				l.t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%s:%d: %s: %s", strings.TrimPrefix(row.File, l.base+"/in/"), row.Row, row.Reason, row.Text))
		}
		decoder.Close()
		if err := file.Close(); err != nil {
			l.t.Fatal(err)
		}
	}
	slices.Sort(all)
	return all
}

const badOut = `"measures": {"n": {"count": "*"}, "s": {"sum": "b"}}, "output": {"uri": "LAKE/out/"}}`

func TestBadRowsAreLeftOut(t *testing.T) {
	section := func(format, more string) string {
		return `{"input": {"uri": "LAKE/in/", "format": "` + format + `", "columns": {"b": "BIGINT"}, "bad_rows": {"max": 9, "quarantine": "LAKE/bad/"}` + more + `}, ` + badOut
	}
	for _, test := range []struct {
		name    string
		files   map[string]string
		section string
		want    string
		bad     []string
	}{
		{"CSV", map[string]string{
			"1.csv": "a,b\nx,1\ny\nz,2,3\nq,many\n\"w\"v,4\n\nq,2.5\nx,\"6\n", "2.csv": "a,b\nx,10\n\"l\nm\",x\ny\xff,20\nx,30\n",
		}, section("csv", "") + "", "4|61", []string{
			"1.csv:3: the row has 1 columns, want 2: y", "1.csv:4: the row has 3 columns, want 2: z,2,3", `1.csv:5: column "b": "many" is not BIGINT: q,many`,
			`1.csv:6: there is text behind a closing quote: "w"v,4`, `1.csv:8: column "b": "2.5" is not BIGINT: q,2.5`, `1.csv:9: a quoted field is not closed: x,"6`,
			"2.csv:3: column \"b\": \"x\" is not BIGINT: \"l\nm\",x",
		}},
		{"JSON lines", map[string]string{
			"1.jsonl": `{"a":"x","b":1}` + "\n" + `{"a":"x","b":` + "\n" + `[1]` + "\n" + `{"b":"many"}` + "\n" + `{"b":2.5}` + "\n" + `{"b":true}` + "\n" + `{"b":1,"b":2}` + "\n",
			"2.jsonl": `{"b":"12"}` + "\n" + `{"b":{"c":1}}` + "\n\n" + `{"a":7,"b":null}` + "\n{}\n" + "{\"a\":\"\xff\"}\n" + `{"c":1,"c":2,"b":1e2}`,
		}, section("jsonl", ""), "5|113", []string{
			"1.jsonl:2: the JSON object is cut short: {\"a\":\"x\",\"b\":", "1.jsonl:3: it is not a JSON object: [1]", `1.jsonl:4: column "b": "many" is not BIGINT: {"b":"many"}`,
			`1.jsonl:5: column "b": "2.5" is not BIGINT: {"b":2.5}`, `1.jsonl:6: column "b": "true" is not BIGINT: {"b":true}`, `1.jsonl:7: malformed JSON at byte 8: duplicate object member name: {"b":1,"b":2}`,
			`2.jsonl:2: column "b": "{\"c\":1}" is not BIGINT: {"b":{"c":1}}`, "2.jsonl:6: it is not UTF-8: {\"a\":\"\uFFFD\"}",
		}},
	} {
		for _, size := range []int64{1 << 20, 25} {
			t.Run(fmt.Sprintf("%s/%d", test.name, size), func(t *testing.T) {
				l := newLake(t)
				l.kind = aggregate.NewCutting(size)
				for name, content := range test.files {
					l.put("in/"+name, content)
				}
				out, err := l.run(test.section, 3)
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(l.rows(out), " "); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
				if got := l.kept("test-1"); !slices.Equal(got, test.bad) || out.BadRows != int64(len(got)) {
					t.Errorf("got %d:\n%s\nwant\n%s", out.BadRows, strings.Join(got, "\n"), strings.Join(test.bad, "\n"))
				}
			})
		}
	}
}

func TestTooManyBadRows(t *testing.T) {
	for _, size := range []int64{1 << 20, 10} {
		l := newLake(t)
		l.kind = aggregate.NewCutting(size)
		l.put("in/1.csv", "a,b\nx,1\ny,z\n")
		l.put("in/2.csv", "a,b\nx,1\ny,z\n")
		l.put("in/3.csv", "a,b\nx,1\ny,z\n")
		section := `{"input": {"uri": "LAKE/in/", "format": "csv", "columns": {"b": "BIGINT"}, "bad_rows": {"max": 2}}, ` + badOut
		f := l.mustFail(section, 3)
		if !strings.Contains(f.Message, "more than 2 rows are bad") || f.Pointer != "/aggregate/input/bad_rows/max" || f.Class != proto.CLASS_FINAL {
			t.Errorf("got %v at %q", f, f.Pointer)
		}
		out, err := l.run(strings.Replace(section, `"max": 2`, `"max": 3`, 1), 3)
		if err != nil || out.BadRows != 3 {
			t.Errorf("got %v, %v", out, err)
		}
	}
}

// Each value by itself is a run.
var every = flag.Int("every", 8, "of how many values of each type one is tried")

// A row is good or bad by itself: whatever stands beside it, and whichever way it is read.
func TestGoodRowsAreTheSameEitherWay(t *testing.T) {
	values := map[string][]string{
		"jsonl": {`1`, `-0.0`, `2.0`, `2.5`, `1e3`, `1e-3`, `true`, `"true"`, `"12"`, `" 12"`, `"1e2"`, `"2.5"`, `""`, `null`, `9007199254740993`, `123456789012345678901`, `NaN`, `Infinity`, `[1]`, `[1,"x"]`, `{"x":1}`, `{"x":"q"}`,
			`{"x":1,"x":2}`, `"2024-01-01"`, `"2024-01-01 10:00:00+02"`, `"2024-01-01T10:00:00.5+00:00"`, `"2024-13-01"`, `"\u0041"`, `"\ud800"`, `tru`, `1,`, `1 2`, `0x1F`, `"1_000"`, `1.0E+2`},
		"csv": {`1`, `2.0`, `2.5`, `1e3`, `1e-3`, `true`, `TRUE`, ` 12`, `"12"`, `""`, ``, `x`, `"x`, `"x"y`, `x"y`, `1,2`, `2024-01-01`, `2024-01-01 10:00:00+02`, `2024-01-01T10:00:00.5+00:00`, `2024-01-01 10:00:00`, `123456789012345678901`, `nan`, `inf`, `1_000`, `0x1F`, "\xff"},
	}
	types := []string{"BIGINT", "INTEGER", "UBIGINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL(10,2)", "BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME"}
	r := rand.New(rand.NewPCG(*seed, 2))
	for format, all := range values {
		for _, kind := range types {
			t.Run(format+" "+kind, func(t *testing.T) {
				row := func(value string) string {
					if format == "csv" {
						return value + ",e\n"
					}
					return `{"v": ` + value + "}\n"
				}
				section := fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": %q, "columns": {"v": %q}, "bad_rows": {"max": 100}}, "group_by": [{"name": "v"}], "measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`, format, kind)
				header := map[string]string{"csv": "v,e\n"}[format]
				for _, value := range all {
					if r.IntN(*every) > 0 {
						continue
					}
					l := newLake(t)
					l.put("in/a", header+row(value))
					out, err := l.run(strings.Replace(section, `"max": 100`, `"max": 0`, 1), 1)
					// The same row behind one that is bad for sure.
					broken := map[string]string{"csv": "1,2,3\n", "jsonl": "{\n"}[format]
					l.put("in/a", header+broken+row(value))
					beside, besideErr := l.run(section, 1)
					if besideErr != nil {
						t.Fatalf("%s: %v", value, besideErr)
					}
					if (err == nil) != (beside.BadRows == 1) {
						t.Errorf("%s: alone: %v; beside a bad row: %d bad rows", value, err, beside.BadRows)
					}
					if err == nil && !slices.Equal(l.rows(out), l.rows(beside)) {
						t.Errorf("%s: got %q alone and %q beside a bad row", value, l.rows(out), l.rows(beside))
					}
				}
			})
		}
	}
}
