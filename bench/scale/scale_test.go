package main

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSmall runs all of the benchmark with little: each task is launched once and ends, and the master finds nothing
// wrong. No time is asserted.
func TestSmall(t *testing.T) {
	l, err := newLoad(100, 2000)
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(t.Context(), l, inFile(t.TempDir()), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	if r.all.tasks != 2000 || r.few.tasks != 200 {
		t.Errorf("%d and %d tasks were launched, want 2000 and 200", r.all.tasks, r.few.tasks)
	}
	if _, err := decide(l); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", r)
}
