package aggregate

import (
	"encoding/json"
	"testing"

	"github.com/tidemill/tidemill/executor/input"
)

// What was read as a plan is a part of its own files, and is read back the same.
func FuzzParsePlan(f *testing.F) {
	f.Add([]byte(`{"run":"r","files":[{"key":"a","size":10,"etag":"x","compression":"none"}],"splits":[[{"file":0,"offset":3,"length":7}]],"partitions":4,"columns":[{"name":"a","type":"BIGINT"}],"keys":["BIGINT"],"args":[]}`))
	f.Add([]byte(`{"run":"r","files":[{"size":9223372036854775807}],"splits":[[{"offset":9223372036854775807,"length":9223372036854775807}]],"partitions":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePlan(data, "r")
		if err != nil {
			return
		}
		set := input.Set{Files: p.Files}
		for _, split := range p.Splits {
			for _, s := range split {
				if end := s.Offset + s.Length; end < 0 || end > set.Files[s.File].Size {
					t.Fatalf("segment %+v is not a part of %+v", s, set.Files[s.File])
				}
			}
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsePlan(again, "r"); err != nil {
			t.Fatalf("%s is not read back: %v", again, err)
		}
	})
}
