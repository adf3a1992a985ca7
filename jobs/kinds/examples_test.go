package kinds_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
)

// Every example is a spec without problems, and what is shown of it is the same spec.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatalf("got %d example specs, want at least 2", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			spec, problems := jobs.Decode(data, kinds.All())
			if len(problems) > 0 {
				t.Fatalf("got problems %v", problems)
			}
			shown, err := json.Marshal(spec)
			if err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, shown, "", "  "); err != nil {
				t.Fatal(err)
			}
			again, problems := jobs.Decode(indented.Bytes(), kinds.All())
			if len(problems) > 0 {
				t.Fatalf("got problems %v of what is shown:\n%s", problems, &indented)
			}
			if !jobs.Equal(spec, again) {
				t.Errorf("what is shown is another spec:\n%s", &indented)
			}
			for _, need := range spec.Needs() {
				if _, found := slices.BinarySearch(jobs.Features(kinds.All()), need.Feature); !found {
					t.Errorf("it needs %s, which is no feature", need.Feature)
				}
			}
			if len(spec.Needs()) < 3 {
				t.Errorf("it needs only %v", spec.Needs())
			}
			t.Logf("%s", &indented)
		})
	}
}
