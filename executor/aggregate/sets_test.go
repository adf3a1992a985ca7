package aggregate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/task"
)

// question is a random aggregation with windows, grouping sets, having, an order and a limit: as a section of a spec, and
// as plain SQL over the table "rows".
type question struct {
	keys    []string // expressions of k0, k1, …
	sets    [][]bool // nil: none
	window  string   // of the spec, "" without
	length  string   // an SQL interval
	every   string   // of sliding windows
	having  string
	order   []string // of the spec
	orderBy []string // of SQL
	limit   int
}

func randomQuestion(r *rand.Rand) question {
	coin := func() bool { return r.IntN(2) == 0 }
	var q question
	for _, i := range r.Perm(len(keyExprs))[:r.IntN(3)] {
		q.keys = append(q.keys, keyExprs[i])
	}
	columns := []string{"rows", "hi"}
	for i := range q.keys {
		columns = append(columns, fmt.Sprintf("k%d", i))
	}
	if coin() {
		for range 1 + r.IntN(4) {
			set := make([]bool, len(q.keys))
			for i := range set {
				set[i] = coin()
			}
			q.sets = append(q.sets, set)
		}
		columns = append(columns, "grouping_set")
	}
	if coin() {
		switch r.IntN(3) {
		case 0:
			q.window, q.length = `{"tumbling": "168h"}`, "INTERVAL 168 HOUR"
		case 1:
			q.window, q.length, q.every = `{"sliding": "72h", "every": "24h"}`, "INTERVAL 72 HOUR", "INTERVAL 24 HOUR"
		case 2:
			q.window, q.length = `{"session": "30h"}`, "INTERVAL 30 HOUR"
		}
		columns = append(columns, "window_start", "window_end")
	}
	if coin() {
		q.having = anyOf(r, "rows > 1", "hi > 0 OR hi IS NULL", "rows % 2 = 1 AND avg_d > -1e300", "false")
	}
	if coin() {
		for _, i := range r.Perm(len(columns))[:1+r.IntN(2)] {
			descending, first := coin(), coin()
			q.order = append(q.order, fmt.Sprintf(`{"name": %q, "descending": %t, "nulls_first": %t}`, columns[i], descending, first))
			q.orderBy = append(q.orderBy, columns[i]+map[bool]string{true: " DESC", false: " ASC"}[descending]+map[bool]string{true: " NULLS FIRST", false: " NULLS LAST"}[first])
		}
	}
	if coin() {
		q.limit = 1 + r.IntN(20)
	}
	return q
}

// section is the question in a spec.
func (q question) section(r *rand.Rand, format string) string {
	var groups, sets, declared []string
	for i, key := range q.keys {
		groups = append(groups, fmt.Sprintf(`{"name": "k%d", "expr": %q}`, i, key))
	}
	for _, has := range q.sets {
		var names []string
		for i := range q.keys {
			if has[i] {
				names = append(names, fmt.Sprintf(`"k%d"`, i))
			}
		}
		r.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
		sets = append(sets, "["+strings.Join(names, ", ")+"]")
	}
	for _, c := range randomColumns {
		declared = append(declared, fmt.Sprintf("%q: %q", c.name, c.kind))
	}
	section := fmt.Sprintf(`{"input": {"uri": "LAKE/in/", "format": %q, "columns": {%s}}, "group_by": [%s],
		"measures": {"rows": {"count": "*"}, "hi": {"max": "small"}, "total": {"sum": "i"}, "avg_d": {"avg": "d"},
			"texts": {"count_distinct": "s"}, "days": {"approx_distinct": "day"}, "middle": {"median": "small"}, "spread": {"stddev": "small", "where": "flag"},
			"first": {"arg_min": "i", "by": "ts"}}, "output": {"uri": "LAKE/out/"}`,
		format, strings.Join(declared, ", "), strings.Join(groups, ", "))
	if q.window != "" {
		section += `, "time": {"expr": "ts"}, "window": ` + q.window
	}
	if q.sets != nil {
		section += `, "grouping_sets": [` + strings.Join(sets, ", ") + "]"
	}
	if q.having != "" {
		section += fmt.Sprintf(`, "having": %q`, q.having)
	}
	if q.order != nil {
		section += `, "order_by": [` + strings.Join(q.order, ", ") + "]"
	}
	if q.limit > 0 {
		section += fmt.Sprintf(`, "limit": %d`, q.limit)
	}
	return section + "}"
}

// sql answers the question by one query for each grouping set.
func (q question) sql() string {
	sets := q.sets
	if sets == nil {
		all := make([]bool, len(q.keys))
		for i := range all {
			all[i] = true
		}
		sets = [][]bool{all}
	}
	var queries []string
	for number, has := range sets {
		queries = append(queries, q.setSQL(number, has))
	}
	query := "SELECT * FROM (" + strings.Join(queries, " UNION ALL ") + ")"
	if q.having != "" {
		query += " WHERE " + q.having
	}
	order := slices.Clone(q.orderBy)
	if q.window != "" {
		order = append(order, "window_start", "window_end")
	}
	for i := range q.keys {
		order = append(order, fmt.Sprintf("k%d NULLS LAST", i))
	}
	if q.sets != nil {
		order = append(order, "grouping_set")
	}
	if len(order) > 0 {
		query += " ORDER BY " + strings.Join(order, ", ")
	}
	if q.limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", q.limit)
	}
	return query
}

func (q question) setSQL(number int, has []bool) string {
	empty := q.window == "" && !slices.Contains(has, true) // one group, even of no rows
	column := "k%d"
	if empty {
		column = "any_value(k%[1]d) AS k%[1]d"
	}
	var selects, within []string

	columns := []string{"*"}
	for i, key := range q.keys {
		if !has[i] {
			key = fmt.Sprintf("CASE WHEN false THEN %s END", key)
		}
		columns = append(columns, fmt.Sprintf("%s AS k%d", key, i))
		within = append(within, fmt.Sprintf("k%d", i))
		selects = append(selects, fmt.Sprintf(column, i))
	}
	from := "(SELECT " + strings.Join(columns, ", ") + " FROM rows)"
	groups := slices.Clone(within)
	switch {
	case q.window == "":
	case q.every != "":
		from = fmt.Sprintf("(SELECT *, time_bucket(%[1]s, ts, TIMESTAMP '1970-01-01') - n * %[1]s AS ws FROM %[2]s, range(100) AS earlier(n) WHERE ts IS NOT NULL) WHERE ws + %[3]s > ts", q.every, from, q.length)
		selects, groups = append([]string{"ws AS window_start", "ws + " + q.length + " AS window_end"}, selects...), append(groups, "ws")
	case strings.Contains(q.window, "session"):
		partition := ""
		if len(within) > 0 {
			partition = "PARTITION BY " + strings.Join(within, ", ")
		}
		from = fmt.Sprintf("(SELECT *, sum(begins) OVER (%[1]s ORDER BY ts ROWS UNBOUNDED PRECEDING) AS session FROM (SELECT *, CASE WHEN ts - lag(ts) OVER (%[1]s ORDER BY ts) < %[2]s THEN 0 ELSE 1 END AS begins FROM %[3]s WHERE ts IS NOT NULL))", partition, q.length, from)
		selects, groups = append([]string{"min(ts) AS window_start", "max(ts) + " + q.length + " AS window_end"}, selects...), append(groups, "session")
	default:
		from = fmt.Sprintf("(SELECT *, time_bucket(%s, ts, TIMESTAMP '1970-01-01') AS ws FROM %s WHERE ts IS NOT NULL)", q.length, from)
		selects, groups = append([]string{"ws AS window_start", "ws + " + q.length + " AS window_end"}, selects...), append(groups, "ws")
	}
	if q.sets != nil {
		selects = append(selects, fmt.Sprintf("%d AS grouping_set", number))
	}
	selects = append(selects, "count(*) AS rows", "max(small) AS hi", "CAST(sum(i) AS DECIMAL(38,0)) AS total", "CAST(sum(d) AS DOUBLE) / count(d) AS avg_d",
		"count(DISTINCT s) AS texts", "count(DISTINCT day) AS days", "quantile_cont(small, 0.5) AS middle", "stddev_samp(small) FILTER (WHERE flag) AS spread",
		"arg_min(i, (ts, i)) FILTER (WHERE ts IS NOT NULL AND i IS NOT NULL) AS first")
	query := "SELECT " + strings.Join(selects, ", ") + " FROM " + from
	if !empty {
		query += " GROUP BY " + strings.Join(groups, ", ")
	}
	return query
}

func TestSetsAndOrdersAgainstDuckDB(t *testing.T) {
	eachSeed(t, 2**tables, func(t *testing.T, r *rand.Rand) {
		table := randomTable(r, anyOf(r, 0, 1, 3, 50, 300))
		q := randomQuestion(r)
		direct := filepath.Join(t.TempDir(), "direct.csv")
		if err := os.WriteFile(direct, []byte(asCSV(table, false)), 0o600); err != nil {
			t.Fatal(err)
		}
		kinds := []string{}
		for _, c := range randomColumns {
			kinds = append(kinds, fmt.Sprintf("'%s': '%s'", c.name, c.kind))
		}
		want := query(t, fmt.Sprintf("WITH rows AS (SELECT * FROM read_csv('%s', hive_partitioning=false, new_line='\\n', header=false, auto_detect=false, delim=',', quote='\"', escape='\"', nullstr='', allow_quoted_nulls=false, columns={%s})) %s",
			direct, strings.Join(kinds, ", "), q.sql()))

		l := newLake(t)
		files := 1 + r.IntN(3)
		for f := range files {
			l.put(fmt.Sprintf("in/%d.csv", f), asCSV(table[f*len(table)/files:(f+1)*len(table)/files], true))
		}
		section := q.section(r, "csv")
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
			if q.limit > 0 {
				t.Errorf("got %d files of at most %d rows, want one in order", cut.Files, q.limit)
			}
			slices.Sort(got)
			slices.Sort(want)
		}
		compareRows(t, got, want)
	})
}

// The set of no keys has a row even if there are no rows, as without group keys; with windows there is none.
func TestSetsOfNoRows(t *testing.T) {
	const section = `{"input": {"uri": "LAKE/in/", "format": "csv", "columns": {"a": "VARCHAR", "b": "DOUBLE", "ts": "TIMESTAMP"}}, "where": "b > 5", "group_by": [{"name": "a"}],
		"grouping_sets": [["a"], [], []], "measures": {"n": {"count": "*"}, "s": {"sum": "b"}, "m": {"median": "b"}, "d": {"count_distinct": "a"}, "h": {"approx_distinct": "a"}}, %s"output": {"uri": "LAKE/out/"}}`
	for more, want := range map[string]string{
		"": "∅|1|0|∅|∅|0|0 ∅|2|0|∅|∅|0|0",
		`"time": {"expr": "ts"}, "window": {"tumbling": "1h"}, `: "",
		`"having": "n > 0", `: "",
	} {
		for parallelism, kind := range map[int]task.Kind{1: aggregate.New(), 3: aggregate.NewCutting(1)} {
			l := newLake(t)
			l.kind = kind
			l.put("in/1.csv", "a,b,ts\nx,1,2024-01-01 10:00:00\n")
			l.put("in/2.csv", "a,b,ts\n")
			out, err := l.run(fmt.Sprintf(section, more), parallelism)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(l.rows(out), " "); got != want {
				t.Errorf("%s after %v: got %q, want %q", more, l.stages, got, want)
			}
		}
	}
}
