package aggregate

import (
	"encoding/json"

	"github.com/tidemill/tidemill/jobs"
)

// GroupingSets are lists of names of group keys: [["carrier", "day"], ["carrier"], []].
type GroupingSets [][]string

const maxSets = 64

// DecodeSpec reads the array of arrays. That the names are group keys is checked with the section.
func (g *GroupingSets) DecodeSpec(d *jobs.Decoder) {
	n, ok := d.Elements()
	if !ok {
		return
	}
	if n > maxSets {
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
			if name, ok := at.Index(k).String(); ok {
				set = append(set, name)
			}
		}
		*g = append(*g, set)
	}
}

// Schema describes the array of arrays.
func (GroupingSets) Schema() map[string]any {
	return map[string]any{
		"type":     "array",
		"maxItems": maxSets,
		"items":    map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
		"examples": []any{[]any{[]any{"carrier", "day"}, []any{"carrier"}, []any{}}},
	}
}

// MarshalJSON writes empty sets as such.
func (g GroupingSets) MarshalJSON() ([]byte, error) { return json.Marshal([][]string(g)) }
