package aggregate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
)

// What is wrong with times and with conditions over the result is said at the expression, before anything is computed.
func TestBadTimesAndConditions(t *testing.T) {
	for _, test := range []struct{ name, time, having, pointer, want string }{
		{"a time that is text", "a", "", "/aggregate/time/expr", "it is VARCHAR, want TIMESTAMP, TIMESTAMPTZ or DATE: when a row happened"},
		{"a time that is a number", "b", "", "/aggregate/time/expr", "it is BIGINT, want TIMESTAMP"},
		{"a time of an unknown column", "when_", "", "/aggregate/time/expr", `unknown column "when_" (columns are a, b, ts)`},
		{"a time that differs from task to task", "now()", "", "/aggregate/time/expr", "must be repeatable"},
		{"no condition", "ts", "n + 1", "/aggregate/having", "it is BIGINT, want BOOLEAN: a condition"},
		{"a column of the input", "ts", "b > 1", "/aggregate/having", `having sees result columns only, and "b" is a column of the input: choose input rows with where, or add a measure of it (result columns are window_start, window_end, a, n, hi)`},
		{"an unknown column", "ts", "nn > 1", "/aggregate/having", `unknown column "nn"; did you mean "n"? (columns are window_start, window_end, a, n, hi)`},
		{"an aggregate", "ts", "sum(n) > 1", "/aggregate/having", `function "sum" is an aggregate or window function`},
		{"a subquery", "ts", "n > (SELECT 1)", "/aggregate/having", "a subquery is not allowed"},
		{"types that do not compare", "ts", "window_start > 5", "/aggregate/having", "Cannot compare"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLake(t)
			l.kind = aggregate.NewCutting(1)
			l.put("in/1.csv", "a,b,ts\nx,1,2024-01-01 10:00:00\n")
			l.put("in/2.csv", "a,b,ts\ny,2,2024-01-01 10:00:00\n")
			having := ""
			if test.having != "" {
				having = fmt.Sprintf(`"having": %q, `, test.having)
			}
			f := l.mustFail(fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "time": {"expr": %q}, "window": {"tumbling": "1h"}, "group_by": [{"name": "a"}],
				"measures": {"n": {"count": "*"}, "hi": {"max": "b"}}, %s"output": {"uri": "LAKE/out/"}}`, test.time, having), 2)
			if want := []string{"plan 1"}; !slices.Equal(l.stages, want) {
				t.Errorf("it failed after stages %v, want %v", l.stages, want)
			}
			if f.Pointer != test.pointer || f.Class != proto.CLASS_FINAL || !strings.Contains(f.Message, test.want) {
				t.Errorf("got %s at %q: %s\nwant %s", f.Class, f.Pointer, f.Message, test.want)
			}
		})
	}
}

// The order of rows that are equal in what order_by names is that of the keys, in one task and in several, and the limit
// holds for all together.
func TestFirstRows(t *testing.T) {
	const section = `{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "b"}, {"name": "a"}], "measures": {"n": {"count": "*"}, "list": {"max": "[a, b]"}},
		"having": "a <> 'never'", "order_by": [{"name": "n", "descending": true}], "limit": %d, "output": {"uri": "LAKE/out/", "format": %q}}`
	wants := map[int]string{
		1: "x|c|2",
		3: "x|c|2 y|a|2 x|a|1",
		9: "x|c|2 y|a|2 x|a|1 x|b|1 ∅|a|1",
	}
	for _, test := range []struct {
		format         string
		reduces, limit int
	}{
		{"parquet", 0, 1}, {"parquet", 0, 9}, {"parquet", 1, 3}, {"parquet", 3, 1}, {"parquet", 3, 3}, {"parquet", 3, 9}, {"csv", 3, 3}, {"jsonl", 3, 3},
	} {
		t.Run(fmt.Sprintf("%s %d %d", test.format, test.reduces, test.limit), func(t *testing.T) {
			l := newLake(t)
			l.put("in/1.csv", "a,b\nc,x\na,\nb,x\nnever,x\n")
			l.put("in/2.csv", "a,b\na,y\nnever,x\nc,x\na,x\na,y\nnever,x\n")
			parallelism := 1
			if test.reduces > 0 {
				l.kind, l.reduces, parallelism = aggregate.NewCutting(1), test.reduces, 4
			}
			out, err := l.run(fmt.Sprintf(section, test.limit, test.format), parallelism)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, row := range l.rows(out) {
				got = append(got, strings.Join(strings.SplitN(row, "|", 4)[:3], "|"))
			}
			if want := wants[test.limit]; strings.Join(got, " ") != want || out.Files != 1 {
				t.Errorf("got %q in %d files, want %q, after %v", strings.Join(got, " "), out.Files, want, l.stages)
			}
		})
	}
}
