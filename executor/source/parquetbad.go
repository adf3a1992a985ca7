package source

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/parquet"
)

// withoutBadRows computes a batch that the engine has refused for said, without the rows that have a value which does not
// fit its column's declared type.
func (s *parquetSource) withoutBadRows(ctx context.Context, b *parquetBatch, number int, said error, compute func(ctx context.Context, number int, relation string) error) error {
	doubtful, conditions := s.doubtful(b)
	if len(doubtful) == 0 {
		return lake.Failure("compute", said)
	}
	found := false
	for _, part := range b.parts {
		some, err := s.report(ctx, b, part, doubtful, conditions)
		if err != nil {
			return err
		}
		found = found || some
	}
	if !found {
		return lake.Failure("compute", said) // an expression that cannot be computed
	}
	good := fmt.Sprintf("SELECT %s FROM %s WHERE NOT (%s)", s.items(b, lenient), readParquet(b.paths()...), strings.Join(conditions, " OR "))
	return lake.Failure("compute", compute(ctx, number, good))
}

// doubtful are the columns of a batch with values that may not fit, and the conditions that they do not.
func (s *parquetSource) doubtful(b *parquetBatch) (columns []Column, conditions []string) {
	for _, c := range s.columns {
		if i := b.layout.find(c.Name); i >= 0 && b.layout.keep[i] && !widens(b.layout.types[i], c.Type) {
			columns = append(columns, c)
			conditions = append(conditions, unfit(c, b.layout.types[i], parquet.Name(i)))
		}
	}
	return columns, conditions
}

// badPage is how many bad rows are in memory at a time.
const badPage = 1000

// report hands the bad rows of one file on, and says whether there were any.
func (s *parquetSource) report(ctx context.Context, b *parquetBatch, part rowGroups, doubtful []Column, conditions []string) (found bool, err error) {
	values, text := engine.List{"file_row_number"}, engine.List{}
	for i, c := range doubtful {
		values.Add("CASE WHEN %s THEN CAST(%s AS VARCHAR) END", conditions[i], parquet.Name(b.layout.find(c.Name)))
	}
	for i, keep := range b.layout.keep {
		if keep {
			text.Add("%s: %s", engine.Literal(b.layout.names[i]), parquet.Name(i))
		}
	}
	next := int64(0) // row to look at
	for page := int64(badPage); page == badPage; {
		page = 0
		query := fmt.Sprintf("SELECT %s, CAST(to_json({%s}) AS VARCHAR) FROM read_parquet(%s, hive_partitioning=false, file_row_number=true) WHERE file_row_number >= %d AND (%s) ORDER BY file_row_number LIMIT %d",
			values, text, engine.Literal(part.path), next, strings.Join(conditions, " OR "), badPage)
		err := s.Session.Query(ctx, query, func(row []driver.Value) error {
			at, okAt := row[0].(int64)
			text, okText := row[len(row)-1].(string)
			if !okAt || !okText {
				return fmt.Errorf("look for bad rows: got %T and %T", row[0], row[len(row)-1])
			}
			next, found = at+1, true
			page++
			reason := ""
			for i, c := range doubtful {
				if value, bad := row[i+1].(string); bad {
					reason = s.notOfType(c, value)
					break
				}
			}
			return s.bad(part.file, part.row(at), reason, text)
		})
		if err != nil {
			return found, lake.Failure("look for bad rows", err)
		}
	}
	return found, nil
}

// row is the row of the object, from 1 on, that a row of the scratch file is.
func (r rowGroups) row(n int64) int64 {
	for _, g := range r.groups {
		group := r.footer.Groups[g]
		if n < group.Rows {
			return group.First + n + 1
		}
		n -= group.Rows
	}
	return 0
}

// bad takes a row that does not count. The error is a *task.Failure if it must not be.
func (s *parquetSource) bad(file int, row int64, reason, text string) error {
	return s.BadRows.add(badRow{File: s.set.URI(file), Row: row, Reason: reason, Text: text})
}
