package aggregate

import (
	"fmt"
	"strconv"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// Sketches are columns of bytes like other parts. Functions of ours, which the engine calls for whole vectors, hash
// values, build a sketch of a list of hashes, merge a list of sketches, and ask one: see functions.go. The engine keeps a
// list in memory until its group is over; so rows are aggregated in slices (staging.go), and what is merged at a time
// is bounded by those who merge.

// hashed is the type by which functions take an argument: its name ends theirs.
func hashed(kind string) (suffix, as string) {
	switch as := counted(kind); as {
	case "BIGINT":
		return "long", as
	case "DOUBLE":
		return "double", as
	default:
		return "text", as
	}
}

// build is the SQL that makes a sketch of rows with arguments; nothing of none.
func (s *shape) build(p part) string {
	arg, kind := fmt.Sprintf("a%d", p.arg), s.args[p.arg].kind
	list := func(element string) string {
		return fmt.Sprintf("list(%s) FILTER (WHERE %s IS NOT NULL)", element, arg)
	}
	suffix, as := hashed(kind)
	hash := func(function string) string {
		return list(fmt.Sprintf("tidemill_%s_%s(CAST(%s AS %s))", function, suffix, arg, as))
	}
	switch p.function {
	case aggregate.ApproxDistinct:
		return "tidemill_hll(" + hash("coupon") + ")"
	case aggregate.Theta:
		return "tidemill_theta(" + hash("theta") + ")"
	case aggregate.Membership:
		return fmt.Sprintf("tidemill_bloom(%s, %s)", hash("bloom"), p.accuracy())
	}
	return "tidemill_kll(" + list(number(arg, kind)) + ")"
}

// accuracy is what a Bloom filter is asked for, as arguments of a function.
func (p part) accuracy() string {
	return fmt.Sprintf("%d, CAST(%s AS DOUBLE)", p.expected, strconv.FormatFloat(p.rate, 'g', -1, 64))
}

// buildTop is the query for rows of keys and part i, the most frequent values, of rows with arguments.
func (s *shape) buildTop(i int, rows string) string {
	p := s.parts[i]
	keys := engine.Numbered("k", len(s.keys))
	suffix, as := hashed(s.args[p.arg].kind)
	counted := append(keys[:len(keys):len(keys)], fmt.Sprintf("CAST(a%d AS %s) AS v", p.arg, as), "count(*) AS n")
	if suffix == "double" { // as text, like all that is no long
		suffix, counted[len(keys)] = "text", fmt.Sprintf("CAST(a%d AS VARCHAR) AS v", p.arg)
	}
	by := append(keys[:len(keys):len(keys)], "v")
	l := append(keys[:len(keys):len(keys)], fmt.Sprintf("tidemill_top_%s(list(v ORDER BY n DESC, v), list(n ORDER BY n DESC, v), %d) AS p%d", suffix, p.k, i))
	return fmt.Sprintf("SELECT %s FROM (SELECT %s FROM %s WHERE a%d IS NOT NULL GROUP BY %s)%s HAVING count(*) > 0", l, counted, rows, p.arg, by, s.groupBy())
}

// mergeSketches is the SQL that merges the sketches of part i.
func (s *shape) mergeSketches(i int) string {
	p := s.parts[i]
	if p.function == aggregate.Membership { // bits are set, one filter after the other: they may be large
		return fmt.Sprintf("CAST(bit_or(CAST(p%d AS BIT)) AS BLOB)", i)
	}
	list := fmt.Sprintf("list(p%[1]d) FILTER (WHERE p%[1]d IS NOT NULL)", i)
	switch p.function {
	case aggregate.ApproxDistinct:
		return "tidemill_hll_merge(" + list + ")"
	case aggregate.Theta:
		return "tidemill_theta_merge(" + list + ")"
	case aggregate.ApproxTopK:
		list = fmt.Sprintf("list(p%[1]d ORDER BY split) FILTER (WHERE p%[1]d IS NOT NULL)", i) // what is dropped depends on the order
		return fmt.Sprintf("tidemill_top_merge(%s, %d, %d)", list, p.k, s.longs(p))
	}
	return "tidemill_kll_merge(" + list + ")"
}

// longs is 1 if the items of a part are whole numbers, and 0 if they are texts.
func (s *shape) longs(p part) int {
	if counted(s.args[p.arg].kind) == "BIGINT" {
		return 1
	}
	return 0
}

// asked is what a measure wants of a sketch in a column, which is missing in groups without values.
func (s *shape) asked(m measure, column string) string {
	p := s.parts[m.parts[0]]
	switch {
	case m.Func == aggregate.ApproxDistinct && m.Sketch:
		return "tidemill_hll_sketch(" + column + ")"
	case m.Func == aggregate.ApproxDistinct:
		return "tidemill_hll_estimate(" + column + ")"
	case m.Func == aggregate.Theta && m.Sketch:
		return "tidemill_theta_sketch(" + column + ")"
	case m.Func == aggregate.Theta:
		return "tidemill_theta_estimate(" + column + ")"
	case m.Func == aggregate.ApproxQuantile && m.Sketch:
		return "tidemill_kll_sketch(" + column + ")"
	case m.Func == aggregate.ApproxQuantile:
		return fmt.Sprintf("tidemill_kll_quantile(%s, CAST(%s AS DOUBLE))", column, strconv.FormatFloat(m.Q, 'g', -1, 64))
	case m.Func == aggregate.Membership:
		return fmt.Sprintf("tidemill_bloom_sketch(%s, %s)", column, p.accuracy())
	case m.Sketch:
		return fmt.Sprintf("tidemill_top_sketch(%s, %d, %d)", column, p.k, s.longs(p))
	}
	return fmt.Sprintf(`CAST(from_json(tidemill_top(%s, %d, %d), '[{"value": "VARCHAR", "count": "BIGINT"}]') AS %s)`, column, p.k, s.longs(p), s.topType(p))
}
