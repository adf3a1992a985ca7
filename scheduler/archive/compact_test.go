package archive

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// longAgo is a day that is over.
var longAgo = time.Now().UTC().AddDate(0, 0, -9).Truncate(24 * time.Hour).Add(12 * time.Hour)

// scatter writes runs of a day into pairs of their own, one of them twice.
func scatter(t *testing.T, a *Archive, day time.Time) []*scheduler.RunView {
	t.Helper()
	var all []*scheduler.RunView
	for i := range 4 {
		all = append(all, run("flights", day.Add(time.Duration(i)*time.Minute), i, 3*i))
		write(t, a, all[i])
	}
	write(t, a, all[1], all[2])
	return all
}

func TestCompact(t *testing.T) {
	objects := newMemory()
	a := newArchive(objects)
	all := scatter(t, a, longAgo)
	today := run("flights", time.Now(), 1, 1)
	write(t, a, today)
	write(t, a, run("flights", time.Now(), 2, 1))
	late := newArchive(objects) // has read all, and does not know what is done now
	for _, want := range all {
		check(t, late, want, 0)
	}
	joined, err := a.Compact(t.Context())
	if err != nil || joined != 5 {
		t.Errorf("joined %d pairs, %v, want 5", joined, err)
	}
	if runs, details := objects.keys(runsEnding), objects.keys(detailsEnding); len(runs) != 3 || len(details) != 3 {
		t.Errorf("pairs of a day that is over and of today: got %v, %v", runs, details)
	}
	for _, reader := range []*Archive{a, late, newArchive(objects)} {
		for _, want := range append(all, today) {
			check(t, reader, want, 0)
		}
	}
	if joined, err := a.Compact(t.Context()); err != nil || joined != 0 {
		t.Errorf("once more: joined %d pairs, %v", joined, err)
	}
	// A run that ends late is joined with the rest when there is another one.
	write(t, a, run("late", longAgo, 9, 1))
	if joined, err := a.Compact(t.Context()); err != nil || joined != 2 {
		t.Errorf("with one that came late: joined %d pairs, %v, want 2", joined, err)
	}
}

// Whoever stops after any step, or is told that one failed, leaves every run readable, and the next one finishes.
func TestCompactStopsAnywhere(t *testing.T) {
	crashed := errors.New("crashed")
	for _, late := range []bool{false, true} {
		steps := 0
		for ; ; steps++ {
			objects := newMemory()
			a := newArchive(objects)
			all := scatter(t, a, longAgo)
			stale := newArchive(objects)
			for _, want := range all {
				check(t, stale, want, 0)
			}
			left := steps
			objects.late = late
			objects.fail = func(op, _ string) error {
				if op != "put" && op != "delete" {
					return nil
				}
				if left--; left < 0 {
					return crashed
				}
				return nil
			}
			_, err := a.Compact(t.Context())
			objects.fail = nil
			if err == nil {
				break
			}
			if !errors.Is(err, crashed) {
				t.Fatal(err)
			}
			for _, reader := range []*Archive{stale, newArchive(objects)} {
				for _, want := range all {
					check(t, reader, want, 0)
				}
				page, err := reader.List(t.Context(), Filter{}, Position{}, 100)
				if err != nil || len(page.Runs) != len(all) {
					t.Errorf("after %d steps: list has %d runs, %v, want %d", steps, len(page.Runs), err, len(all))
				}
			}
			if _, err := newArchive(objects).Compact(t.Context()); err != nil {
				t.Fatalf("after %d steps: %v", steps, err)
			}
			if got := objects.keys(runsEnding); len(got) != 1 {
				t.Errorf("after %d steps and another try: got %v, want one pair", steps, got)
			}
			reader := newArchive(objects)
			for _, want := range all {
				check(t, reader, want, 0)
			}
		}
		if steps < 10 {
			t.Errorf("it took %d steps only", steps)
		}
	}
}

// Two that compact, and one that writes, lose nothing.
func TestCompactMeanwhile(t *testing.T) {
	objects := newMemory()
	a, other := newArchive(objects), newArchive(objects)
	all := scatter(t, a, longAgo)
	once := false
	objects.fail = func(op, key string) error {
		if op != "put" || once {
			return nil
		}
		once = true
		objects.mu.Unlock() // as if the other one's calls came just before this one
		defer objects.mu.Lock()
		all = append(all, run("flights", longAgo, 7, 2))
		write(t, other, all[len(all)-1])
		if _, err := other.Compact(t.Context()); err != nil {
			t.Error(err)
		}
		return nil
	}
	if _, err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := other.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range all {
		check(t, a, want, 0)
	}
	if got := objects.keys(runsEnding); len(got) != 1 {
		t.Errorf("got %v, want one pair in the end", got)
	}
}

// Large pairs are left alone, and so are broken ones.
func TestCompactLeavesAlone(t *testing.T) {
	for name, spoil := range map[string]func(objects *memory, key string){
		"large": func(objects *memory, key string) {
			objects.objects[key+detailsEnding] = append(objects.objects[key+detailsEnding], make([]byte, smallPair)...)
		},
		"broken runs":    func(objects *memory, key string) { objects.objects[key+runsEnding] = []byte("x") },
		"broken details": func(objects *memory, key string) { objects.objects[key+detailsEnding] = []byte("x") },
		"no details":     func(objects *memory, key string) { delete(objects.objects, key+detailsEnding) },
	} {
		t.Run(name, func(t *testing.T) {
			objects := newMemory()
			a := newArchive(objects)
			write(t, a, run("flights", longAgo, 100, 1))
			key := strings.TrimSuffix(objects.keys(runsEnding)[0], runsEnding)
			spoil(objects, key)
			all := scatter(t, a, longAgo)
			a = newArchive(objects)
			if joined, err := a.Compact(t.Context()); err != nil || joined < 5 {
				t.Errorf("joined %d, %v, want the other five", joined, err)
			}
			if _, there := objects.objects[key+runsEnding]; !there {
				t.Error("it is gone")
			}
			for _, want := range all {
				check(t, a, want, 0)
			}
			if got := objects.keys(runsEnding); len(got) != 2 {
				t.Errorf("got %v, want it and one more", got)
			}
		})
	}
}

// One pair never grows beyond what is joined in memory.
func TestCompactIsBounded(t *testing.T) {
	objects := newMemory()
	a := newArchive(objects)
	a.smallPair, a.largePair = 100<<10, 400<<10
	const pairs = 20
	for i := range pairs {
		view := run("wide", longAgo, i, 0)
		view.Revision.Spec = fmt.Appendf(nil, `{"noise":%q}`, noise(i, 80<<10))
		write(t, a, view)
	}
	if _, err := a.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range objects.keys(detailsEnding) {
		if size := int64(len(objects.objects[key])); size > a.largePair+a.smallPair {
			t.Errorf("%s has %d bytes", key, size)
		}
	}
	if got := len(objects.keys(runsEnding)); got < 2 || got > 4 {
		t.Errorf("%d pairs became %d", pairs, got)
	}
	page, err := a.List(t.Context(), Filter{}, Position{}, 100)
	if err != nil || len(page.Runs) != pairs {
		t.Errorf("list has %d runs, %v, want %d", len(page.Runs), err, pairs)
	}
}

func TestCompactWhileStorageIsDown(t *testing.T) {
	objects := newMemory()
	a := newArchive(objects)
	scatter(t, a, longAgo)
	objects.fail = func(string, string) error { return storage.ErrUnavailable }
	if _, err := newArchive(objects).Compact(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
