package aggregate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/dev/result"
	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// table reads a result as those do who have no engine.
func (l *lake) table(out *proto.Output) []string {
	l.t.Helper()
	uri, err := storage.ParseURI(out.Manifest)
	if err != nil {
		l.t.Fatal(err)
	}
	store, err := l.connections.Open(l.t.Context(), "lake", uri)
	if err != nil {
		l.t.Fatal(err)
	}
	table, err := result.Read(context.Background(), store, out.Manifest)
	if err != nil {
		l.t.Fatal(err)
	}
	rows := []string{strings.Join(table.Columns, "|")}
	for _, row := range table.Rows {
		rows = append(rows, strings.Join(row, "|"))
	}
	slices.Sort(rows[1:])
	return rows
}

const visits = "day,who,n\n2013-01-01,a/b,1\n2013-01-01,ü,2\n2013-01-02,,3\n2013-01-02,ü,4\n"

// Results in folders, from one task and from several, in every format, as plain readers see them.
func TestPartitionedResults(t *testing.T) {
	for _, format := range []string{"parquet", "csv", "jsonl"} {
		for _, reduces := range []int{0, 3} {
			l := newLake(t)
			l.put("in/1.csv", visits)
			if l.reduces = reduces; reduces > 0 {
				l.kind = aggregate.NewCutting(10)
				l.put("in/2.csv", visits)
			}
			out, err := l.run(fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "day"}, {"name": "who"}, {"name": "n"}], "measures": {"most": {"max": "n"}},
				"output": {"uri": "LAKE/out/", "format": %q, "partition_by": ["who", "day"]}}`, format), 4)
			if err != nil {
				t.Fatal(err)
			}
			got := l.table(out)
			null := result.Null
			want := []string{"day|who|n|most", "2013-01-01|a/b|1|1", "2013-01-01|ü|2|2", "2013-01-02|" + null + "|3|3", "2013-01-02|ü|4|4"}
			slices.Sort(want[1:])
			if !slices.Equal(got, want) {
				t.Errorf("%s from %d tasks: got %q, want %q", format, reduces, got, want)
			}
			if m := l.manifest(out); len(m.Entries) != 4 || !slices.Equal(m.PartitionBy, []string{"who", "day"}) {
				t.Errorf("got %+v", m)
			}
			if format != "parquet" {
				continue
			}
			hive := query(t, "SELECT day, who, n FROM read_parquet('"+l.path(out.URI)+"**/*.parquet', hive_partitioning=true) ORDER BY n")
			if fmt.Sprint(hive) != "[2013-01-01|a/b|1 2013-01-01|ü|2 2013-01-02|∅|3 2013-01-02|ü|4]" {
				t.Errorf("read as Hive's: got %q", hive)
			}
		}
	}
}

func TestModes(t *testing.T) {
	l := newLake(t)
	section := func(mode string) string {
		return fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "day"}], "measures": {"n": {"sum": "n"}},
			"output": {"uri": "LAKE/out/", "partition_by": ["day"], "mode": %q}}`, mode)
	}
	for _, test := range []struct{ mode, input, want string }{
		{"fail_if_exists", visits, "[day|n 2013-01-01|3 2013-01-02|7]"},
		{"replace_partitions", "day,n\n2013-01-02,1\n2013-01-03,5\n", "[day|n 2013-01-01|3 2013-01-02|1 2013-01-03|5]"},
		{"append", "day,n\n2013-01-02,9\n", "[day|n 2013-01-01|3 2013-01-02|1 2013-01-02|9 2013-01-03|5]"},
		{"fail_if_exists", visits, ""},
		{"replace", "day,n\n2013-01-04,9\n", "[day|n 2013-01-04|9]"},
	} {
		l.put("in/1.csv", test.input)
		if test.want == "" {
			f := l.mustFail(section(test.mode), 1)
			if f.Kind != "conflict" || f.Pointer != "/aggregate/output/mode" || f.Class != proto.CLASS_FINAL || !f.Unsettled {
				t.Errorf("%s: got %+v", test.mode, f)
			}
			continue
		}
		if got := fmt.Sprint(l.table(l.mustRun(section(test.mode)))); got != test.want {
			t.Errorf("%s: got %s, want %s", test.mode, got, test.want)
		}
	}
	l.mustRun(section("append"))
	other := strings.Replace(section("append"), `"n": {"sum"`, `"sum": {"sum"`, 1)
	if f := l.mustFail(other, 1); !strings.Contains(f.Message, "has the columns day DATE, n DECIMAL(38,0), this one has day DATE, sum DECIMAL(38,0)") {
		t.Errorf("got %v", f)
	}
}
