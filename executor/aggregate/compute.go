package aggregate

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// The engine's tables:
//
//	staging   k0 … a0 …       rows that passed the filter, when there are sketches, which need them again
//	pieces    split k0 … p0 … partial aggregates of one batch of rows each, when there are none
//	finest    split k0 … p0 … a row for each group of keys, if the result has coarser ones: see sets.go and windows.go
//	sessions  k0 … start      where the session of a group starts, with session windows
//	partial   k0 … p0 …       a row for each group, with the parts that are not sketches; its rowid names the group
//	sketch3   gid, s          part 3 of the groups that have one, a sketch
//	result3   gid, v0 …       what measures ask of it

// items is a comma-separated list.
type items []string

func (l *items) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }
func (l items) String() string                  { return strings.Join(l, ", ") }

// names is prefix0, prefix1, …
func names(prefix string, n int) items {
	var l items
	for i := range n {
		l.add("%s%d", prefix, i)
	}
	return l
}

// groupBy is the clause for the group keys; without any there is one group, even of no rows.
func (s *shape) groupBy() string {
	if len(s.keys) == 0 {
		return ""
	}
	return " GROUP BY " + names("k", len(s.keys)).String()
}

// sameGroup is the condition that two relations' rows are of one group.
func (s *shape) sameGroup(a, b string) string {
	conditions := []string{"true"}
	for i := range s.keys {
		conditions = append(conditions, fmt.Sprintf("%s.k%d IS NOT DISTINCT FROM %s.k%d", a, i, b, i))
	}
	return strings.Join(conditions, " AND ")
}

// projection is the keys and arguments of the rows that pass the filter, and are in a window if there are windows.
func (s *shape) projection(relation string) string {
	var l items
	for i, key := range s.keys {
		switch {
		case key.parsed != nil:
			l.add("CAST(%s AS %s) AS k%d", key.parsed.SQL(), stored(key.kind), i)
		case key.name == aggregate.GroupingSet:
			l.add("CAST(0 AS INTEGER) AS k%d", i)
		}
	}
	for i, arg := range s.args {
		if arg.parsed != nil {
			l.add("CAST(%s AS %s) AS a%d", arg.parsed.SQL(), summable(arg.kind), i)
		}
	}
	if s.time != nil {
		l.add("%s AS t", micros(s.time.parsed.SQL(), s.time.kind))
	}
	if len(l) == 0 {
		l.add("true AS present")
	}
	query := "SELECT " + l.String() + " FROM (" + relation + ") AS input"
	if s.where != nil {
		query += " WHERE " + s.where.parsed.SQL()
	}
	if s.time != nil {
		query = s.pane(query)
	}
	return query
}

// pieces is partials, with the number of the batch.
func (s *shape) pieces(rows string, number int) string {
	return fmt.Sprintf("SELECT CAST(%d AS INTEGER) AS split, * FROM (%s)", number, s.partials(rows))
}

// partials is the query for the table partial, without sketches, over rows of keys and arguments.
func (s *shape) partials(rows string) string {
	l := names("k", len(s.keys))
	for i, p := range s.parts {
		if p.sketch() {
			continue
		}
		l.add("%s AS p%d", s.aggregate(p), i)
	}
	if len(l) == 0 {
		l.add("true AS present") // all the measures are sketches of all the rows
		return "SELECT " + l.String()
	}
	return "SELECT " + l.String() + " FROM " + rows + s.groupBy()
}

func (s *shape) aggregate(p part) string {
	if p.arg < 0 {
		return "count(*)"
	}
	arg := fmt.Sprintf("a%d", p.arg)
	switch p.function {
	case aggregate.Count:
		return "count(" + arg + ")"
	case aggregate.Sum:
		if kind := s.args[p.arg].kind; isFloat(kind) {
			return compensated(arg)
		} else if kind == "BOOLEAN" {
			arg = "CAST(" + arg + " AS BIGINT)"
		}
		return fmt.Sprintf("CAST(sum(%s) AS %s)", arg, s.partType(p))
	}
	return fmt.Sprintf("CAST(%s(%s) AS %s)", p.function, arg, s.partType(p)) // min, max
}

// compute makes the tables partial and, in one more for each, sketches or what is asked of them, out of a split. What it
// makes may be too much to be kept: then it calls handOn, again and again, with a part of it in the tables. If handOn is
// nil, there is a row for each group in the end; else some may have several.
func (t *stage) compute(ctx context.Context, session *engine.Session, sh *shape, source rowSource, split input.Split, counts *input.Counts, keep keeper, handOn func(context.Context) error) error {
	if sh.sketches() {
		return computeSketches(ctx, session, sh, source, split, counts, keep)
	}
	if handOn != nil && sh.coarser() {
		regrouped := handOn
		handOn = func(ctx context.Context) error {
			if err := sh.regroup(ctx, session); err != nil {
				return err
			}
			return regrouped(ctx)
		}
	}
	g := &gathering{session: session, shape: sh, most: t.kept(sh), handOn: handOn}
	err := source.each(ctx, split, counts, func(ctx context.Context, number int, relation string) error {
		return g.add(ctx, number, sh.projection(relation))
	})
	if err != nil {
		return err
	}
	if err = g.finish(ctx); err == nil && sh.coarser() {
		err = sh.regroup(ctx, session)
	}
	if err != nil {
		return engineFailure("compute", err)
	}
	return nil
}

// computeSketches is compute for a shape with sketches.
func computeSketches(ctx context.Context, session *engine.Session, sh *shape, source rowSource, split input.Split, counts *input.Counts, keep keeper) error {
	err := source.each(ctx, split, counts, func(ctx context.Context, number int, relation string) error {
		into := "CREATE TEMP TABLE staging AS "
		if number > 0 {
			into = "INSERT INTO staging "
		}
		return session.Exec(ctx, into+sh.projection(relation))
	})
	if err != nil {
		return err
	}
	err = session.Exec(ctx, "CREATE TEMP TABLE partial AS SELECT 0 AS split, * FROM ("+sh.partials("staging")+")")
	if err == nil && sh.coarser() {
		err = sh.regroup(ctx, session)
	}
	if err != nil {
		return engineFailure("compute", err)
	}
	for i, p := range sh.parts {
		if !p.sketch() {
			continue
		}
		if err := sketchGroups(ctx, session, sh, i, keep); err != nil {
			return engineFailure("compute "+p.function, err)
		}
	}
	if sh.coarser() {
		return session.Exec(ctx, "DROP VIEW staging; DROP TABLE unmoved")
	}
	return session.Exec(ctx, "DROP TABLE staging")
}

// merged is the query for the table partial, without sketches, over rows of partial aggregates in the order of split.
// Floating-point numbers are added in the order in which one thread comes across them: sorting them inside the aggregate
// would keep all of them in memory.
func (s *shape) merged(pieces string) string {
	l := names("k", len(s.keys))
	for i, p := range s.parts {
		switch {
		case p.sketch():
		case p.function == aggregate.Min || p.function == aggregate.Max:
			l.add("CAST(%s(p%d) AS %s) AS p%d", p.function, i, s.partType(p), i)
		case s.partType(p) == "DOUBLE":
			l.add("%s AS p%d", compensated(fmt.Sprintf("p%d", i)), i)
		default:
			l.add("CAST(sum(p%d) AS %s) AS p%d", i, s.partType(p), i)
		}
	}
	if len(l) == 0 {
		return "SELECT true AS present"
	}
	return "SELECT " + l.String() + " FROM " + pieces + s.groupBy()
}

// compensated sums floating-point numbers. The engine's compensation makes NaN of infinity; a plain sum knows better.
func compensated(arg string) string {
	return fmt.Sprintf("CASE WHEN isnan(fsum(%[1]s)) THEN sum(%[1]s) ELSE fsum(%[1]s) END", arg)
}

// merge makes the same tables out of relations of partial aggregates, as exchange lists them.
func (t *stage) merge(ctx context.Context, session *engine.Session, sh *shape, read []string) error {
	if err := sh.joinSessions(ctx, session, read); err != nil {
		return engineFailure("join sessions", err)
	}
	if err := session.Exec(ctx, "CREATE TEMP TABLE partial AS "+sh.merged(read[0])); err != nil {
		return engineFailure("merge partial results", err)
	}
	for i, p := range sh.parts {
		if !p.sketch() {
			continue
		}
		if err := mergeSketches(ctx, session, sh, i, read[0]); err != nil {
			return engineFailure("merge "+p.function, err)
		}
	}
	return nil
}

// joins adds the tables of sketches, or of results, to partial.
func (s *shape) joins(prefix string) string {
	var b strings.Builder
	for i, p := range s.parts {
		if p.sketch() {
			fmt.Fprintf(&b, " LEFT JOIN %[1]s%[2]d ON %[1]s%[2]d.gid = partial.rowid", prefix, i)
		}
	}
	return b.String()
}

// value is a measure's value, over its parts.
func (s *shape) value(m measure) string {
	first := m.parts[0]
	switch m.Func {
	case aggregate.Avg:
		return fmt.Sprintf("CASE WHEN p%[2]d > 0 THEN CAST(p%[1]d AS DOUBLE) / p%[2]d END", first, m.parts[1])
	case aggregate.ApproxDistinct:
		return fmt.Sprintf("coalesce(result%d.v0, 0)", first)
	case aggregate.ApproxQuantile:
		for i, q := range s.ranks(first) {
			if q == m.Q {
				return fmt.Sprintf("result%d.v%d", first, i)
			}
		}
	}
	return fmt.Sprintf("p%d", first)
}

// ranks are the different ones that measures ask of a sketch, in order.
func (s *shape) ranks(part int) []float64 {
	var all []float64
	for _, m := range s.measures {
		if m.parts[0] != part {
			continue
		}
		known := false
		for _, q := range all {
			known = known || q == m.Q
		}
		if !known {
			all = append(all, m.Q)
		}
	}
	return all
}
