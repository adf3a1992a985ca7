package aggregate

import (
	"encoding/json"
	"slices"

	"github.com/tidemill/tidemill/jobs"
)

// GroupingSets are lists of names of group keys: [["carrier", "day"], ["carrier"], []].
type GroupingSets [][]string

const maxSets = 64

// DecodeSpec reads the array of arrays. That the names are group keys is checked with the section.
func (g *GroupingSets) DecodeSpec(d *jobs.Decoder) {
	n, ok := d.Elements()
	switch {
	case !ok:
		return
	case n == 0:
		d.Problem("want at least one set; [] inside it is the set of no keys: [[]]")
		return
	case n > maxSets:
		d.Problem("want at most %d sets, got %d", maxSets, n)
		return
	}
	for i := range n {
		at := d.Index(i)
		names, ok := at.Elements()
		if !ok {
			continue
		}
		set := make([]string, 0, names)
		for k := range names {
			name, ok := at.Index(k).String()
			if ok && slices.Contains(set, name) {
				at.Index(k).Problem("group key %q is twice in the set", name)
			}
			set = append(set, name)
		}
		*g = append(*g, set)
	}
}

// Schema describes the array of arrays.
func (GroupingSets) Schema() map[string]any {
	return map[string]any{
		"type":     "array",
		"minItems": 1,
		"maxItems": maxSets,
		"items":    map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "uniqueItems": true},
		"examples": []any{[]any{[]any{"carrier", "day"}, []any{"carrier"}, []any{}}},
	}
}

// MarshalJSON writes empty sets as such.
func (g GroupingSets) MarshalJSON() ([]byte, error) { return json.Marshal([][]string(g)) }

// checkSets makes sure that the sets are made of group keys.
func (s *Section) checkSets(d *jobs.Decoder) {
	at := d.At("grouping_sets")
	if !at.Sound() || !d.At("group_by").Sound() {
		return
	}
	keys := make([]string, len(s.GroupBy))
	for i, g := range s.GroupBy {
		keys[i] = g.Name
	}
	for i, set := range s.GroupingSets {
		for k, name := range set {
			if !slices.Contains(keys, name) {
				at.Index(i).Index(k).Unknown("group key", name, keys)
			}
		}
	}
}
