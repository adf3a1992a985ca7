package aggregate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
)

// Random tables of random types, aggregated by us, in one split and in several, and by DuckDB called directly over the
// same table: exact measures must be equal.

// randomColumn is a type, and what its values may be.
type randomColumn struct {
	name, kind string
	draw       func(r *rand.Rand) string // as text
	quotes     bool                      // JSON writes it as a string
	numeric    bool
}

func pick(values ...string) func(r *rand.Rand) string {
	return func(r *rand.Rand) string { return values[r.IntN(len(values))] }
}

var randomColumns = []randomColumn{
	{"i", "BIGINT", func(r *rand.Rand) string { return strconv.FormatInt(r.Int64()>>r.IntN(60)*int64(1-2*r.IntN(2)), 10) }, false, true},
	{"small", "INTEGER", func(r *rand.Rand) string { return strconv.Itoa(r.IntN(7) - 3) }, false, true},
	{"d", "DOUBLE", func(r *rand.Rand) string {
		return strconv.FormatFloat((r.Float64()-0.3)*math.Pow(10, float64(r.IntN(12)-4)), 'g', -1, 64)
	}, false, true},
	{"dec", "DECIMAL(15,3)", func(r *rand.Rand) string {
		return fmt.Sprintf("%d.%03d", r.Int64N(2_000_000_000)-1_000_000_000, r.IntN(1000))
	}, false, true},
	{"s", "VARCHAR", pick("", "a", "b", "A", "NA ", "null", "ä ö", "日本", "it's", `say "hi"`, "a,b", "line\nbreak", "cr\r\nlf", " padded ", "💡", "1", "-", `back\slash`), true, false},
	{"day", "DATE", func(r *rand.Rand) string {
		return fmt.Sprintf("20%02d-%02d-%02d", r.IntN(30), 1+r.IntN(12), 1+r.IntN(28))
	}, true, false},
	{"ts", "TIMESTAMP", func(r *rand.Rand) string {
		return fmt.Sprintf("2020-%02d-01T%02d:%02d:%02d.%06d", 1+r.IntN(12), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1_000_000))
	}, true, false},
	{"flag", "BOOLEAN", pick("true", "false"), false, false},
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

func asJSON(t testing.TB, rows [][]string) string {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString("{")
		first := true
		for c, value := range row {
			if value == missing && c%2 == 0 {
				continue // not there, or null: the same
			}
			if !first {
				b.WriteString(", ")
			}
			first = false
			fmt.Fprintf(&b, "%q: ", randomColumns[c].name)
			switch {
			case value == missing:
				b.WriteString("null")
			case randomColumns[c].quotes:
				text, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				b.Write(text)
			default:
				b.WriteString(value)
			}
		}
		b.WriteString("}\n")
	}
	return b.String()
}

var wheres = []string{"", "small > 0", "s IS NOT NULL AND s <> ''", "d > 0 OR day < DATE '2015-01-01'", "false", "length(s) = 1"}

var keyExprs = []string{"small", "s", "day", "flag", "date_trunc('month', ts)", "upper(s)", "small % 2", "dec > 0", "year(day)"}

var (
	tables = flag.Int("tables", 8, "how many random tables are aggregated")
	seed   = flag.Uint64("seed", 0, "begins the random tables; 0: another one each time")
)

func TestAgainstDuckDB(t *testing.T) { eachSeed(t, *tables, aggregateRandomTable) }

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

func aggregateRandomTable(t *testing.T, r *rand.Rand) {
	coin := func() bool { return r.IntN(2) == 0 }
	table := randomTable(r, []int{0, 1, 3, 50, 700}[r.IntN(5)])
	asLines, files := coin(), 1+r.IntN(3)
	l := newLake(t)
	for f := range files {
		part := table[f*len(table)/files : (f+1)*len(table)/files]
		name, content := fmt.Sprintf("in/%d.csv", f), asCSV(part, true)
		if asLines {
			name, content = fmt.Sprintf("in/%d.jsonl", f), asJSON(t, part)
		}
		if coin() {
			name, content = name+".gz", gzipped(t, content)
		}
		l.put(name, content)
	}

	// What is asked, for us and for DuckDB.
	var keys []string
	for _, i := range r.Perm(len(keyExprs))[:r.IntN(4)] {
		keys = append(keys, keyExprs[i])
	}
	where := wheres[r.IntN(len(wheres))]
	var groups, measures, declared, selects, order []string
	for i, key := range keys {
		groups = append(groups, fmt.Sprintf(`{"name": "k%d", "expr": %q}`, i, key))
		selects = append(selects, fmt.Sprintf("%s AS k%d", key, i))
		order = append(order, fmt.Sprintf("k%d NULLS LAST", i))
	}
	measures = append(measures, `"rows": {"count": "*"}`)
	selects = append(selects, "count(*) AS rows")
	for _, c := range randomColumns {
		declared = append(declared, fmt.Sprintf("%q: %q", c.name, c.kind))
		for _, f := range []string{"count", "min", "max", "sum", "avg"} {
			if !c.numeric && (f == "sum" || f == "avg") {
				continue
			}
			measures = append(measures, fmt.Sprintf(`"%s_%s": {"%s": "%s"}`, f, c.name, f, c.name))
			sql := f + "(" + c.name + ")"
			switch {
			case f == "sum" && strings.HasPrefix(c.kind, "DEC") || c.kind == "DOUBLE" && f == "sum":
			case f == "sum":
				sql = "CAST(" + sql + " AS DECIMAL(38,0))"
			case f == "avg":
				sql = "CAST(sum(" + c.name + ") AS DOUBLE) / count(" + c.name + ")"
			}
			selects = append(selects, sql)
		}
	}
	condition := ""
	if where != "" {
		condition = fmt.Sprintf(`"where": %q, `, where)
	}
	format := `"format": "csv"`
	if asLines {
		format = `"format": "jsonl"`
	}
	section := fmt.Sprintf(`{"input": {"uri": "LAKE/in/", %s, "columns": {%s}}, %s"group_by": [%s], "measures": {%s}, "output": {"uri": "LAKE/out/"}}`,
		format, strings.Join(declared, ", "), condition, strings.Join(groups, ", "), strings.Join(measures, ", "))

	direct := filepath.Join(t.TempDir(), "direct.csv")
	if err := os.WriteFile(direct, []byte(asCSV(table, false)), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds := []string{}
	for _, c := range randomColumns {
		kinds = append(kinds, fmt.Sprintf("'%s': '%s'", c.name, c.kind))
	}
	sql := fmt.Sprintf("SELECT %s FROM read_csv('%s', hive_partitioning=false, new_line='\\n', header=false, auto_detect=false, delim=',', quote='\"', escape='\"', nullstr='', allow_quoted_nulls=false, columns={%s})",
		strings.Join(selects, ", "), direct, strings.Join(kinds, ", "))
	if where != "" {
		sql += " WHERE " + where
	}
	if len(keys) > 0 {
		sql += " GROUP BY ALL ORDER BY " + strings.Join(order, ", ")
	}
	want := query(t, sql)

	out, err := l.run(section, 4)
	if err != nil {
		t.Fatalf("%v\n%s", err, section)
	}
	compareRows(t, l.rows(out), want)

	l.kind, l.reduces = aggregate.NewCutting(100), r.IntN(4)
	cut, err := l.run(section, 5)
	if err != nil {
		t.Fatalf("in splits: %v\n%s", err, section)
	}
	got := l.rows(cut)
	if cut.Files > 1 { // each is in order
		slices.Sort(got)
		slices.Sort(want)
	}
	compareRows(t, got, want)
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
