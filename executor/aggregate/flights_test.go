package aggregate_test

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"github.com/apache/datasketches-go/hll"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Absolute, because the S3 of TestOnS3 changes the working directory.
var (
	flightsData = absolute("../../examples/data/flights/*.csv.gz")
	weblogData  = absolute("../../examples/data/weblog/*.jsonl.gz")
)

func absolute(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return absolute
}

// open reads all files of the examples, decompressed, one after another.
func open(t testing.TB, pattern string, read func(io.Reader)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files at %s: %v", pattern, err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		read(plain)
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// flightGroup is what plain Go finds of one carrier's day.
type flightGroup struct {
	flights, distance int64
	delays            []int64
	planes            hll.HllSketch
	tails             map[string]bool
}

var flightGroups struct {
	sync.Once
	all map[string]*flightGroup
}

// countFlights counts once for all tests.
func countFlights(t testing.TB) map[string]*flightGroup {
	t.Helper()
	flightGroups.Do(func() { flightGroups.all = readFlights(t) })
	return flightGroups.all
}

func readFlights(t testing.TB) map[string]*flightGroup {
	t.Helper()
	groups := map[string]*flightGroup{}
	open(t, flightsData, func(in io.Reader) {
		rows, err := csv.NewReader(in).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		for i, name := range rows[0] {
			at[name] = i
		}
		number := func(row []string, name string) int64 {
			n, err := strconv.ParseInt(row[at[name]], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		for _, row := range rows[1:] {
			key := fmt.Sprintf("%s|%04d-%02d-%02d", row[at["carrier"]], number(row, "year"), number(row, "month"), number(row, "day"))
			g := groups[key]
			if g == nil {
				planes, err := hll.NewHllSketch(12, hll.TgtHllTypeHll4)
				if err != nil {
					t.Fatal(err)
				}
				g = &flightGroup{planes: planes, tails: map[string]bool{}}
				groups[key] = g
			}
			g.flights++
			g.distance += number(row, "distance")
			if row[at["dep_delay"]] != "NA" {
				g.delays = append(g.delays, number(row, "dep_delay"))
			}
			if tail := row[at["tailnum"]]; tail != "NA" {
				g.tails[tail] = true
				if err := g.planes.UpdateString(tail); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	return groups
}

const flightsSection = `{
	"input": {"uri": "LAKE/flights/", "format": "csv", "null_values": ["NA"]},
	"group_by": [{"name": "carrier"}, {"name": "day", "expr": "make_date(year, month, day)"}],
	"measures": {
		"flights": {"count": "*"}, "departed": {"count": "dep_delay"}, "distance": {"sum": "distance"}, "delay": {"sum": "dep_delay"},
		"min_delay": {"min": "dep_delay"}, "max_delay": {"max": "dep_delay"}, "avg_delay": {"avg": "dep_delay"},
		"planes": {"approx_distinct": "tailnum"},
		"p50_delay": {"approx_quantile": "dep_delay", "q": 0.5}, "p95_delay": {"approx_quantile": "dep_delay", "q": 0.95}
	},
	"output": {"uri": "LAKE/out/", "format": "parquet"}
}`

// exactly is a row of the result as text, without the quantiles, which differ within their bound.
func (g *flightGroup) exactly(t testing.TB, key string) string {
	planes, err := g.planes.GetCompositeEstimate()
	if err != nil {
		t.Fatal(err)
	}
	row := fmt.Sprintf("%s|%d|%d|%d", key, g.flights, len(g.delays), g.distance)
	if len(g.delays) == 0 {
		return row + fmt.Sprintf("|∅|∅|∅|∅|%.0f", planes)
	}
	var sum int64
	for _, d := range g.delays {
		sum += d
	}
	avg := float64(sum) / float64(len(g.delays))
	return row + fmt.Sprintf("|%d|%d|%d|%s|%.0f", sum, slices.Min(g.delays), slices.Max(g.delays), duckFloat(avg), planes)
}

// duckFloat is a DOUBLE as DuckDB writes it.
func duckFloat(f float64) string {
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".en") {
		text += ".0"
	}
	return text
}

func TestFlights(t *testing.T) {
	want := countFlights(t)
	l := newLake(t)
	l.copyIn(flightsData, "flights")
	for _, test := range []struct {
		parallelism int
		section     string
		stages      string
	}{
		{1, flightsSection, "[plan 1]"},
		{4, flightsSection, "[plan 1 map 4 reduce 1]"},
		{12, strings.Replace(flightsSection, `"parquet"`, `"csv", "compression": "gzip"`, 1), "[plan 1 map 8 reduce 1]"},
	} {
		out, err := l.run(test.section, test.parallelism)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(l.stages); got != test.stages {
			t.Errorf("got stages %s, want %s", got, test.stages)
		}
		rows := l.rows(out)
		if len(rows) != len(want) {
			t.Errorf("got %d rows, want %d", len(rows), len(want))
		}
		if !slices.IsSorted(rows) { // two-letter carriers and ISO days sort as text
			t.Errorf("the rows are not in the order of their keys")
		}
		for _, row := range rows {
			fields := strings.Split(row, "|")
			key := fields[0] + "|" + fields[1]
			g := want[key]
			if g == nil {
				t.Fatalf("got a group %q that is not there", key)
			}
			if got, want := strings.Join(fields[:len(fields)-2], "|"), g.exactly(t, key); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			checkQuantile(t, g.delays, 0.5, fields[len(fields)-2])
			checkQuantile(t, g.delays, 0.95, fields[len(fields)-1])
		}
	}
}

// checkQuantile says whether a value's rank is within KLL's bound, which is 1.65 % for any query at 99 %: three times
// that is as good as never exceeded. Few values are exact.
func checkQuantile(t testing.TB, values []int64, q float64, got string) {
	t.Helper()
	if len(values) == 0 {
		if got != "∅" {
			t.Errorf("quantile of nothing: got %s", got)
		}
		return
	}
	value, err := strconv.ParseFloat(got, 64)
	if err != nil {
		t.Errorf("quantile: %v", err)
		return
	}
	sorted := slices.Sorted(slices.Values(values))
	below, _ := slices.BinarySearchFunc(sorted, value, func(a int64, b float64) int { return cmp.Compare(float64(a), b) })
	upTo, _ := slices.BinarySearchFunc(sorted, math.Nextafter(value, math.Inf(1)), func(a int64, b float64) int { return cmp.Compare(float64(a), b) })
	slack := 0.05 * float64(len(sorted))
	if len(sorted) <= 150 {
		slack = 1
	}
	rank := q * float64(len(sorted))
	if float64(below) > rank+slack || float64(upTo) < rank-slack {
		t.Errorf("quantile %g of %d values: got %g, which stands at %d to %d", q, len(sorted), value, below, upTo)
	}
}

func TestWeblog(t *testing.T) {
	type group struct {
		requests, bytes int64
		clients         hll.HllSketch
	}
	groups := map[string]*group{}
	open(t, weblogData, func(in io.Reader) {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var row struct {
				Status int64
				Bytes  *int64
				TS     time.Time
				Client string `json:"client_ip"`
			}
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprintf("%d|%s", row.Status, row.TS.UTC().Format("2006-01-02 15:00:00"))
			if groups[key] == nil {
				clients, err := hll.NewHllSketch(12, hll.TgtHllTypeHll4)
				if err != nil {
					t.Fatal(err)
				}
				groups[key] = &group{clients: clients}
			}
			g := groups[key]
			g.requests++
			if row.Bytes != nil {
				g.bytes += *row.Bytes
			}
			if err := g.clients.UpdateString(row.Client); err != nil {
				t.Fatal(err)
			}
		}
	})
	var want []string
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		g := groups[key]
		clients, err := g.clients.GetCompositeEstimate()
		if err != nil {
			t.Fatal(err)
		}
		bytes := fmt.Sprint(g.bytes)
		want = append(want, fmt.Sprintf("%s|%d|%s|%.0f", key, g.requests, bytes, clients))
	}

	l := newLake(t)
	l.copyIn(weblogData, "weblog")
	out, err := l.run(`{
		"input": {"uri": "LAKE/weblog/", "format": "jsonl"},
		"group_by": [{"name": "status"}, {"name": "hour", "expr": "date_trunc('hour', ts)"}],
		"measures": {"requests": {"count": "*"}, "bytes": {"sum": "coalesce(bytes, 0)"}, "clients": {"approx_distinct": "client_ip"}},
		"output": {"uri": "LAKE/out/", "format": "csv"}}`, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.rows(out); !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("%d rows, want %d; row %d: got %q, want %q", len(got), len(want), i, at(got, i), at(want, i))
			}
		}
	}
}

func at(rows []string, i int) string {
	if i < len(rows) {
		return rows[i]
	}
	return ""
}
