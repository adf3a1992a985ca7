package aggregate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
)

// Odd values give the same results in one split as in several.
func TestOddValues(t *testing.T) {
	const out = `"output": {"uri": "LAKE/out/"}}`
	wide := strings.Repeat("x", 200_000)
	for _, test := range []struct {
		name    string
		files   map[string]string
		section string
		want    []string
	}{
		{"infinite sums", map[string]string{"1.csv": "a,b\nx,inf\ny,-inf\nz,1\n", "2.csv": "a,b\nx,2.5\ny,inf\nz,nan\nw,1e308\n"},
			`{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "a"}], "measures": {"s": {"sum": "b"}, "m": {"avg": "b"}}, ` + out,
			[]string{"w|1e+308|1e+308", "x|inf|inf", "y|nan|nan", "z|nan|nan"}},
		{"wide JSON", map[string]string{"1.jsonl": `{"a":"` + wide + `","b":1}` + "\n", "2.jsonl": `{"a":"` + wide + `","b":2}` + "\n" + `{"b":3}`},
			`{"input": {"uri": "LAKE/in/", "format": "jsonl"}, "measures": {"s": {"sum": "b"}, "n": {"count": "a"}}, ` + out,
			[]string{"6|2"}},
		{"wide CSV", map[string]string{"1.csv": "a,b\n" + wide + ",1\n", "2.csv": "a,b\n\"" + wide + "\n\",2\nx,3"},
			`{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"s": {"sum": "b"}, "n": {"count": "a"}}, ` + out,
			[]string{"6|3"}},
		{"JSON without rows", map[string]string{"1.jsonl": "\n", "2.jsonl": ""},
			`{"input": {"uri": "LAKE/in/", "format": "jsonl"}, "measures": {"n": {"count": "*"}}, ` + out,
			[]string{"0"}},
		{"times", map[string]string{"1.csv": "d,t\n2013-01-01,2013-01-01 10:00:00\n", "2.csv": "d,t\n2013-01-02 00:00:00,2013-01-01T10:00:01.5+00:00\n"},
			`{"input": {"uri": "LAKE/in/", "format": "csv", "columns": {"d": "DATE", "t": "TIMESTAMP"}}, "measures": {"d": {"max": "d"}, "t": {"max": "t"}, "i": {"max": "epoch_us(t - d)"}}, ` + out,
			[]string{"2013-01-02|2013-01-01 10:00:01.5|36000000000"}},
		{"dates", map[string]string{"1.csv": "d,e\n300000-01-01,9999-12-31\n-300000-01-01, 2013-01-01 \n", "2.csv": "d,e\n2013/1/02,infinity\n0044-03-15 (BC),2013-01-01T00:00:00Z\n"},
			`{"input": {"uri": "LAKE/in/", "format": "csv", "columns": {"d": "DATE", "e": "DATE"}}, "measures": {"from": {"min": "d"}, "to": {"max": "d"}, "e": {"min": "e"}}, ` + out,
			[]string{"300001-01-01 (BC)|300000-01-01|2013-01-01"}},
	} {
		for _, parallelism := range []int{1, 2} {
			t.Run(test.name, func(t *testing.T) {
				l := newLake(t)
				if parallelism > 1 {
					l.kind = aggregate.NewCutting(1)
				}
				for name, content := range test.files {
					l.put("in/"+name, content)
				}
				got, err := l.run(test.section, parallelism)
				if err != nil {
					t.Fatal(err)
				}
				rows := l.rows(got)
				for i := range rows {
					rows[i] = strings.ReplaceAll(rows[i], "-nan", "nan")
				}
				if !slices.Equal(rows, test.want) {
					t.Errorf("got %q, want %q, after stages %v", rows, test.want, l.stages)
				}
			})
		}
	}
}

// The engine would drop a part of such values.
func TestTimesThatDoNotFit(t *testing.T) {
	for value, want := range map[string]string{
		"2013-01-01|2013-01-01 23:59:59":               `"2013-01-01 23:59:59" is not DATE`,
		"2013-01-02|2013-01-01 tide":                   `"2013-01-01 tide" is not DATE`,
		"2013-01-03|2013-1-1x":                         `"2013-1-1x" is not DATE`,
		"2013-01-04|300000-01-01 10:00":                `"300000-01-01 10:00" is not DATE`,
		"2013-01-01 10:00:00|2013-01-01T10:00:00.5+02": `"2013-01-01T10:00:00.5+02" is not TIMESTAMP`,
		"2013-01-01 10:00|2013-01-01 10:00-0530":       `"2013-01-01 10:00-0530" is not TIMESTAMP`,
	} {
		usual, odd, _ := strings.Cut(value, "|")
		l := newLake(t)
		l.put("in/1.csv", "a\n"+strings.Repeat(usual+"\n", 20_000)+odd+"\n")
		f := l.mustFail(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"m": {"max": "a"}}, "output": {"uri": "LAKE/out/"}}`, 1)
		if f.Class != proto.CLASS_FINAL || !strings.Contains(f.Message, `line 20002: column "a": `+want) {
			t.Errorf("got %s: %s, want %s", f.Class, f.Message, want)
		}
	}
}

// The engine takes an empty object for the value of the only column, unless it is told that each line is a row.
func TestEmptyObjects(t *testing.T) {
	l := newLake(t)
	l.put("in/a.jsonl", "{}\n{\"c\": \"x\"}\n{}\n")
	out, err := l.run(`{"input": {"uri": "LAKE/in/", "format": "jsonl", "columns": {"c": "VARCHAR"}},
		"measures": {"rows": {"count": "*"}, "values": {"count": "c"}, "least": {"min": "c"}}, "output": {"uri": "LAKE/out/"}}`, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.rows(out), []string{"3|1|x"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is no object among objects does not hide their columns.
func TestLinesThatAreNoObjects(t *testing.T) {
	for _, test := range []struct{ file, column, strict, lenient string }{
		{"{\"a\": 1}\n5\n", "a", "line 2: it is not a JSON object", "1, 1 bad"},
		{"[1]\n{\"a\": 1}\n", "a", "line 1: it is not a JSON object", "1, 1 bad"},
		{"{\"a\": 1}\n5\n", "json", "line 2: it is not a JSON object", `unknown column "json" (columns are a)`},
		{"5\n", "a", "line 1: it is not a JSON object", `unknown column "a" (the input has none)`},
		{"{}\n", "json", `unknown column "json" (the input has none)`, `unknown column "json" (the input has none)`},
	} {
		for badRows, want := range map[string]string{"": test.strict, `, "bad_rows": {"max": 5}`: test.lenient} {
			l := newLake(t)
			l.put("in/a.jsonl", test.file)
			out, err := l.run(fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "jsonl"%s}, "measures": {"n": {"count": %q}}, "output": {"uri": "LAKE/out/"}}`, badRows, test.column), 1)
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprintf("%s, %d bad", strings.Join(l.rows(out), ";"), out.BadRows)
			}
			if !strings.Contains(got, want) {
				t.Errorf("%q, %s%s: got %q, want %q", test.file, test.column, badRows, got, want)
			}
		}
	}
}

// A line that is no object is no row, also where rows are only counted.
func TestCountsOfLinesThatAreNoObjects(t *testing.T) {
	for file, want := range map[string]string{
		"{\"a\": 1}\n5\n":                    "1, 1 bad",
		"{\"a\": 1}\n[1]\n{\"a\": 2}\n":      "2, 1 bad",
		"{\"a\": 1}\n\n{\"a\": 1, \"a\": 2}": "2, 0 bad",
		"{}\nxx\n":                           "1, 1 bad",
		"5\n6\n":                             "0, 2 bad",
	} {
		l := newLake(t)
		l.put("in/a.jsonl", file)
		out, err := l.run(`{"input": {"uri": "LAKE/in/", "format": "jsonl", "bad_rows": {"max": 5}}, "measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`, 1)
		if err != nil {
			t.Errorf("%q: %v", file, err)
			continue
		}
		if got := fmt.Sprintf("%s, %d bad", strings.Join(l.rows(out), ";"), out.BadRows); got != want {
			t.Errorf("%q: got %s, want %s", file, got, want)
		}
	}
}
