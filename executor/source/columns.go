package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// What is looked at to find column names and types: enough to see the files' habits, little enough for a second.
const (
	sampledFiles   = 8        // whose first rows count
	sampledBytes   = 64 << 10 // of each, without compression
	sampledHeaders = 32       // files whose headers count
	mostHeaders    = 512      // if a column is missing in those
)

// findColumns names the columns of CSV and JSON lines and fixes the types of those that are used: the declared ones, and
// for the rest the narrowest type that holds all values in the heads of some files. names is what Rows wants.
func (s *textSource) findColumns(ctx context.Context) (columns []Column, names []string, err error) {
	if s.rows.Dialect.CSV {
		if names, err = s.csvNames(ctx); err != nil {
			return nil, nil, err
		}
		for _, name := range names {
			columns = append(columns, Column{Name: name})
		}
		columns, err = s.declare(columns, s.rows.Set.Partitions, false)
	}
	if err != nil {
		return nil, nil, err
	}
	head, err := s.sample(ctx)
	if err != nil {
		return nil, nil, err
	}
	if s.rows.Dialect.CSV {
		columns, err = s.csvTypes(ctx, columns, head)
	} else {
		columns, err = s.jsonColumns(ctx, head)
	}
	return columns, names, errors.Join(err, head.remove())
}

// sample writes the heads of some files, each as a chunk of its own.
func (s *textSource) sample(ctx context.Context) (*batch, error) {
	ready := make(chan *batch, 1)
	sink := &spool{ctx: ctx, source: s.looking(nil), limit: math.MaxInt64, ready: ready, single: true}
	err := error(nil)
	for _, file := range input.Spread(len(s.rows.Set.Files), sampledFiles) {
		if err = s.rows.Head(ctx, file, sampledBytes, sink); err != nil {
			break
		}
	}
	if err = errors.Join(err, sink.finish(err == nil)); err != nil {
		return nil, err
	}
	return <-ready, nil
}

// csvNames are the names in the headers of files, or those of the fields of files without.
func (s *textSource) csvNames(ctx context.Context) ([]string, error) {
	set := s.rows.Set
	if !s.rows.Header {
		first, err := set.Header(ctx, s.rows.Dialect)
		if err != nil {
			return nil, err
		}
		s.names, err = s.fieldNames(first)
		return s.names, err
	}
	var names []string
	for _, files := range []int{sampledHeaders, mostHeaders} {
		headers, err := set.Headers(ctx, s.rows.Dialect, files)
		if err != nil {
			return nil, err
		}
		if names, err = namesIn(set, headers); err != nil {
			return nil, err
		}
		if len(headers) == len(set.Files) || !s.lacks(names, set.Partitions) {
			break
		}
	}
	if len(names) == 0 { // not even a header in the files that were looked at
		first, err := set.Header(ctx, s.rows.Dialect)
		if err != nil {
			return nil, err
		}
		names = uniqueNames(first)
	}
	return names, nil
}

// namesIn are the names in headers, each once, in the order of the files.
func namesIn(set *input.Set, headers map[int][]string) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(headers)) {
		if len(names) > 0 {
			if err := set.Related(file, headers[file], names); err != nil {
				return nil, err
			}
		}
		for _, name := range uniqueNames(headers[file]) {
			if key := strings.ToLower(name); !seen[key] {
				seen[key] = true
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// lacks says whether a name of a used column, or of a declared one, is none of names and others.
func (t *Source) lacks(names, others []string) bool {
	known := map[string]bool{}
	for _, name := range slices.Concat(names, others) {
		known[strings.ToLower(name)] = true
	}
	unknown := func(name string) bool { return !known[strings.ToLower(name)] }
	return slices.ContainsFunc(t.Input.Columns, func(c aggregate.Column) bool { return unknown(c.Name) }) || slices.ContainsFunc(t.Names, unknown)
}

// fieldNames are the names of the fields of files without header: the declared ones, if they are others than column0, ….
func (s *textSource) fieldNames(first []string) ([]string, error) {
	names := make([]string, len(first))
	for i := range names {
		names[i] = fmt.Sprintf("column%d", i)
	}
	partition := func(name string) bool {
		return slices.ContainsFunc(s.rows.Set.Partitions, func(p string) bool { return strings.EqualFold(p, name) })
	}
	var declared []string
	for _, c := range s.Input.Columns {
		if !partition(c.Name) {
			declared = append(declared, c.Name)
		}
	}
	if !slices.ContainsFunc(declared, func(name string) bool { return !slices.Contains(names, name) }) {
		return names, nil
	}
	if len(declared) != len(names) { // without header, columns that have other names name all of them
		return nil, task.Final(s.at("columns"), "%d columns are declared, but the first row of %s has %d, and there is no header", len(declared), s.rows.Set.URI(0), len(names))
	}
	return declared, nil
}

// uniqueNames makes names of a header's fields: none empty, and no two that differ in capitals only.
func uniqueNames(header []string) []string {
	seen := map[string]bool{}
	names := make([]string, len(header))
	for i, field := range header {
		name := strings.TrimSpace(field)
		if name == "" {
			name = fmt.Sprintf("column%d", i)
		}
		unique := name
		for n := 1; seen[strings.ToLower(unique)]; n++ {
			unique = fmt.Sprintf("%s_%d", name, n)
		}
		seen[strings.ToLower(unique)] = true
		names[i] = unique
	}
	return names
}

func Find(columns []Column, name string) int {
	return slices.IndexFunc(columns, func(c Column) bool { return strings.EqualFold(c.Name, name) })
}

// declare sets the declared types, and adds columns that are only declared if that may be.
func (t *Source) declare(columns []Column, partitions []string, mayAdd bool) ([]Column, error) {
	for _, c := range t.Input.Columns {
		i := Find(columns, c.Name)
		switch {
		case slices.ContainsFunc(partitions, func(name string) bool { return strings.EqualFold(name, c.Name) }):
			// it is in the names of folders
		case i >= 0:
			columns[i].Type = c.Type
		case mayAdd:
			columns = append(columns, Column{Name: c.Name, Type: c.Type})
		default:
			return nil, task.Final(jobs.JoinPointer(t.at("columns"), c.Name), "%s", UnknownColumn(c.Name, columns))
		}
	}
	return columns, nil
}

// ColumnNames are the names of some columns.
func ColumnNames(columns []Column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}

// UnknownColumn says, for people, that there is no such column.
func UnknownColumn(name string, columns []Column) string {
	names := ColumnNames(columns)
	text := fmt.Sprintf("unknown column %q", name)
	if near := jobs.Suggest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	const most = 40
	if len(names) == 0 {
		return text + " (the input has none)"
	}
	if len(names) > most {
		names = append(names[:most:most], "…")
	}
	return text + fmt.Sprintf(" (columns are %s)", strings.Join(names, ", "))
}

func (s *textSource) csvTypes(ctx context.Context, columns []Column, head *batch) ([]Column, error) {
	unknown := s.unfixed(columns)
	guesses, err := s.guess(ctx, head, unknown)
	if err != nil {
		return nil, err
	}
	for _, name := range unknown {
		columns[Find(columns, name)].Type = guesses[name].csv()
	}
	return columns, nil
}

// unfixed are the columns that are used and have no type yet.
func (s *textSource) unfixed(columns []Column) []string {
	var names []string
	for _, c := range columns {
		if c.Type == "" && s.Uses(c.Name) && !slices.ContainsFunc(s.rows.Set.Partitions, func(name string) bool { return strings.EqualFold(name, c.Name) }) {
			names = append(names, c.Name)
		}
	}
	return names
}

// values says what the text values of a sampled column are, all of them.
type values struct {
	some                                       bool // that are not missing
	long, huge, double, boolean, date, instant bool
	offset                                     bool // some with a distance from UTC
}

// whole is the condition that a number is written as a whole one.
const whole = `NOT contains(%[1]s, '.') AND NOT contains(%[1]s, 'e') AND NOT contains(%[1]s, 'E') AND NOT contains(%[1]s, '_') AND NOT contains(%[1]s, 'x')`

// offset matches a time that ends in its distance from UTC.
const offset = `:[0-9.]+ ?[-+][0-9]{2}(:?[0-9]{2})?$`

// Questions about a column, as SQL aggregates. Most columns are answered by the first ones.
var (
	firstQuestions = []string{
		`bool_or(true)`,
		`bool_and(TRY_CAST(%[1]s AS BIGINT) IS NOT NULL AND ` + whole + `)`,
	}
	moreQuestions = []string{
		`bool_and(TRY_CAST(%[1]s AS HUGEINT) IS NOT NULL AND ` + whole + `)`,
		`bool_and(TRY_CAST(%[1]s AS DOUBLE) IS NOT NULL)`,
		`bool_and(lower(%[1]s) IN ('true', 'false'))`,
		`bool_and(length(%[1]s) <= 10 AND TRY_CAST(%[1]s AS DATE) IS NOT NULL AND NOT regexp_matches(%[1]s, '[0-9][^0-9 ]+$'))`,
		`bool_and(TRY_CAST(%[1]s AS TIMESTAMP) IS NOT NULL)`,
		`bool_or(CASE WHEN TRY_CAST(%[1]s AS TIMESTAMP) IS NOT NULL THEN regexp_matches(%[1]s, '` + offset + `') END)`,
	}
)

// guess looks at all values of some columns in a sample.
func (s *textSource) guess(ctx context.Context, head *batch, names []string) (map[string]values, error) {
	if len(names) == 0 {
		return nil, nil
	}
	columns := make([]Column, len(names))
	for i, name := range names {
		columns[i] = Column{Name: name, Type: "VARCHAR"}
	}
	reader := s.looking(columns)
	all := map[string]values{}
	err := reader.consume(ctx, head, func(relation string) (err error) {
		all, err = guess(ctx, s.Session, "("+relation+")", names)
		return err
	})
	return all, err
}

// guess looks at all values of some columns, which read has as text.
func guess(ctx context.Context, session *engine.Session, read string, names []string) (map[string]values, error) {
	first, err := answer(ctx, session, read, names, firstQuestions)
	if err != nil {
		return nil, err
	}
	all := map[string]values{}
	var others []string
	for _, name := range names {
		v := values{some: first[name][0], long: first[name][1]}
		if all[name] = v; v.some && !v.long {
			others = append(others, name)
		}
	}
	more, err := answer(ctx, session, read, others, moreQuestions)
	if err != nil {
		return nil, err
	}
	for name, yes := range more {
		all[name] = values{some: true, huge: yes[0], double: yes[1], boolean: yes[2], date: yes[3], instant: yes[4], offset: yes[5]}
	}
	return all, nil
}

// answer asks all questions about all columns at once. What is neither true nor false is false.
func answer(ctx context.Context, session *engine.Session, read string, names, questions []string) (map[string][]bool, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var l engine.List
	for _, name := range names {
		for _, question := range questions {
			l.Add(question+" FILTER (WHERE %[1]s IS NOT NULL)", engine.Name(name))
		}
	}
	all := map[string][]bool{}
	err := session.Query(ctx, "SELECT "+l.String()+" FROM "+read, func(row []driver.Value) error {
		for i, value := range row {
			yes, _ := value.(bool)
			name := names[i/len(questions)]
			all[name] = append(all[name], yes)
		}
		return nil
	})
	return all, err
}

// csv is the narrowest type for a column of CSV.
func (v values) csv() string {
	switch {
	case !v.some:
		return "VARCHAR"
	case v.long:
		return "BIGINT"
	case v.huge:
		return "HUGEINT"
	case v.double:
		return "DOUBLE"
	case v.boolean:
		return "BOOLEAN"
	}
	return v.text()
}

// text is the narrowest type for what was written as text.
func (v values) text() string {
	switch {
	case v.some && v.date:
		return "DATE"
	case v.some && v.instant && v.offset:
		return "TIMESTAMPTZ"
	case v.some && v.instant:
		return "TIMESTAMP"
	}
	return "VARCHAR"
}

// jsonColumns finds the members of the sampled objects.
func (s *textSource) jsonColumns(ctx context.Context, head *batch) ([]Column, error) {
	sampled, err := s.describe(ctx, head.chunks)
	if err != nil {
		return nil, err
	}
	columns := make([]Column, len(sampled))
	for i, c := range sampled {
		columns[i].Name = c.Name
	}
	if columns, err = s.declare(columns, s.rows.Set.Partitions, true); err != nil {
		return nil, err
	}
	var texts []string
	var mixed []int
	for _, name := range s.unfixed(columns) {
		i := Find(columns, name)
		switch columns[i].Type = sampled[i].Type; columns[i].Type {
		case "VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID":
			columns[i].Type = "VARCHAR"
			texts = append(texts, name)
		case "JSON":
			mixed = append(mixed, i)
		}
	}
	if err := s.conflict(ctx, head, columns, mixed); err != nil {
		return nil, err
	}
	guesses, err := s.guess(ctx, head, texts)
	if err != nil {
		return nil, err
	}
	for _, name := range texts {
		columns[Find(columns, name)].Type = guesses[name].text()
	}
	return columns, nil
}

// describe finds the members of the objects in chunks, with the types that hold their values in all of them.
func (s *textSource) describe(ctx context.Context, chunks []*chunk) (columns []Column, err error) {
	if len(chunks) == 0 {
		return nil, nil
	}
	paths := make([]string, len(chunks))
	for i, c := range chunks {
		paths[i] = c.path
	}
	// The shape of every object counts, however rare, and objects do not become maps.
	query := fmt.Sprintf("DESCRIBE SELECT * FROM read_json(%s, format='newline_delimited', records='true', hive_partitioning=false, sample_size=-1, union_by_name=true, "+
		"field_appearance_threshold=0, map_inference_threshold=-1, maximum_object_size=%d)", engine.Literals(paths), widestJSON)
	others := false // that are no objects
	look := func(string) error {
		columns = nil
		err := s.Session.Query(ctx, query, func(row []driver.Value) error {
			name, okName := row[0].(string)
			kind, okKind := row[1].(string)
			if !okName || !okKind {
				return fmt.Errorf("describe sample: got %T and %T", row[0], row[1])
			}
			columns = append(columns, Column{Name: name, Type: kind})
			return nil
		})
		var said *engine.Error
		if others = errors.As(err, &said) && strings.Contains(said.Message, "expected records"); others {
			return errDoubtful // about rows, though it says so before it reads any
		}
		return err
	}
	err = s.looking(nil).consume(ctx, &batch{chunks: chunks}, look)
	if others && errors.Is(err, errDoubtful) {
		return nil, nil // what was no object is out, and nothing is left
	}
	return columns, err
}

// conflict looks among columns whose values no one type holds for one that has a type in each file, but not the same: a
// change of the files that is better settled than guessed. What is mixed in one file is read as JSON.
func (s *textSource) conflict(ctx context.Context, head *batch, columns []Column, mixed []int) error {
	if len(mixed) == 0 {
		return nil
	}
	first := map[int]*chunk{}
	types := map[int]string{}
	for _, c := range head.chunks {
		some, err := s.describe(ctx, []*chunk{c})
		if err != nil {
			return err
		}
		for _, i := range mixed {
			at := slices.IndexFunc(some, func(c Column) bool { return c.Name == columns[i].Name })
			if at < 0 || some[at].Type == "JSON" {
				continue
			}
			if first[i] == nil {
				first[i], types[i] = c, some[at].Type
			} else if kind := some[at].Type; kind != types[i] && (engine.IsNested(kind) || engine.IsNested(types[i]) || engine.IsNumber(kind) != engine.IsNumber(types[i])) {
				uri := func(c *chunk) string { return s.rows.Set.URI(c.origin[0].segment.File) }
				return task.Final(jobs.JoinPointer(s.at("columns"), columns[i].Name), "column %q is %s in %s and %s in %s; declare its type in %s to have the values cast",
					columns[i].Name, types[i], uri(first[i]), kind, uri(c), s.at("columns"))
			}
		}
	}
	return nil
}
