package jobs_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
)

const wholeSpec = `{
  "name": "flights", "kind": "aggregate", "role": "data", "executor": {"version": "1.5.0"}, "parallelism": 7,
  "retries": {"max": 1}, "timeout": "5m", "constraints": [{"attribute": "zone", "operator": "is", "value": "a"}],
  "aggregate": {"input": {"uri": "s3://input/é/", "format": "csv"}, "measures": {"n": {"count": "*"}}, "output": {"uri": "s3://output/"}}
}`

// An executor reads the same section and the same common fields out of its part as out of the whole.
func TestForExecutor(t *testing.T) {
	part, err := jobs.ForExecutor([]byte(wholeSpec), "aggregate")
	if err != nil {
		t.Fatal(err)
	}
	want, problems := jobs.Decode([]byte(wholeSpec), kinds.All())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	got, problems := jobs.Decode(part, kinds.All())
	if len(problems) > 0 {
		t.Fatalf("%s: %v", part, problems)
	}
	if got.Name != want.Name || got.Kind != want.Kind || got.Parallelism != want.Parallelism || cmp.Diff(want.Section, got.Section) != "" {
		t.Errorf("got %+v", got)
	}
	if got.Role != "" || got.Timeout != 0 || got.Constraints != nil {
		t.Errorf("the scheduler's own fields are sent, too: %s", part)
	}
}

// A field that some later scheduler takes does not reach an executor that would refuse it.
func TestForExecutorLeavesOutWhatIsNew(t *testing.T) {
	var spec map[string]any
	if err := json.Unmarshal([]byte(wholeSpec), &spec); err != nil {
		t.Fatal(err)
	}
	spec["later"] = map[string]any{"cron": "0 * * * *"}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := jobs.Decode(text, kinds.All()); len(problems) == 0 {
		t.Fatal("the field is known")
	}
	part, err := jobs.ForExecutor(text, "aggregate")
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := jobs.Decode(part, kinds.All()); len(problems) > 0 {
		t.Errorf("%s: %v", part, problems)
	}
}

func TestForExecutorRefuses(t *testing.T) {
	for _, text := range []string{"", "[]", `"x"`, "{}", `{"name": `, `{"role": "x"}`} {
		if part, err := jobs.ForExecutor([]byte(text), "aggregate"); err == nil {
			t.Errorf("%q: got %s", text, part)
		}
	}
}
