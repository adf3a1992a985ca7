package aggregate

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/jobs"
)

// Result columns beside group keys and measures.
const (
	WindowStart = "window_start" // TIMESTAMP; with a window
	WindowEnd   = "window_end"   // TIMESTAMP; with a window
	GroupingSet = "grouping_set" // INTEGER: which of the grouping sets the row is of, from 0 on; with grouping sets
)

// ResultColumns are the names of the result's columns, in order: the bounds of the window, the group keys, the number of
// the grouping set, the measures. They differ in more than capitals.
func (s *Section) ResultColumns() []string {
	var names []string
	if s.Window.Windowed() {
		names = append(names, WindowStart, WindowEnd)
	}
	for _, g := range s.GroupBy {
		names = append(names, g.Name)
	}
	if len(s.GroupingSets) > 0 {
		names = append(names, GroupingSet)
	}
	for _, m := range s.Measures {
		names = append(names, m.Name)
	}
	return names
}

// checkColumns makes sure that the result has columns and that their names are valid and differ.
func (s *Section) checkColumns(d *jobs.Decoder) {
	if len(s.GroupBy) == 0 && len(s.Measures) == 0 && d.At("group_by").Sound() && d.At("measures").Sound() {
		d.Problem("want at least one element in group_by or one measure")
	}
	seen := map[string]string{} // in small letters: column names differ in more than capitals
	if d.At("window").Present() {
		seen[WindowStart], seen[WindowEnd] = "of the window", "of the window"
	}
	if d.At("grouping_sets").Present() {
		seen[GroupingSet] = "of the grouping set"
	}
	check := func(at *jobs.Decoder, name string) {
		checkColumnName(at, name)
		switch whose, found := seen[strings.ToLower(name)]; {
		case found && whose != "":
			at.Problem("the result has a column %q, that %s; choose another name", strings.ToLower(name), whose)
		case found:
			at.Problem("the result has two columns %q; names of groups and measures differ in more than capitals", name)
		}
		seen[strings.ToLower(name)] = ""
	}
	for i, g := range s.GroupBy {
		if at := d.At("group_by").Index(i).At("name"); at.Present() && at.Sound() {
			check(at, g.Name)
		}
	}
	for _, m := range s.Measures {
		check(d.At("measures", m.Name), m.Name)
	}
}

// checkOrder makes sure that the rows are ordered by result columns, by each at most once.
func (s *Section) checkOrder(d *jobs.Decoder) {
	if !d.At("group_by").Sound() || !d.At("measures").Sound() {
		return
	}
	columns := s.ResultColumns()
	seen := map[string]bool{}
	for i, o := range s.OrderBy {
		at := d.At("order_by").Index(i).At("name")
		switch {
		case !at.Present() || !at.Sound():
		case !slices.Contains(columns, o.Name):
			at.Unknown("result column", o.Name, columns)
		case seen[o.Name]:
			at.Problem("the result is ordered by %q twice", o.Name)
		}
		seen[o.Name] = true
	}
}
