package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/executor/task"
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
			w := &Whole{Columns: []bool{false, true, false}, Nulls: []string{"x.y"}}
			want := ""
			in := newRecords(bytes.NewReader(text.Bytes()), d)
			for want == "" {
				rec, _, err := in.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					rt.Fatal(err)
				}
				if len(rec.Fields) == 3 && hasFraction([]byte(rec.Fields[1])) && rec.Fields[1] != "x.y" {
					want = rec.Fields[1]
				}
			}
			_, column, value := w.find(text.Bytes(), d)
			got := string(value)
			if d.Quote != 0 { // find leaves escapes in quotes as they are
				got = strings.NewReplacer(string(d.Escape)+string(d.Quote), string(d.Quote), `\\`, `\`).Replace(got)
				want = strings.NewReplacer(`\\`, `\`).Replace(want)
			}
			if got != want || value != nil && column != 1 {
				rt.Fatalf("%q: got %q in column %d, want %q", text.String(), got, column, want)
			}
		})
	}
}

func TestFractionSaysWhere(t *testing.T) {
	objects := map[string]string{"1.csv": "a,b\n" + strings.Repeat("1,\"x\n.\"\n", 50_000) + "2,y\n2.5,z\n3,\n"}
	set := list(t, lay(t, objects), "file:///data/")
	rows := &Rows{Set: set, Dialect: rfc, Header: []string{"a", "b"}, Widest: 1 << 20, Whole: &Whole{
		Columns: []bool{true}, Detail: func(column int, value string) string { return fmt.Sprint(column, " ", value) },
	}}
	_, _, err := feed(t, rows, Cut(set.Files, 1<<30, false)[0])
	var failure *task.Failure
	if !errors.As(err, &failure) || failure.Message != "file:///data/1.csv, line 100003: 0 2.5" {
		t.Errorf("got %v", err)
	}
	// The same in a file that is cut: the line is still the file's.
	objects = map[string]string{"1.csv": "a,b\n" + strings.Repeat("1,.\n", 100) + "2.5,z\n3,\n"}
	set = list(t, lay(t, objects), "file:///data/")
	rows.Set = set
	for _, split := range Cut(set.Files, 60, true) {
		if _, _, err = feed(t, rows, split); err != nil {
			break
		}
	}
	if !errors.As(err, &failure) || failure.Message != "file:///data/1.csv, line 102: 0 2.5" {
		t.Errorf("in a segment: got %v", err)
	}
}
