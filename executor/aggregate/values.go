package aggregate

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
)

// count_distinct, median and quantile need all the different values. Part i of them is rows of their own among the
// partial aggregates: the value in column v<i>, and how often it is there in p<i>, which is missing in other rows. So they
// are merged, spilled and sent like groups, and no list of them is ever in memory.

// buildValues is the query for the rows of part i, of rows with arguments.
func (s *shape) buildValues(i int, rows string) string {
	p := s.parts[i]
	l := engine.Numbered("k", len(s.keys))
	by := append(l[:len(l):len(l)], fmt.Sprintf("v%d", i))
	l.Add("CAST(a%d AS %s) AS v%d", p.arg, stored(s.args[p.arg].kind), i)
	l.Add("count(*) AS p%d", i)
	return fmt.Sprintf("SELECT %s FROM %s WHERE a%d IS NOT NULL GROUP BY %s", l, rows, p.arg, by)
}

// mergeValues is the query that merges the rows of part i.
func (s *shape) mergeValues(i int, pieces string) string {
	l := append(engine.Numbered("k", len(s.keys)), fmt.Sprintf("v%d", i))
	return fmt.Sprintf("SELECT %[1]s, CAST(sum(p%[2]d) AS BIGINT) AS p%[2]d FROM %[3]s WHERE p%[2]d IS NOT NULL GROUP BY %[1]s", l, i, pieces)
}

// valueParts are the parts that come in rows of their own, with values.
func (s *shape) valueParts() []int {
	var all []int
	for i, p := range s.parts {
		if p.function == partValues {
			all = append(all, i)
		}
	}
	return all
}

// groupRows is the condition for rows that are groups, not values.
func (s *shape) groupRows() string {
	conditions := []string{}
	for _, i := range s.valueParts() {
		conditions = append(conditions, fmt.Sprintf("p%d IS NULL", i))
	}
	return strings.Join(conditions, " AND ")
}

// settle makes a table of what measures ask of values, and leaves only groups in the table partial.
//
//	result3   k0 … different q0 …   of part 3
func (s *shape) settle(ctx context.Context, session *engine.Session) error {
	parts := s.valueParts()
	for _, i := range parts {
		statement := fmt.Sprintf("CREATE TEMP TABLE result%d AS %s", i, s.countValues(i))
		if len(s.ranks(i)) > 0 {
			statement = s.rankValues(i)
		}
		if err := session.Exec(ctx, statement); err != nil {
			return lake.Failure("compute quantiles and different values", err)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	if err := session.Exec(ctx, "DELETE FROM partial WHERE NOT ("+s.groupRows()+")"); err != nil {
		return lake.Failure("compute quantiles and different values", err)
	}
	return nil
}

func (s *shape) countValues(i int) string {
	l := append(engine.Numbered("k", len(s.keys)), "count(*) AS different")
	return fmt.Sprintf("SELECT %s FROM partial WHERE p%d IS NOT NULL%s", l, i, s.groupBy())
}

// rankValues is the statements that make the table result of part i with quantiles. The rank r of n values lies at
// position r (n-1), counted from 0; between two positions, it is interpolated.
func (s *shape) rankValues(i int) string {
	keys := engine.Numbered("k", len(s.keys))
	order := append(keys[:len(keys):len(keys)], "v")
	for k := range order {
		order[k] += " NULLS LAST"
	}
	kind := s.args[s.parts[i].arg].kind
	// Values in the order of their groups, and where each ends; the engine counts in passing, and sorts on disk.
	sorted := append(keys[:len(keys):len(keys)], fmt.Sprintf("%s AS v", number(fmt.Sprintf("v%d", i), stored(kind))), fmt.Sprintf("p%d AS n", i))
	ended := append(keys[:len(keys):len(keys)], "v", "n", "CAST(sum(n) OVER (ROWS UNBOUNDED PRECEDING) AS BIGINT) AS e")
	ends := fmt.Sprintf("SELECT %s FROM (SELECT %s FROM partial WHERE p%d IS NOT NULL ORDER BY %s)", ended, sorted, i, order)
	totals := append(keys[:len(keys):len(keys)], "min(e - n) AS b", "sum(n) AS t", "count(*) AS different")
	l := append(prefixed("totals.", keys), "any_value(different) AS different")
	for number, q := range s.ranks(i) {
		position := fmt.Sprintf("(CAST(%s AS DOUBLE) * (t - 1))", strconv.FormatFloat(q, 'g', -1, 64))
		at := func(end string) string {
			return fmt.Sprintf("max(v) FILTER (WHERE e - n <= b + %[1]s(%[2]s) AND b + %[1]s(%[2]s) < e)", end, position)
		}
		l.Add("%s AS low%d", at("floor"), number)
		l.Add("%s AS high%d", at("ceil"), number)
		l.Add("any_value(%[1]s - floor(%[1]s)) AS share%[2]d", position, number)
	}
	results := append(keys[:len(keys):len(keys)], "different")
	for number := range s.ranks(i) {
		results.Add("CASE WHEN share%[1]d = 0 OR low%[1]d = high%[1]d THEN low%[1]d ELSE low%[1]d * (1 - share%[1]d) + high%[1]d * share%[1]d END AS q%[1]d", number)
	}
	group := ""
	if len(keys) > 0 {
		group = " GROUP BY " + prefixed("totals.", keys).String()
	}
	return fmt.Sprintf("CREATE TEMP TABLE ends AS %s; CREATE TEMP TABLE totals AS SELECT %s FROM ends%s; "+
		"CREATE TEMP TABLE result%d AS SELECT %s FROM (SELECT %s FROM ends JOIN totals ON %s%s); DROP TABLE ends; DROP TABLE totals",
		ends, totals, s.groupBy(), i, results, l, s.sameGroup("ends", "totals"), group)
}

func prefixed(prefix string, l engine.List) engine.List {
	all := make(engine.List, len(l))
	for i, item := range l {
		all[i] = prefix + item
	}
	return all
}

// joins adds the tables of results to partial.
func (s *shape) joins() string {
	var b strings.Builder
	for _, i := range s.valueParts() {
		result := fmt.Sprintf("result%d", i)
		fmt.Fprintf(&b, " LEFT JOIN %s ON %s", result, s.sameGroup("partial", result))
	}
	return b.String()
}
