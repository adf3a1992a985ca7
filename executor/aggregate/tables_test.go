package aggregate_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Random tables of random types, which are aggregated by us, in one split and in several, and by DuckDB called directly
// over the same table: see sets_test.go and measures_test.go, and oracle_test.go for random specs.

// randomColumn is a type, and what its values may be.
type randomColumn struct {
	name, kind string
	draw       func(r *rand.Rand) string // as text
	numeric    bool
}

func pick(values ...string) func(r *rand.Rand) string {
	return func(r *rand.Rand) string { return values[r.IntN(len(values))] }
}

var randomColumns = []randomColumn{
	{"i", "BIGINT", func(r *rand.Rand) string { return strconv.FormatInt(r.Int64()>>r.IntN(60)*int64(1-2*r.IntN(2)), 10) }, true},
	{"small", "INTEGER", func(r *rand.Rand) string { return strconv.Itoa(r.IntN(7) - 3) }, true},
	{"d", "DOUBLE", func(r *rand.Rand) string {
		return strconv.FormatFloat((r.Float64()-0.3)*math.Pow(10, float64(r.IntN(12)-4)), 'g', -1, 64)
	}, true},
	{"dec", "DECIMAL(15,3)", func(r *rand.Rand) string {
		return fmt.Sprintf("%d.%03d", r.Int64N(2_000_000_000)-1_000_000_000, r.IntN(1000))
	}, true},
	{"s", "VARCHAR", pick("", "a", "b", "A", "NA ", "null", "ä ö", "日本", "it's", `say "hi"`, "a,b", "line\nbreak", "cr\r\nlf", " padded ", "💡", "1", "-", `back\slash`), false},
	{"day", "DATE", func(r *rand.Rand) string {
		return fmt.Sprintf("20%02d-%02d-%02d", r.IntN(30), 1+r.IntN(12), 1+r.IntN(28))
	}, false},
	{"ts", "TIMESTAMP", func(r *rand.Rand) string {
		return fmt.Sprintf("2020-%02d-01T%02d:%02d:%02d.%06d", 1+r.IntN(12), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1_000_000))
	}, false},
	{"flag", "BOOLEAN", pick("true", "false"), false},
}

var missing = "\x00"

func randomTable(r *rand.Rand, rows int) [][]string {
	table := make([][]string, rows)
	holes := r.IntN(5)
	for i := range table {
		table[i] = make([]string, len(randomColumns))
		for c, column := range randomColumns {
			if table[i][c] = column.draw(r); r.IntN(10) < holes {
				table[i][c] = missing
			}
		}
	}
	return table
}

// asCSV writes text in quotes always, so that empty text is not missing.
func asCSV(rows [][]string, header bool) string {
	var b strings.Builder
	if header {
		for c, column := range randomColumns {
			b.WriteString(strings.Repeat(",", min(c, 1)) + column.name)
		}
		b.WriteString("\n")
	}
	for _, row := range rows {
		for c, value := range row {
			b.WriteString(strings.Repeat(",", min(c, 1)))
			switch {
			case value == missing:
			case randomColumns[c].kind == "VARCHAR":
				b.WriteString(`"` + strings.ReplaceAll(value, `"`, `""`) + `"`)
			default:
				b.WriteString(value)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

var keyExprs = []string{"small", "s", "day", "flag", "date_trunc('month', ts)", "upper(s)", "small % 2", "dec > 0", "year(day)"}

var (
	tables = flag.Int("tables", 8, "how many random tables are aggregated")
	seed   = flag.Uint64("seed", 0, "begins the random tables; 0: another one each time")
)

// eachSeed runs a test with so many random numbers.
func eachSeed(t *testing.T, n int, test func(t *testing.T, r *rand.Rand)) {
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	for i := range uint64(n) {
		t.Run(fmt.Sprintf("seed=%d", first+i), func(t *testing.T) { test(t, rand.New(rand.NewPCG(first+i, 1))) })
	}
}

func compareRows(t *testing.T, got, want []string) {
	if len(got) != len(want) {
		t.Fatalf("got %d rows, want %d\n%s\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range want {
		if got[i] == want[i] {
			continue
		}
		g, w := strings.Split(got[i], "|"), strings.Split(want[i], "|")
		if len(g) != len(w) || slices.ContainsFunc(indexes(w), func(c int) bool { return !sameValue(g[c], w[c]) }) {
			t.Fatalf("row %d:\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
}

func indexes[T any](s []T) []int {
	all := make([]int, len(s))
	for i := range all {
		all[i] = i
	}
	return all
}

// sameValue lets DOUBLEs differ by 1e-9.
func sameValue(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	isDouble := strings.ContainsAny(b, ".e") && strings.ContainsAny(a, ".e")
	return errX == nil && errY == nil && isDouble && math.Abs(x-y) <= 1e-9*max(math.Abs(x), math.Abs(y))
}
