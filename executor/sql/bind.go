package sql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// column is one column of the result.
type column struct {
	name   string
	kind   string // as the statement gives it
	stored string // as files keep it
}

// notFound is how the engine says that a column does not exist.
var notFound = regexp.MustCompile(`^Referenced column "(.*)" not found in FROM clause`)

// bind finds the columns of the statement's result, over empty tables. What is wrong is a final failure that points at the
// statement, or at the output if the result cannot be written there.
func (q *query) bind(ctx context.Context) error {
	if err := q.checkClocks(); err != nil {
		return err
	}
	for _, t := range q.tables {
		var definitions []string
		for _, c := range t.columns {
			kind := "VARCHAR" // if it is not used
			if c.Type != "" {
				_, kind = t.restored(c)
			}
			definitions = append(definitions, engine.Name(c.Name)+" "+kind)
		}
		if len(definitions) == 0 {
			definitions = []string{`" " BOOLEAN`} // a table must have a column, and a column a name
		}
		if err := q.session.Exec(ctx, "CREATE TEMP TABLE "+engine.Name(t.name)+" ("+strings.Join(definitions, ", ")+")"); err != nil {
			return lake.Failure(fmt.Sprintf("bind table %q", t.name), err)
		}
	}
	err := q.session.Query(ctx, "DESCRIBE "+q.statement.Text, func(row []driver.Value) error {
		name, okName := row[0].(string)
		kind, okKind := row[1].(string)
		if !okName || !okKind {
			return fmt.Errorf("describe result: got %T and %T", row[0], row[1])
		}
		q.columns = append(q.columns, column{name: name, kind: kind})
		return nil
	})
	if err != nil {
		return q.unbound(err)
	}
	for _, t := range q.tables {
		if err := q.session.Exec(ctx, "DROP TABLE "+engine.Name(t.name)); err != nil {
			return lake.Failure("bind statement", err)
		}
	}
	if err := q.checkColumns(); err != nil {
		return err
	}
	if err := q.checkPartitions(); err != nil || q.section.Output.Mode == aggregate.Replace {
		return err
	}
	return lake.Refused(q.output.Check(ctx, q.manifest(nil, 0)), pointerOutput)
}

// unbound is what an error of the engine about the statement means.
func (q *query) unbound(err error) error {
	var said *engine.Error
	if !errors.As(err, &said) || said.Reason == engine.Unexpected || said.Reason == engine.Memory {
		return lake.Failure("bind statement", err)
	}
	detail := said.Message
	if m := notFound.FindStringSubmatch(said.Message); m != nil {
		var all []source.Column
		for _, t := range q.tables {
			all = append(all, t.columns...)
		}
		if source.Find(all, m[1]) < 0 { // else it is there, but not where it is named
			detail = source.UnknownColumn(m[1], all)
		}
	}
	return task.Final(pointerStatement, "%s", detail)
}

// checkClocks refuses names such as current_date where no column has them: their value differs from run to run.
func (q *query) checkClocks() error {
	for _, name := range q.statement.Columns {
		if !expression.Clock(name) || slices.ContainsFunc(q.statement.Aliases, func(a string) bool { return strings.EqualFold(a, name) }) {
			continue
		}
		if !slices.ContainsFunc(q.tables, func(t *table) bool { return source.Find(t.columns, name) >= 0 }) {
			return task.Final(pointerStatement, "%s", expression.Refusal(name, 0))
		}
	}
	return nil
}

// checkColumns finds the types in which files keep the result.
func (q *query) checkColumns() error {
	seen := map[string]bool{}
	for i := range q.columns {
		c := &q.columns[i]
		lower := strings.ToLower(c.name)
		switch {
		case strings.TrimSpace(c.name) == "":
			return task.Final(pointerStatement, "column %d of the result has no name: give it one with AS", i+1)
		case seen[lower]:
			return task.Final(pointerStatement, "the result has two columns %q: give one of them another name with AS (names differ in more than capitals)", c.name)
		}
		seen[lower] = true
		kind, why := stored(c.kind)
		if why != "" {
			return task.Final(pointerStatement, "column %q of the result is %s: %s", c.name, c.kind, why)
		}
		c.stored = kind
	}
	return nil
}

// checkPartitions makes sure that the folders are made of columns of the result, and that some are left for the files.
func (q *query) checkPartitions() error {
	var names []string
	for _, c := range q.columns {
		names = append(names, c.name)
	}
	by := q.section.Output.PartitionBy
	for i, name := range by {
		if slices.Contains(names, name) {
			continue
		}
		detail := fmt.Sprintf("unknown result column %q", name)
		if near := jobs.Suggest(name, names); near != "" {
			detail += fmt.Sprintf("; did you mean %q?", near)
		}
		return task.Final(jobs.JoinPointer(pointerOutput, "partition_by", strconv.Itoa(i)), "%s (result columns are %s)", detail, strings.Join(names, ", "))
	}
	if len(by) >= len(names) {
		return task.Final(pointerOutput+"/partition_by", "all result columns make folders: none is left for the files")
	}
	return nil
}

var (
	quoted = regexp.MustCompile(`"(?:[^"]|"")*"`)
	// unknown are types, or parts of them, that files do not keep.
	unknown = regexp.MustCompile(`\b(BIT|VARIANT|GEOMETRY|UNION|TYPE|LAMBDA|BIGNUM)\b`)
	wide    = regexp.MustCompile(`\bU?HUGEINT\b`)
	array   = regexp.MustCompile(`\[[0-9]+\]`)
)

// stored is the type in which files keep values of a type; why says that there is none.
func stored(kind string) (to, why string) {
	plain := quoted.ReplaceAllString(kind, "x")
	switch {
	case kind == `"NULL"`:
		return "VARCHAR", ""
	case kind == "HUGEINT", kind == "UHUGEINT":
		return "DECIMAL(38,0)", ""
	case kind == "TIMESTAMP_S", kind == "TIMESTAMP_MS":
		return "TIMESTAMP", ""
	case engine.Unkept(kind) != "":
		return "", engine.Unkept(kind)
	case wide.MatchString(plain):
		return "", "files have no whole numbers of more than 64 bits inside other values, cast them to DECIMAL(38,0)"
	case array.MatchString(plain):
		return "", "files do not keep the length of arrays, cast it to a list"
	case strings.Contains(plain, "INTERVAL"), strings.Contains(plain, "TIME WITH TIME ZONE"), strings.Contains(plain, "ENUM("), unknown.MatchString(plain):
		return "", "files do not keep it as it is, cast it to VARCHAR or another type"
	}
	return kind, ""
}
