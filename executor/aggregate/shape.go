package aggregate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
)

// shape is an aggregation as the engine is to do it: expressions, and the parts that its measures are made of.
//
// In the engine's tables, k0, k1, … are the keys, a0, a1, … the different arguments of measures, p0, p1, … the parts.
type shape struct {
	where    *scalar
	time     *scalar  // when a row happened, with windows
	keys     []scalar // with windows, the first is the window; with grouping sets, the last is the set's number
	args     []scalar // with sessions, one of them is t
	parts    []part
	measures []measure
	having   *scalar

	format string // of result files
	text   bool   // it has no bytes

	window      aggregate.Window
	first, last int      // parts, with sessions: the first and the last time
	sets        [][]bool // which of the group keys each grouping set has
	orderBy     []aggregate.Order
	limit       int64
}

// scalar is one expression of the spec.
type scalar struct {
	name    string // of a group key, in the result
	pointer string
	parsed  *expression.Expression // nil: it is none of the spec's, but comes from the window or the grouping set
	kind    string                 // its type, once it is bound
	only    *scalar                // of an argument: it is missing in rows for which this is not true; nil: in none
}

// sql is the expression, with its filter.
func (e *scalar) sql() string {
	if e.only == nil {
		return e.parsed.SQL()
	}
	return "CASE WHEN " + e.only.parsed.SQL() + " THEN " + e.parsed.SQL() + " END"
}

// measure is a column of the result.
type measure struct {
	aggregate.Measure
	parts []int // the first has the value, the others help: those of Avg are the sum and the count
}

// newShape parses the section's expressions. Problems are final failures.
func newShape(ctx context.Context, session *engine.Session, section *aggregate.Section) (*shape, error) {
	format := section.Output.Format
	s := &shape{format: format, text: format != "parquet", window: section.Window, sets: newSets(section), orderBy: section.OrderBy, limit: section.Limit}
	parse := parser{ctx: ctx, session: session}
	optional := func(text string, path ...string) *scalar {
		if text == "" {
			return nil
		}
		parsed := parse.text(text, path...)
		return &parsed
	}
	s.where = optional(section.Where, "where")
	s.time = optional(section.Time.Expr, "time", "expr")
	if s.window.Windowed() {
		s.keys = append(s.keys, scalar{name: aggregate.WindowStart, kind: "BIGINT"})
	}
	for i, group := range section.GroupBy {
		var key scalar
		if group.Expr != "" {
			key = parse.text(group.Expr, "group_by", strconv.Itoa(i), "expr")
		} else {
			key = parse.text(engine.Name(group.Name), "group_by", strconv.Itoa(i), "name")
		}
		key.name = group.Name
		s.keys = append(s.keys, key)
	}
	if len(s.sets) > 0 {
		s.keys = append(s.keys, scalar{name: aggregate.GroupingSet, kind: "INTEGER"})
	}
	arguments := arguments{shape: s, parse: &parse}
	for _, m := range section.Measures {
		arg, by := arguments.of(m)
		s.measures = append(s.measures, s.measure(m, arg, by))
	}
	if s.window.Session != 0 {
		s.args = append(s.args, scalar{kind: "BIGINT"})
		s.first, s.last = s.need(aggregate.Min, len(s.args)-1), s.need(aggregate.Max, len(s.args)-1)
	}
	s.having = optional(section.Having, "having")
	return s, parse.failure()
}

// firstGroup is the number of the first group key among the keys.
func (s *shape) firstGroup() int {
	if s.window.Windowed() {
		return 1
	}
	return 0
}

// groups are the keys that are the spec's.
func (s *shape) groups() []scalar {
	end := len(s.keys)
	if len(s.sets) > 0 {
		end--
	}
	return s.keys[s.firstGroup():end]
}

// arguments finds out what measures share.
type arguments struct {
	shape *shape
	parse *parser
	known []string // by argument
}

// of finds or adds the arguments of a measure: -1 for none.
func (a *arguments) of(m aggregate.Measure) (arg, by int) {
	arg, by = -1, -1
	switch {
	case !m.Rows():
		arg = a.add(m, m.Expr, m.Func)
	case m.Where != "": // counts rows for which it is true
		arg = a.add(m, "true", "where")
	}
	if m.By != "" {
		by = a.add(m, m.By, "by")
	}
	return arg, by
}

func (a *arguments) add(m aggregate.Measure, text, field string) int {
	key := text + "\x00" + m.Where
	if i := slices.Index(a.known, key); i >= 0 {
		return i
	}
	parsed := a.parse.text(text, "measures", m.Name, field)
	if m.Where != "" {
		only := a.parse.text(m.Where, "measures", m.Name, "where")
		parsed.only = &only
	}
	a.known = append(a.known, key)
	a.shape.args = append(a.shape.args, parsed)
	return len(a.known) - 1
}

// parser collects problems of all expressions, so that their author sees them at once.
type parser struct {
	ctx      context.Context
	session  *engine.Session
	problems []proto.Problem
	err      error
}

func (p *parser) text(text string, path ...string) scalar {
	s := scalar{pointer: jobs.JoinPointer("/"+aggregate.Name, path...)}
	if p.err != nil {
		return s
	}
	var problem *expression.Problem
	parsed, err := expression.Parse(p.ctx, p.session, text)
	switch {
	case errors.As(err, &problem):
		p.problem(s.pointer, "%s", problem.Detail)
	case err != nil:
		p.err = err
	default:
		s.parsed = parsed
	}
	return s
}

func (p *parser) problem(pointer, format string, args ...any) {
	p.problems = append(p.problems, proto.Problem{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// failure is what was found: the first problem's text, and all of them if there are several.
func (p *parser) failure() error {
	if p.err != nil {
		return p.err
	}
	if len(p.problems) == 0 {
		return nil
	}
	failure := task.Final(p.problems[0].Pointer, "%s", p.problems[0].Detail)
	if len(p.problems) > 1 {
		failure.Problems = p.problems
	}
	return failure
}

// scalars are all expressions over the input, those of the filter first.
func (s *shape) scalars() []*scalar {
	all := []*scalar{s.where, s.time}
	for i := range s.keys {
		all = append(all, &s.keys[i])
	}
	for i := range s.args {
		all = append(all, s.args[i].only, &s.args[i])
	}
	return slices.DeleteFunc(all, func(e *scalar) bool { return e == nil || e.parsed == nil })
}

// uses says whether some expression may use the column: names are compared as the engine does.
func (s *shape) uses(column string) bool {
	for _, e := range s.scalars() {
		if slices.ContainsFunc(e.parsed.Columns, func(name string) bool { return strings.EqualFold(name, column) }) {
			return true
		}
	}
	return false
}

// names are all that expressions may mean columns by.
func (s *shape) names() []string {
	var all []string
	for _, e := range s.scalars() {
		all = append(all, e.parsed.Columns...)
	}
	return all
}

// setTypes takes the types that the plan found.
func (s *shape) setTypes(p *plan) error {
	if len(p.Keys) != len(s.keys) || len(p.Args) != len(s.args) {
		return fmt.Errorf("read plan: it has %d keys and %d arguments, the spec %d and %d", len(p.Keys), len(p.Args), len(s.keys), len(s.args))
	}
	for i := range s.keys {
		s.keys[i].kind = p.Keys[i]
	}
	for i := range s.args {
		s.args[i].kind = p.Args[i]
	}
	if s.time != nil {
		s.time.kind = p.Time
	}
	return nil
}
