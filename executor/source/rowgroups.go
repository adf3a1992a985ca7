package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/parquet"
)

// Which row groups need not be read: those of which the footers say that no row can pass the filter.

// rowGroup is what is remembered of a row group.
type rowGroup struct {
	file, group int
	layout      *layout
	rows        int64
	bytes       int64            // of the used columns
	bounds      []parquet.Bounds // of the columns that the filter compares, as filter.columns has them
}

// filter is the comparisons of columns with constants that the spec's filter implies.
type filter struct {
	comparisons []expression.Comparison
	columns     []string
}

// newFilter leaves out those of partition columns, of which no footer knows.
func newFilter(where *expression.Expression, partitions []string) *filter {
	f := &filter{}
	if where == nil {
		return f
	}
	for _, c := range where.Comparisons {
		if slices.ContainsFunc(partitions, func(name string) bool { return strings.EqualFold(name, c.Column) }) {
			continue
		}
		f.comparisons = append(f.comparisons, c)
		if f.index(c.Column) < 0 {
			f.columns = append(f.columns, c.Column)
		}
	}
	return f
}

func (f *filter) index(column string) int {
	return slices.IndexFunc(f.columns, func(name string) bool { return strings.EqualFold(name, column) })
}

// rowGroups remembers the row groups of a footer.
func (f *filter) rowGroups(file int, footer *parquet.Footer, l *layout) []rowGroup {
	groups := make([]rowGroup, len(footer.Groups))
	for g := range footer.Groups {
		group := rowGroup{file: file, group: g, layout: l, rows: footer.Groups[g].Rows, bytes: footer.Bytes([]int{g}, l.keep)}
		for _, name := range f.columns {
			bounds := parquet.Bounds{Nulls: group.rows} // as if it were there and always missing
			if i := l.find(name); i >= 0 {
				bounds = parquet.Bounds{Nulls: -1}
				if l.keep[i] {
					bounds = footer.Groups[g].Bounds(footer.Columns[i])
				}
			}
			group.bounds = append(group.bounds, bounds)
		}
		groups[g] = group
	}
	return groups
}

// possible are those of the row groups in which some row may pass the filter. columns are the input's.
func (p *parquetFiles) possible(ctx context.Context, f *filter, groups []rowGroup, columns []Column) (_ []rowGroup, err error) {
	if len(f.comparisons) == 0 || len(groups) == 0 {
		return groups, nil
	}
	var layouts []*layout
	for _, group := range groups {
		if !slices.Contains(layouts, group.layout) {
			layouts = append(layouts, group.layout)
		}
	}
	if err := p.loadBounds(ctx, f, groups, layouts); err != nil {
		return nil, lake.Failure("look at row groups", err)
	}
	defer func() {
		err = errors.Join(err, lake.Failure("look at row groups", p.Session.Exec(ctx, "DROP TABLE bounds")))
	}()
	without := map[int64]bool{}
	for n, l := range layouts {
		for _, comparison := range f.comparisons {
			condition := f.condition(comparison, l, columns)
			if condition == "" {
				continue
			}
			query := fmt.Sprintf("SELECT n FROM bounds WHERE layout = %d AND (%s) IS FALSE", n, condition)
			err := p.Session.Query(ctx, query, func(row []driver.Value) error {
				number, ok := row[0].(int64)
				if !ok {
					return fmt.Errorf("look at row groups: got %T", row[0])
				}
				without[number] = true
				return nil
			})
			var said *engine.Error
			if errors.As(err, &said) && (said.Reason == engine.Data || said.Reason == engine.Binding) {
				continue // it shows when the filter is bound, or the rows are read
			}
			if err != nil {
				return nil, lake.Failure("look at row groups", err)
			}
		}
	}
	var rest []rowGroup
	for i, group := range groups {
		if !without[int64(i)] {
			rest = append(rest, group)
		}
	}
	return rest, nil
}

// loadBounds makes a table of what the footers say, with limits as text.
func (p *parquetFiles) loadBounds(ctx context.Context, f *filter, groups []rowGroup, layouts []*layout) error {
	definitions := engine.List{"n BIGINT", "layout BIGINT", "total BIGINT"}
	for i := range f.columns {
		definitions.Add("low%d VARCHAR, high%d VARCHAR, nulls%d BIGINT", i, i, i)
	}
	if err := p.Session.Exec(ctx, "CREATE TEMP TABLE bounds ("+definitions.String()+")"); err != nil {
		return err
	}
	return p.Session.Append(ctx, "bounds", func(add func(...driver.Value) error) error {
		for n, group := range groups {
			row := []driver.Value{int64(n), int64(slices.Index(layouts, group.layout)), group.rows}
			for _, b := range group.bounds {
				row = append(row, textOrNull(b.Min), textOrNull(b.Max), nil)
				if b.Nulls >= 0 {
					row[len(row)-1] = b.Nulls
				}
			}
			if err := add(row...); err != nil {
				return err
			}
		}
		return nil
	})
}

func textOrNull(text *string) driver.Value {
	if text == nil {
		return nil
	}
	return *text
}

// condition is false over a row of the table bounds if the comparison can hold for no row of that group. Limits that are
// not known are missing there and make it neither true nor false. It is empty if nothing can be said.
func (f *filter) condition(c expression.Comparison, l *layout, columns []Column) string {
	at, in := Find(columns, c.Column), l.find(c.Column)
	if at < 0 {
		return "" // of another table, if it is anything
	}
	i := f.index(c.Column)
	some := fmt.Sprintf("coalesce(nulls%d < total, true)", i) // values that are not missing
	switch c.Op {
	case "IS NULL":
		return fmt.Sprintf("coalesce(nulls%d > 0, true)", i)
	case "IS NOT NULL":
		return some
	}
	if in < 0 {
		return some
	}
	to := columns[at].Type
	if !l.keep[in] || !widens(l.types[in], to) {
		return ""
	}
	limit := func(name string) string {
		return fmt.Sprintf("CAST(TRY_CAST(%s%d AS %s) AS %s)", name, i, l.types[in], to)
	}
	var either []string
	for _, value := range c.Values {
		if !comparableTypes(to, value.Type) {
			return ""
		}
		either = append(either, mayHold(c.Op, limit("low"), limit("high"), value.SQL, engine.IsFloat(to)))
	}
	return some + " AND (" + strings.Join(either, " OR ") + ")"
}

// mayHold is the condition that a value between low and high may compare so with a constant. high says nothing of NaN,
// which is larger than all numbers.
func mayHold(op, low, high, constant string, nan bool) string {
	above := func(op string) string {
		if nan {
			return "true"
		}
		return high + op + constant
	}
	switch op {
	case "<", "<=":
		return low + op + constant
	case ">", ">=":
		return above(op)
	}
	return "(" + low + " <= " + constant + " AND " + above(">=") + ")"
}

// comparableTypes says that the engine compares a column with a constant in such a way that the order of the column's values
// is kept.
func comparableTypes(column, constant string) bool {
	switch {
	case engine.IsInteger(column), engine.IsFloat(column), isDecimal(column):
		return engine.IsInteger(constant) || engine.IsFloat(constant) || constant == "DECIMAL"
	case column == "DATE", column == "TIMESTAMP WITH TIME ZONE", slices.Contains(timestamps, column):
		return constant == "VARCHAR" || constant == "DATE" || strings.HasPrefix(constant, "TIMESTAMP")
	}
	return column == "VARCHAR" && constant == "VARCHAR"
}

// segments are the row groups as segments of their files.
func segments(groups []rowGroup) []input.Segment {
	all := make([]input.Segment, len(groups))
	for i, group := range groups {
		all[i] = input.Segment{File: group.file, Group: group.group, Groups: 1, Length: group.bytes}
	}
	return all
}
