package aggregate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Rows go through pipes, or files, several batches of them, until one has what must be looked at in another way. No row is
// lost or counted twice, wherever that is.
func TestRowsToBeReadInAnotherWay(t *testing.T) {
	const rows = 200_000 // some 7 MB of CSV, 3 MB of JSON; a batch is 4 MiB in a pipe, 1 MiB in a file
	csv := func(first, count int) string {
		var text strings.Builder
		for i := range count {
			fmt.Fprintf(&text, "%d,a column that nobody uses,1\n", (first+i)%3)
		}
		return text.String()
	}
	csvInput := `{"uri": "LAKE/in/", "format": "csv", "columns": {"k": "BIGINT", "b": "BIGINT"}}`
	jsonl := strings.Repeat(`{"k":0,"b":1}`+"\n"+`{"k":1,"b":1}`+"\n"+`{"k":2,"b":1}`+"\n", rows/3)
	jsonInput := `{"uri": "LAKE/in/", "format": "jsonl", "columns": {"k": "BIGINT", "b": "BIGINT"}}`
	const equal = "0|66667|66667;1|66667|66667;2|66666|66666"
	for _, test := range []struct {
		name, input string
		files       map[string]string
		want        string // key, rows, sum
	}{
		{"rows of one kind", csvInput, map[string]string{"1.csv": "k,x,b\n" + csv(0, rows)}, equal},
		{"another order of columns, early", csvInput, map[string]string{"1.csv": "k,x,b\n" + csv(0, 1000), "2.csv": "b,x,k\n" + strings.Repeat("1,x,0\n", 10), "3.csv": "k,x,b\n" + csv(1, rows)},
			"0|67010|67010;1|67000|67000;2|67000|67000"},
		{"another order of columns, late", csvInput, map[string]string{"1.csv": "k,x,b\n" + csv(0, rows), "2.csv": "b,x,k\n" + csv(0, 3)},
			"0|66667|66667;1|66670|66670;2|66666|66666"},
		{"fractions where none matter", `{"uri": "LAKE/in/", "format": "csv", "columns": {"k": "BIGINT", "b": "DOUBLE"}}`,
			map[string]string{"1.csv": "k,x,b\n" + csv(0, rows) + "0,y,0.5\n"}, "0|66668|66667.5;1|66667|66667.0;2|66666|66666.0"},
		{"a large whole number in JSON, early", jsonInput, map[string]string{"1.jsonl": `{"k":0,"b":9007199254740993}` + "\n" + jsonl}, "0|66667|9007199254807659;1|66666|66666;2|66666|66666"},
		{"a large whole number in JSON, late", jsonInput, map[string]string{"1.jsonl": jsonl + `{"k":0,"b":9007199254740993}` + "\n" + `{"k":0,"b":1}`}, "0|66668|9007199254807660;1|66666|66666;2|66666|66666"},
		{"a long row", jsonInput, map[string]string{"1.jsonl": jsonl + `{"k":0,"b":1,"x":"` + strings.Repeat("long", 1<<20) + `"}` + "\n"}, "0|66667|66667;1|66666|66666;2|66666|66666"},
		{"truth beside numbers", jsonInput, map[string]string{"1.jsonl": jsonl + `{"k":0,"b":1,"x":{"b":true}}` + "\n"}, "0|66667|66667;1|66666|66666;2|66666|66666"},
	} {
		for _, parallelism := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d", test.name, parallelism), func(t *testing.T) {
				l := newLake(t)
				l.disk = 16 << 20
				for name, content := range test.files {
					l.put("in/"+name, content)
				}
				out, err := l.run(`{"input": `+test.input+`, "group_by": [{"name": "k"}],
					"measures": {"n": {"count": "*"}, "s": {"sum": "b"}}, "output": {"uri": "LAKE/out/"}}`, parallelism)
				if err != nil {
					t.Fatal(err)
				}
				got := l.rows(out)
				slices.Sort(got)
				if strings.Join(got, ";") != test.want {
					t.Errorf("got %q, want %q", strings.Join(got, ";"), test.want)
				}
			})
		}
	}
}
