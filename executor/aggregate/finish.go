package aggregate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// resultColumn is a column of the result.
type resultColumn struct {
	name, kind string
	value      string // over the table partial, joined with what measures ask of values
}

// columns are the result's columns, in order, once the types are known. There are as many keys, which differ from row to
// row, in front of the measures.
func (s *shape) columns() (all []resultColumn, keys int) {
	if s.window.Windowed() {
		start, end := s.bounds()
		all = append(all, resultColumn{aggregate.WindowStart, "TIMESTAMP", start}, resultColumn{aggregate.WindowEnd, "TIMESTAMP", end})
	}
	for i, key := range s.keys {
		if i > 0 || !s.window.Windowed() {
			all = append(all, resultColumn{key.name, stored(key.kind), fmt.Sprintf("partial.k%d", i)})
		}
	}
	keys = len(all)
	for _, m := range s.measures {
		all = append(all, resultColumn{m.Name, s.resultType(m), s.value(m)})
	}
	return all, keys
}

// finish is the query for the result's rows, over the tables, in their order.
func (s *shape) finish() string {
	columns, _ := s.columns()
	var l engine.List
	for _, c := range columns {
		l.Add("%s AS %s", c.value, engine.Name(c.name))
	}
	query := "SELECT " + l.String() + " FROM partial" + s.joins()
	if s.having != nil {
		query = "FROM (" + query + ") AS result WHERE " + s.having.parsed.SQL()
	}
	return "FROM (" + query + ") AS result" + s.order()
}

// order is how result rows are put in order, and how many are kept of them: by the columns that the spec names, then, so
// that the order does not depend on chance, by the keys.
func (s *shape) order() string {
	var l engine.List
	for _, o := range s.orderBy {
		direction, nulls := "ASC", "LAST"
		if o.Descending {
			direction = "DESC"
		}
		if o.NullsFirst {
			nulls = "FIRST"
		}
		l.Add("%s %s NULLS %s", engine.Name(o.Name), direction, nulls)
	}
	columns, keys := s.columns()
	for _, c := range columns[:keys] {
		if !slices.ContainsFunc(s.orderBy, func(o aggregate.Order) bool { return o.Name == c.name }) {
			l.Add("%s NULLS LAST", engine.Name(c.name))
		}
	}
	var order string
	if len(l) > 0 {
		order = " ORDER BY " + l.String()
	}
	if s.limit > 0 {
		order += fmt.Sprintf(" LIMIT %d", s.limit)
	}
	return order
}

// bindHaving checks the condition over result rows. inputs are the columns that it cannot see.
func (p *parser) bindHaving(s *shape, inputs []column) error {
	if s.having == nil || len(p.problems) > 0 { // the columns' types are not known if something is wrong with them
		return p.err
	}
	var columns []column
	var definitions engine.List
	all, _ := s.columns()
	for _, c := range all {
		columns = append(columns, column{Name: c.name, Type: c.kind})
		definitions.Add("%s %s", engine.Name(c.name), c.kind)
	}
	if err := p.session.Exec(p.ctx, "CREATE TEMP TABLE result ("+definitions.String()+")"); err != nil {
		return fmt.Errorf("bind having: %w", err)
	}
	err := p.bind(s.having, "result", columns, func(name string) string {
		detail := source.UnknownColumn(name, columns)
		if source.Find(inputs, name) >= 0 {
			detail = fmt.Sprintf("having sees result columns only, and %q is a column of the input: choose input rows with where, or add a measure of it (result columns are %s)",
				name, strings.Join(source.ColumnNames(columns), ", "))
		}
		return detail
	})
	if err != nil {
		return err
	}
	if kind := s.having.kind; kind != "" && kind != "BOOLEAN" {
		p.problem(s.having.pointer, "it is %s, want BOOLEAN: a condition", kind)
	}
	return p.session.Exec(p.ctx, "DROP TABLE result")
}
