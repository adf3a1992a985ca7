package aggregate_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func zstandard(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What comes in and what goes out, in every form: one row for each case of the input's or the result's shape.
func TestFormats(t *testing.T) {
	const people = "name,age\nann,30\nbob,\n\"\",4\n,5\nann,7\n"
	const byName = `"group_by": [{"name": "name"}], "measures": {"n": {"count": "*"}, "age": {"sum": "age"}}, "output": {"uri": "LAKE/out/"}}`
	const want = "|1|4 ann|2|37 bob|1|∅ ∅|1|5"
	csv := func(more string) string {
		return `{"input": {"uri": "LAKE/in/", "format": "csv"` + more + `}, ` + byName
	}
	for _, test := range []struct {
		name, file, content, section, want string
	}{
		{"plain", "a.csv", people, csv(""), want},
		{"gzip", "a.csv.gz", gzipped(t, people), csv(""), want},
		{"gzip in two members", "a.csv.gz", gzipped(t, people[:20]) + gzipped(t, people[20:]), csv(""), want},
		{"zstd", "a.csv.zst", zstandard(t, people), csv(""), want},
		{"declared compression", "a", gzipped(t, people), csv(`, "compression": "gzip"`), want},
		{"semicolons and apostrophes", "a.csv", strings.NewReplacer(",", ";", `"`, `'`).Replace(people), csv(`, "delimiter": ";", "quote": "'"`), want},
		{"another escape", "a.csv", "name,age\n\"a\\\"b\",1\n", csv(`, "escape": "\\"`), `a"b|1|1`},
		{"no quotes", "a.csv", "name,age\n\"a,1\n", csv(`, "quote": ""`), `"a|1|1`},
		{"no header", "a.csv", strings.SplitN(people, "\n", 2)[1], csv(`, "header": false, "columns": {"name": "VARCHAR", "age": "BIGINT"}`), want},
		{"no header, no names", "a.csv", "x,1\nx,2\n", strings.NewReplacer(`"name"}`, `"column0"}`, `"sum": "age"`, `"sum": "column1"`).Replace(csv(`, "header": false`)), "x|2|3"},
		{"spellings of missing values", "a.csv", "name,age\nann,NA\n\"NA\",n/a\nNA,1\n", csv(`, "null_values": ["NA", "n/a"]`), "NA|1|∅ ann|1|∅ ∅|1|1"},
		{"carriage returns", "a.csv", strings.ReplaceAll(people, "\n", "\r\n"), csv(""), want},
		{"byte order mark", "a.csv", "\uFEFF" + people, csv(""), want},
		{"repeated and empty names", "a.csv", "name,name,,age\na,b,c,1\n", strings.Replace(csv(""), `{"name": "name"}`, `{"name": "x", "expr": "name || name_1 || column2"}`, 1), "abc|1|1"},
		{"names with quotes in them", "a.csv", "\"na\"\"me\",age\na,1\n", strings.Replace(csv(""), `{"name": "name"}`, `{"name": "na\"me"}`, 1), "a|1|1"},
		{"other capitals", "a.csv", "NAME,Age\na,1\n", csv(""), "a|1|1"},
		{"only a header", "a.csv", "name,age\n", strings.Replace(csv(""), `"sum": "age"`, `"max": "age"`, 1), ""},
		{"JSON lines", "a.jsonl", `{"name": "ann", "age": 30}` + "\n" + `{"name": "bob", "age": null}` + "\n" + `{"name": "", "age": 4}` + "\n\n" + `{"age": 5}` + "\n" + `{"other": [], "age": 7, "name": "ann"}`,
			strings.Replace(csv(""), `"csv"`, `"jsonl"`, 1), want},
		{"JSON with an inside", "a.jsonl", `{"who": {"name": "ann"}, "tags": ["x", "y"]}` + "\n" + `{"who": {"name": "bob"}, "tags": []}` + "\n",
			`{"input": {"uri": "LAKE/in/", "format": "jsonl"}, "group_by": [{"name": "n", "expr": "who.name"}], "measures": {"t": {"sum": "len(tags)"}}, "output": {"uri": "LAKE/out/"}}`, "ann|2 bob|0"},
		{"all rows of all columns", "a.jsonl", "{\"a\": 1}\n{}\n", `{"input": {"uri": "LAKE/in/", "format": "jsonl"}, "measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`, "2"},
		{"rows of CSV", "a.csv", people, `{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`, "5"},
		{"only groups", "a.csv", people, `{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "name"}], "output": {"uri": "LAKE/out/"}}`, " ann bob ∅"},
		{"only sketches of everything", "a.csv", people, `{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"n": {"approx_distinct": "name"}, "q": {"approx_quantile": "age", "q": 0.5}}, "output": {"uri": "LAKE/out/"}}`, "3|5.0"},
		{"sketches of nothing", "a.csv", people, `{"input": {"uri": "LAKE/in/", "format": "csv"}, "where": "false", "measures": {"n": {"approx_distinct": "name"}, "q": {"approx_quantile": "age", "q": 0.5}, "s": {"sum": "age"}, "c": {"count": "age"}}, "output": {"uri": "LAKE/out/"}}`, "0|∅|∅|0"},
		{"truth counts as 0 and 1", "a.csv", people, `{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"s": {"sum": "age > 5"}, "a": {"avg": "age > 5"}, "m": {"max": "age > 5"}}, "output": {"uri": "LAKE/out/"}}`, "2|0.5|true"},
		{"large numbers", "a.csv", "n\n170141183460469231731687303715884105\n1\n", `{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"s": {"sum": "n"}, "m": {"max": "n"}, "d": {"approx_distinct": "n"}}, "output": {"uri": "LAKE/out/"}}`,
			"170141183460469231731687303715884106|170141183460469231731687303715884105|2"},
		{"distances from UTC", "a.csv", "ts\n2020-01-01T00:30:00+02:00\n2020-01-01T01:30:00Z\n", `{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "day", "expr": "CAST(ts AS DATE)"}], "measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`,
			"2019-12-31|1 2020-01-01|1"},
		{"not numbers", "a.csv", "x\n1.5\nNaN\n", `{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"max": {"max": "x"}, "sum": {"sum": "x"}, "n": {"approx_distinct": "x"}, "q": {"approx_quantile": "x", "q": 1}}, "output": {"uri": "LAKE/out/"}}`,
			"nan|nan|2|1.5"},
		{"three quantiles of one sketch", "a.csv", "x\n1\n2\n3\n4\n5\n", `{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"a": {"approx_quantile": "x", "q": 0}, "b": {"approx_quantile": "x", "q": 0.5}, "c": {"approx_quantile": "x", "q": 1}, "d": {"approx_quantile": "x", "q": 0.5}}, "output": {"uri": "LAKE/out/"}}`,
			"1.0|3.0|5.0|3.0"},
		{"columns named like ours", "a.csv", "k0,a0,p0\nx,1,2\n", `{"input": {"uri": "LAKE/in/", "format": "csv"}, "where": "p0 = 2", "group_by": [{"name": "p0", "expr": "k0"}, {"name": "k0", "expr": "a0 + p0"}], "measures": {"a0": {"sum": "p0"}, "gid": {"approx_distinct": "a0"}}, "output": {"uri": "LAKE/out/"}}`,
			"x|3|2|1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLake(t)
			l.put("in/"+test.file, test.content)
			out, err := l.run(test.section, 1)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(l.rows(out), " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestResultFiles(t *testing.T) {
	for _, test := range []struct{ output, name, magic string }{
		{`"format": "parquet"`, "part-00000.parquet", "PAR1"},
		{`"format": "parquet", "compression": "none"`, "part-00000.parquet", "PAR1"},
		{`"format": "parquet", "compression": "snappy"`, "part-00000.parquet", "PAR1"},
		{`"format": "csv"`, "part-00000.csv", "name,n\n\"\",1\na,1\n\"b,c\",1\n,1\n"},
		{`"format": "csv", "compression": "gzip"`, "part-00000.csv.gz", "\x1f\x8b"},
		{`"format": "csv", "compression": "zstd"`, "part-00000.csv.zst", "\x28\xb5\x2f\xfd"},
	} {
		t.Run(test.output, func(t *testing.T) {
			l := newLake(t)
			l.put("in/a.csv", "name,x\na,1\n\"b,c\",1\n\"\",1\n,1\n")
			out, err := l.run(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "name"}], "measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/", `+test.output+`}}`, 1)
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(l.path(out.URI) + test.name)
			if err != nil || !strings.HasPrefix(string(content), test.magic) {
				t.Errorf("got %q, %v", content, err)
			}
			if int64(len(content)) != out.Bytes {
				t.Errorf("the file has %d bytes, the output says %d", len(content), out.Bytes)
			}
			if len(l.rows(out)) != 4 {
				t.Errorf("got %d rows", len(l.rows(out)))
			}
		})
	}
}

func TestSchemaOfTheManifest(t *testing.T) {
	l := newLake(t)
	l.put("in/a.csv", "i,d,x,t\n1,1.50,0.5,a\n")
	out, err := l.run(`{"input": {"uri": "LAKE/in/", "format": "csv", "columns": {"d": "DECIMAL(10,2)", "i": "HUGEINT"}},
		"group_by": [{"name": "t"}, {"name": "i"}, {"name": "day", "expr": "DATE '2020-01-01'"}],
		"measures": {"n": {"count": "*"}, "si": {"sum": "i"}, "sd": {"sum": "d"}, "sx": {"sum": "x"}, "mi": {"min": "i"}, "md": {"max": "d"}, "a": {"avg": "d"}, "u": {"approx_distinct": "i"}, "q": {"approx_quantile": "d", "q": 0.5}},
		"output": {"uri": "LAKE/out/"}}`, 1)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(l.path(out.Manifest))
	if err != nil {
		t.Fatal(err)
	}
	// What the manifest says must be what the file has.
	described := query(t, fmt.Sprintf("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet('%s*.parquet'))", l.path(out.URI)))
	for _, column := range described {
		name, kind, _ := strings.Cut(column, "|")
		if want := fmt.Sprintf(`{"name":%q,"type":%q}`, name, kind); !strings.Contains(string(manifest), want) {
			t.Errorf("the file has %s, the manifest is %s", want, manifest)
		}
	}
	if len(described) != 12 {
		t.Errorf("got %d columns", len(described))
	}
}
