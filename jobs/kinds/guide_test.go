package kinds_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"testing"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
)

var fragments = regexp.MustCompile("(?s)```json\n(.*?)```")

// Every piece of a spec in the guide to batch jobs is one that can be sent, within a small job.
func TestGuideToBatchJobs(t *testing.T) {
	guide, err := os.ReadFile("../../docs/batch.md")
	if err != nil {
		t.Fatal(err)
	}
	const base = `{"input": {"uri": "s3://flights/2013/", "format": "csv"}, "group_by": [{"name": "carrier"}, {"name": "day"}],
		"measures": {"flights": {"count": "*"}}, "output": {"uri": "s3://results/"}}`
	found := fragments.FindAllSubmatch(guide, -1)
	if len(found) < 7 {
		t.Fatalf("got %d pieces, want at least 7", len(found))
	}
	for _, fragment := range found {
		section, piece := map[string]json.RawMessage{}, map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(base), &section); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte("{"+string(fragment[1])+"}"), &piece); err != nil {
			t.Errorf("%v in\n%s", err, fragment[1])
			continue
		}
		maps.Copy(section, piece)
		spec, err := json.Marshal(map[string]any{"name": "a", "kind": "aggregate", "aggregate": section})
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := jobs.Decode(spec, kinds.All()); len(problems) > 0 {
			t.Errorf("got problems %v of\n%s", problems, fragment[1])
		}
	}
}
