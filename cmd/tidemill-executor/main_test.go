package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/describe"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
)

// The description is a constant, so that it can be read from the file; here it meets what is registered.
func TestDescriptionSaysWhatIsRegistered(t *testing.T) {
	var names []string
	var able jobs.Kinds
	for _, kind := range work() {
		names = append(names, kind.Name())
		spec := kinds.All().Lookup(kind.Name())
		if spec == nil {
			t.Fatalf("kind %q has work and no spec", kind.Name())
		}
		able = append(able, spec)
	}
	slices.Sort(names)
	got := describe.Own()
	if !slices.Equal(got.Kinds, names) {
		t.Errorf("the description has kinds %q, registered are %q", got.Kinds, names)
	}
	if features := jobs.Features(able); !slices.Equal(got.Features, features) {
		list := "`\"" + strings.Join(features, "\",` +\n\t`\"") + "\"`"
		t.Errorf("the description has features %q; executor/describe/features.go must say\nconst features = %s", got.Features, list)
	}
}
