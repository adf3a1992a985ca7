package aggregate_test

import (
	"fmt"
	"testing"
)

const flightsSection = `{
	"input": {"uri": "LAKE/flights/", "format": "csv", "null_values": ["NA"]},
	"group_by": [{"name": "carrier"}, {"name": "day", "expr": "make_date(year, month, day)"}],
	"measures": {
		"flights": {"count": "*"}, "departed": {"count": "dep_delay"},
		"avg_delay": {"avg": "dep_delay"}, "max_delay": {"max": "dep_delay"}, "min_delay": {"min": "dep_delay"}, "distance": {"sum": "distance"},
		"p95_delay": {"approx_quantile": "dep_delay", "q": 0.95}, "planes": {"approx_distinct": "tailnum"}
	},
	"output": {"uri": "LAKE/out/", "format": "parquet"}
}`

func TestFirst(t *testing.T) {
	l := newLake(t)
	l.copyIn("../../examples/data/flights/*.gz", "flights")
	for _, parallelism := range []int{1, 4, 12} {
		out, err := l.run(flightsSection, parallelism)
		if err != nil {
			t.Fatal(err)
		}
		rows := l.rows(out)
		fmt.Println(out, l.stages, len(rows), rows[0], rows[len(rows)-1])
	}
}
