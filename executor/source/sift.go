package source

import (
	"bufio"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
)

// sift takes the bad rows out of a batch, and says whether there were any: those that are malformed, which we judge, and
// those with a value that does not fit its column, which the engine judges.
func (s *textSource) sift(ctx context.Context, b *batch) (found bool, err error) {
	for _, c := range b.chunks {
		some, err := s.siftChunk(ctx, c)
		if err != nil {
			return false, err
		}
		found = found || some
	}
	return found, nil
}

func (s *textSource) siftChunk(ctx context.Context, c *chunk) (found bool, err error) {
	in, err := os.Open(c.path)
	if err != nil {
		return false, fmt.Errorf("read scratch file: %w", err)
	}
	defer closing(in, &err)
	out, err := os.Create(c.path + "-good")
	if err != nil {
		return false, fmt.Errorf("write scratch file: %w", err)
	}
	defer closing(out, &err)
	good := bufio.NewWriterSize(out, 256<<10)
	sieve := &sieve{textSource: s, chunk: c, ctx: ctx, good: good}
	for i, from := range c.origin {
		end := c.size
		if i+1 < len(c.origin) {
			end = c.origin[i+1].offset
		}
		sieve.from = from
		if err := input.EachRow(io.NewSectionReader(in, from.offset, end-from.offset), s.rows.Dialect, sieve.add); err != nil {
			return false, err
		}
	}
	if err := sieve.judge(); err != nil {
		return false, err
	}
	if err := good.Flush(); err != nil {
		return false, fmt.Errorf("write scratch file: %w", err)
	}
	if err := os.Rename(out.Name(), c.path); err != nil {
		return false, fmt.Errorf("write scratch file: %w", err)
	}
	// Lines are not where origin says any more, but those who still ask are quiet.
	c.origin, c.size = c.origin[:1], sieve.kept
	return sieve.found, nil
}

// sieve gathers rows of a chunk and judges them, many at a time.
type sieve struct {
	*textSource
	chunk *chunk
	from  origin // of the rows that are added
	ctx   context.Context
	good  *bufio.Writer
	rows  []suspect
	size  int
	found bool
	kept  int64 // bytes
}

// suspect is a row that is to be judged. values are those of the columns that are read, or, of JSON, the line.
type suspect struct {
	raw    []byte
	origin origin
	reason string
	values []driver.Value
}

// mostSuspects bounds the memory that is taken, in rows and bytes.
const (
	mostSuspects     = 20_000
	mostSuspectBytes = 8 << 20
)

// add takes a row.
func (s *sieve) add(row input.Row) error {
	r := suspect{raw: slices.Clone(row.Raw), origin: s.from}
	r.origin.line += row.Line
	if most := s.textSource.rows.Widest; int64(len(r.raw)) > most {
		r.reason = fmt.Sprintf("the row is longer than %d bytes", most)
	} else if s.textSource.rows.Dialect.CSV {
		r.values, r.reason = s.fields(row)
	} else if !utf8.Valid(r.raw) {
		r.reason = "it is not UTF-8"
	} else {
		r.values = []driver.Value{string(r.raw)}
	}
	s.rows = append(s.rows, r)
	if s.size += len(r.raw); len(s.rows) < mostSuspects && s.size < mostSuspectBytes {
		return nil
	}
	return s.judge()
}

// fields are the values of a row of CSV, or what is wrong with it.
func (s *sieve) fields(row input.Row) (values []driver.Value, reason string) {
	names := s.chunk.layout.names
	switch {
	case len(row.Fields) != len(names):
		return nil, fmt.Sprintf("the row has %d columns, want %d", len(row.Fields), len(names))
	case row.Trail:
		return nil, "there is text behind a closing quote"
	}
	for _, c := range s.columns {
		i := s.chunk.layout.field(c)
		switch {
		case i < 0, !row.Quoted[i] && (row.Fields[i] == "" || slices.Contains(s.Input.NullValues, row.Fields[i])):
			values = append(values, nil)
		case !utf8.ValidString(row.Fields[i]):
			return nil, fmt.Sprintf("column %q is not UTF-8", c.Name)
		default:
			values = append(values, row.Fields[i])
		}
	}
	return values, ""
}

// judge has the engine look at the values of the rows that were gathered, and passes the good ones on.
func (s *sieve) judge() error {
	if err := s.judgeValues(); err != nil {
		return err
	}
	for _, r := range s.rows {
		if r.reason == "" {
			if _, err := s.good.Write(r.raw); err != nil {
				return fmt.Errorf("write scratch file: %w", err)
			}
			s.kept += int64(len(r.raw))
			continue
		}
		s.found = true
		if err := s.bad(s.ctx, r.origin, r.reason, []byte(strings.TrimRight(string(r.raw), "\r\n"))); err != nil {
			return err
		}
	}
	s.rows, s.size = s.rows[:0], 0
	return s.ctx.Err()
}

func (s *sieve) judgeValues() error {
	width := 1
	if s.textSource.rows.Dialect.CSV {
		width = len(s.columns)
	}
	if width == 0 {
		return nil
	}
	table := engine.Numbered("v", width)
	for i := range table {
		table[i] += " VARCHAR"
	}
	if err := s.Session.Exec(s.ctx, "CREATE OR REPLACE TEMP TABLE suspects (n BIGINT, "+table.String()+")"); err != nil {
		return lake.Failure("judge rows", err)
	}
	err := s.Session.Append(s.ctx, "suspects", func(add func(values ...driver.Value) error) error {
		for i, r := range s.rows {
			if r.reason != "" {
				continue
			}
			if err := add(append([]driver.Value{int64(i)}, r.values...)...); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.Session.Query(s.ctx, s.verdicts(), s.verdict)
	}
	return lake.Failure("judge rows", errors.Join(err, s.Session.Exec(s.ctx, "DROP TABLE suspects")))
}

// Verdicts other than the number of a column.
const (
	malformedLine = -1
	noObject      = -2
	repeatedName  = -3
)

// verdicts is the query for the rows that are bad, each with the number of the column whose value does not fit.
func (s *sieve) verdicts() string {
	var cases []string
	if s.textSource.rows.Dialect.CSV {
		for i, c := range s.columns {
			if c.Type != "VARCHAR" && !c.Partition {
				cases = append(cases, fmt.Sprintf("WHEN %s THEN %d", misfit(c, fmt.Sprintf("v%d", i)), i))
			}
		}
		if len(cases) == 0 {
			return "SELECT 0, 0, '' LIMIT 0"
		}
		var values engine.List
		for i := range s.columns {
			values.Add("v%d", i)
		}
		return "SELECT n, verdict, list_value(" + values.String() + ")[verdict + 1] FROM (SELECT *, CASE " + strings.Join(cases, " ") + " END AS verdict FROM suspects) WHERE verdict IS NOT NULL"
	}
	var members, texts, wanted engine.List
	for i, c := range s.columns {
		if c.Partition {
			continue
		}
		wanted = append(wanted, engine.Literal(c.Name))
		if c.Type == "JSON" || c.Type == "VARCHAR" {
			continue
		}
		path := engine.Literal("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(c.Name))
		members.Add("json_extract(v0, %[2]s) AS j%[1]d, json_extract_string(v0, %[2]s) AS t%[1]d", i, path)
		texts.Add("WHEN %d THEN t%d", i, i)
		name := fmt.Sprintf("t%d", i)
		condition := misfit(c, name)
		if s.native(c) {
			condition = fmt.Sprintf("%s IS NOT NULL AND TRY_CAST(j%d AS %s) IS NULL", name, i, c.Type)
		}
		cases = append(cases, fmt.Sprintf("WHEN %s THEN %d", condition, i))
	}
	malformed := fmt.Sprintf("SELECT n, CASE WHEN NOT json_valid(v0) THEN %d ELSE %d END, '' FROM suspects WHERE NOT json_valid(v0) OR CASE WHEN json_valid(v0) THEN json_type(v0) NOT IN ('OBJECT', 'NULL') END",
		malformedLine, noObject)
	objects := "(SELECT * FROM suspects WHERE CASE WHEN json_valid(v0) THEN json_type(v0) = 'OBJECT' END)"
	if len(wanted) > 0 {
		repeated := fmt.Sprintf("len(list_filter(json_keys(v0), lambda k: k IN (%s))) > len(list_distinct(list_filter(json_keys(v0), lambda k: k IN (%s))))", wanted, wanted)
		malformed += fmt.Sprintf(" UNION ALL SELECT n, %d, '' FROM %s WHERE %s", repeatedName, objects, repeated)
	}
	if len(cases) == 0 {
		return malformed
	}
	return malformed + " UNION ALL SELECT n, verdict, CASE verdict " + strings.Join(texts, " ") + " END FROM (SELECT *, CASE " + strings.Join(cases, " ") +
		" END AS verdict FROM (SELECT n, " + members.String() + " FROM " + objects + ")) WHERE verdict IS NOT NULL"
}

// misfit is the condition that a text is not a value of a column's type.
func misfit(c Column, name string) string {
	condition := fmt.Sprintf("%[1]s IS NOT NULL AND TRY_CAST(%[1]s AS %[2]s) IS NULL", name, c.Type)
	if changed := changed(c, name); changed != "" {
		condition = "(" + changed + ") OR " + condition
	}
	return condition
}

// verdict takes a row of the answer.
func (s *sieve) verdict(row []driver.Value) error {
	n, okN := row[0].(int64)
	verdict, okV := row[1].(int32)
	if !okN || !okV || n < 0 || int(n) >= len(s.rows) || int(verdict) >= len(s.columns) {
		return fmt.Errorf("judge rows: got %v", row)
	}
	r := &s.rows[n]
	switch {
	case r.reason != "":
	case verdict == malformedLine || verdict == repeatedName:
		if r.reason = input.MalformedJSON(r.raw); r.reason == "" {
			r.reason = "malformed JSON"
		}
	case verdict == noObject:
		r.reason = "it is not a JSON object"
	default:
		value, _ := row[2].(string)
		r.reason = s.notOfType(s.columns[verdict], value)
	}
	return nil
}
