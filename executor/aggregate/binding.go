package aggregate

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

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
		if err := p.bind(e, "input", columns, func(name string) string { return source.UnknownColumn(name, columns) }); err != nil {
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
		if detail := engine.Unkept(key.kind); detail != "" {
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
		if expression.Clock(name) && source.Find(columns, name) < 0 {
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
