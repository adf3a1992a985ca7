package aggregate

import "github.com/tidemill/tidemill/jobs"

// checkWindow makes sure that there is one kind of window, and a time.
func (s *Section) checkWindow(d *jobs.Decoder) {
	window, at := d.At("window"), d.At("time")
	if !window.Sound() || !at.Sound() {
		return
	}
	given := 0
	for _, name := range []string{"tumbling", "sliding", "session"} {
		if window.At(name).Present() {
			given++
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
	}
}
