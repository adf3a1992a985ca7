package aggregate

import (
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// value is a measure's value, over its parts in the table partial and the tables that settle makes.
func (s *shape) value(m measure) string {
	first := m.parts[0]
	column := fmt.Sprintf("partial.p%d", first)
	switch m.Func {
	case aggregate.Avg:
		return fmt.Sprintf("CASE WHEN p%[2]d > 0 THEN CAST(p%[1]d AS DOUBLE) / p%[2]d END", first, m.parts[1])
	case aggregate.VariancePop, aggregate.StddevPop:
		return root(m.Func, fmt.Sprintf("CASE WHEN p%[2]d > 0 THEN p%[1]d / p%[2]d END", first, m.parts[1]))
	case aggregate.Variance, aggregate.Stddev:
		return root(m.Func, fmt.Sprintf("CASE WHEN p%[2]d > 1 THEN p%[1]d / (p%[2]d - 1) END", first, m.parts[1]))
	case aggregate.ArgMin, aggregate.ArgMax:
		return column + ".arg"
	case aggregate.CountDistinct:
		return fmt.Sprintf("coalesce(result%d.different, 0)", first)
	case aggregate.Median, aggregate.Quantile:
		return fmt.Sprintf("result%d.q%d", first, slices.Index(s.ranks(first), m.Q))
	}
	if !s.parts[first].sketch() {
		return column
	}
	value := s.asked(m, column)
	switch {
	case s.text && m.Sketch:
		return "to_base64(" + value + ")"
	case s.format == "csv" && m.Func == aggregate.ApproxTopK:
		return "CAST(to_json(" + value + ") AS VARCHAR)"
	}
	return value
}

// root is the root of what a standard deviation squares.
func root(function, variance string) string {
	if function == aggregate.Stddev || function == aggregate.StddevPop {
		return "sqrt(" + variance + ")"
	}
	return variance
}

// ranks are the different ones that measures ask of a part, in order.
func (s *shape) ranks(part int) []float64 {
	var all []float64
	for _, m := range s.measures {
		if m.parts[0] == part && m.Func != aggregate.CountDistinct && !slices.Contains(all, m.Q) {
			all = append(all, m.Q)
		}
	}
	return all
}

// resultType is the type of a measure's column.
func (s *shape) resultType(m measure) string {
	p := s.parts[m.parts[0]]
	switch m.Func {
	case aggregate.Avg, aggregate.Variance, aggregate.VariancePop, aggregate.Stddev, aggregate.StddevPop, aggregate.Median, aggregate.Quantile:
		return "DOUBLE"
	case aggregate.ArgMin, aggregate.ArgMax:
		return stored(s.args[p.arg].kind)
	}
	switch {
	case m.Sketch && s.text:
		return "VARCHAR"
	case m.Sketch:
		return "BLOB"
	}
	switch m.Func {
	case aggregate.ApproxDistinct, aggregate.Theta, aggregate.CountDistinct:
		return "BIGINT"
	case aggregate.ApproxQuantile:
		return "DOUBLE"
	case aggregate.ApproxTopK:
		if s.format == "csv" {
			return "VARCHAR"
		}
		return s.topType(p)
	}
	return s.partType(p)
}

// topType is the type of the list of the most frequent values.
func (s *shape) topType(p part) string {
	return fmt.Sprintf(`STRUCT("value" %s, "count" BIGINT)[]`, stored(s.args[p.arg].kind))
}

// wants says why a function cannot take an argument of a type, or is empty.
func wants(function, kind string) string {
	switch function {
	case aggregate.Sum, aggregate.Avg, aggregate.ApproxQuantile, aggregate.Median, aggregate.Quantile,
		aggregate.Variance, aggregate.VariancePop, aggregate.Stddev, aggregate.StddevPop:
		if !engine.IsNumber(kind) {
			return "want a number"
		}
	case aggregate.Min, aggregate.Max, aggregate.CountDistinct, aggregate.ArgMin, aggregate.ArgMax:
		return engine.Unkept(kind)
	case aggregate.ApproxTopK:
		if engine.IsNested(kind) {
			return "want values without an inside, take one of its members or cast it to VARCHAR"
		}
		return engine.Unkept(kind)
	}
	return ""
}
