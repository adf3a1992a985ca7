package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
)

// How the engine reads chunks of text. There are three ways, from the quickest to the slowest:
//
//   - Most values are converted while they are read. Where such a conversion could change a value without a word, the
//     query or our look at the bytes that pass by notices: see fast and doubtful.
//   - Values of JSON are read as text and converted by the query: see guarded. A column with a large whole number, or
//     a doubtful value, needs that.
//   - Each row is judged, and the bad ones are taken out: see sift.
//
// A row that one way takes, every way takes, with the same values.

// converter gives the type in which the engine reads a column, and the SQL of its value, of that name.
type converter func(c Column, name string) (read, value string)

// relation is the columns with their types, as a query over the rows of a batch.
func (s *textSource) relation(b *batch, convert converter) string {
	if len(b.chunks) == 0 {
		return "SELECT " + s.items(convert, func(Column) string { return "" }) + " LIMIT 0"
	}
	arms := make([]string, len(b.chunks))
	for i, c := range b.chunks {
		arms[i] = "SELECT " + s.items(convert, func(col Column) string { return s.source(col, c.layout) }) + " FROM " + s.reader(c, convert)
		if !s.rows.Dialect.CSV && !s.members() {
			// The engine looks into lines only if somebody asks for what is in them: without this, anything is a row.
			arms[i] += " WHERE coalesce(" + engine.Name(noMember) + ", '') IS NOT NULL"
		}
	}
	return strings.Join(arms, " UNION ALL ")
}

// items are the columns' values. source names where they come from: empty if there are none.
func (s *textSource) items(convert converter, source func(Column) string) string {
	var l engine.List
	for _, c := range s.columns {
		value := "CAST(NULL AS " + c.Type + ")"
		if name := source(c); c.Partition && name != "" {
			value = "CAST(" + name + " AS " + c.Type + ")"
		} else if name != "" {
			_, value = convert(c, name)
		}
		l.Add("%s AS %s", value, engine.Name(c.Name))
	}
	if len(l) == 0 {
		return "true AS present"
	}
	return l.String()
}

// noMember is the column of JSON of which nothing is read: rows are counted, and nothing else.
const noMember = "tidemill_no_member"

// members says whether anything in the rows is read.
func (s *textSource) members() bool {
	return slices.ContainsFunc(s.columns, func(c Column) bool { return !c.Partition })
}

// source is the SQL of a column as the reader of a layout gives it: empty if the rows have no such column.
func (s *textSource) source(c Column, l *textLayout) string {
	if c.Partition {
		if i := s.partition(c); i >= 0 && l.constants[i] != nil {
			return engine.Literal(*l.constants[i])
		}
		return ""
	}
	if !s.rows.Dialect.CSV {
		return engine.Name(c.Name)
	}
	if i := l.field(c); i >= 0 {
		return fieldName(i)
	}
	return ""
}

func fieldName(i int) string { return fmt.Sprintf("f%d", i) }

// reader is the table function that reads a chunk.
func (s *textSource) reader(c *chunk, convert converter) string {
	if s.rows.Dialect.CSV {
		return s.csvReader(c, convert)
	}
	var l engine.List
	for _, col := range s.columns {
		if !col.Partition {
			read, _ := convert(col, "")
			l.Add("%s: %s", engine.Literal(col.Name), engine.Literal(read))
		}
	}
	if len(l) == 0 {
		l.Add("%s: 'VARCHAR'", engine.Literal(noMember))
	}
	return fmt.Sprintf("read_json(%s, format='newline_delimited', records='true', auto_detect=false, hive_partitioning=false, maximum_object_size=%d, columns={%s})",
		engine.Literal(c.path), widestJSON, l)
}

func (s *textSource) csvReader(c *chunk, convert converter) string {
	kinds := make([]string, len(c.layout.names))
	for _, col := range s.columns {
		if i := c.layout.field(col); i >= 0 {
			kinds[i], _ = convert(col, "")
		}
	}
	var l engine.List
	for i, kind := range kinds {
		if kind == "" {
			kind = "VARCHAR"
		}
		l.Add("'%s': %s", fieldName(i), engine.Literal(kind))
	}
	in := s.Input
	nulls := append(slices.Clone(in.NullValues), "")
	widest := min(widestCSV, c.size+1)
	return fmt.Sprintf("read_csv(%s, auto_detect=false, hive_partitioning=false, header=false, delim=%s, quote=%s, escape=%s, nullstr=%s, allow_quoted_nulls=false, "+
		`new_line='\n', `+ // else the engine goes by the first line break, which may stand in quotes
		"max_line_size=%d, buffer_size=%d, columns={%s})",
		engine.Literal(c.path), engine.Literal(in.Delimiter), engine.Literal(in.Quote), engine.Literal(in.Escape), engine.Literals(nulls),
		widest, min(s.bufferSize(), max(2*widest, 1<<16)), l)
}

// bufferSize is how much CSV the engine holds at a time: little if it has little, and never more than one of its scanners
// takes. Of larger buffers, it divides each among several of them, and gives up on some files without need ("The Parallel CSV
// Reader currently does not support a full read on this file").
func (s *textSource) bufferSize() int64 { return min(max(s.Memory/16, 2*widestCSV), 8_000_000) }

// native says that the engine converts a column's values while it reads, and that this is as good as guarded: those of
// JSON that have an inside, and the plain numbers of CSV, whose fractions input.Whole looks for.
func (s *textSource) native(c Column) bool {
	if s.rows.Dialect.CSV {
		return engine.IsInteger(c.Type) || engine.IsFloat(c.Type)
	}
	return engine.IsNested(c.Type) || c.Type == "JSON"
}

// guarded converts from text if the engine has not done it. Its own conversions would round 2.5 to 3 and lose parts of
// times, without a word. A value that does not fit is an error.
func (s *textSource) guarded(c Column, name string) (read, value string) {
	switch {
	case s.native(c):
		return c.Type, name
	case c.Type == "VARCHAR":
		return "VARCHAR", name
	}
	refuse := refusal("a value is not "+c.Type, c.Type, name)
	value = fmt.Sprintf("coalesce(TRY_CAST(%[1]s AS %[2]s), CASE WHEN %[1]s IS NOT NULL THEN %[3]s END)", name, c.Type, refuse)
	if changed := changed(c, name); changed != "" {
		value = fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END", changed, refuse, value)
	}
	return "VARCHAR", value
}

// refusal is an error in place of a value of a type. Its message depends on the value that is refused: the engine computes
// what is constant once even where no row asks for it.
func refusal(message, kind, value string) string {
	return fmt.Sprintf("CAST(error(%s || left(CAST(%s AS VARCHAR), 0)) AS %s)", engine.Literal(message), value, kind)
}

// exact is how far a DOUBLE tells whole numbers apart.
const exact = 1<<53 - 1

// fast is guarded, except that numbers of JSON are read as DOUBLE: those that are no exact whole numbers are errors, after
// which they are read as text. Truth, which the engine takes for 0 and 1, is found by doubtful.
func (s *textSource) fast(c Column, name string) (read, value string) {
	switch {
	case s.rows.Dialect.CSV:
	case c.Type == "DOUBLE":
		return "DOUBLE", name
	case engine.IsInteger(c.Type):
		return "DOUBLE", fmt.Sprintf("CASE WHEN trunc(%[1]s) = %[1]s AND abs(%[1]s) <= %[2]d THEN CAST(%[1]s AS %[3]s) "+
			"WHEN %[1]s IS NOT NULL THEN %[4]s END", name, exact, c.Type, refusal("a value is not exact", c.Type, name))
	}
	return s.guarded(c, name)
}

// plainDate matches a date and nothing else.
const plainDate = `^ *-?[0-9]+([-/ \\][0-9]+){2}( \(BC\))? *$`

// changed is the condition that a conversion from text would leave a part of a value out; empty if none does.
func changed(c Column, name string) string {
	switch {
	case c.Type == "DATE": // the time of day, or what is none; years that no TIMESTAMP has stand alone
		return fmt.Sprintf("(strlen(%[1]s) > 10 OR right(%[1]s, 1) NOT BETWEEN '0' AND '9') AND "+
			"coalesce(TRY_CAST(%[1]s AS TIMESTAMP) <> TRY_CAST(TRY_CAST(%[1]s AS DATE) AS TIMESTAMP), NOT regexp_matches(%[1]s, '%[2]s'))", name, plainDate)
	case c.Type == "TIMESTAMP": // the distance from UTC, which stands behind a colon
		return fmt.Sprintf("strlen(%[1]s) > 16 AND (contains(%[1]s, '+') OR contains(substr(%[1]s, instr(%[1]s, ':')), '-')) AND "+
			"regexp_matches(%[1]s, '%[2]s') AND NOT regexp_matches(%[1]s, '[-+]00(:?00)?$')", name, offset)
	case engine.IsInteger(c.Type): // the fraction; short values are the most, and the length costs nothing
		return fmt.Sprintf("strlen(%[1]s) > 1 AND (contains(%[1]s, '.') AND NOT ends_with(rtrim(%[1]s, '0'), '.') "+
			"OR strlen(%[1]s) > 3 AND (contains(%[1]s, 'e-') OR contains(%[1]s, 'E-')))", name)
	}
	return ""
}

// doubtful says whether rows may have values that the engine would change without a word while it reads.
func (s *textSource) doubtful(l *textLayout, rows []byte) bool {
	if s.rows.Dialect.CSV {
		return l.whole != nil && l.whole.Broken(rows)
	}
	return !s.careful.Load() && (s.truth(rows, "true") || s.truth(rows, "false"))
}

// truth looks for a member with that value among those that are read as numbers.
func (s *textSource) truth(rows []byte, word string) bool {
	for at := 0; ; {
		i := bytes.Index(rows[at:], []byte(word))
		if i < 0 {
			return false
		}
		name, ok := input.MemberBefore(rows[:at+i])
		if ok && slices.ContainsFunc(s.columns, func(c Column) bool { return (engine.IsInteger(c.Type) || c.Type == "DOUBLE") && mayBe(name, c.Name) }) {
			return true
		}
		at += i + len(word)
	}
}

// mayBe says whether the text of a JSON string may be a name: what has escapes may be any.
func mayBe(text []byte, name string) bool {
	return bytes.IndexByte(text, '\\') >= 0 || string(text) == name
}
