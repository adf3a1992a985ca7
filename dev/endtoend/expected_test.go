//go:build endtoend

package endtoend

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/dev/result"
)

// The expected results are computed in plain Go over the same files, sharing no code with the product.

// flightGroup is what plain Go knows of one carrier on one day.
type flightGroup struct {
	flights  int64
	delays   []float64 // those that are not missing
	distance int64
	planes   map[string]bool
	dests    map[string]bool
}

func expectFlights(t *testing.T) map[string]*flightGroup {
	t.Helper()
	groups := map[string]*flightGroup{}
	for _, file := range dataFiles(t, "flights", "*.csv.gz") {
		r := csv.NewReader(open(t, file))
		header, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		for i, name := range header {
			at[name] = i
		}
		for {
			row, err := r.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			day := fmt.Sprintf("%s-%02d-%02d", row[at["year"]], atoi(t, row[at["month"]]), atoi(t, row[at["day"]]))
			key := row[at["carrier"]] + " " + day
			g := groups[key]
			if g == nil {
				g = &flightGroup{planes: map[string]bool{}, dests: map[string]bool{}}
				groups[key] = g
			}
			g.flights++
			if d := row[at["dep_delay"]]; d != "NA" {
				g.delays = append(g.delays, float64(atoi(t, d)))
			}
			g.distance += atoi(t, row[at["distance"]])
			g.dests[row[at["dest"]]] = true
			if p := row[at["tailnum"]]; p != "NA" {
				g.planes[p] = true
			}
		}
	}
	for _, g := range groups {
		sort.Float64s(g.delays)
	}
	return groups
}

// checkFlights compares a result with the expected one, row for row.
func checkFlights(t *testing.T, got *result.Table, want map[string]*flightGroup) {
	t.Helper()
	column := columns(t, got, "carrier", "day", "flights", "avg_delay", "max_delay", "distance", "p95_delay", "planes")
	if len(got.Rows) != len(want) {
		t.Fatalf("the result has %d rows, want %d", len(got.Rows), len(want))
	}
	seen := map[string]bool{}
	for _, row := range got.Rows {
		key := row[column["carrier"]] + " " + row[column["day"]]
		g := want[key]
		if g == nil || seen[key] {
			t.Fatalf("row %v is not expected (seen before: %t)", row, seen[key])
		}
		seen[key] = true
		wantAvg, wantMax := result.Null, result.Null
		if len(g.delays) > 0 {
			sum := 0.0
			for _, d := range g.delays {
				sum += d
			}
			wantAvg = strconv.FormatFloat(sum/float64(len(g.delays)), 'g', -1, 64)
			wantMax = strconv.FormatFloat(g.delays[len(g.delays)-1], 'f', -1, 64)
		}
		for name, value := range map[string]string{
			"flights": strconv.FormatInt(g.flights, 10), "avg_delay": wantAvg, "max_delay": wantMax,
			"distance": strconv.FormatInt(g.distance, 10),
		} {
			if row[column[name]] != value {
				t.Errorf("%s: %s is %s, want %s", key, name, row[column[name]], value)
			}
		}
		checkDistinct(t, key, row[column["planes"]], len(g.planes))
		checkQuantile(t, key, row[column["p95_delay"]], g.delays, 0.95)
	}
}

// checkDistinct allows five standard errors of an HLL sketch with 4096 registers, 1.04/sqrt(4096) each.
func checkDistinct(t *testing.T, key, got string, want int) {
	t.Helper()
	n := float64(atoi(t, got))
	if allowed := math.Max(1, 5*1.04/64*float64(want)); math.Abs(n-float64(want)) > allowed {
		t.Errorf("%s: about %s distinct values, want %d ± %.0f", key, got, want, allowed)
	}
}

// checkQuantile allows the rank error that is published for a KLL sketch with k = 200, 1.33 % with 99 % confidence,
// twice, and the two neighbours that an interpolation may choose.
func checkQuantile(t *testing.T, key, got string, sorted []float64, q float64) {
	t.Helper()
	if len(sorted) == 0 {
		if got != result.Null {
			t.Errorf("%s: quantile of nothing is %s", key, got)
		}
		return
	}
	v, err := strconv.ParseFloat(got, 64)
	if err != nil {
		t.Errorf("%s: quantile %q is no number", key, got)
		return
	}
	n := float64(len(sorted))
	low, _ := slices.BinarySearch(sorted, v)                                    // values below v
	high := sort.Search(len(sorted), func(i int) bool { return sorted[i] > v }) // values up to v
	slack := 0.0266 + 1/n
	if float64(low)/n > q+slack || float64(high)/n < q-slack {
		t.Errorf("%s: %g has ranks %.3f to %.3f of %d values, want %.3f", key, v, float64(low)/n, float64(high)/n, len(sorted), q)
	}
}

type requestGroup struct {
	requests int64
	bytes    int64
	anyBytes bool
	clients  map[string]bool
}

func expectRequests(t *testing.T) map[string]*requestGroup {
	t.Helper()
	groups := map[string]*requestGroup{}
	for _, file := range dataFiles(t, "weblog", "*.jsonl.gz") {
		lines := bufio.NewScanner(open(t, file))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r struct {
				TS     string `json:"ts"`
				Status int    `json:"status"`
				Bytes  *int64 `json:"bytes"`
				Client string `json:"client_ip"`
			}
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprintf("%d %s:00:00", r.Status, strings.Replace(r.TS[:13], "T", " ", 1))
			g := groups[key]
			if g == nil {
				g = &requestGroup{clients: map[string]bool{}}
				groups[key] = g
			}
			g.requests++
			if r.Bytes != nil {
				g.bytes += *r.Bytes
				g.anyBytes = true
			}
			g.clients[r.Client] = true
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return groups
}

func checkRequests(t *testing.T, got *result.Table, want map[string]*requestGroup) {
	t.Helper()
	column := columns(t, got, "status", "hour", "requests", "bytes", "clients")
	if len(got.Rows) != len(want) {
		t.Fatalf("the result has %d rows, want %d", len(got.Rows), len(want))
	}
	seen := map[string]bool{}
	for _, row := range got.Rows {
		hour := strings.Replace(strings.TrimSuffix(row[column["hour"]], "Z"), "T", " ", 1)
		key := row[column["status"]] + " " + hour[:min(19, len(hour))]
		g := want[key]
		if g == nil || seen[key] {
			t.Fatalf("row %v is not expected (seen before: %t)", row, seen[key])
		}
		seen[key] = true
		wantBytes := ""
		if g.anyBytes {
			wantBytes = strconv.FormatInt(g.bytes, 10)
		}
		if row[column["requests"]] != strconv.FormatInt(g.requests, 10) || row[column["bytes"]] != wantBytes {
			t.Errorf("%s: %s requests of %s bytes, want %d of %s", key, row[column["requests"]], row[column["bytes"]], g.requests, wantBytes)
		}
		checkDistinct(t, key, row[column["clients"]], len(g.clients))
	}
}

func columns(t *testing.T, table *result.Table, names ...string) map[string]int {
	t.Helper()
	at := map[string]int{}
	for i, name := range table.Columns {
		at[name] = i
	}
	for _, name := range names {
		if _, ok := at[name]; !ok {
			t.Fatalf("the result has no column %q, it has %v", name, table.Columns)
		}
	}
	return at
}

func dataFiles(t *testing.T, folder, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, "examples", "data", folder, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no data in %s: %v", folder, err)
	}
	return files
}

func open(t *testing.T, file string) io.Reader {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func atoi(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
