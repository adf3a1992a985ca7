package aggregate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

var kinds = jobs.Kinds{aggregate.Kind{}}

// decode reads a spec with that section.
func decode(t interface {
	Helper()
	Fatalf(string, ...any)
}, section string) *jobs.Spec {
	t.Helper()
	spec, problems := jobs.Decode([]byte(`{"name": "a", "kind": "aggregate", "aggregate": `+section+`}`), kinds)
	if len(problems) > 0 {
		t.Fatalf("section %s has problems %v", section, problems)
	}
	return spec
}

func TestExpressions(t *testing.T) {
	spec := decode(t, `{"input": {"uri": "s3://weblog/", "format": "jsonl"}, "output": {"uri": "s3://results/"},
		"measures": {"n": {"count": "*"}, "not null": {"count": "x"}, "a/b~c": {"sum": "bytes"}, "p95": {"q": 0.95, "approx_quantile": "lower(x)"},
			"last": {"by": "ts", "where": "ok", "arg_max": "url"}, "ok": {"count": "*", "where": "status < 400"}},
		"group_by": [{"name": "status"}, {"name": "day", "expr": "date_trunc('day', ts)"}],
		"where": "status < 400"}`)
	want := []jobs.Expression{
		{Pointer: "/aggregate/where", Text: "status < 400"},
		{Pointer: "/aggregate/group_by/1/expr", Text: "date_trunc('day', ts)"},
		{Pointer: "/aggregate/measures/not null/count", Text: "x"},
		{Pointer: "/aggregate/measures/a~1b~0c/sum", Text: "bytes"},
		{Pointer: "/aggregate/measures/p95/approx_quantile", Text: "lower(x)"},
		{Pointer: "/aggregate/measures/last/arg_max", Text: "url"},
		{Pointer: "/aggregate/measures/last/by", Text: "ts"},
		{Pointer: "/aggregate/measures/last/where", Text: "ok"},
		{Pointer: "/aggregate/measures/ok/where", Text: "status < 400"},
	}
	if diff := cmp.Diff(want, spec.Section.Expressions()); diff != "" {
		t.Errorf("expressions (-want +got):\n%s", diff)
	}
}

func TestSectionDecoded(t *testing.T) {
	spec := decode(t, `{"input": {"uri": "s3://flights/2013/", "format": "csv", "columns": {"dep_delay": "bigint", "price": "decimal(9, 2)"}, "null_values": ["NA"], "quote": "'"},
		"group_by": [{"name": "day", "expr": "make_date(year, month, day)"}], "measures": {"z": {"count": " * "}, "a": {"approx_quantile": "x", "q": 1}},
		"output": {"uri": "s3://results", "connection": "warehouse"}}`)
	want := &aggregate.Section{
		Input: aggregate.Input{
			URI: "s3://flights/2013/", Connection: "s3", Format: "csv", Compression: "auto",
			Columns:    aggregate.Columns{{Name: "dep_delay", Type: "BIGINT"}, {Name: "price", Type: "DECIMAL(9,2)"}},
			NullValues: []string{"NA"}, Delimiter: ",", Quote: "'", Escape: "'", Header: true, QuotedNewlines: true, SplitSize: 64 << 20,
			HivePartitions: true,
		},
		GroupBy:  []aggregate.Group{{Name: "day", Expr: "make_date(year, month, day)"}},
		Measures: aggregate.Measures{{Name: "z", Func: aggregate.Count, Expr: "*"}, {Name: "a", Func: aggregate.ApproxQuantile, Expr: "x", Q: 1}},
		Output:   aggregate.Output{URI: "s3://results/", Connection: "warehouse", Format: "parquet", Compression: "zstd", Mode: aggregate.Replace, FileSize: 256 << 20, RowGroupSize: 64 << 20},
		WorkURI:  "s3://results/_work/",
	}
	if diff := cmp.Diff(want, spec.Section); diff != "" {
		t.Errorf("section (-want +got):\n%s", diff)
	}
	if uri, connection := spec.Section.Work(); uri != "s3://results/_work/" || connection != "warehouse" {
		t.Errorf("work area: got %q, %q", uri, connection)
	}
}

func TestEqual(t *testing.T) {
	const input, output = `"input": {"uri": "s3://flights/", "format": "csv"}`, `"output": {"uri": "s3://results/a/"}`
	base := decode(t, `{`+input+`, "measures": {"a": {"min": "x"}, "b": {"max": "x"}}, `+output+`}`)
	for _, same := range []string{
		`{"measures": {"a": {"min": "x"}, "b": {"max": "x"}}, ` + output + `,` + input + `}`,
		`{"input": {"format": "csv", "uri": "s3://flights", "header": true, "escape": "\"", "split_size": "65536KiB", "columns": {}},
		  "group_by": [], "measures": {"a": {"min": "x"}, "b": {"max": "x"}},
		  "output": {"compression": "zstd", "uri": "s3://results/a"}, "work": "s3://results/a/_work"}`,
	} {
		if spec := decode(t, same); !jobs.Equal(base, spec) || !jobs.Equal(spec, base) {
			t.Errorf("not the same: %s", same)
		}
	}
	for _, other := range []string{
		`{` + input + `, "measures": {"b": {"max": "x"}, "a": {"min": "x"}}, ` + output + `}`,
		`{` + input + `, "measures": {"a": {"min": "x"}, "b": {"max": "y"}}, ` + output + `}`,
		`{` + input + `, "measures": {"a": {"min": "x"}, "b": {"max": "x"}}, ` + output + `, "where": "x > 1"}`,
		`{"input": {"uri": "s3://flights/", "format": "jsonl"}, "measures": {"a": {"min": "x"}, "b": {"max": "x"}}, ` + output + `}`,
		`{"input": {"uri": "s3://flights/", "format": "csv", "header": false}, "measures": {"a": {"min": "x"}, "b": {"max": "x"}}, ` + output + `}`,
	} {
		if jobs.Equal(base, decode(t, other)) {
			t.Errorf("the same: %s", other)
		}
	}
}

func TestTooMuch(t *testing.T) {
	list := func(n int, element func(i int) string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = element(i)
		}
		return strings.Join(all, ",")
	}
	measure := func(i int) string { return fmt.Sprintf(`"m%d": {"count": "*"}`, i) }
	group := func(i int) string { return fmt.Sprintf(`{"name": "g%d"}`, i) }
	column := func(i int) string { return fmt.Sprintf(`"c%d": "BIGINT"`, i) }
	for _, test := range []struct{ columns, groups, measures, where, want string }{
		{list(1000, column), list(64, group), list(256, measure), strings.Repeat("x", 10_000), ""},
		{list(1001, column), list(64, group), "", "x", "/aggregate/input/columns: want at most 1000 columns, got 1001"},
		{"", list(65, group), "", "x", "/aggregate/group_by: want at most 64 elements, got 65"},
		{"", "", list(257, measure), "x", "/aggregate/measures: want at most 256 measures, got 257"},
		{"", list(1, group), "", strings.Repeat("x", 10_001), "/aggregate/where: want at most 10000 characters, got 10001"},
		{"", "", `"m": {"sum": "` + strings.Repeat("x", 10_001) + `"}`, "x", "/aggregate/measures/m/sum: want at most 10000 characters, got 10001"},
		{"", "", `"` + strings.Repeat("m", 129) + `": {"count": "*"}`, "x", "/aggregate/measures/" + strings.Repeat("m", 129) + ": the name of a column has 129 bytes; at most 128 are allowed"},
	} {
		spec := fmt.Sprintf(`{"name": "a", "kind": "aggregate", "aggregate": {"input": {"uri": "s3://flights/", "format": "csv", "columns": {%s}},
			"where": %q, "group_by": [%s], "measures": {%s}, "output": {"uri": "s3://results/"}}}`, test.columns, test.where, test.groups, test.measures)
		var got []string
		_, problems := jobs.Decode([]byte(spec), kinds)
		for _, p := range problems {
			got = append(got, p.Pointer+": "+p.Detail)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
	}
}

// sections are specs that have nothing wrong with them, in many forms.
var sections = rapid.Custom(func(t *rapid.T) string {
	text := func(label string) string {
		s := rapid.StringMatching(`[a-zA-Z_"'\\<é]{1,8}( [<>=]+ [a-z0-9']{1,5})?`).Draw(t, label)
		quoted, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(quoted)
	}
	optional := func(label, field string) string {
		if rapid.Bool().Draw(t, label) {
			return field
		}
		return ""
	}
	csv := optional("null values", `, "null_values": ["NA", `+text("null")+`]`) +
		optional("delimiter", `, "delimiter": ";"`) + optional("quote", `, "quote": ""`) +
		optional("header", `, "header": false`) + optional("newlines", `, "quoted_newlines": false`)
	format := rapid.SampledFrom([]string{`"csv"` + csv, `"jsonl"`}).Draw(t, "format")
	input := fmt.Sprintf(`{"uri": %q, "format": %s%s%s}`, rapid.SampledFrom([]string{"s3://src/", "s3://src", "s3://src/*.gz", "file:///src/x"}).Draw(t, "input"), format,
		optional("split size", `, "split_size": "2MiB"`), optional("columns", `, "columns": {"b": "DATE", "a": "decimal(4,1)"}`))
	var measures []string
	for i := range rapid.IntRange(1, 5).Draw(t, "measures") {
		function := rapid.SampledFrom(aggregate.Functions()).Draw(t, "function")
		fields := optional("filter", `, "where": `+text("filter"))
		switch function {
		case aggregate.ApproxQuantile, aggregate.Quantile:
			fields += fmt.Sprintf(`, "q": %g`, rapid.Float64Range(0, 1).Draw(t, "q"))
		case aggregate.ArgMin, aggregate.ArgMax:
			fields += `, "by": ` + text("by")
		case aggregate.ApproxTopK:
			fields += fmt.Sprintf(`, "k": %d`, rapid.IntRange(1, 1000).Draw(t, "k"))
		case aggregate.Membership:
			fields += `, "expected": 1000` + optional("rate", `, "false_positive": 0.001`)
		}
		switch function {
		case aggregate.ApproxDistinct, aggregate.Theta, aggregate.ApproxTopK:
			fields += rapid.SampledFrom([]string{"", `, "as": "sketch"`, `, "as": "estimate"`}).Draw(t, "as")
		}
		measures = append(measures, fmt.Sprintf(`"m%d": {%q: %s%s}`, i, function, text("argument"), fields))
	}
	output := fmt.Sprintf(`{"uri": %q%s}`, rapid.SampledFrom([]string{"s3://out", "s3://out/x/", "file:///out"}).Draw(t, "output"),
		rapid.SampledFrom([]string{"", `, "format": "csv"`, `, "format": "csv", "compression": "gzip"`, `, "compression": "snappy"`}).Draw(t, "output format"))
	return `{"input": ` + input + `, "output": ` + output + `, "measures": {` + strings.Join(measures, ", ") + `}` +
		optional("where", `, "where": `+text("where")) + optional("groups", `, "group_by": [{"name": "g"}, {"name": "h", "expr": `+text("expr")+`}]`) +
		optional("work", `, "work": "s3://work"`) + `}`
})

// What is shown of a spec is the same spec, whether it is read as JSON or as YAML.
func TestShownIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := decode(t, sections.Draw(t, "section"))
		shown, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		fromYAML, problems := jobs.FromYAML(shown)
		if len(problems) > 0 {
			t.Fatalf("%s read as YAML has the problems %v", shown, problems)
		}
		for _, text := range [][]byte{shown, fromYAML} {
			again, problems := jobs.Decode(text, kinds)
			if len(problems) > 0 {
				t.Fatalf("%s has the problems %v", text, problems)
			}
			if diff := cmp.Diff(spec, again, cmpopts.IgnoreUnexported(jobs.Spec{})); diff != "" || !jobs.Equal(spec, again) {
				t.Fatalf("what is shown is another spec (-want +got):\n%s", diff)
			}
		}
	})
}
