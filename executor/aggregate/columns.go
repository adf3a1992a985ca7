package aggregate

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// sample is what is looked at to find column types: enough to see a file's habits, little enough for a second.
var sample = input.Sample{Files: 8, Bytes: 64 << 10}

const pointerColumns = "/aggregate/input/columns"

// findColumns names the input's columns and fixes the types of those that are used: the declared ones, and for the rest
// the narrowest type that holds all values in the heads of some files.
func (t *stage) findColumns(ctx context.Context, session *engine.Session, rows *input.Rows, s *shape) ([]column, error) {
	head := filepath.Join(t.Dir, "head")
	if rows.Dialect.CSV {
		names, err := t.csvColumns(ctx, rows)
		if err != nil {
			return nil, err
		}
		if err := writeHead(ctx, rows, head); err != nil {
			return nil, err
		}
		return t.csvTypes(ctx, session, rows, s, names, head)
	}
	if err := writeHead(ctx, rows, head); err != nil {
		return nil, err
	}
	return t.jsonColumns(ctx, session, rows, s, head)
}

func writeHead(ctx context.Context, rows *input.Rows, path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write sample: %w", err)
	}
	defer closing(file, &err)
	return rows.Heads(ctx, sample, file)
}

// csvColumns names the columns, and sets what each file's header must say.
func (t *stage) csvColumns(ctx context.Context, rows *input.Rows) ([]string, error) {
	first, err := rows.Set.Header(ctx, rows.Dialect)
	if err != nil {
		return nil, err
	}
	if t.section.Input.Header {
		rows.Header = first
		return uniqueNames(first), nil
	}
	names := make([]string, len(first))
	for i := range names {
		names[i] = fmt.Sprintf("column%d", i)
	}
	declared := t.section.Input.Columns
	if !slices.ContainsFunc(declared, func(c aggregate.Column) bool { return !slices.Contains(names, c.Name) }) {
		return names, nil
	}
	if len(declared) != len(names) { // without header, columns that have other names name all of them
		return nil, task.Final(pointerColumns, "%d columns are declared, but the first row of %s has %d, and there is no header", len(declared), rows.Set.URI(0), len(names))
	}
	for i, c := range declared {
		names[i] = c.Name
	}
	return names, nil
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

func find(columns []column, name string) int {
	return slices.IndexFunc(columns, func(c column) bool { return strings.EqualFold(c.Name, name) })
}

// declare sets the declared types, and adds columns that are only declared if that may be.
func (t *stage) declare(columns []column, mayAdd bool) ([]column, error) {
	for _, c := range t.section.Input.Columns {
		i := find(columns, c.Name)
		switch {
		case i >= 0:
			columns[i].Type = c.Type
		case mayAdd:
			columns = append(columns, column{c.Name, c.Type})
		default:
			return nil, task.Final(jobs.JoinPointer(pointerColumns, c.Name), "%s", unknownColumn(c.Name, columns))
		}
	}
	return columns, nil
}

func columnNames(columns []column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}

func unknownColumn(name string, columns []column) string {
	names := columnNames(columns)
	text := fmt.Sprintf("unknown column %q", name)
	if near := jobs.Suggest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	const most = 40
	if len(names) > most {
		names = append(names[:most:most], "…")
	}
	return text + fmt.Sprintf(" (columns are %s)", strings.Join(names, ", "))
}

func (t *stage) csvTypes(ctx context.Context, session *engine.Session, rows *input.Rows, s *shape, names []string, head string) ([]column, error) {
	columns := make([]column, len(names))
	for i, name := range names {
		columns[i].Name = name
	}
	columns, err := t.declare(columns, false)
	if err != nil {
		return nil, err
	}
	unknown := unfixed(columns, s)
	if len(unknown) == 0 {
		return columns, nil
	}
	src := textSource{stage: t, rows: rows, columns: columns}
	guesses, err := guess(ctx, session, src.reader(head), unknown)
	if err != nil {
		return nil, src.failure(ctx, err, wholeInput(rows.Set))
	}
	for _, name := range unknown {
		columns[find(columns, name)].Type = guesses[name].csv()
	}
	return columns, nil
}

func wholeInput(set *input.Set) input.Split {
	return slices.Concat(input.Cut(set.Files, set.Bytes()+1, false)...)
}

// unfixed are the columns that are used and have no type yet.
func unfixed(columns []column, s *shape) []string {
	var names []string
	for _, c := range columns {
		if c.Type == "" && s.uses(c.Name) {
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
		`bool_and(length(%[1]s) <= 10 AND TRY_CAST(%[1]s AS DATE) IS NOT NULL)`,
		`bool_and(TRY_CAST(%[1]s AS TIMESTAMP) IS NOT NULL)`,
		`bool_or(CASE WHEN TRY_CAST(%[1]s AS TIMESTAMP) IS NOT NULL THEN regexp_matches(%[1]s, '` + offset + `') END)`,
	}
)

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
	var l items
	for _, name := range names {
		for _, question := range questions {
			l.add(question+" FILTER (WHERE %[1]s IS NOT NULL)", engine.Name(name))
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
func (t *stage) jsonColumns(ctx context.Context, session *engine.Session, rows *input.Rows, s *shape, head string) ([]column, error) {
	src := textSource{stage: t, rows: rows}
	info, err := os.Stat(head)
	if err != nil {
		return nil, fmt.Errorf("look at sample: %w", err)
	}
	var columns []column
	if info.Size() > 0 {
		// The shape of every object counts, however rare, and objects do not become maps.
		err = session.Query(ctx, "DESCRIBE SELECT * FROM read_json("+engine.Literal(head)+", format='newline_delimited', hive_partitioning=false, sample_size=-1, "+
			fmt.Sprintf("field_appearance_threshold=0, map_inference_threshold=-1, maximum_object_size=%d)", widestJSON), func(row []driver.Value) error {
			name, okName := row[0].(string)
			kind, okKind := row[1].(string)
			if !okName || !okKind {
				return fmt.Errorf("describe sample: got %T and %T", row[0], row[1])
			}
			columns = append(columns, column{name, kind})
			return nil
		})
		if err != nil {
			return nil, src.failure(ctx, err, wholeInput(rows.Set))
		}
	}
	found := make([]column, len(columns))
	for i, c := range columns {
		found[i].Name = c.Name
	}
	if found, err = t.declare(found, true); err != nil {
		return nil, err
	}
	var texts []string
	for i, c := range found {
		if c.Type != "" || i >= len(columns) || !s.uses(c.Name) {
			continue
		}
		found[i].Type = columns[i].Type
		if slices.Contains([]string{"VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID"}, columns[i].Type) {
			found[i].Type = "VARCHAR"
			texts = append(texts, c.Name)
		}
	}
	if len(texts) == 0 {
		return found, nil
	}
	src.columns = found
	guesses, err := guess(ctx, session, src.reader(head), texts)
	if err != nil {
		return nil, src.failure(ctx, err, wholeInput(rows.Set))
	}
	for _, name := range texts {
		found[find(found, name)].Type = guesses[name].text()
	}
	return found, nil
}

// notFound is how the engine says that a column does not exist.
var notFound = regexp.MustCompile(`^Referenced column "(.*)" not found in FROM clause`)

// bind finds the type of each expression over columns of the given types. Problems are final failures that point at
// the expressions.
func (s *shape) bind(ctx context.Context, session *engine.Session, columns []column) error {
	definitions := []string{}
	for _, c := range columns {
		kind := c.Type
		if kind == "" {
			kind = "VARCHAR"
		}
		definitions = append(definitions, engine.Name(c.Name)+" "+kind)
	}
	if len(definitions) == 0 {
		definitions = []string{`" " BOOLEAN`} // a table must have a column, and a column a name
	}
	if err := session.Exec(ctx, "CREATE TEMP TABLE input ("+strings.Join(definitions, ", ")+")"); err != nil {
		return fmt.Errorf("bind expressions: %w", err)
	}
	p := parser{ctx: ctx, session: session}
	for _, e := range s.scalars() {
		if err := p.bind(e, "input", columns, func(name string) string { return unknownColumn(name, columns) }); err != nil {
			return err
		}
	}
	if s.where != nil && s.where.kind != "" && s.where.kind != "BOOLEAN" {
		p.problem(s.where.pointer, "it is %s, want BOOLEAN: a condition", s.where.kind)
	}
	if s.time != nil && s.time.kind != "" && !slices.Contains(times, s.time.kind) {
		p.problem(s.time.pointer, "it is %s, want TIMESTAMP, TIMESTAMPTZ or DATE: when a row happened", s.time.kind)
	}
	for _, key := range s.keys {
		if detail := unkept(key.kind); detail != "" {
			p.problem(key.pointer, "cannot group by %s: %s", key.kind, detail)
		}
	}
	p.checkMeasures(s)
	if err := p.bindHaving(s, columns); err != nil {
		return err
	}
	return p.failure()
}

// checkMeasures says which functions cannot take their arguments.
func (p *parser) checkMeasures(s *shape) {
	for _, arg := range s.args {
		if arg.only != nil && arg.only.kind != "" && arg.only.kind != "BOOLEAN" {
			p.problem(arg.only.pointer, "it is %s, want BOOLEAN: a condition", arg.only.kind)
		}
	}
	for _, m := range s.measures {
		first := s.parts[m.parts[0]]
		check := func(arg int, field string) {
			if arg < 0 || s.args[arg].kind == "" {
				return
			}
			if detail := wants(m.Func, s.args[arg].kind); detail != "" {
				p.problem(jobs.JoinPointer("/"+aggregate.Name, "measures", m.Name, field), "cannot compute %s of %s: %s", m.Func, s.args[arg].kind, detail)
			}
		}
		check(first.arg, m.Func)
		if m.By != "" {
			check(first.by, "by")
		}
	}
}

// bind finds the type of one expression over a table with those columns; unknown says what is wrong with a name that is none
// of theirs.
func (p *parser) bind(e *scalar, table string, columns []column, unknown func(name string) string) error {
	for _, name := range e.parsed.Columns {
		if expression.Clock(name) && find(columns, name) < 0 {
			p.problem(e.pointer, "%s", expression.Refusal(name, 0))
			return nil
		}
	}
	err := p.session.Query(p.ctx, "DESCRIBE SELECT "+e.parsed.SQL()+" AS x FROM "+table, func(row []driver.Value) error {
		kind, ok := row[1].(string)
		if !ok {
			return fmt.Errorf("bind expression: got %T for its type", row[1])
		}
		e.kind = kind
		return nil
	})
	var said *engine.Error
	if !errors.As(err, &said) || said.Reason == engine.Unexpected || said.Reason == engine.Memory {
		return err
	}
	if m := notFound.FindStringSubmatch(said.Message); m != nil {
		p.problem(e.pointer, "%s", unknown(m[1]))
	} else {
		p.problem(e.pointer, "%s", said.Message)
	}
	return nil
}
