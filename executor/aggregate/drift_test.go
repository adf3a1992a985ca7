package aggregate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
)

// Files of one input that differ: in their folders, their columns, the order and the types of these.
func TestFilesThatDiffer(t *testing.T) {
	const out = `"output": {"uri": "LAKE/out/"}}`
	input := func(format, more string) string {
		return `{"input": {"uri": "LAKE/in/", "format": "` + format + `"` + more + `}, `
	}
	hive := map[string]string{
		"month=7/carrier=UA/a.csv": "n,month\n1,99\n2,99\n", "month=7/carrier=A%2FA/a.csv": "n,month\n3,99\n",
		"month=12/carrier=__HIVE_DEFAULT_PARTITION__/a.csv": "n,month\n4,99\n", "month=8/carrier=UA/b.csv": "n,month\n5,99\n",
	}
	for _, test := range []struct {
		name    string
		files   map[string]string
		section string
		want    string // rows, or the failure
		bytes   int64  // that were read; 0: not looked at
	}{
		{"folders are columns", hive, input("csv", "") + `"group_by": [{"name": "month"}, {"name": "carrier"}], "measures": {"s": {"sum": "n"}}, ` + out, "7|A/A|3 7|UA|3 8|UA|5 12|∅|4", 0},
		{"folders are pruned", hive, input("csv", "") + `"where": "month < 9 AND (carrier = 'UA') AND n > 1", "group_by": [{"name": "month"}], "measures": {"s": {"sum": "n"}}, ` + out, "7|2 8|5", 31},
		{"all folders are pruned", hive, input("csv", "") + `"where": "month = 1", "measures": {"s": {"sum": "n"}, "c": {"count": "*"}}, ` + out, "∅|0", 0},
		{"folders with declared types", hive, input("csv", `, "columns": {"month": "TINYINT"}`) + `"group_by": [{"name": "t", "expr": "typeof(month)"}], "measures": {"s": {"sum": "n"}}, ` + out, "TINYINT|15", 0},
		{"a folder that does not fit", hive, input("csv", `, "columns": {"carrier": "BIGINT"}`) + `"measures": {"s": {"sum": "n"}}, ` + out, `the folder's carrier, "A/A", is not BIGINT`, 0},
		{"folders that are no columns", hive, input("csv", `, "hive_partitions": false`) + `"group_by": [{"name": "month"}], "measures": {"s": {"sum": "n"}}, ` + out, "99|15", 0},
		{"dates in folders of JSON", map[string]string{"d=2024-01-02/a.jsonl": `{"n":1}`, "d=2024-01-03/a.jsonl": `{"n":2,"d":"x"}`},
			input("jsonl", "") + `"group_by": [{"name": "d"}, {"name": "t", "expr": "typeof(d)"}], "measures": {"s": {"sum": "n"}}, ` + out, "2024-01-02|DATE|1 2024-01-03|DATE|2", 0},

		{"other orders and columns", map[string]string{"1.csv": "a,b\nx,1\n", "2.csv": "c,B,a\n9,2,y\n", "3.csv": "a\nz\n", "4.csv": "b,c\n5,7\n"},
			input("csv", "") + `"group_by": [{"name": "a"}], "measures": {"b": {"sum": "b"}, "c": {"sum": "c"}}, ` + out, "x|1|∅ y|2|9 z|∅|∅ ∅|5|7", 0},
		{"wider numbers", map[string]string{"1.csv": "a,b\nx,1\n", "2.csv": "a,b\nx,2.5\n"}, input("csv", "") + `"measures": {"b": {"sum": "b"}}, ` + out, "3.5", 0},
		{"wider times", map[string]string{"1.csv": "a,b\nx,2024-01-01\n", "2.csv": "a,b\nx,2024-01-01 10:00:00\n"}, input("csv", "") + `"measures": {"b": {"max": "b"}}, ` + out, "2024-01-01 10:00:00", 0},
		{"missing members", map[string]string{"1.jsonl": `{"a":"x","b":1}`, "2.jsonl": `{"a":"y"}`, "3.jsonl": `{"a":"z","b":null}`}, input("jsonl", "") + `"group_by": [{"name": "a"}], "measures": {"b": {"sum": "b"}}, ` + out, "x|1 y|∅ z|∅", 0},
		{"wider members", map[string]string{"1.jsonl": `{"b":1}`, "2.jsonl": `{"b":2.5}`}, input("jsonl", "") + `"measures": {"b": {"sum": "b"}}, ` + out, "3.5", 0},
		{"more inside", map[string]string{"1.jsonl": `{"s":{"x":1}}`, "2.jsonl": `{"s":{"y":2}}`}, input("jsonl", "") + `"measures": {"x": {"sum": "s.x"}, "y": {"sum": "s.y"}}, ` + out, "1|2", 0},
		{"a conflict", map[string]string{"1.jsonl": `{"b":1}`, "2.jsonl": `{"b":{"c":2}}`}, input("jsonl", "") + `"measures": {"b": {"max": "b"}}, ` + out,
			`column "b" is BIGINT in LAKE/in/1.jsonl and STRUCT(c BIGINT) in LAKE/in/2.jsonl; declare its type in /aggregate/input/columns to have the values cast`, 0},
		{"a settled conflict", map[string]string{"1.jsonl": `{"b":1}`, "2.jsonl": `{"b":{"c":2}}`}, input("jsonl", `, "columns": {"b": "VARCHAR"}`) + `"group_by": [{"name": "b"}], ` + out, `1 {"c":2}`, 0},
		{"large and small numbers", map[string]string{"1.jsonl": `{"b":9007199254740993}` + "\n" + `{"b":1}`, "2.jsonl": `{"b":12}`}, input("jsonl", "") + `"group_by": [{"name": "b"}], ` + out, "1 12 9007199254740993", 0},
	} {
		for _, size := range []int64{1 << 20, 1} {
			t.Run(fmt.Sprintf("%s/%d", test.name, size), func(t *testing.T) {
				l := newLake(t)
				l.kind = aggregate.NewCutting(size)
				for name, content := range test.files {
					l.put("in/"+name, content)
				}
				out, err := l.run(test.section, 3)
				if err != nil {
					if got := strings.ReplaceAll(err.Error(), "file://"+l.root, "LAKE"); !strings.Contains(got, test.want) {
						t.Fatalf("got %s, want %s", got, test.want)
					}
					return
				}
				got := l.rows(out)
				want := strings.Split(test.want, " ")
				if strings.Contains(test.want, ":") || strings.Contains(test.want, "{") {
					got, want = []string{strings.Join(got, " ")}, []string{test.want}
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
				if test.bytes > 0 && size > 1 && l.reports[len(l.reports)-1].Bytes != test.bytes {
					t.Errorf("read %d bytes, want %d", l.reports[len(l.reports)-1].Bytes, test.bytes)
				}
			})
		}
	}
}
