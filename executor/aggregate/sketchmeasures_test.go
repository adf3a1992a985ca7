package aggregate_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/jobs/sketch"
)

// sketchRows is a table with two groups, of which one has 3000 different names and the other 30, each name i%7+1 times.
func sketchRows() (csv []string, names map[string]int) {
	names = map[string]int{"many": 3000, "few": 30}
	var files [3]strings.Builder
	for f := range files {
		files[f].WriteString("g,name,n,x\n")
	}
	row := 0
	for g, different := range names {
		for i := range different {
			for range i%7 + 1 {
				fmt.Fprintf(&files[row%len(files)], "%s,né %d,%d,%d.5\n", g, i, i, i)
				row++
			}
		}
	}
	fmt.Fprintf(&files[0], "none,,,\n")
	for _, f := range files {
		csv = append(csv, f.String())
	}
	return csv, names
}

const sketchMeasures = `
	"names": {"approx_distinct": "name"}, "names set": {"theta": "name"},
	"hll": {"approx_distinct": "name", "as": "sketch"}, "set": {"theta": "n", "as": "sketch"},
	"kll": {"approx_quantile": "x", "as": "sketch"}, "member": {"membership": "name", "expected": 4000},
	"top": {"approx_top_k": "name", "k": 5}, "top n": {"approx_top_k": "n", "k": 5, "where": "n < 20"},
	"tops": {"approx_top_k": "name", "k": 5, "as": "sketch"}, "top x": {"approx_top_k": "x", "k": 2}`

// Sketches and estimates are right in one task and in many, with little memory, which makes slices, and as text.
func TestSketchMeasures(t *testing.T) {
	csv, names := sketchRows()
	for _, test := range []struct {
		split  int64
		memory int64
	}{{1 << 30, 256 << 20}, {10_000, 256 << 20}, {1 << 30, 16 << 20}} {
		l := newLake(t)
		l.kind, l.memory = aggregate.NewCutting(test.split), test.memory
		for i, text := range csv {
			l.put(fmt.Sprintf("in/%d.csv", i), text)
		}
		out, err := l.run(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "g"}], "measures": {`+sketchMeasures+`},
			"output": {"uri": "LAKE/out/", "format": "csv"}}`, 4)
		if err != nil {
			t.Fatal(err)
		}
		rows := l.rows(out)
		if len(rows) != 3 {
			t.Fatalf("got %d rows", len(rows))
		}
		for _, row := range rows {
			fields := strings.Split(row, "|")
			checkSketches(t, fields, names[fields[0]])
		}
	}
}

func checkSketches(t *testing.T, fields []string, different int) {
	t.Helper()
	for _, field := range fields[1:3] {
		n, err := strconv.Atoi(field)
		if err != nil || math.Abs(float64(n-different)) > 0.05*float64(different) {
			t.Errorf("%s: %s names, want %d", fields[0], field, different)
		}
	}
	read := func(i int) *sketch.Any {
		data, err := base64.StdEncoding.DecodeString(fields[i])
		if err != nil {
			t.Fatalf("%s: column %d: %v", fields[0], i, err)
		}
		s, err := sketch.Read(data)
		if err != nil {
			t.Fatalf("%s: column %d: %v", fields[0], i, err)
		}
		return s
	}
	estimate := func(s *sketch.Any) float64 {
		facts, err := s.Facts()
		if err != nil {
			t.Fatal(err)
		}
		for _, fact := range facts {
			if x, ok := fact.Value.(float64); ok && fact.Name == "estimate" {
				return x
			}
		}
		return -1
	}
	if got := estimate(read(3)); fmt.Sprintf("%.0f", got) != fields[1] {
		t.Errorf("%s: the HLL sketch says %g, the estimate is %s", fields[0], got, fields[1])
	}
	if got := estimate(read(4)); got != float64(different) {
		t.Errorf("%s: the theta sketch has %g numbers, want %d", fields[0], got, different)
	}
	kll := read(5)
	if median, err := kll.Quantile(0.5); different > 0 && (err != nil || math.Abs(median-float64(different)/2) > 0.05*float64(different)+4) {
		t.Errorf("%s: the median is %g, %v", fields[0], median, err)
	}
	filter, taken := read(6), 0
	for i := range 8000 {
		in, err := filter.Contains([]byte(fmt.Sprintf("né %d", i)))
		if err != nil || i < different && !in {
			t.Fatalf("%s: né %d is no member, %v", fields[0], i, err)
		}
		if in && i >= different {
			taken++
		}
	}
	if taken > 150 {
		t.Errorf("%s: the filter takes %d others for members", fields[0], taken)
	}
	checkTop(t, fields, different)
	items, err := read(9).Top(5)
	if err != nil || len(items) != min(different, 5) {
		t.Errorf("%s: the sketch's top are %v, %v", fields[0], items, err)
	}
}

func checkTop(t *testing.T, fields []string, different int) {
	t.Helper()
	for column, want := range map[int]string{
		7: `[{"value":"né 13","count":7},{"value":"né 20","count":7},{"value":"né 27","count":7},{"value":"né 6","count":7},{"value":"né 12","count":6}]`,
		8: `[{"value":6,"count":7},{"value":13,"count":7},{"value":5,"count":6},{"value":12,"count":6},{"value":19,"count":6}]`,
	} {
		if different == 0 {
			want = `[]`
		}
		if column == 7 && different > 1000 { // too many to be counted exactly
			var top []struct {
				Value string
				Count int64
			}
			if err := json.Unmarshal([]byte(fields[7]), &top); err != nil || len(top) != 5 || top[0].Count < 7 || top[0].Count > 7+60 {
				t.Errorf("%s: top: got %s, %v", fields[0], fields[7], err)
			}
			continue
		}
		if fields[column] != want {
			t.Errorf("%s: column %d: got %s, want %s", fields[0], column, fields[column], want)
		}
	}
}

// Long texts are hashed as they come: what is kept does not grow with them.
func TestLongTextsInLittleMemory(t *testing.T) {
	l := newLake(t)
	l.memory = 48 << 20
	padding := strings.Repeat("0123456789", 400)
	var text strings.Builder
	text.WriteString("s\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "%d %s\n", i, padding)
	}
	l.put("in/1.csv", text.String())
	out, err := l.run(`{"input": {"uri": "LAKE/in/", "format": "csv"},
		"measures": {"n": {"approx_distinct": "s"}, "set": {"theta": "s"}, "rows": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`, 1)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Split(l.rows(out)[0], "|")
	for _, field := range fields[:2] {
		if n, err := strconv.Atoi(field); err != nil || math.Abs(float64(n)-20_000) > 1600 {
			t.Errorf("got %s different texts, want about 20000", field)
		}
	}
	if fields[2] != "20000" {
		t.Errorf("got %s rows", fields[2])
	}
}
