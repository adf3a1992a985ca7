package aggregate

import (
	"fmt"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// Parts that are no measures by themselves.
const (
	partMean   = "mean"   // of numbers, DOUBLE
	partM2     = "m2"     // the sum of squared distances from the mean, DOUBLE; the next part but one before it counts, the one before is the mean
	partValues = "values" // the different values and how often each is there: see values.go
)

// part is a column of partial aggregates. Parts merge: those of a group's rows in any division give those of the group.
type part struct {
	function string // one of aggregate's functions, or of those above
	arg      int    // -1: rows
	by       int    // ArgMin, ArgMax: an argument

	k        int     // ApproxTopK
	expected int64   // Membership
	rate     float64 // Membership
}

// sketch says whether a part is bytes that our own functions make and merge.
func (p part) sketch() bool {
	switch p.function {
	case aggregate.ApproxDistinct, aggregate.ApproxQuantile, aggregate.ApproxTopK, aggregate.Membership, aggregate.Theta:
		return true
	}
	return false
}

// extra says whether a part comes in rows of its own, in which all other parts are missing.
func (p part) extra() bool { return p.function == partValues || p.function == aggregate.ApproxTopK }

// addPart finds or adds a part.
func (s *shape) addPart(p part) int {
	for i, known := range s.parts {
		if known == p {
			return i
		}
	}
	s.parts = append(s.parts, p)
	return len(s.parts) - 1
}

// need finds or adds a part that has an argument and nothing else.
func (s *shape) need(function string, arg int) int {
	return s.addPart(part{function: function, arg: arg})
}

// measure finds or adds the parts that m needs.
func (s *shape) measure(m aggregate.Measure, arg, by int) measure {
	one := func(p part) measure { return measure{m, []int{s.addPart(p)}} }
	switch m.Func {
	case aggregate.Avg:
		return measure{m, []int{s.need(aggregate.Sum, arg), s.need(aggregate.Count, arg)}}
	case aggregate.Variance, aggregate.VariancePop, aggregate.Stddev, aggregate.StddevPop:
		count, mean := s.need(aggregate.Count, arg), s.need(partMean, arg)
		return measure{m, []int{s.need(partM2, arg), count, mean}}
	case aggregate.CountDistinct, aggregate.Median, aggregate.Quantile:
		return one(part{function: partValues, arg: arg})
	case aggregate.ArgMin, aggregate.ArgMax:
		return one(part{function: m.Func, arg: arg, by: by})
	case aggregate.ApproxTopK:
		return one(part{function: m.Func, arg: arg, k: m.K})
	case aggregate.Membership:
		return one(part{function: m.Func, arg: arg, expected: m.Expected, rate: m.FalsePositive})
	}
	return one(part{function: m.Func, arg: arg})
}

// aggregate is the SQL that makes a part of rows with arguments. Parts in extra rows have other queries.
func (s *shape) aggregate(p part) string {
	if p.arg < 0 {
		return "count(*)"
	}
	arg := fmt.Sprintf("a%d", p.arg)
	kind := s.args[p.arg].kind
	switch p.function {
	case aggregate.Count:
		return "count(" + arg + ")"
	case aggregate.Sum:
		if engine.IsFloat(kind) {
			return compensated(arg)
		} else if kind == "BOOLEAN" {
			arg = "CAST(" + arg + " AS BIGINT)"
		}
		return fmt.Sprintf("CAST(sum(%s) AS %s)", arg, s.partType(p))
	case partMean:
		return fmt.Sprintf("avg(%s)", number(arg, kind))
	case partM2: // the engine goes by Welford, and refuses what is not finite
		x := number(arg, kind)
		return fmt.Sprintf("CASE WHEN bool_or(NOT isfinite(%[1]s)) THEN CAST('nan' AS DOUBLE) ELSE var_pop(CASE WHEN isfinite(%[1]s) THEN %[1]s END) * count(%[2]s) END", x, arg)
	case aggregate.ArgMin, aggregate.ArgMax:
		by := fmt.Sprintf("a%d", p.by)
		return fmt.Sprintf("%s(CASE WHEN %s IS NOT NULL AND %s IS NOT NULL THEN %s END)", extreme[p.function], arg, by, s.pair(p, by, arg))
	case aggregate.Min, aggregate.Max:
		return fmt.Sprintf("CAST(%s(%s) AS %s)", p.function, arg, s.partType(p))
	}
	return s.build(p)
}

// extreme is what finds the pair of ArgMin and ArgMax: the ordering of pairs settles ties by the argument.
var extreme = map[string]string{aggregate.ArgMin: "min", aggregate.ArgMax: "max"}

// pair is what ArgMin and ArgMax compare, of the part's type.
func (s *shape) pair(p part, by, arg string) string {
	return fmt.Sprintf(`CAST({'by': %s, 'arg': %s} AS %s)`, by, arg, s.partType(p))
}

// number is an argument as DOUBLE.
func number(arg, kind string) string {
	if kind == "DOUBLE" {
		return arg
	}
	if kind == "BOOLEAN" {
		arg = "CAST(" + arg + " AS INTEGER)"
	}
	return "CAST(" + arg + " AS DOUBLE)"
}

// combine is the SQL that merges part i of several rows. spread gives each row's mean its group's, if there are means: see
// merged.
func (s *shape) combine(i int) string {
	p := s.parts[i]
	column := fmt.Sprintf("p%d", i)
	switch {
	case p.function == partMean:
		return s.combinedMean(i)
	case p.function == partM2: // Chan, Golub, LeVeque 1979, for any number of pieces
		count, mean := s.need(aggregate.Count, p.arg), s.need(partMean, p.arg)
		return compensated(fmt.Sprintf("(p%[1]d + p%[2]d * (p%[3]d - m%[3]d) ** 2)", i, count, mean))
	case p.function == aggregate.Min || p.function == aggregate.Max:
		return fmt.Sprintf("CAST(%s(%s) AS %s)", p.function, column, s.partType(p))
	case p.function == aggregate.ArgMin || p.function == aggregate.ArgMax:
		return fmt.Sprintf("%s(%s)", extreme[p.function], column)
	case p.sketch():
		return s.mergeSketches(i)
	case s.partType(p) == "DOUBLE":
		return compensated(column)
	}
	return fmt.Sprintf("CAST(sum(%s) AS %s)", column, s.partType(p))
}

// combinedMean is the mean of part i's rows, by their counts.
func (s *shape) combinedMean(i int) string {
	count := s.need(aggregate.Count, s.parts[i].arg)
	return fmt.Sprintf("%s / nullif(sum(p%d), 0)", compensated(fmt.Sprintf("(p%d * p%d)", count, i)), count)
}

// means are the parts that are means.
func (s *shape) means() []int {
	var all []int
	for i, p := range s.parts {
		if p.function == partMean {
			all = append(all, i)
		}
	}
	return all
}

// partType is the type of a column of partial aggregates.
func (s *shape) partType(p part) string {
	switch p.function {
	case aggregate.Count, partValues:
		return "BIGINT"
	case aggregate.Sum:
		return summed(s.args[p.arg].kind)
	case aggregate.Min, aggregate.Max:
		return stored(s.args[p.arg].kind)
	case partMean, partM2:
		return "DOUBLE"
	case aggregate.ArgMin, aggregate.ArgMax:
		return fmt.Sprintf(`STRUCT("by" %s, arg %s)`, stored(s.args[p.by].kind), stored(s.args[p.arg].kind))
	}
	return "BLOB"
}
