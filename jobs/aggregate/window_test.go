package aggregate_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs/aggregate"
)

// at is a time in RFC 3339 as a point in time.
func at(t testing.TB, text string) int64 {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return when.UnixMicro()
}

func TestWindows(t *testing.T) {
	day, hour := 24*time.Hour, time.Hour
	tumbling := func(d time.Duration) aggregate.Window { return aggregate.Window{Tumbling: d} }
	for _, test := range []struct {
		window aggregate.Window
		at     string
		want   []string // starts
	}{
		{tumbling(day), "2024-02-29T23:59:59.999999Z", []string{"2024-02-29T00:00:00Z"}},
		{tumbling(day), "2024-03-01T00:00:00Z", []string{"2024-03-01T00:00:00Z"}},
		{tumbling(day), "1970-01-01T00:00:00Z", []string{"1970-01-01T00:00:00Z"}},
		{tumbling(day), "1969-12-31T23:59:59.999999Z", []string{"1969-12-31T00:00:00Z"}},
		{tumbling(day), "1969-12-31T00:00:00Z", []string{"1969-12-31T00:00:00Z"}},
		{tumbling(7 * day), "2026-11-24T02:00:00Z", []string{"2026-11-19T00:00:00Z"}}, // weeks begin on Thursdays, as 1970 did
		{tumbling(7 * time.Second), "0001-01-01T00:00:00Z", []string{"0000-12-31T23:59:57Z"}},
		{tumbling(time.Millisecond), "2024-01-01T00:00:00.0019999Z", []string{"2024-01-01T00:00:00.001Z"}},
		{aggregate.Window{Sliding: hour, Every: 20 * time.Minute}, "1970-01-01T00:19:59Z", []string{"1970-01-01T00:00:00Z", "1969-12-31T23:40:00Z", "1969-12-31T23:20:00Z"}},
		{aggregate.Window{Sliding: hour, Every: 20 * time.Minute}, "1970-01-01T00:20:00Z", []string{"1970-01-01T00:20:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:40:00Z"}},
		{aggregate.Window{Sliding: hour, Every: hour}, "1970-01-01T00:20:00Z", []string{"1970-01-01T00:00:00Z"}},
		{aggregate.Window{Session: hour}, "1970-01-01T00:20:00Z", []string{"1970-01-01T00:20:00Z"}},
	} {
		var want []aggregate.Bounds
		for _, start := range test.want {
			want = append(want, aggregate.Bounds{Start: at(t, start), End: at(t, start) + test.window.Length()})
		}
		if diff := cmp.Diff(want, test.window.Windows(at(t, test.at))); diff != "" {
			t.Errorf("%+v of %s (-want +got):\n%s", test.window, test.at, diff)
		}
	}
}

// drawWindow draws a window of any kind.
func drawWindow(t *rapid.T) aggregate.Window {
	micros := func(label string, most int64) time.Duration {
		return time.Duration(rapid.Int64Range(1000, most).Draw(t, label)) * time.Microsecond
	}
	const longest = 87600 * 3600 * 1e6
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		return aggregate.Window{Tumbling: micros("length", longest)}
	case 1:
		every := micros("every", longest/50)
		return aggregate.Window{Sliding: every * time.Duration(rapid.IntRange(1, 50).Draw(t, "overlap")), Every: every}
	}
	return aggregate.Window{Session: micros("gap", longest)}
}

// The windows of a time are those that hold it: all of them, and no others.
func TestWindowsHoldTheTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWindow(t)
		at := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1e15, 1e15), rapid.Just(int64(math.MaxInt64)), rapid.Just(int64(math.MinInt64))).Draw(t, "at")
		windows := w.Windows(at)
		pane, ok := w.Pane(at)
		if first, last := w.Times(); ok != (first <= at && at <= last) || ok != (len(windows) > 0) {
			t.Fatalf("%d has a pane: %t, and windows %v", at, ok, windows)
		}
		if !ok {
			return
		}
		if at < pane || at-pane >= w.Step() || pane%w.Step() != 0 {
			t.Fatalf("pane %d of %d, each %d long", pane, at, w.Step())
		}
		if len(windows) != w.Overlap() {
			t.Fatalf("got %d windows, want %d", len(windows), w.Overlap())
		}
		for i, b := range windows {
			if at < b.Start || at >= b.End || b.End-b.Start != w.Length() {
				t.Fatalf("window %v does not hold %d, or is not %d long", b, at, w.Length())
			}
			if i > 0 && windows[i-1].Start-b.Start != w.Step() {
				t.Fatalf("from window %v to %v it is not %d", b, windows[i-1], w.Step())
			}
		}
		// The next windows on both sides do not hold it.
		if earlier := windows[len(windows)-1].Start - w.Step(); w.Session == 0 && (earlier+w.Length() > at || windows[0].Start+w.Step() <= at) {
			t.Fatalf("there are more windows that hold %d than %v", at, windows)
		}
	})
}

// sessions joins one row after another.
func sessions(w aggregate.Window, times []int64) []aggregate.Bounds {
	var all []aggregate.Bounds
	for _, at := range times {
		one := w.Windows(at)[0]
		var apart []aggregate.Bounds
		for _, other := range all {
			if joined, ok := one.Join(other); ok {
				one = joined
			} else {
				apart = append(apart, other)
			}
		}
		all = append(apart, one)
	}
	slices.SortFunc(all, func(a, b aggregate.Bounds) int { return int(a.Start - b.Start) })
	return all
}

// Sessions do not depend on the order of the rows, are apart, and have no pause inside; rows of one pane are in one.
func TestSessions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := aggregate.Window{Session: time.Duration(rapid.Int64Range(1, 50).Draw(t, "gap")) * time.Microsecond}
		times := rapid.SliceOfN(rapid.Int64Range(-500, 500), 1, 40).Draw(t, "times")
		got := sessions(w, times)
		if other := sessions(w, rapid.Permutation(times).Draw(t, "order")); !slices.Equal(got, other) {
			t.Fatalf("sessions are %v, and in another order %v", got, other)
		}
		sorted := slices.Sorted(slices.Values(times))
		want := []aggregate.Bounds{{Start: sorted[0], End: sorted[0] + w.Length()}}
		for i, at := range sorted[1:] {
			if at-sorted[i] >= w.Length() {
				want = append(want, aggregate.Bounds{Start: at})
			}
			want[len(want)-1].End = at + w.Length()
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got sessions %v, want %v", got, want)
		}
		for _, a := range times {
			for _, b := range times {
				paneA, _ := w.Pane(a)
				paneB, _ := w.Pane(b)
				holds := func(s aggregate.Bounds) bool { return s.Start <= a && a < s.End && s.Start <= b && b < s.End }
				if paneA == paneB && !slices.ContainsFunc(got, holds) {
					t.Fatalf("%d and %d are in pane %d, but not in one session of %v", a, b, paneA, got)
				}
			}
		}
	})
}
