package aggregate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/jobs"
)

func TestOutputsThatCannotBe(t *testing.T) {
	for _, test := range []struct{ input, more, output, want string }{
		{``, ``, `"partition_by": ["carrier", "flights"], "mode": "replace_partitions"`, ``},
		{``, ``, `"partition_by": ["carier"]`, `/aggregate/output/partition_by/0: unknown result column "carier"; did you mean "carrier"?`},
		{``, ``, `"partition_by": ["month"]`, `/aggregate/output/partition_by/0: unknown result column "month"; known are "carrier", "day", "flights"`},
		{``, ``, `"partition_by": ["day", "day"]`, `/aggregate/output/partition_by/1: column "day" is named twice`},
		{``, ``, `"partition_by": ["day", "flights", "carrier"]`, `/aggregate/output/partition_by: the result has no other columns: files would be empty`},
		{``, ``, `"mode": "replace_partitions"`, `/aggregate/output/mode: mode "replace_partitions" needs partition_by`},
		{``, `"time": {"expr": "t"}, "window": {"tumbling": "1h"},`, `"partition_by": ["window_start"]`, ``},
		{`"new_since": "last_success",`, ``, `"mode": "replace"`, ``},
		{`"new_since": "last_success",`, ``, `"mode": "append"`, `/aggregate/input/new_since: a run that reads only new files merges them into the previous result: want output mode "replace", got "append"`},
		{`"new_since": "last_success",`, `"time": {"expr": "t"}, "window": {"session": "1h"},`, `"mode": "replace"`,
			`/aggregate/input/new_since: sessions of earlier runs are not joined with those of new files: want tumbling or sliding windows`},
	} {
		spec := fmt.Sprintf(`{"name": "a", "kind": "aggregate", "aggregate": {"input": {%s "uri": "s3://flights/", "format": "csv"}, %s
			"group_by": [{"name": "carrier"}, {"name": "day"}], "measures": {"flights": {"count": "*"}}, "output": {"uri": "s3://results/", %s}}}`, test.input, test.more, test.output)
		var got []string
		_, problems := jobs.Decode([]byte(spec), kinds)
		for _, p := range problems {
			got = append(got, p.Pointer+": "+p.Detail)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", test.more, test.output, diff)
		}
	}
}
