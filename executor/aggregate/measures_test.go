package aggregate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
)

// oddColumns have what is hard about values: missing ones, infinite ones, negative zero, ties, digits.
var oddColumns = []randomColumn{
	{"g", "VARCHAR", pick("a", "b", "ä", "日本 💡", ""), false},
	{"x", "DOUBLE", func(r *rand.Rand) string {
		return strconv.FormatFloat(float64(r.IntN(40)-20)/4, 'g', -1, 64)
	}, true},
	{"odd", "DOUBLE", pick("0.0", "-0.0", "nan", "-nan", "inf", "-inf", "1", "-2.5", "1e300", "1e-300"), true},
	{"n", "BIGINT", func(r *rand.Rand) string { return strconv.FormatInt(r.Int64N(30)-15, 10) }, true},
	{"big", "HUGEINT", func(r *rand.Rand) string {
		return strconv.FormatInt(r.Int64N(5)-2, 10) + pick("", "000000000000000000000000000", "123456789012345678")(r)
	}, true},
	{"dec", "DECIMAL(12,2)", func(r *rand.Rand) string { return fmt.Sprintf("%d.%02d", r.IntN(9), r.IntN(4)*25) }, true},
	{"s", "VARCHAR", func(r *rand.Rand) string { return fmt.Sprintf("%s%d", pick("x", "é", "💡")(r), r.IntN(9)) }, false},
	{"ts", "TIMESTAMP", func(r *rand.Rand) string {
		return fmt.Sprintf("2020-01-%02dT%02d:00:00", 1+r.IntN(28), r.IntN(3))
	}, false},
	{"day", "DATE", func(r *rand.Rand) string { return fmt.Sprintf("20%02d-02-%02d", r.IntN(3), 1+r.IntN(9)) }, false},
	{"flag", "BOOLEAN", pick("true", "false"), true},
}

// oddMeasures are each measure, and the same as plain SQL of the engine.
func oddMeasures() (measures, selects []string) {
	add := func(spec, sql string) {
		measures = append(measures, fmt.Sprintf(`"m%d": %s`, len(measures), spec))
		selects = append(selects, sql)
	}
	for _, c := range oddColumns[1:] {
		add(fmt.Sprintf(`{"count_distinct": %q}`, c.name), fmt.Sprintf("count(DISTINCT %s)", c.name))
		// Ties: the order is that of the argument, too.
		add(fmt.Sprintf(`{"arg_min": %q, "by": "n"}`, c.name), fmt.Sprintf("first(%[1]s ORDER BY n, %[1]s) FILTER (WHERE %[1]s IS NOT NULL AND n IS NOT NULL)", c.name))
		add(fmt.Sprintf(`{"arg_max": %q, "by": "ts", "where": "x > 0"}`, c.name), fmt.Sprintf("last(%[1]s ORDER BY ts, %[1]s) FILTER (WHERE %[1]s IS NOT NULL AND ts IS NOT NULL AND x > 0)", c.name))
		if !c.numeric || c.name == "flag" {
			continue
		}
		double := fmt.Sprintf("CAST(%s AS DOUBLE)", c.name)
		add(fmt.Sprintf(`{"median": %q}`, c.name), fmt.Sprintf("median(%s)", double))
		for _, q := range []float64{0, 0.1, 0.5, 0.95, 1} {
			add(fmt.Sprintf(`{"quantile": %q, "q": %g}`, c.name, q), fmt.Sprintf("quantile_cont(%s, %g)", double, q))
		}
		if c.name == "odd" { // the engine fails
			continue
		}
		add(fmt.Sprintf(`{"stddev": %q}`, c.name), fmt.Sprintf("stddev_samp(%s)", double))
		add(fmt.Sprintf(`{"variance_pop": %q}`, c.name), fmt.Sprintf("var_pop(%s)", double))
		add(fmt.Sprintf(`{"variance": %q, "where": "flag"}`, c.name), fmt.Sprintf("var_samp(%s) FILTER (WHERE flag)", double))
		add(fmt.Sprintf(`{"stddev_pop": %q}`, c.name), fmt.Sprintf("stddev_pop(%s)", double))
	}
	add(`{"count": "*", "where": "n > 0 AND flag"}`, "count(*) FILTER (WHERE n > 0 AND flag)")
	add(`{"count": "s", "where": "n > 0"}`, "count(s) FILTER (WHERE n > 0)")
	add(`{"sum": "dec", "where": "false"}`, "sum(dec) FILTER (WHERE false)")
	add(`{"avg": "n", "where": "s > 'x5'"}`, "CAST(sum(n) FILTER (WHERE s > 'x5') AS DOUBLE) / count(n) FILTER (WHERE s > 'x5')")
	add(`{"count_distinct": "n + 1", "where": "odd > 0"}`, "count(DISTINCT n + 1) FILTER (WHERE odd > 0)")
	add(`{"max": "ts", "where": "NOT flag"}`, "max(ts) FILTER (WHERE NOT flag)")
	return measures, selects
}

func TestMeasuresAgainstDuckDB(t *testing.T) {
	first := *seed
	if first == 0 {
		first = rand.Uint64()
	}
	for i := range uint64(*tables) {
		t.Run(fmt.Sprintf("seed=%d", first+i), func(t *testing.T) { measureRandomTable(t, rand.New(rand.NewPCG(first+i, 2))) })
	}
}

// plain leaves out the signs of zero and NaN, which do not count: the engine takes what it comes across.
func plain(rows []string) []string {
	for i, row := range rows {
		values := strings.Split(row, "|")
		for c, value := range values {
			if value == "-nan" || value == "-0.0" {
				values[c] = value[1:]
			}
		}
		rows[i] = strings.Join(values, "|")
	}
	return rows
}

func measureRandomTable(t *testing.T, r *rand.Rand) {
	kept := randomColumns
	randomColumns = oddColumns
	defer func() { randomColumns = kept }()
	table := randomTable(r, []int{0, 1, 2, 40, 900}[r.IntN(5)])
	l := newLake(t)
	const files = 3
	for f := range files {
		l.put(fmt.Sprintf("in/%d.csv", f), asCSV(table[f*len(table)/files:(f+1)*len(table)/files], true))
	}
	measures, selects := oddMeasures()
	var declared, kinds []string
	for _, c := range oddColumns {
		declared = append(declared, fmt.Sprintf("%q: %q", c.name, c.kind))
		kinds = append(kinds, fmt.Sprintf("'%s': '%s'", c.name, c.kind))
	}
	keys := [][]string{nil, {"g"}, {"day", "flag"}}[r.IntN(3)]
	var groups, order []string
	for _, key := range keys {
		groups = append(groups, fmt.Sprintf(`{"name": "k %[1]s", "expr": %[1]q}`, key))
		order = append(order, key+" NULLS LAST")
	}
	section := fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": "csv", "columns": {%s}}, "where": "n < 12 OR n IS NULL", "group_by": [%s], "measures": {%s}, "output": {"uri": "LAKE/out/"}}`,
		strings.Join(declared, ", "), strings.Join(groups, ", "), strings.Join(measures, ", "))

	direct := filepath.Join(t.TempDir(), "direct.csv")
	if err := os.WriteFile(direct, []byte(asCSV(table, false)), 0o600); err != nil {
		t.Fatal(err)
	}
	sql := fmt.Sprintf("SELECT %s FROM read_csv('%s', hive_partitioning=false, header=false, auto_detect=false, delim=',', quote='\"', escape='\"', nullstr='', allow_quoted_nulls=false, columns={%s}) WHERE n < 12 OR n IS NULL",
		strings.Join(append(slices.Clone(keys), selects...), ", "), direct, strings.Join(kinds, ", "))
	if len(keys) > 0 {
		sql += " GROUP BY ALL ORDER BY " + strings.Join(order, ", ")
	}
	want := plain(query(t, sql))
	out, err := l.run(section, 4)
	if err != nil {
		t.Fatalf("%v\n%s", err, section)
	}
	compareRows(t, plain(l.rows(out)), want)

	l.kind, l.reduces = aggregate.NewCutting(100), r.IntN(4)
	if out, err = l.run(section, 5); err != nil {
		t.Fatalf("in splits: %v\n%s", err, section)
	}
	got := plain(l.rows(out))
	if out.Files > 1 {
		slices.Sort(got)
		slices.Sort(want)
	}
	compareRows(t, got, want)
}
