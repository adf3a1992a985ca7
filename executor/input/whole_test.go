package input

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestHasFraction(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "1": false, "-17": false, "2.0": false, "2.": false, " 2.00 ": false, "1e3": false, "1E+3": false,
		"2.5": true, "-0.1": true, ".5": true, "1e-3": true, "1E-3": true, "2.01": true, "2.0e-1": true,
	} {
		if got := hasFraction([]byte(text)); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
}

// The quick walk over fields must find what a reader of CSV finds.
func TestFractionsAreFound(t *testing.T) {
	for _, d := range []Dialect{rfc, {CSV: true, Delimiter: ';'}, {CSV: true, Delimiter: ',', Quote: '\'', Escape: '\\'}} {
		rapid.Check(t, func(rt *rapid.T) {
			fields := rapid.SliceOfN(rapid.SampledFrom([]string{"", "1", "2.0", "2.5", "x.y", "1e-3", "a" + string(d.Delimiter) + "3.5", "4\n4.5", `q"q'q`, `back\slash.5`}), 3, 30).Draw(rt, "fields")
			fields = fields[:len(fields)/3*3]
			var text bytes.Buffer
			for i, f := range fields {
				if d.Quote != 0 && (strings.ContainsAny(f, ",\n\"'\\") || rapid.Bool().Draw(rt, "quoted")) {
					if d.Escape != d.Quote {
						f = strings.ReplaceAll(f, string(d.Escape), string(d.Escape)+string(d.Escape))
					}
					f = string(d.Quote) + strings.ReplaceAll(f, string(d.Quote), string(d.Escape)+string(d.Quote)) + string(d.Quote)
				} else if d.Quote == 0 {
					f = strings.NewReplacer(";", "", "\n", "").Replace(f)
				}
				text.WriteString(f + map[bool]string{true: "\n", false: string(d.Delimiter)}[i%3 == 2])
			}
			w := &Whole{Columns: []bool{false, true, false}, Nulls: []string{"x.y"}, Dialect: d}
			want := false
			in := newRecords(bytes.NewReader(text.Bytes()), d)
			for {
				rec, _, err := in.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					rt.Fatal(err)
				}
				want = want || len(rec.Fields) == 3 && hasFraction([]byte(rec.Fields[1])) && rec.Fields[1] != "x.y"
			}
			if got := w.Broken(text.Bytes()); got != want {
				rt.Fatalf("%q: got %t, want %t", text.String(), got, want)
			}
		})
	}
}
