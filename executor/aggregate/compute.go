package aggregate

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// The engine's tables:
//
//	staging   k0 … a0 …       rows of a batch that passed the filter, if they are looked at several times, or in slices
//	pieces    split k0 … p0 … partial aggregates of one batch of rows each
//	finest    split k0 … p0 … a row for each group of keys, if the result has coarser ones: see sets.go and windows.go
//	sessions  k0 … start      where the session of a group starts, with session windows
//	partial   k0 … p0 …       a row for each group
//	result3   k0 …            what measures ask of part 3, if that is values
//
// Parts that are values have rows of their own in pieces, finest and partial, with the same keys: see values.go.

// groupBy is the clause for the group keys; without any there is one group, even of no rows.
func (s *shape) groupBy() string {
	if len(s.keys) == 0 {
		return ""
	}
	return " GROUP BY " + engine.Numbered("k", len(s.keys)).String()
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
	var l engine.List
	for i, key := range s.keys {
		switch {
		case key.parsed != nil:
			l.Add("CAST(%s AS %s) AS k%d", key.parsed.SQL(), stored(key.kind), i)
		case key.name == aggregate.GroupingSet:
			l.Add("CAST(0 AS INTEGER) AS k%d", i)
		}
	}
	for i, arg := range s.args {
		if arg.parsed != nil {
			l.Add("CAST(%s AS %s) AS a%d", arg.sql(), summable(arg.kind), i)
		}
	}
	if s.time != nil {
		l.Add("%s AS t", micros(s.time.parsed.SQL(), s.time.kind))
	}
	if len(l) == 0 {
		l.Add("true AS present")
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

// partials is the query for partial aggregates of rows with keys and arguments: a row for each group. Parts that come in
// rows of their own are missing.
func (s *shape) partials(rows string) string {
	l := append(engine.Numbered("k", len(s.keys)), s.partColumns()...)
	return "SELECT " + l.String() + " FROM " + rows + s.groupBy()
}

// partColumns is the SQL that makes the parts of a group.
func (s *shape) partColumns() engine.List {
	var l engine.List
	for i, p := range s.parts {
		if p.extra() {
			l.Add("max(CAST(NULL AS %s)) AS p%d", s.partType(p), i)
		} else {
			l.Add("%s AS p%d", s.aggregate(p), i)
		}
	}
	return l
}

// compute makes the table partial out of a split. What it makes may be too much to be kept: then it calls handOn, again
// and again, with a part of it in the table. If handOn is nil, there is a row for each group in the end, and the tables
// that settle makes; else some groups may have several rows.
func (t *stage) compute(ctx context.Context, session *engine.Session, sh *shape, from source.Rows, split input.Split, counts *input.Counts, handOn func(context.Context) error) error {
	last := handOn == nil
	if !last && sh.coarser() {
		regrouped := handOn
		handOn = func(ctx context.Context) error {
			if err := t.regroup(ctx, session, sh); err != nil {
				return err
			}
			return regrouped(ctx)
		}
	}
	g := &gathering{stage: t, session: session, shape: sh, most: t.kept(sh), handOn: handOn}
	err := from.Each(ctx, split, counts, func(ctx context.Context, number int, relation string) error {
		return g.add(ctx, number, sh.projection(relation))
	})
	if err != nil {
		return err
	}
	if err = g.finish(ctx); err == nil && sh.coarser() {
		err = t.regroup(ctx, session, sh)
	}
	if err == nil && last {
		err = sh.settle(ctx, session)
	}
	if err != nil {
		return lake.Failure("compute", err)
	}
	return nil
}

// merged is the query for the rows of the table partial, over rows of partial aggregates in the order of split.
// Floating-point numbers are added in the order in which one thread comes across them: sorting them inside the aggregate
// would keep all of them in memory.
func (s *shape) merged(pieces string) string {
	l := engine.Numbered("k", len(s.keys))
	for i, p := range s.parts {
		if p.function == partValues {
			l.Add("max(CAST(NULL AS BIGINT)) AS p%d", i)
		} else {
			l.Add("%s AS p%d", s.combine(i), i)
		}
	}
	means, values := s.means(), s.valueParts()
	if len(means)+len(values) == 0 {
		return "SELECT " + l.String() + " FROM " + pieces + s.groupBy()
	}
	query := "WITH merging AS MATERIALIZED (FROM " + pieces + ") SELECT " + l.String() + " FROM " + s.withMeans(means, "merging")
	if len(values) > 0 {
		query += " WHERE " + s.groupRows()
	}
	query += s.groupBy()
	for _, i := range values {
		query += " UNION ALL BY NAME " + s.mergeValues(i, "merging")
	}
	return query
}

// withMeans adds the mean of its group to each row of pieces, as m<i> for part i: what is squared is the distance from it.
func (s *shape) withMeans(means []int, pieces string) string {
	if len(means) == 0 {
		return pieces
	}
	l := engine.Numbered("k", len(s.keys))
	for _, i := range means {
		l.Add("%s AS m%d", s.combinedMean(i), i)
	}
	var columns engine.List
	for _, i := range means {
		columns.Add("means.m%d", i)
	}
	return fmt.Sprintf("(SELECT pieces.*, %s FROM %s AS pieces JOIN (SELECT %s FROM %s%s) AS means ON %s)",
		columns, pieces, l, pieces, s.groupBy(), s.sameGroup("pieces", "means"))
}

// compensated sums floating-point numbers. The engine's compensation makes NaN of infinity; a plain sum knows better.
func compensated(arg string) string {
	return fmt.Sprintf("CASE WHEN isnan(fsum(%[1]s)) THEN sum(%[1]s) ELSE fsum(%[1]s) END", arg)
}

// merge makes the same tables out of relations of partial aggregates, as exchange lists them. If merged is not nil, it is
// called while the table partial is one that exchange could give away again.
func (t *stage) merge(ctx context.Context, session *engine.Session, sh *shape, read []string, merged func(context.Context) error) error {
	if err := sh.joinSessions(ctx, session, read); err != nil {
		return lake.Failure("join sessions", err)
	}
	if err := t.mergePieces(ctx, session, sh, "partial", read[0]); err != nil {
		return lake.Failure("merge partial results", err)
	}
	if merged != nil {
		if err := merged(ctx); err != nil {
			return err
		}
	}
	return sh.settle(ctx, session)
}
