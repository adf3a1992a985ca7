package main

import (
	"slices"
	"testing"

	"github.com/tidemill/tidemill/executor/describe"
	"github.com/tidemill/tidemill/jobs/kinds"
)

// The description is a constant, so that it can be read from the file; here it meets what is registered.
func TestDescriptionSaysWhatIsRegistered(t *testing.T) {
	var names, features []string
	for _, kind := range work() {
		names = append(names, kind.Name())
		features = append(features, kind.Features()...)
		if kinds.All().Lookup(kind.Name()) == nil {
			t.Errorf("kind %q has work and no spec", kind.Name())
		}
	}
	slices.Sort(names)
	slices.Sort(features)
	if got := describe.Own(); !slices.Equal(got.Kinds, names) || !slices.Equal(got.Features, features) {
		t.Errorf("the description has kinds %q and features %q, registered are %q and %q", got.Kinds, got.Features, names, features)
	}
}
