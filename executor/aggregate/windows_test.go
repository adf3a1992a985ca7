package aggregate_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/executor/aggregate"
	spec "github.com/tidemill/tidemill/jobs/aggregate"
)

// event is a row of the input, and what the model knows of it.
type event struct {
	at      int64 // microseconds since 1970
	noTime  string
	a, b    string // "": missing
	v       int
	noValue bool
}

const noKey = "∅"

// model aggregates row by row: for each grouping set, the rows of each group by window.
func model(w spec.Window, sets [][]bool, events []event) []string {
	type group struct {
		set  int
		a, b string
	}
	rows := map[group]map[spec.Bounds][]event{}
	for set, has := range sets {
		for _, e := range events {
			if e.noTime != "" {
				continue
			}
			g := group{set, noKey, noKey}
			if has[0] && e.a != "" {
				g.a = e.a
			}
			if has[1] && e.b != "" {
				g.b = e.b
			}
			if rows[g] == nil {
				rows[g] = map[spec.Bounds][]event{}
			}
			for _, window := range w.Windows(e.at) {
				in := []event{e}
				if w.Session != 0 {
					for other, events := range rows[g] {
						if joined, ok := window.Join(other); ok {
							window, in = joined, append(in, events...)
							delete(rows[g], other)
						}
					}
				}
				rows[g][window] = append(rows[g][window], in...)
			}
		}
	}
	var all []string
	for g, windows := range rows {
		for window, events := range windows {
			all = append(all, modelRow(window, g.set, g.a, g.b, events))
		}
	}
	slices.Sort(all)
	return all
}

// modelRow is window_start, window_end, the keys, the set, rows, sum, min, max, distinct values.
func modelRow(w spec.Bounds, set int, a, b string, events []event) string {
	values := map[int]int{}
	sum, count := 0, 0
	for _, e := range events {
		if !e.noValue {
			sum, count = sum+e.v, count+1
			values[e.v]++
		}
	}
	row := fmt.Sprintf("%s|%s|%s|%s|%d|%d", timestamp(w.Start), timestamp(w.End), a, b, set, len(events))
	if count == 0 {
		return row + "|∅|∅|∅|0"
	}
	distinct := slices.Collect(maps.Keys(values))
	return fmt.Sprintf("%s|%d|%d|%d|%d", row, sum, slices.Min(distinct), slices.Max(distinct), len(distinct))
}

// timestamp is how the engine writes one.
func timestamp(micros int64) string {
	at := time.UnixMicro(micros).UTC()
	if year := at.Year(); year <= 0 {
		return fmt.Sprintf("%04d-%s (BC) %s", 1-year, at.Format("01-02"), at.Format("15:04:05.999999"))
	}
	return at.Format("2006-01-02 15:04:05.999999")
}

func anyOf[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// randomEvents are so near to one another that many are in one window, and often where windows begin and end.
func randomEvents(r *rand.Rand, w spec.Window) []event {
	from := anyOf[int64](r, 0, -5*w.Length(), 1_700_000_000_000_000, -62_135_596_800_000_000)
	spread := w.Length() * anyOf[int64](r, 3, 10, 50)
	events := make([]event, anyOf(r, 0, 1, 5, 60, 60))
	for i := range events {
		key := func() string { return anyOf(r, "x", "y", "z", "") }
		e := event{at: from + r.Int64N(spread), a: key(), b: key(), v: r.IntN(7) - 3, noValue: r.IntN(6) == 0}
		if r.IntN(3) == 0 { // where windows begin and end
			e.at -= e.at % w.Length()
		}
		if r.IntN(10) == 0 {
			e.noTime = anyOf(r, "null", `"infinity"`, `"-infinity"`, `"290309-12-22 (BC) 00:00:00"`)
		}
		events[i] = e
	}
	return events
}

func randomWindow(r *rand.Rand) spec.Window {
	length := anyOf(r, time.Millisecond, 10*time.Millisecond, 100*time.Millisecond, time.Second, 7*time.Second, time.Minute, time.Hour, 24*time.Hour) * time.Duration(1+r.IntN(3))
	switch r.IntN(3) {
	case 0:
		return spec.Window{Tumbling: length}
	case 1:
		return spec.Window{Sliding: length * time.Duration(1+r.IntN(5)), Every: length}
	}
	return spec.Window{Session: length}
}

func randomSets(r *rand.Rand) [][]bool {
	sets := make([][]bool, 1+r.IntN(5))
	for i := range sets {
		sets[i] = []bool{r.IntN(2) == 0, r.IntN(2) == 0}
	}
	return sets
}

func windowSpec(w spec.Window) string {
	switch {
	case w.Tumbling != 0:
		return fmt.Sprintf(`{"tumbling": "%s"}`, w.Tumbling)
	case w.Sliding != 0:
		return fmt.Sprintf(`{"sliding": "%s", "every": "%s"}`, w.Sliding, w.Every)
	}
	return fmt.Sprintf(`{"session": "%s"}`, w.Session)
}

func (e event) json() string {
	at := e.noTime
	if at == "" {
		at = strconv.Quote(timestamp(e.at))
	}
	line := `{"ts": ` + at
	for name, key := range map[string]string{"a": e.a, "b": e.b} {
		if key != "" {
			line += fmt.Sprintf(`, %q: %q`, name, key)
		}
	}
	if !e.noValue {
		line += fmt.Sprintf(`, "v": %d`, e.v)
	}
	return line + "}\n"
}

// However the rows are ordered and the input is cut into files, splits and reduce tasks, and whether there are sketches,
// which take another way: the rows are those of the model.
func TestWindowsAgainstModel(t *testing.T) {
	eachSeed(t, 2**tables, func(t *testing.T, r *rand.Rand) {
		w := randomWindow(r)
		events := randomEvents(r, w)
		sets, setSpec := [][]bool{{true, true}}, ""
		if r.IntN(2) == 0 {
			sets = randomSets(r)
			setSpec = groupingSets(sets)
		}
		measures, sketches := `"n": {"count": "*"}, "s": {"sum": "v"}, "lo": {"min": "v"}, "hi": {"max": "v"}`, r.IntN(2) == 0
		if sketches {
			measures += `, "d": {"approx_distinct": "v"}`
		}
		want := model(w, sets, events)
		for i := range want {
			if setSpec == "" {
				want[i] = withoutSet(want[i])
			}
			if !sketches {
				want[i] = want[i][:strings.LastIndex(want[i], "|")]
			}
		}
		section := fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "jsonl", "columns": {"ts": %q, "a": "VARCHAR", "b": "VARCHAR", "v": "BIGINT"}},
			"time": {"expr": "ts"}, "window": %s, "group_by": [{"name": "a"}, {"name": "b"}], %s"measures": {%s}, "output": {"uri": "LAKE/out/"}}`,
			anyOf(r, "TIMESTAMP", "TIMESTAMPTZ"), windowSpec(w), setSpec, measures)
		l := newLake(t)
		l.putEvents(r, events)
		out, err := l.run(section, 1)
		if err != nil {
			t.Fatalf("%v\n%s", err, section)
		}
		got := l.rows(out)
		if !slices.IsSortedFunc(got, byWindowAndKeys) {
			t.Errorf("rows are not in the order of windows and keys:\n%s", strings.Join(got, "\n"))
		}
		compareSets(t, section, got, want)

		l.kind, l.reduces = aggregate.NewCutting(50+r.Int64N(1000)), r.IntN(4)
		if out, err = l.run(section, 4); err != nil {
			t.Fatalf("in splits: %v\n%s", err, section)
		}
		compareSets(t, fmt.Sprint(section, l.stages), l.rows(out), want)
	})
}

// putEvents writes the input, in any order, into several files.
func (l *lake) putEvents(r *rand.Rand, events []event) {
	l.t.Helper()
	events = slices.Clone(events)
	r.Shuffle(len(events), func(i, k int) { events[i], events[k] = events[k], events[i] })
	files := 1 + r.IntN(4)
	for f := range files {
		var b strings.Builder
		for _, e := range events[f*len(events)/files : (f+1)*len(events)/files] {
			b.WriteString(e.json())
		}
		l.put(fmt.Sprintf("in/%d.jsonl", f), b.String())
	}
}

func compareSets(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// groupingSets is the field of the spec for keys a and b.
func groupingSets(sets [][]bool) string {
	var all []string
	for _, has := range sets {
		var names []string
		for i, name := range []string{`"a"`, `"b"`} {
			if has[i] {
				names = append(names, name)
			}
		}
		all = append(all, "["+strings.Join(names, ", ")+"]")
	}
	return `"grouping_sets": [` + strings.Join(all, ", ") + `], `
}

// withoutSet leaves the number of the grouping set out.
func withoutSet(row string) string {
	parts := strings.Split(row, "|")
	return strings.Join(slices.Delete(parts, 4, 5), "|")
}

// byWindowAndKeys compares rows of one era; missing keys come last, which their sign does.
func byWindowAndKeys(x, y string) int {
	a, b := strings.Split(x, "|"), strings.Split(y, "|")
	if strings.Contains(x+y, "BC") {
		return 0
	}
	for i := range 4 {
		if c := cmp.Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

// What times of each type mean: UTC, rounded down to microseconds; nothing that is infinite or farther than a TIMESTAMP.
func TestTypesOfTimes(t *testing.T) {
	const day, hour = "24h", "1h"
	for _, test := range []struct{ kind, expr, length, value, want string }{
		{"DATE", "x", day, "1969-12-31", "1969-12-31 00:00:00|1970-01-01 00:00:00|1"},
		{"DATE", "x", hour, "0001-01-01 (BC)", "0001-01-01 (BC) 00:00:00|0001-01-01 (BC) 01:00:00|1"},
		{"DATE", "x", day, "infinity", ""},
		{"DATE", "x", day, "-infinity", ""},
		{"INTEGER", "DATE '1970-01-01' + x", day, "200000000", ""},                                   // in the year 549550
		{"TIMESTAMP", "x", hour, "2024-03-31 02:30:00", "2024-03-31 02:00:00|2024-03-31 03:00:00|1"}, // skipped in Berlin
		{"TIMESTAMP", "x", hour, "290309-12-22 (BC) 00:00:00", ""},
		{"TIMESTAMP", "x", hour, "294247-01-10 04:00:54.775806", ""},
		{"TIMESTAMP", "CAST(x AS TIMESTAMP_S)", hour, "1969-12-31 23:59:59", "1969-12-31 23:00:00|1970-01-01 00:00:00|1"},
		{"TIMESTAMP", "CAST(x AS TIMESTAMP_MS)", "1ms", "1969-12-31 23:59:59.999", "1969-12-31 23:59:59.999|1970-01-01 00:00:00|1"},
		{"VARCHAR", "CAST(x AS TIMESTAMP_NS)", "1s", "1969-12-31 23:59:59.999999999", "1969-12-31 23:59:59|1970-01-01 00:00:00|1"},
		{"VARCHAR", "CAST(x AS TIMESTAMP_NS)", "1s", "2024-01-01 00:00:00.999999999", "2024-01-01 00:00:00|2024-01-01 00:00:01|1"},
		{"VARCHAR", "CAST(x AS TIMESTAMP_NS)", "1s", "infinity", ""},
		{"TIMESTAMPTZ", "x", hour, "2024-03-31 01:59:59+02", "2024-03-30 23:00:00|2024-03-31 00:00:00|1"},
		{"BIGINT", "to_timestamp(x)", hour, "-1", "1969-12-31 23:00:00|1970-01-01 00:00:00|1"},
	} {
		t.Run(test.expr+" of "+test.kind+" "+test.value, func(t *testing.T) {
			l := newLake(t)
			l.put("in/1.csv", "x\n"+test.value+"\n")
			out, err := l.run(fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "csv", "columns": {"x": %q}}, "time": {"expr": %q}, "window": {"tumbling": %q},
				"measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`, test.kind, test.expr, test.length), 1)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(l.rows(out), "\n"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Partial results that are handed on piece by piece, because memory is short, make the same windows and sets.
func TestWindowsInLittleMemory(t *testing.T) {
	var b strings.Builder
	const rows, keys = 140_000, 70_000
	for i := range rows {
		fmt.Fprintf(&b, "{\"ts\": \"2024-01-01 %02d:%02d:%02d\", \"a\": \"%d\", \"b\": \"%d\"}\n", i%24, i/24%60, i/7%60, i%keys, i%3)
	}
	for _, window := range []string{`{"tumbling": "8h"}`, `{"sliding": "12h", "every": "6h"}`, `{"session": "3h"}`} {
		t.Run(window, func(t *testing.T) {
			section := `{"input": {"uri": "LAKE/in/", "format": "jsonl", "columns": {"ts": "TIMESTAMP", "a": "VARCHAR", "b": "VARCHAR"}}, "time": {"expr": "ts"}, "window": ` + window + `,
				"group_by": [{"name": "a"}, {"name": "b"}], "grouping_sets": [["a", "b"], ["b"], []], "measures": {"n": {"count": "*"}},
				"order_by": [{"name": "n", "descending": true}], "limit": 300, "output": {"uri": "LAKE/out/"}}`
			l := newLake(t)
			l.put("in/1.jsonl", b.String())
			roomy, err := l.run(section, 1)
			if err != nil {
				t.Fatal(err)
			}
			want := l.rows(roomy)
			l.kind, l.memory, l.disk, l.reduces = aggregate.NewCutting(4<<20), 40<<20, 16<<20, 2
			tight, err := l.run(section, 3)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(want, l.rows(tight)); diff != "" || len(want) != 300 {
				t.Errorf("%d rows, after %v (-want +got):\n%s", len(want), l.stages, diff)
			}
		})
	}
}
