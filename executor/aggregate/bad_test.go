package aggregate_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/tidemill/tidemill/proto"
)

// What is wrong with data and expressions fails the run once, for good, and says where.
func TestBadInput(t *testing.T) {
	const measures = `"measures": {"n": {"count": "*"}, "s": {"sum": "b"}}, "output": {"uri": "LAKE/out/"}}`
	csv := func(more string) string {
		return `{"input": {"uri": "LAKE/in/", "format": "csv"` + more + `}, "group_by": [{"name": "a"}], ` + measures
	}
	jsonl := `{"input": {"uri": "LAKE/in/", "format": "jsonl"}, "group_by": [{"name": "a"}], ` + measures
	good := "a,b\n" + strings.Repeat("x,1\n", 20_000)
	goodJSON := strings.Repeat(`{"a":"x","b":1}`+"\n", 20_000)
	for _, test := range []struct {
		name    string
		files   map[string]string
		section string
		pointer string
		want    string
	}{
		{"no objects", nil, csv(""), "/aggregate/input/uri", "there are no objects at LAKE/in/"},
		{"too many columns", map[string]string{"1.csv": good, "2.csv": good + "y,2,3\n"}, csv(""), "", "LAKE/in/2.csv, line 20002: the row has 3 columns, want 2"},
		{"too many columns in the sample", map[string]string{"1.csv": "a,b\nx,1\ny,2,3\n"}, csv(""), "", "LAKE/in/1.csv, line 3: the row has 3 columns, want 2"},
		{"too few columns", map[string]string{"1.csv": good + "y\n" + good[4:]}, csv(""), "", "LAKE/in/1.csv, line 20002: the row has 1 columns, want 2"},
		{"text for a number", map[string]string{"1.csv": good, "2.csv": good + "\"y\nz\",many\n" + good[4:]}, csv(""), "",
			`LAKE/in/2.csv, line 20002: column "b": "many" is not BIGINT, the type of the values that were looked at; declare another one in /aggregate/input/columns if it is wrong`},
		{"text for a declared number", map[string]string{"1.csv": good + "y,many\n"}, csv(`, "columns": {"b": "DECIMAL(10,2)"}`), "", `LAKE/in/1.csv, line 20002: column "b": "many" is not DECIMAL(10,2)`},
		{"a fraction among whole numbers", map[string]string{"1.csv": good + "y,2.5\n"}, csv(""), "", `line 20002: column "b": "2.5" is not BIGINT`},
		{"a small exponent", map[string]string{"1.csv": good + "y,1e-3\n"}, csv(""), "", `line 20002: column "b": "1e-3" is not BIGINT`},
		{"too large", map[string]string{"1.csv": good + "y,300\n"}, csv(`, "columns": {"b": "TINYINT"}`), "", `line 20002: column "b": "300" is not TINYINT`},
		{"text with spaces", map[string]string{"1.csv": good + "y,\"so  very\nmany\"\n"}, csv(""), "", `line 20002: column "b": "so  very\nmany" is not BIGINT`},
		{"long text", map[string]string{"1.csv": good + "y," + strings.Repeat("é", 500) + "\n"}, csv(""), "", `line 20002: column "b": "` + strings.Repeat("é", 60) + `…" is not BIGINT`},
		{"open quote", map[string]string{"1.csv": good + "\"y,1\n"}, csv(""), "", "LAKE/in/1.csv, line 20002: a quoted field is not closed"},
		{"text behind a quote", map[string]string{"1.csv": good + "\"y\"z,1\n"}, csv(""), "", "LAKE/in/1.csv, line 20002: there is text behind a closing quote"},
		{"not UTF-8", map[string]string{"1.csv": good + "y\xff,1\n"}, csv(""), "", `LAKE/in/1.csv, line 20002: column "a" is not UTF-8`},
		{"other header", map[string]string{"1.csv": good, "2.csv": "7,8\n1,2\n"}, csv(`, "columns": {"b": "BIGINT"}`), "", `LAKE/in/2.csv: its header has none of the columns of the other files: it has "7", "8", they have "a", "b"`},
		{"unknown column", map[string]string{"1.csv": "a,bb\nx,1\n"}, csv(""), "/aggregate/measures/s/sum", `(columns are a, bb)`},
		{"unknown key", map[string]string{"1.csv": "aa,b\nx,1\n"}, csv(""), "/aggregate/group_by/0/name", `unknown column "a"; did you mean "aa"?`},
		{"unknown declared column", map[string]string{"1.csv": good}, csv(`, "columns": {"bb": "BIGINT"}`), "/aggregate/input/columns/bb", `unknown column "bb"; did you mean "b"?`},
		{"sum of text", map[string]string{"1.csv": "a,b\nx,y\n"}, csv(""), "/aggregate/measures/s/sum", "cannot compute sum of VARCHAR: want a number"},
		{"gzip cut short", map[string]string{"1.csv.gz": gzipped(t, good)[:80]}, csv(""), "", "object LAKE/in/1.csv.gz is cut short (gzip: unexpected EOF)"},
		{"no rows at all", map[string]string{"1.csv": ""}, csv(""), "/aggregate/input/uri", "has a row, not even a header"},
		{"wrong JSON", map[string]string{"1.jsonl": goodJSON + `{"a":"y","b":` + "\n" + goodJSON}, jsonl, "", "LAKE/in/1.jsonl, line 20001: the JSON object is cut short"},
		{"wrong JSON in the sample", map[string]string{"1.jsonl": `{"a":"y","b":}` + "\n"}, jsonl, "", "LAKE/in/1.jsonl, line 1: malformed JSON at byte 14"},
		{"no JSON object", map[string]string{"1.jsonl": goodJSON + "[1]\n"}, jsonl, "", "LAKE/in/1.jsonl, line 20001: it is not a JSON object"},
		{"a member twice", map[string]string{"1.jsonl": goodJSON + `{"a":"y","b":1,"b":2}` + "\n"}, jsonl, "", "LAKE/in/1.jsonl, line 20001: malformed JSON at byte 16: duplicate object member name"},
		{"JSON text for a number", map[string]string{"1.jsonl": goodJSON + `{"a":"y","b":"many"}` + "\n"}, jsonl, "", `LAKE/in/1.jsonl, line 20001: column "b": "many" is not BIGINT`},
		{"JSON fraction for a whole number", map[string]string{"1.jsonl": goodJSON + `{"a":"y","b":2.5}` + "\n"}, jsonl, "", `LAKE/in/1.jsonl, line 20001: column "b": "2.5" is not BIGINT`},
		{"JSON object for a number", map[string]string{"1.jsonl": goodJSON + `{"a":"y","b":{"c":1}}` + "\n"}, jsonl, "", `LAKE/in/1.jsonl, line 20001: column "b": "{\"c\":1}" is not BIGINT`},
		{"a subquery", map[string]string{"1.csv": good}, strings.Replace(csv(""), `"sum": "b"`, `"sum": "(SELECT 1)"`, 1), "/aggregate/measures/s/sum", "a subquery is not allowed"},
		{"today", map[string]string{"1.csv": good}, strings.Replace(csv(""), `"sum": "b"`, `"max": "current_date"`, 1), "/aggregate/measures/s/max", "must be repeatable"},
		{"no condition", map[string]string{"1.csv": good}, strings.Replace(csv(""), `"group_by"`, `"where": "b + 1", "group_by"`, 1), "/aggregate/where", "it is BIGINT, want BOOLEAN: a condition"},
		{"an interval", map[string]string{"1.csv": good}, strings.Replace(csv(""), `"sum": "b"`, `"max": "to_seconds(b)"`, 1), "/aggregate/measures/s/max", "cannot compute max of INTERVAL: files keep it to the millisecond only"},
		{"an interval as a key", map[string]string{"1.csv": good}, strings.Replace(csv(""), `{"name": "a"}`, `{"name": "a", "expr": "to_seconds(b)"}`, 1), "/aggregate/group_by/0/expr", "cannot group by INTERVAL"},
		{"a time with a zone as a key", map[string]string{"1.csv": good}, strings.Replace(csv(""), `{"name": "a"}`, `{"name": "a", "expr": "CAST('10:00+02' AS TIMETZ)"}`, 1), "/aggregate/group_by/0/expr", "cannot group by TIME WITH TIME ZONE"},
		{"an enumeration", map[string]string{"1.csv": good}, strings.Replace(csv(""), `"sum": "b"`, `"max": "CAST(a AS ENUM('y', 'x'))"`, 1), "/aggregate/measures/s/max", "cast it to VARCHAR"},
		{"malformed JSON in CSV", map[string]string{"1.csv": good}, strings.Replace(csv(""), `"sum": "b"`, `"max": "json_extract_string('{' || a, '$.x')"`, 1), "", "compute: Malformed JSON"},
		{"a value that cannot be computed", map[string]string{"1.csv": good}, strings.Replace(csv(""), `"sum": "b"`, `"max": "make_date(2013, b + 12, 1)"`, 1), "", "compute: Date out of range: 2013-13-1"},
	} {
		for _, parallelism := range []int{1, 3} {
			t.Run(test.name, func(t *testing.T) {
				l := newLake(t)
				for name, content := range test.files {
					l.put("in/"+name, content)
				}
				if parallelism > 1 && !behindOthers(l, test.files) {
					t.Skip("it is about the first file")
				}
				f := l.mustFail(test.section, parallelism)
				if parallelism > 1 && len(l.stages) == 0 {
					t.Errorf("there was only one split")
				}
				if got := strings.ReplaceAll(f.Message, "file://"+l.root, "LAKE"); !strings.Contains(got, test.want) {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				if f.Pointer != test.pointer || f.Class != proto.CLASS_FINAL {
					t.Errorf("got pointer %q, class %s, stages %v", f.Pointer, f.Class, l.stages)
				}
				if strings.Contains(f.Message, "scratch") {
					t.Errorf("a path of the sandbox shows: %s", f.Message)
				}
			})
		}
	}
}

// behindOthers puts so many good rows before the files that they are in another split.
func behindOthers(l *lake, files map[string]string) bool {
	wide := strings.Repeat("x", 1000)
	switch {
	case strings.HasPrefix(files["1.csv"], "a,b\n") && files["2.csv"] == "" || len(files["2.csv"]) > 100:
		l.put("in/0.csv", "a,b\n"+strings.Repeat(wide+",1\n", 1500))
	case files["1.jsonl"] != "":
		l.put("in/0.jsonl", strings.Repeat(`{"a":"`+wide+`","b":1}`+"\n", 1500))
	default:
		return false
	}
	return true
}

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
