package aggregate

import (
	"context"
	"fmt"

	"github.com/tidemill/tidemill/executor/engine"
)

// With windows, k0 is where a group's window starts, in microseconds since 1970 (UTC), and t, in what the projection
// selects from, when a row happened. It goes through these, each of which merges the partial aggregates of the one before:
//
//   - The rows of a batch and a pane are a group: see aggregate.Window. k0 is the start of the pane.
//   - Sliding windows: the pane's group becomes part of each window that the pane is in.
//   - Sessions: panes of a group, whose rows two parts bound (the first and the last time), are joined if they are
//     closer than the gap; k0 becomes the first time. A task that maps makes sessions of what it has seen, which the
//     task that merges joins in the same way.
//
// What k0 is before sessions are joined only has to name some of the session's rows: that there is one from k0 on,
// before the gap is over. Two groups that differ in nothing but in how k0 came about are one session if it is the same.

// times are the types of the expression that says when a row happened.
var times = []string{"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}

// micros is a time as microseconds since 1970, rounded down; NULL for an infinite one.
func micros(sql, kind string) string {
	switch kind {
	case "DATE": // reaches farther than TIMESTAMP
		return fmt.Sprintf("epoch_us(TRY_CAST(%s AS TIMESTAMP))", sql)
	case "TIMESTAMP_NS": // the engine rounds towards 1970
		return fmt.Sprintf("epoch_us(CAST(%[1]s AS TIMESTAMP)) - CASE WHEN epoch_ns(%[1]s) %% 1000 < 0 THEN 1 ELSE 0 END", sql)
	}
	return fmt.Sprintf("epoch_us(%s)", sql)
}

// pane is the query for rows in panes, of rows with a column t; those that are in none are left out.
func (s *shape) pane(rows string) string {
	var l engine.List
	l.Add("t - (t %% %[1]d + %[1]d) %% %[1]d AS k0", s.window.Step())
	for i, arg := range s.args {
		if arg.parsed == nil {
			l.Add("t AS a%d", i)
		}
	}
	first, last := s.window.Times()
	return fmt.Sprintf("SELECT %s, * EXCLUDE (t) FROM (%s) AS timed WHERE t BETWEEN %d AND %d", l, rows, first, last)
}

// bounds are the columns of a window, of the table partial.
func (s *shape) bounds() (start, end string) {
	start, last := "partial.k0", "partial.k0"
	if s.window.Session != 0 {
		last = fmt.Sprintf("p%d", s.last)
	}
	return fmt.Sprintf("make_timestamp(%s)", start), fmt.Sprintf("make_timestamp(%s + %d)", last, s.window.Length())
}

// joinSessions makes the table sessions of relations of partial aggregates, of which the first has the parts, and changes all
// of them: k0 is the start of their session. It does nothing if there are none.
func (s *shape) joinSessions(ctx context.Context, session *engine.Session, relations []string) error {
	if s.window.Session == 0 {
		return nil
	}
	if err := session.Exec(ctx, "CREATE OR REPLACE TEMP TABLE sessions AS "+s.sessions(relations[0])); err != nil {
		return err
	}
	for i := range relations {
		relations[i] = s.inSessions(relations[i])
	}
	return nil
}

// sessions is the query for the start of the session of each group of pieces.
func (s *shape) sessions(pieces string) string {
	keys := engine.Numbered("k", len(s.keys))
	over := "ORDER BY low, k0 ROWS BETWEEN UNBOUNDED PRECEDING AND "
	if others := keys[1:]; len(others) > 0 {
		over = "PARTITION BY " + others.String() + " " + over
	}
	bounded := fmt.Sprintf("SELECT %[1]s, min(p%[2]d) AS low, max(p%[3]d) AS high FROM %[4]s AS pieces GROUP BY %[1]s", keys, s.first, s.last, pieces)
	begun := fmt.Sprintf("SELECT *, CASE WHEN low < max(high) OVER (%s1 PRECEDING) + %d THEN NULL ELSE low END AS begins FROM (%s)", over, s.window.Length(), bounded)
	return fmt.Sprintf("SELECT %s, max(begins) OVER (%sCURRENT ROW) AS start FROM (%s)", keys, over, begun)
}

// inSessions is the query for a relation that has the keys of the table sessions, with k0 as the start of the session.
func (s *shape) inSessions(relation string) string {
	same := s.sameGroup("pieces", "sessions")
	return fmt.Sprintf("(SELECT pieces.* REPLACE (sessions.start AS k0) FROM %s AS pieces JOIN sessions ON %s)", relation, same)
}
