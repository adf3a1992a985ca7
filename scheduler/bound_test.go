package scheduler

import (
	"slices"
	"testing"
	"time"
)

// One step launches a bounded number of tasks, and asks for offers again at once for the rest.
func TestOneStepLaunchesABoundedNumber(t *testing.T) {
	w := newBench(t)
	w.runs(8, 1000)
	w.now = w.now.Add(time.Second) // REVIVE may be sent again
	acts := w.step(benchOffers(1000, 1000))
	if n := len(launched(acts)); n != mostLaunches {
		t.Errorf("%d tasks were launched, want %d", n, mostLaunches)
	}
	if !slices.ContainsFunc(acts.Calls, func(call Call) bool { _, ok := call.(Revive); return ok }) {
		t.Error("no offers were asked for")
	}
	acts = w.step(benchOffers(1000, 1000))
	if n := len(launched(acts)); n != 8000-mostLaunches {
		t.Errorf("then %d tasks were launched, want %d", n, 8000-mostLaunches)
	}
}
