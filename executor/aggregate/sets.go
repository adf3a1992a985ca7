package aggregate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// Grouping sets and sliding windows make several groups of the result out of one of the finest, which has all the keys
// and a pane of time: the partial aggregates of the finest are computed first, and merged once more. The last key is the
// number of the grouping set then, 0 until that is done.

// newSets finds the keys of each grouping set. It has one element for each of the spec's group keys.
func newSets(section *aggregate.Section) [][]bool {
	var sets [][]bool
	for _, names := range section.GroupingSets {
		has := make([]bool, len(section.GroupBy))
		for i, group := range section.GroupBy {
			has[i] = slices.Contains(names, group.Name)
		}
		sets = append(sets, has)
	}
	return sets
}

// coarser says whether the result has other groups than those of the rows' keys and panes.
func (s *shape) coarser() bool {
	return len(s.sets) > 0 || s.window.Overlap() > 1 || s.window.Session != 0
}

// spread is the query for a relation's rows in all the groups of the result that they are in, but for sessions.
func (s *shape) spread(relation string) string {
	var replaced engine.List
	from := relation + " AS finest"
	if s.window.Overlap() > 1 {
		replaced.Add("finest.k0 - earlier.by AS k0")
		from += fmt.Sprintf(" CROSS JOIN (SELECT range * %d AS by FROM range(%d)) AS earlier", s.window.Step(), s.window.Overlap())
	}
	if len(s.sets) > 0 {
		for i := range s.groups() {
			k := s.firstGroup() + i
			replaced.Add("CASE WHEN grouping.has%[1]d THEN finest.k%[1]d END AS k%[1]d", k)
		}
		replaced.Add("grouping.number AS k%d", len(s.keys)-1)
		from += " CROSS JOIN " + s.setTable()
	}
	if len(replaced) == 0 {
		return relation
	}
	return fmt.Sprintf("(SELECT finest.* REPLACE (%s) FROM %s)", replaced, from)
}

// setTable is the grouping sets as rows.
func (s *shape) setTable() string {
	columns := engine.List{"number"}
	for i := range s.groups() {
		columns.Add("has%d", s.firstGroup()+i)
	}
	var rows engine.List
	for number, has := range s.sets {
		row := engine.List{fmt.Sprintf("CAST(%d AS INTEGER)", number)}
		for _, h := range has {
			row.Add("%t", h)
		}
		rows.Add("(%s)", row)
	}
	return fmt.Sprintf("(VALUES %s) AS grouping(%s)", rows, columns)
}

// nothing is a query for the partial aggregates of no rows in each set of no keys: such a group is always there. It is
// empty if there are none, and with windows, of which there are none without rows.
func (s *shape) nothing() string {
	if s.window.Windowed() {
		return ""
	}
	var rows engine.List
	parts := s.partColumns()
	for i, arg := range s.args {
		rows.Add("CAST(NULL AS %s) AS a%d", summable(arg.kind), i)
	}
	if len(rows) == 0 {
		rows.Add("true AS present")
	}
	var queries []string
	for number, has := range s.sets {
		if slices.Contains(has, true) {
			continue
		}
		var l engine.List
		for i := range s.groups() {
			l.Add("CAST(NULL AS %s) AS k%d", stored(s.keys[i].kind), i)
		}
		l.Add("CAST(%d AS INTEGER) AS k%d", number, len(s.keys)-1)
		queries = append(queries, "SELECT "+strings.Join(slices.Concat(l, parts), ", ")+" FROM (SELECT "+rows.String()+" WHERE false)")
	}
	return strings.Join(queries, " UNION ALL BY NAME ")
}

// regroup makes the table partial, of the finest groups, one of the result's groups.
func (t *stage) regroup(ctx context.Context, session *engine.Session, s *shape) error {
	if err := session.Exec(ctx, "ALTER TABLE partial RENAME TO finest"); err != nil {
		return err
	}
	pieces := s.spread("finest")
	if nothing := s.nothing(); nothing != "" {
		pieces = "(FROM " + pieces + " UNION ALL BY NAME " + nothing + ")"
	}
	relations := []string{pieces}
	if err := s.joinSessions(ctx, session, relations); err != nil {
		return err
	}
	if err := t.mergePieces(ctx, session, s, "partial", relations[0]); err != nil {
		return err
	}
	drop := "DROP TABLE finest"
	if s.window.Session != 0 {
		drop += "; DROP TABLE sessions"
	}
	return session.Exec(ctx, drop)
}
