package aggregate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A random aggregation is made as a spec and, at the same time, as plain SQL over the table truth that gives the same rows.
// The SQL is of two dialects.

// dialect is what engines that are asked directly do not have in common.
type dialect struct {
	micros  string // of a TIMESTAMP since 1970, with %s for it
	instant string // the TIMESTAMP of so many microseconds
	exact   string // the type in which integers are added up
	// What functions are called.
	quantile, first, last, pair string
	types                       *strings.Replacer
}

var duckDialect = dialect{
	micros: "epoch_us(CAST(%s AS TIMESTAMP))", instant: "make_timestamp(CAST(%s AS BIGINT))", exact: "HUGEINT",
	quantile: "quantile_cont(%s, %v)", first: "arg_min(%s, %s)", last: "arg_max(%s, %s)", pair: "row(%s, %s)", types: strings.NewReplacer(),
}

// How a result column is compared.
const (
	same   = "same"   // as text
	close9 = "close"  // to 1e-9, relative
	within = "within" // between two columns of the reference
	nearly = "nearly" // an estimate of a number of values
)

// resultColumn is a column of the result.
type resultColumn struct {
	name    string
	compare string
}

// aggregation is one random case.
type aggregation struct {
	seed    uint64
	table   *table
	files   []oracleFile
	format  string
	section map[string]any
	columns []resultColumn
	keys    int // so many columns, the first ones, name a row
	build   func(d dialect) string
	tasks   int
}

func (a *aggregation) json() string {
	data, err := json.Marshal(a.section)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// reference is the query that gives the same rows.
func (a *aggregation) reference(d dialect) string { return d.types.Replace(a.build(d)) }

// keyExpression is a group key.
type keyExpression struct{ name, expr string }

// maker builds one case.
type maker struct {
	r       *rand.Rand
	table   *table
	section map[string]any
}

// newAggregation makes the case of a seed.
func newAggregation(seed uint64) *aggregation {
	r := rand.New(rand.NewPCG(seed, 0x7469646d))
	a := &aggregation{seed: seed, format: []string{"csv", "jsonl", "parquet"}[r.IntN(3)], tasks: 1 + r.IntN(4)}
	a.table = oracleTable(r, a.format != "jsonl")
	a.files = a.table.files(r, a.format)
	m := &maker{r: r, table: a.table, section: map[string]any{}}
	m.input(a.format)
	output := map[string]any{"uri": "LAKE/out/", "format": "parquet"}
	m.section["output"] = output
	where := m.condition(2)
	if r.IntN(2) == 0 {
		m.section["where"] = where
	} else {
		where = "true"
	}
	keys := m.keys()
	window := m.window()
	measures := m.measures()
	sets := m.sets(keys)
	for _, name := range []string{"window_start", "window_end"} {
		if window != nil {
			a.columns = append(a.columns, resultColumn{name, same})
		}
	}
	for _, k := range keys {
		a.columns = append(a.columns, resultColumn{k.name, same})
	}
	if sets != nil {
		a.columns = append(a.columns, resultColumn{"grouping_set", same})
	}
	a.keys = len(a.columns)
	for _, one := range measures {
		a.columns = append(a.columns, resultColumn{one.name, one.compare})
	}
	having := ""
	if r.IntN(5) == 0 {
		having = measures[0].name + " > 1"
		m.section["having"] = having
	}
	order := m.order(a.columns, a.keys)
	a.section = m.section
	a.build = func(d dialect) string {
		return reference(d, where, keys, window, sets, measures, having) + order
	}
	return a
}

// order makes a limit sometimes, with the clause that chooses the same rows: what is equal in the order asked for is in that
// of windows and keys.
func (m *maker) order(columns []resultColumn, keys int) string {
	if m.r.IntN(5) > 0 || m.section["grouping_sets"] != nil {
		return ""
	}
	limit := []int{1, 3, 20, 1000}[m.r.IntN(4)]
	m.section["limit"] = limit
	var by []any
	var terms []string
	for range m.r.IntN(3) {
		c := columns[m.r.IntN(len(columns))]
		if c.compare != same || slices.ContainsFunc(by, func(o any) bool { return o.(map[string]any)["name"] == c.name }) {
			continue
		}
		one, term := map[string]any{"name": c.name}, c.name
		if m.r.IntN(2) == 0 {
			one["descending"], term = true, term+" DESC"
		}
		if m.r.IntN(3) == 0 {
			one["nulls_first"], term = true, term+" NULLS FIRST"
		} else {
			term += " NULLS LAST"
		}
		by, terms = append(by, one), append(terms, term)
	}
	if by != nil {
		m.section["order_by"] = by
	}
	for _, c := range columns[:keys] {
		terms = append(terms, c.name+" NULLS LAST")
	}
	clause := ""
	if len(terms) > 0 {
		clause = " ORDER BY " + strings.Join(terms, ", ")
	}
	return clause + fmt.Sprintf(" LIMIT %d", limit)
}

func (m *maker) input(format string) {
	input := map[string]any{"uri": "LAKE/in/", "format": format}
	columns := map[string]any{}
	for i, c := range m.table.columns {
		if format != "parquet" || i == m.table.partition {
			columns[c.name] = c.kind
		}
	}
	if len(columns) > 0 {
		input["columns"] = columns
	}
	m.section["input"] = input
}

func (m *maker) pick(suits func(c *oracleColumn) bool) *oracleColumn {
	var some []*oracleColumn
	for _, c := range m.table.columns {
		if suits(c) {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[m.r.IntN(len(some))]
}

func anyColumn(*oracleColumn) bool { return true }

// condition is an expression of both dialects.
func (m *maker) condition(depth int) string {
	c := m.pick(anyColumn)
	switch k := m.r.IntN(8); {
	case depth > 0 && k == 0:
		return "(" + m.condition(depth-1) + " AND " + m.condition(depth-1) + ")"
	case depth > 0 && k == 1:
		return "(" + m.condition(depth-1) + " OR NOT " + m.condition(depth-1) + ")"
	case k == 2:
		return c.name + " IS NOT NULL"
	case k == 3:
		return c.name + " IS NULL"
	}
	operator := []string{"=", "<", "<=", ">", ">=", "<>"}[m.r.IntN(6)]
	other := c.make(m.r).sql
	if c.kind == "TIMESTAMP" || c.kind == "TIMESTAMPTZ" {
		other = "CAST('1970-12-30 12:00:00" + map[bool]string{true: "+00:00"}[c.kind == "TIMESTAMPTZ"] + "' AS " + c.kind + ")"
	}
	if c.kind == "VARCHAR" {
		other = "'" + []string{"a", "b", "x", ""}[m.r.IntN(4)] + "'"
	}
	return "(" + c.name + " " + operator + " " + other + ")"
}

func (m *maker) keys() []keyExpression {
	var keys []keyExpression
	var groups []any
	for i := range m.r.IntN(4) {
		c := m.pick(anyColumn)
		key := keyExpression{name: fmt.Sprintf("k%d", i), expr: c.name}
		switch {
		case c.kind == "BIGINT" && m.r.IntN(2) == 0:
			key.expr = c.name + " % 7"
		case c.kind == "VARCHAR" && m.r.IntN(2) == 0:
			key.expr = "coalesce(" + c.name + ", 'none')"
		case c.kind == "TIMESTAMP" && m.r.IntN(2) == 0:
			key.expr = "CAST(" + c.name + " AS DATE)"
		case m.r.IntN(6) == 0:
			key.expr = c.name + " IS NULL"
		}
		keys = append(keys, key)
		groups = append(groups, map[string]any{"name": key.name, "expr": key.expr})
	}
	if groups != nil {
		m.section["group_by"] = groups
	}
	return keys
}

// windowing is a time window of the case, in microseconds.
type windowing struct {
	column               string
	size, every, session int64
}

func (m *maker) window() *windowing {
	c := m.pick(func(c *oracleColumn) bool {
		return c.kind == "TIMESTAMP" || c.kind == "TIMESTAMPTZ" || c.kind == "DATE"
	})
	if c == nil || m.r.IntN(2) == 0 {
		return nil
	}
	const second = 1_000_000
	w := &windowing{column: c.name}
	switch m.r.IntN(3) {
	case 0:
		w.size = []int64{60 * second, 3600 * second, 7 * second}[m.r.IntN(3)]
		w.every = w.size
		m.section["window"] = map[string]any{"tumbling": fmt.Sprintf("%ds", w.size/second)}
	case 1:
		w.every = []int64{1800 * second, 600 * second}[m.r.IntN(2)]
		w.size = w.every * int64(1+m.r.IntN(5))
		m.section["window"] = map[string]any{"sliding": fmt.Sprintf("%ds", w.size/second), "every": fmt.Sprintf("%ds", w.every/second)}
	default:
		w.session = []int64{600 * second, 7200 * second}[m.r.IntN(2)]
		m.section["window"] = map[string]any{"session": fmt.Sprintf("%ds", w.session/second)}
	}
	m.section["time"] = map[string]any{"expr": c.name}
	return w
}

// sets are positions of keys.
func (m *maker) sets(keys []keyExpression) [][]int {
	if len(keys) == 0 || m.r.IntN(5) > 0 || m.section["window"] != nil && m.section["window"].(map[string]any)["session"] != nil {
		return nil
	}
	var sets [][]int
	var named []any
	for range 1 + m.r.IntN(3) {
		set, names := []int{}, []any{}
		for i, k := range keys {
			if m.r.IntN(2) == 0 {
				set, names = append(set, i), append(names, k.name)
			}
		}
		sets, named = append(sets, set), append(named, names)
	}
	m.section["grouping_sets"] = named
	return sets
}

// oracleMeasure is a measure with its reference: one expression, or two for bounds.
type oracleMeasure struct {
	name    string
	compare string
	sql     func(d dialect) []string
}

func (m *maker) measures() []oracleMeasure {
	all := []oracleMeasure{{"m0", same, func(dialect) []string { return []string{"count(*)"} }}}
	spec := map[string]any{"m0": map[string]any{"count": "*"}}
	order := []string{"m0"}
	for i := range 1 + m.r.IntN(4) {
		name := fmt.Sprintf("m%d", i+1)
		one, fields := m.measure(name)
		all, order = append(all, one), append(order, name)
		spec[name] = fields
	}
	m.section["measures"] = spec // marshalled in the order of the names, which is theirs
	slices.Sort(order)
	return all
}

func (m *maker) measure(name string) (oracleMeasure, map[string]any) {
	c := m.pick(anyColumn)
	filter, where := "", ""
	fields := map[string]any{}
	if m.r.IntN(4) == 0 {
		where = m.condition(1)
		fields["where"] = where
		filter = " FILTER (WHERE " + where + ")"
	}
	plain := func(function, compare string, sql func(d dialect) []string) (oracleMeasure, map[string]any) {
		fields[function] = c.name
		return oracleMeasure{name, compare, func(d dialect) []string {
			texts := sql(d)
			for i, text := range texts {
				if texts[i] = strings.ReplaceAll(text, "@", filter); texts[i] == text {
					texts[i] += filter
				}
			}
			return texts
		}}, fields
	}
	text := func(format string) func(dialect) []string {
		return func(dialect) []string { return []string{fmt.Sprintf(format, c.name)} }
	}
	switch k := m.r.IntN(14); {
	case k == 0:
		return plain("count", same, text("count(%s)"))
	case k == 1:
		return plain("min", same, text("min(%s)"))
	case k == 2:
		return plain("max", same, text("max(%s)"))
	case k == 3:
		return plain("count_distinct", same, text("count(DISTINCT %s)"))
	case k == 4:
		return plain("approx_distinct", nearly, text("count(DISTINCT %s)"))
	case k == 5:
		return m.extreme(c, name, where, fields)
	}
	if c = m.pick(func(c *oracleColumn) bool { return c.number() && (c.tame || m.r.IntN(4) == 0) }); c == nil {
		c = m.table.columns[0]
	}
	integer := c.kind == "BIGINT" || c.kind == "SMALLINT"
	if !c.tame && !integer || m.r.IntN(3) == 0 {
		compare := same
		if c.kind == "DOUBLE" {
			compare = close9
		}
		return plain("sum", compare, func(d dialect) []string {
			if integer {
				return []string{fmt.Sprintf("sum(CAST(%s AS %s))", c.name, d.exact)}
			}
			return []string{fmt.Sprintf("sum(%s)", c.name)}
		})
	}
	if !c.tame {
		return plain("max", same, text("max(%s)"))
	}
	double := "CAST(" + c.name + " AS DOUBLE)"
	switch m.r.IntN(6) {
	case 0:
		return plain("avg", close9, func(dialect) []string { return []string{"avg(" + double + ")"} })
	case 1:
		return plain("median", close9, func(d dialect) []string { return []string{fmt.Sprintf(d.quantile, double, 0.5)} })
	case 2:
		fields["q"] = 0.9
		return plain("quantile", close9, func(d dialect) []string { return []string{fmt.Sprintf(d.quantile, double, 0.9)} })
	case 3:
		function := []string{"stddev", "variance", "stddev_pop", "variance_pop"}[m.r.IntN(4)]
		call := map[string]string{"stddev": "stddev_samp", "variance": "var_samp", "stddev_pop": "stddev_pop", "variance_pop": "var_pop"}[function]
		return plain(function, close9, func(dialect) []string { return []string{call + "(" + double + ")"} })
	default:
		q := 0.5
		fields["q"] = q
		return plain("approx_quantile", within, func(d dialect) []string {
			bound := func(few string, q float64) string { // the sketch answers with a value, not with one between two
				return fmt.Sprintf("CASE WHEN count(%[1]s)@ < 50 THEN CAST(%[2]s(%[1]s)@ AS DOUBLE) ELSE %[3]s@ END", c.name, few, fmt.Sprintf(d.quantile, double, q))
			}
			return []string{bound("min", q-0.08), bound("max", q+0.08)}
		})
	}
}

// extreme is an arg_min or arg_max. Of rows with the same extreme the smallest or the largest argument counts.
func (m *maker) extreme(c *oracleColumn, name, where string, fields map[string]any) (oracleMeasure, map[string]any) {
	by := m.pick(func(c *oracleColumn) bool { return c.kind != "DOUBLE" || c.tame })
	largest := m.r.IntN(2) == 0
	fields[map[bool]string{true: "arg_max", false: "arg_min"}[largest]], fields["by"] = c.name, by.name
	both := fmt.Sprintf("%s IS NOT NULL AND %s IS NOT NULL", c.name, by.name)
	if where != "" {
		both += " AND " + where
	}
	return oracleMeasure{name, same, func(d dialect) []string {
		function := d.first
		if largest {
			function = d.last
		}
		return []string{fmt.Sprintf(function, c.name, fmt.Sprintf(d.pair, by.name, c.name)) + " FILTER (WHERE " + both + ")"}
	}}, fields
}

// reference is the whole query.
func reference(d dialect, where string, keys []keyExpression, w *windowing, sets [][]int, measures []oracleMeasure, having string) string {
	source := "SELECT * FROM truth WHERE " + where
	var by, windowColumns []string
	if w != nil {
		source = w.source(d, source, keys)
		windowColumns = []string{fmt.Sprintf(d.instant, "w_start") + " AS window_start", fmt.Sprintf(d.instant, "w_end") + " AS window_end"}
		by = []string{"w_start", "w_end"}
	}
	one := func(set []int, number int) string {
		columns := slices.Clone(windowColumns)
		group := slices.Clone(by)
		for i, k := range keys {
			if set == nil || slices.Contains(set, i) {
				columns = append(columns, "g"+k.name+" AS "+k.name)
				group = append(group, "g"+k.name)
			} else {
				columns = append(columns, "CASE WHEN count(*) < 0 THEN min(g"+k.name+") END AS "+k.name)
			}
		}
		if sets != nil {
			columns = append(columns, fmt.Sprintf("%d AS grouping_set", number))
		}
		for _, measure := range measures {
			for i, text := range measure.sql(d) {
				name := measure.name
				if i > 0 {
					name += "_high"
				}
				columns = append(columns, text+" AS "+name)
			}
		}
		named := "SELECT *"
		for _, k := range keys {
			named += ", " + k.expr + " AS g" + k.name
		}
		query := "SELECT " + strings.Join(columns, ", ") + " FROM (" + named + " FROM (" + source + ") AS rows_in) AS named"
		if len(group) > 0 {
			query += " GROUP BY " + strings.Join(group, ", ")
		}
		return query
	}
	query := one(nil, 0)
	if sets != nil {
		var parts []string
		for i, set := range sets {
			parts = append(parts, one(set, i))
		}
		query = strings.Join(parts, " UNION ALL ")
	}
	if having != "" {
		query = "SELECT * FROM (" + query + ") AS unfiltered WHERE " + having
	}
	return query
}

// source adds the windows of each row.
func (w *windowing) source(d dialect, source string, keys []keyExpression) string {
	micros := fmt.Sprintf(d.micros, w.column)
	if w.session == 0 {
		var numbers []string
		for i := range w.size / w.every {
			numbers = append(numbers, fmt.Sprintf("(CAST(%d AS BIGINT))", i))
		}
		return fmt.Sprintf("SELECT *, w_pane - w_back * %[1]d AS w_start, w_pane - w_back * %[1]d + %[2]d AS w_end FROM (SELECT *, w_us - ((w_us %% %[1]d) + %[1]d) %% %[1]d AS w_pane FROM (SELECT *, %[3]s AS w_us FROM (%[4]s) AS filtered) AS timed WHERE w_us IS NOT NULL) AS paned CROSS JOIN (VALUES %[5]s) AS back(w_back)",
			w.every, w.size, micros, source, strings.Join(numbers, ", "))
	}
	partition := "true"
	for _, k := range keys {
		partition += ", " + k.expr
	}
	return fmt.Sprintf("SELECT *, min(w_us) OVER (PARTITION BY %[1]s, w_island) AS w_start, max(w_us) OVER (PARTITION BY %[1]s, w_island) + %[2]d AS w_end FROM ("+
		"SELECT *, sum(w_fresh) OVER (PARTITION BY %[1]s ORDER BY w_us ROWS UNBOUNDED PRECEDING) AS w_island FROM ("+
		"SELECT *, CASE WHEN w_us - lag(w_us) OVER (PARTITION BY %[1]s ORDER BY w_us) < %[2]d THEN 0 ELSE 1 END AS w_fresh FROM ("+
		"SELECT *, %[3]s AS w_us FROM (%[4]s) AS filtered) AS timed WHERE w_us IS NOT NULL) AS marked) AS numbered", partition, w.session, micros, source)
}
