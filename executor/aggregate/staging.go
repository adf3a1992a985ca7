package aggregate

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// staged says whether rows have to be looked at several times, or in slices.
func (s *shape) staged() bool {
	return slices.ContainsFunc(s.parts, func(p part) bool { return p.sketch() || p.extra() })
}

// extent is how much there is in the table staging.
type extent struct {
	rows, groups int64
	textBytes    int64 // by row, of texts that are counted
}

// stagedRows is how many rows of the table staging are aggregated at a time, so that lists of hashes and the groups that
// they are of fit into a part of the memory.
func (s *shape) stagedRows(memory int64, e extent) int64 {
	perGroup, perRow := 96+16*int64(len(s.keys)), 2*e.textBytes
	for _, p := range s.parts {
		if p.sketch() {
			perGroup, perRow = perGroup+64, perRow+24
		}
	}
	share := float64(memory/4) / float64(max(e.groups*perGroup+e.rows*perRow, 1))
	if share >= 1 {
		return max(e.rows, 1)
	}
	return max(int64(share*float64(e.rows)), 2048)
}

// gather adds the partial aggregates of a batch, a query for rows of keys and arguments, to the table pieces, which it
// makes if this is the first. If the rows cannot be read, it leaves nothing behind. single says whether there is one row for each group, besides rows of values.
func (s *shape) gather(ctx context.Context, session *engine.Session, rows string, number int, memory int64) (single bool, err error) {
	if number == 0 {
		if err := session.Exec(ctx, "CREATE TEMP TABLE IF NOT EXISTS pieces ("+s.pieceColumns().String()+")"); err != nil {
			return false, err
		}
	}
	insert := func(query string) error {
		return session.Exec(ctx, fmt.Sprintf("INSERT INTO pieces BY NAME SELECT CAST(%d AS INTEGER) AS split, * FROM (%s)", number, query))
	}
	if !s.staged() {
		return true, insert(s.partials("(" + rows + ")"))
	}
	if err := session.Exec(ctx, "CREATE TEMP TABLE staging AS "+rows); err != nil {
		return false, err
	}
	// The rows have been read: no error from here on is one of them.
	single, err = s.gatherStaged(ctx, session, insert, memory)
	return single, lake.Failure("compute", err)
}

// gatherStaged is gather for the rows of the table staging, which it drops.
func (s *shape) gatherStaged(ctx context.Context, session *engine.Session, insert func(query string) error, memory int64) (single bool, err error) {
	staged, err := s.measureStaging(ctx, session)
	if err != nil {
		return false, err
	}
	single = true
	step := s.stagedRows(memory, staged)
	for from := int64(0); from == 0 || from < staged.rows; from += step {
		slice := "staging"
		if staged.rows > step {
			slice = fmt.Sprintf("(FROM staging WHERE rowid >= %d AND rowid < %d)", from, from+step)
			single = false
		}
		if err := insert(s.partials(slice)); err != nil {
			return false, err
		}
		for i, p := range s.parts {
			if p.function != aggregate.ApproxTopK {
				continue
			}
			single = false
			if err := insert(s.buildTop(i, slice)); err != nil {
				return false, err
			}
		}
	}
	for _, i := range s.valueParts() {
		if err := insert(s.buildValues(i, "staging")); err != nil {
			return false, err
		}
	}
	return single, session.Exec(ctx, "DROP TABLE staging")
}

func (s *shape) measureStaging(ctx context.Context, session *engine.Session) (e extent, err error) {
	groups := "CAST(1 AS BIGINT)"
	if len(s.keys) > 0 {
		groups = fmt.Sprintf("approx_count_distinct(hash(%s))", engine.Numbered("k", len(s.keys)))
	}
	l := engine.List{"count(*)", groups}
	for _, p := range s.parts {
		if p.function == aggregate.ApproxTopK && s.args[p.arg].kind == "VARCHAR" {
			l.Add("CAST(coalesce(avg(strlen(a%d)), 0) AS BIGINT)", p.arg)
		}
	}
	err = session.Query(ctx, "SELECT "+l.String()+" FROM staging", func(values []driver.Value) error {
		for i, value := range values {
			n, ok := value.(int64)
			switch {
			case !ok:
				return fmt.Errorf("measure rows: got %T", value)
			case i == 0:
				e.rows = n
			case i == 1:
				e.groups = n
			default:
				e.textBytes += n
			}
		}
		return nil
	})
	return e, err
}

// pieceColumns defines the columns of partial aggregates.
func (s *shape) pieceColumns() engine.List {
	l := engine.List{"split INTEGER"}
	for i, key := range s.keys {
		l.Add("k%d %s", i, stored(key.kind))
	}
	for i, p := range s.parts {
		l.Add("p%d %s", i, s.partType(p))
		if p.function == partValues {
			l.Add("v%d %s", i, stored(s.args[p.arg].kind))
		}
	}
	return l
}

// partialColumns are the columns of the table partial.
func (s *shape) partialColumns() engine.List {
	l := engine.Numbered("k", len(s.keys))
	for i, p := range s.parts {
		l.Add("p%d", i)
		if p.function == partValues {
			l.Add("v%d", i)
		}
	}
	return l
}

// rowKeys are the columns that tell apart what is one row once it is merged.
func (s *shape) rowKeys() engine.List {
	l := engine.Numbered("k", len(s.keys))
	for _, i := range s.valueParts() {
		l.Add("v%d", i)
	}
	return l
}

// lists says whether merging keeps lists of sketches in memory.
func (s *shape) lists() bool {
	return slices.ContainsFunc(s.parts, func(p part) bool { return p.sketch() && p.function != aggregate.Membership })
}

// mergePieces makes a table of merged partial aggregates out of a relation of them; if that is the table pieces, it is
// dropped. Lists of sketches cannot be spilled: with them, groups are merged one hash partition after another, so that each
// fits into memory.
func (t *stage) mergePieces(ctx context.Context, session *engine.Session, s *shape, table, pieces string) error {
	drop := ""
	if pieces == "pieces" {
		drop = "; DROP TABLE pieces"
	}
	if !s.lists() {
		return session.Exec(ctx, "CREATE TEMP TABLE "+table+" AS SELECT 0 AS split, * FROM ("+s.merged(pieces)+")"+drop)
	}
	if pieces != "pieces" {
		if err := session.Exec(ctx, "CREATE TEMP TABLE unmerged AS FROM "+pieces); err != nil {
			return err
		}
		pieces, drop = "unmerged", "; DROP TABLE unmerged"
	}
	bytes, err := s.listBytes(ctx, session, pieces)
	if err != nil {
		return err
	}
	partitions := max(1, (bytes+t.Memory/4-1)/(t.Memory/4))
	if len(s.keys) == 0 {
		partitions = 1
	}
	for i := range partitions {
		into, part := "CREATE TEMP TABLE "+table+" AS ", pieces
		if i > 0 {
			into = "INSERT INTO " + table + " BY NAME "
		}
		if partitions > 1 {
			part = fmt.Sprintf("(FROM %s WHERE hash(%s) %% %d = %d)", pieces, engine.Numbered("k", len(s.keys)), partitions, i)
		}
		if err := session.Exec(ctx, into+"SELECT 0 AS split, * FROM ("+s.merged(part)+")"); err != nil {
			return err
		}
	}
	return session.Exec(ctx, drop[2:])
}

// listBytes is about how much memory it takes to merge a table of partial aggregates with lists.
func (s *shape) listBytes(ctx context.Context, session *engine.Session, pieces string) (bytes int64, err error) {
	const perRow, perList = 128, 192 // of a hash table, and of a list of one
	l := engine.List{fmt.Sprintf("count(*) * %d", perRow)}
	for i, p := range s.parts {
		if p.sketch() {
			l.Add("CAST(coalesce(sum(octet_length(p%[1]d) * 2 + %[2]d), 0) AS BIGINT)", i, perList)
		}
	}
	err = session.Query(ctx, "SELECT "+l.String()+" FROM "+pieces, func(values []driver.Value) error {
		for _, value := range values {
			n, ok := value.(int64)
			if !ok {
				return fmt.Errorf("measure sketches: got %T", value)
			}
			bytes += n
		}
		return nil
	})
	return bytes, err
}
