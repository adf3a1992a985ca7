package aggregate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto/describe"
)

func TestNeeds(t *testing.T) {
	const places = `"output": {"uri": "s3://results/"}`
	for _, test := range []struct {
		section string
		want    []jobs.Need
	}{
		{`{"input": {"uri": "s3://src/", "format": "jsonl"}, "measures": {"n": {"count": "*"}}, ` + places + `}`, []jobs.Need{
			{Feature: "aggregate.input.format.jsonl", Pointer: "/aggregate/input/format"},
			{Feature: "aggregate.measures", Pointer: "/aggregate/measures"},
			{Feature: "aggregate.measures.count", Pointer: "/aggregate/measures/n/count"},
		}},
		{`{"input": {"uri": "hdfs://prod/src/", "format": "jsonl"}, "measures": {"n": {"count": "*"}}, ` + places + `, "work": "hdfs://prod/work/"}`, []jobs.Need{
			{Feature: "aggregate.input.uri.hdfs", Pointer: "/aggregate/input/uri"},
			{Feature: "aggregate.input.format.jsonl", Pointer: "/aggregate/input/format"},
			{Feature: "aggregate.measures", Pointer: "/aggregate/measures"},
			{Feature: "aggregate.measures.count", Pointer: "/aggregate/measures/n/count"},
			{Feature: "aggregate.work", Pointer: "/aggregate/work"},
			{Feature: "aggregate.work.hdfs", Pointer: "/aggregate/work"},
		}},
		{`{"input": {"uri": "s3://src/", "format": "csv", "null_values": ["NA", "-"], "columns": {"price/eur": "decimal(9, 2)", "d": "DATE"}, "split_size": 67108864},
			"group_by": [{"name": "a"}, {"name": "b", "expr": "x + 1"}, {"name": "c", "expr": "y"}],
			"measures": {"a/b~c": {"sum": "x"}, "p95": {"approx_quantile": "x", "q": 0.95}},
			"output": {"uri": "s3://results/", "compression": "zstd"}}`, []jobs.Need{
			{Feature: "aggregate.input.format.csv", Pointer: "/aggregate/input/format"},
			{Feature: "aggregate.input.columns", Pointer: "/aggregate/input/columns"},
			{Feature: "aggregate.input.columns.decimal", Pointer: "/aggregate/input/columns/price~1eur"},
			{Feature: "aggregate.input.columns.date", Pointer: "/aggregate/input/columns/d"},
			{Feature: "aggregate.input.null_values", Pointer: "/aggregate/input/null_values"},
			{Feature: "aggregate.input.split_size", Pointer: "/aggregate/input/split_size"},
			{Feature: "aggregate.group_by", Pointer: "/aggregate/group_by"},
			{Feature: "aggregate.group_by.expr", Pointer: "/aggregate/group_by/1/expr"},
			{Feature: "aggregate.group_by.expr", Pointer: "/aggregate/group_by/2/expr"},
			{Feature: "aggregate.measures", Pointer: "/aggregate/measures"},
			{Feature: "aggregate.measures.sum", Pointer: "/aggregate/measures/a~1b~0c/sum"},
			{Feature: "aggregate.measures.approx_quantile", Pointer: "/aggregate/measures/p95/approx_quantile"},
			{Feature: "aggregate.output.compression.zstd", Pointer: "/aggregate/output/compression"},
		}},
	} {
		if diff := cmp.Diff(test.want, decode(t, test.section).Needs()); diff != "" {
			t.Errorf("section %s needs (-want +got):\n%s", test.section, diff)
		}
	}
}

// Whatever a spec needs is a feature, and is where the pointer says.
func TestNeedsAreFeatures(t *testing.T) {
	features := jobs.Features(kinds)
	rapid.Check(t, func(t *rapid.T) {
		section := sections.Draw(t, "section")
		var document any
		if err := json.Unmarshal([]byte(section), &document); err != nil {
			t.Fatal(err)
		}
		for _, need := range decode(t, section).Needs() {
			if _, found := slices.BinarySearch(features, need.Feature); !found {
				t.Errorf("%s is no feature", need.Feature)
			}
			at := document
			for _, name := range strings.Split(need.Pointer, "/")[2:] {
				if list, ok := at.([]any); ok {
					i, err := strconv.Atoi(name)
					if err != nil || i >= len(list) {
						t.Fatalf("%s: there is no %s", need.Pointer, name)
					}
					at = list[i]
					continue
				}
				object, ok := at.(map[string]any)
				if at = object[name]; !ok || at == nil {
					t.Fatalf("%s: there is no %s", need.Pointer, name)
				}
			}
			if value, ok := at.(string); ok && strings.HasSuffix(need.Pointer, "format") && !strings.HasSuffix(need.Feature, "."+value) {
				t.Errorf("%s is %q, which needs %s", need.Pointer, value, need.Feature)
			}
		}
	})
}

// The features of executors that name none are fixed for ever: the digest is not to be changed.
func TestFirstFeatures(t *testing.T) {
	first := aggregate.Kind{}.FirstFeatures()
	sum := sha256.Sum256([]byte(strings.Join(first, "\n")))
	if got, want := hex.EncodeToString(sum[:8]), "96fdec84ce101417"; got != want || !slices.IsSorted(first) {
		t.Errorf("got a list with digest %s, want %s, sorted", got, want)
	}
	for _, feature := range first {
		if _, found := slices.BinarySearch(jobs.Features(kinds), feature); !found {
			t.Errorf("%s is no feature any more: specs that have it cannot be read", feature)
		}
	}
}

// Descriptions take every feature.
func TestFeaturesCanBeDescribed(t *testing.T) {
	features := jobs.Features(kinds)
	list, err := json.Marshal(features)
	if err != nil {
		t.Fatal(err)
	}
	block := describe.BlockMarker + `{"os":"linux","arch":"amd64","protocol":{"min":1,"max":1},"kinds":["aggregate"],"features":` + string(list) + `};`
	got, err := describe.Parse(block, describe.VersionMarker+"1.5.0;")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(features, got.Features); diff != "" {
		t.Errorf("features described (-want +got):\n%s", diff)
	}
}
