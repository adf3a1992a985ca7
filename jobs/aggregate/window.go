package aggregate

import (
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// A point in time is a number of microseconds since 1970-01-01T00:00:00Z, as the engine's TIMESTAMP has it: UTC, so
// that days have 24 hours and nothing is skipped or repeated.

// What the engine's TIMESTAMP holds: from 290309 BC to 294247.
const (
	firstTime = -9_223_372_022_400_000_000
	lastTime  = 9_223_372_036_854_775_806
)

// maxSliding is how many sliding windows a row may be in.
const maxSliding = 20_000

// Bounds are those of one window, End excluded.
type Bounds struct{ Start, End int64 }

// Windows are those that a time is in, the latest first: one that is tumbling, Sliding/Every that are sliding, and for
// sessions the one that a single row at that time makes. There are none for times for which [Window.Pane] has none.
func (w Window) Windows(at int64) []Bounds {
	if w.Session != 0 {
		if _, ok := w.Pane(at); !ok {
			return nil
		}
		return []Bounds{{at, at + w.Length()}}
	}
	pane, ok := w.Pane(at)
	if !ok {
		return nil
	}
	all := make([]Bounds, w.Overlap())
	for i := range all {
		start := pane - int64(i)*w.Step()
		all[i] = Bounds{start, start + w.Length()}
	}
	return all
}

// Pane is the start of the part of time, Step long, that a time is in. Rows of one pane are in the same windows, in
// Overlap of them: that which begins with the pane, and each that begins a Step before the last. ok is false for a time
// less than Length from the ends of what a TIMESTAMP holds: it is in no window.
//
// For sessions, rows of one group in one pane are in the same session: a pane is as long as the gap.
func (w Window) Pane(at int64) (start int64, ok bool) {
	if first, last := w.Times(); at < first || at > last {
		return 0, false
	}
	within := at % w.Step()
	if within < 0 { // before 1970
		within += w.Step()
	}
	return at - within, true
}

// Times are the first and the last time that windows have: those for which the bounds of all their windows are times.
func (w Window) Times() (first, last int64) { return firstTime + w.Length(), lastTime - w.Length() }

// Length is how long a window is, in microseconds; the gap that ends a session.
func (w Window) Length() int64 { return (w.Tumbling + w.Sliding + w.Session).Microseconds() }

// Step is how long a pane is, in microseconds.
func (w Window) Step() int64 {
	if w.Sliding != 0 {
		return w.Every.Microseconds()
	}
	return w.Length()
}

// Overlap is how many windows a pane is in.
func (w Window) Overlap() int {
	if w.Sliding == 0 {
		return 1
	}
	return int(w.Sliding / w.Every)
}

// Join makes one session of two of the same group, if they are one: if they overlap. At the end of a session, which is
// excluded, another begins. Whatever the order in which the rows' sessions are joined, the same ones come out.
func (b Bounds) Join(other Bounds) (joined Bounds, ok bool) {
	if b.Start >= other.End || other.Start >= b.End {
		return Bounds{}, false
	}
	return Bounds{min(b.Start, other.Start), max(b.End, other.End)}, true
}

// checkWindow makes sure that there is one kind of window, and a time.
func (s *Section) checkWindow(d *jobs.Decoder) {
	window, at := d.At("window"), d.At("time")
	if !window.Sound() || !at.Sound() {
		return
	}
	given := 0
	for _, field := range []struct {
		name   string
		length time.Duration
	}{{"tumbling", s.Window.Tumbling}, {"sliding", s.Window.Sliding}, {"session", s.Window.Session}, {"every", s.Window.Every}} {
		if window.At(field.name).Present() && field.name != "every" {
			given++
		}
		if field.length%time.Microsecond != 0 {
			window.At(field.name).Problem("want whole microseconds")
			return
		}
	}
	switch w := s.Window; {
	case window.Present() && given != 1:
		window.Problem("want one of tumbling, sliding and session, got %d", given)
	case window.Present() && s.Time.Expr == "":
		at.Problem("windows need the time of a row: {\"expr\": …}")
	case at.Present() && !window.Present():
		at.Problem("a time is only for windows")
	case w.Sliding == 0 && w.Every != 0:
		window.At("every").Problem("field \"every\" is only for sliding windows")
	case w.Sliding != 0 && w.Every == 0:
		window.At("every").Problem("sliding windows need the time from one to the next")
	case w.Sliding != 0 && w.Sliding%w.Every != 0:
		window.At("every").Problem("want a part of the length: %s is no multiple of %s", jobs.FormatDuration(w.Sliding), jobs.FormatDuration(w.Every))
	case w.Sliding != 0 && w.Sliding/w.Every > maxSliding:
		window.At("every").Problem("each row would be in %d windows; at most %d are allowed", w.Sliding/w.Every, maxSliding)
	}
}
