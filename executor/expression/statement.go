package expression

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/jobs"
)

// Statement is one SELECT over named tables that was found to be sound.
type Statement struct {
	Text      string
	Tables    []Table  // that it reads, each once
	Columns   []string // what may be column names in it, each once, as written
	Functions []string // names of the functions that it calls, each once; operators are not among them
	Aliases   []string // names that it gives to what it selects
}

// Table is what a statement reads of a table.
type Table struct {
	Name string // as declared
	All  bool   // it may use all columns, and not only those of Statement.Columns
	// Where is a condition on plain columns that holds for all rows that matter; nil: all rows may matter.
	Where *Expression
}

// SQL is the statement for use as a relation. The line break ends a comment at its end.
func (s *Statement) SQL() string { return "(" + s.Text + "\n)" }

const around = "FROM ("

// ParseStatement checks one text that may read the tables of the given names, which differ in more than capitals. The
// error is a [*Problem] if the text is wrong, or the engine's or the context's.
func ParseStatement(ctx context.Context, s *engine.Session, text string, tables []string) (*Statement, error) {
	if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return nil, problem("it is not valid text: a NUL character, or not UTF-8")
	}
	node, err := parseNode(ctx, s, text)
	if err != nil {
		return nil, err
	}
	if err := alone(ctx, s, text); err != nil {
		return nil, err
	}
	w := &statementWalker{text: text, tables: tables, statement: &Statement{Text: text}, aliases: map[string][]string{}}
	if err := w.visit(node, nil, 0); err != nil {
		return nil, err
	}
	w.wholeRows()
	for i := range w.statement.Tables {
		if err := w.where(ctx, s, &w.statement.Tables[i]); err != nil {
			return nil, err
		}
	}
	return w.statement, nil
}

// parsed is what json_serialize_sql answers.
type parsed struct {
	Error      bool
	Message    string `json:"error_message"`
	Position   string
	Statements []struct {
		Node map[string]any
	}
}

func serialize(ctx context.Context, s *engine.Session, text string) (*parsed, error) {
	raw, err := s.Strings(ctx, "SELECT CAST(json_serialize_sql("+engine.Literal(text)+") AS VARCHAR)")
	if err != nil || len(raw) != 1 {
		return nil, fmt.Errorf("parse statement: %d answers: %w", len(raw), err)
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(raw[0])))
	decoder.UseNumber() // constants stay as they are
	p := &parsed{}
	if err := decoder.Decode(p); err != nil {
		return nil, fmt.Errorf("read parsed statement: %w", err)
	}
	return p, nil
}

func parseNode(ctx context.Context, s *engine.Session, text string) (map[string]any, error) {
	p, err := serialize(ctx, s, text)
	switch {
	case err != nil:
		return nil, err
	case p.Error && strings.HasPrefix(p.Message, "Only SELECT statements"):
		return nil, problem("want one SELECT statement: nothing else is allowed, and nothing before or after it")
	case p.Error:
		return nil, statementProblem(text, strings.TrimSpace(p.Message), p.Position)
	case len(p.Statements) != 1:
		return nil, problem("want one SELECT statement, got %d", len(p.Statements))
	}
	return p.Statements[0].Node, nil
}

func statementProblem(text, message, position string) error {
	var at int
	if _, err := fmt.Sscan(position, &at); err != nil || at < 0 {
		return problem("it is not an SQL statement: %s", message)
	}
	if at >= utf8.RuneCountInString(strings.TrimRight(text, " \t\r\n")) {
		return problem("it is not an SQL statement: something is missing at its end")
	}
	return problem("it is not an SQL statement: %s (character %d)", message, at+1)
}

// alone makes sure that a text is one relation when it stands in parentheses.
func alone(ctx context.Context, s *engine.Session, text string) error {
	const want = "want one SELECT statement, without a semicolon at its end"
	p, err := serialize(ctx, s, around+text+"\n)")
	if err != nil {
		return err
	}
	if p.Error || len(p.Statements) != 1 {
		return problem(want)
	}
	node := p.Statements[0].Node
	from := below(node, "from_table")
	if node["type"] != "SELECT_NODE" || from["type"] != "SUBQUERY" || from["alias"] != "" || node["where_clause"] != nil || node["having"] != nil || node["qualify"] != nil || node["sample"] != nil || from["sample"] != nil {
		return problem(want)
	}
	for _, list := range []any{node["modifiers"], node["group_expressions"], node["group_sets"], from["column_name_alias"], below(node, "cte_map")["map"]} {
		if some, ok := list.([]any); !ok || len(some) > 0 {
			return problem(want)
		}
	}
	if selected, ok := node["select_list"].([]any); !ok || len(selected) != 1 {
		return problem(want)
	}
	return nil
}

// statementWalker goes through a parsed statement and judges it.
type statementWalker struct {
	text      string
	tables    []string // declared
	statement *Statement
	aliases   map[string][]string // declared tables by what the statement calls them, in small letters
	references
}

// Types of nodes that are no expressions.
var (
	queryNodes  = []string{"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
	tableNodes  = []string{"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EMPTY", "EXPRESSION_LIST", "PIVOT"}
	otherNodes  = []string{"ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER", "ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
	expressions = append(slices.Clone(allowed), "SUBQUERY", "WINDOW", "STAR")
	// tableFunctions give rows that depend on nothing but their arguments.
	tableFunctions = []string{"range", "generate_series", "unnest"}
)

// recursive are the parts of a node with a cte_name that see that name: what is repeated, or comes after it.
var recursive = []string{"right", "child"}

// scope is the names of the CTEs that can be seen, in small letters.
type scope map[string]bool

func (s scope) with(name string) scope {
	wider := scope{}
	maps.Copy(wider, s)
	wider[strings.ToLower(name)] = true
	return wider
}

// visit walks every value below v.
func (w *statementWalker) visit(v any, seen scope, depth int) (err error) {
	if depth > maxDepth {
		return problem("it is nested too deeply")
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := w.visit(item, seen, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		if ctes, ok := v["cte_map"].(map[string]any); ok {
			if seen, err = w.ctes(ctes, seen, depth+1); err != nil {
				return err
			}
		}
		if err := w.node(v, seen); err != nil {
			return err
		}
		for _, key := range sortedKeys(v) {
			if key == "cte_map" {
				continue
			}
			below := seen
			if name, ok := v["cte_name"].(string); ok && slices.Contains(recursive, key) {
				below = seen.with(name)
			}
			if err := w.visit(v[key], below, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// ctes visits what stands in WITH. Each one sees those before it.
func (w *statementWalker) ctes(n map[string]any, seen scope, depth int) (scope, error) {
	list, _ := n["map"].([]any)
	for _, item := range list {
		entry, _ := item.(map[string]any)
		name, ok := entry["key"].(string)
		if !ok {
			return nil, problem("WITH defines something without a name")
		}
		if err := w.visit(entry["value"], seen, depth+1); err != nil {
			return nil, err
		}
		seen = seen.with(name)
	}
	return seen, nil
}

// node judges one node, without what is below it.
func (w *statementWalker) node(n map[string]any, seen scope) error {
	if alias, ok := n["alias"].(string); ok && alias != "" {
		w.statement.Aliases = addOnce(w.statement.Aliases, alias)
	}
	if n["sample"] != nil || n["sample_size"] != nil {
		return problem("SAMPLE is not allowed: it gives other rows each time, and results must be repeatable")
	}
	if n["at_clause"] != nil {
		return problem("AT is not allowed: tables have one version")
	}
	if class, ok := n["class"].(string); ok {
		return w.expression(n, class)
	}
	kind, ok := n["type"].(string)
	switch {
	case !ok, strings.HasSuffix(kind, "_TYPE_INFO"), slices.Contains(otherNodes, kind):
		return nil
	case slices.Contains(queryNodes, kind):
		w.query(n, kind, seen)
		return nil
	case !slices.Contains(tableNodes, kind):
		return problem("%s is not allowed: only SELECT over tables is", strings.ToLower(strings.TrimSuffix(strings.ReplaceAll(kind, "_", " "), " REF")))
	}
	return w.table(n, kind, seen)
}

// table judges what stands in FROM.
func (w *statementWalker) table(n map[string]any, kind string, seen scope) error {
	switch kind {
	case "BASE_TABLE":
		name, ok := n["table_name"].(string)
		if !ok {
			return problem("FROM has a table without a name")
		}
		for _, qualifier := range []string{"catalog_name", "schema_name"} {
			if q, ok := n[qualifier].(string); !ok || q != "" {
				return problem("table %q must be named without %q in front%s", name, q, w.at(n))
			}
		}
		if seen[strings.ToLower(name)] {
			return nil
		}
		i := w.declared(name)
		if i < 0 {
			return problem("%s%s", w.unknown(name), w.at(n))
		}
		w.reads(i, n)
	case "TABLE_FUNCTION":
		name, _ := below(n, "function")["function_name"].(string)
		if !slices.Contains(tableFunctions, strings.ToLower(name)) {
			return problem("table function %q is not allowed: only %s are, and the tables of the spec%s", name, strings.Join(tableFunctions, ", "), w.at(n))
		}
	case "JOIN":
		using, _ := n["using_columns"].([]any)
		for _, name := range using {
			if text, ok := name.(string); ok {
				w.statement.Columns = addOnce(w.statement.Columns, text)
			}
		}
	}
	return nil
}

func (w *statementWalker) declared(name string) int {
	return slices.IndexFunc(w.tables, func(t string) bool { return strings.EqualFold(t, name) })
}

func (w *statementWalker) unknown(name string) string {
	text := fmt.Sprintf("unknown table %q", name)
	if near := jobs.Suggest(name, w.tables); near != "" {
		return text + fmt.Sprintf("; did you mean %q?", near)
	}
	return text + fmt.Sprintf(" (tables are %s)", strings.Join(w.tables, ", "))
}

// at says where in the text a node stands, if that is known.
func (w *statementWalker) at(n map[string]any) string {
	number, _ := n["query_location"].(json.Number)
	offset, err := number.Int64()
	if err != nil || offset < 0 || offset > int64(len(w.text)) {
		return ""
	}
	return fmt.Sprintf(" (character %d)", utf8.RuneCountInString(w.text[:offset])+1)
}

// expression judges a node that is part of an expression.
func (w *statementWalker) expression(n map[string]any, class string) error {
	if !slices.Contains(expressions, class) {
		detail := refused[class]
		if detail == "" {
			detail = strings.ToLower(strings.ReplaceAll(class, "_", " ")) + " is not allowed"
		}
		return problem("%s%s", detail, w.at(n))
	}
	switch class {
	case "FUNCTION", "WINDOW":
		return w.function(n)
	case "COLUMN_REF":
		names, ok := n["column_names"].([]any)
		if !ok || len(names) == 0 {
			return problem("it names no column")
		}
		for _, name := range names {
			if text, ok := name.(string); ok {
				w.statement.Columns = addOnce(w.statement.Columns, text)
			}
		}
		w.refers(names)
	}
	return nil
}

func (w *statementWalker) function(n map[string]any) error {
	name, ok := n["function_name"].(string)
	if !ok {
		return problem("it calls a function without a name")
	}
	for _, qualifier := range []string{"catalog", "schema"} {
		if q, ok := n[qualifier].(string); ok && q != "" && q != "main" {
			return problem("function %q must be called without %q in front%s", name, q, w.at(n))
		}
	}
	lower := strings.ToLower(name)
	if slices.Contains(aggregates, lower) || slices.Contains(tableFunctions, lower) || slices.Contains(rowFunctions, lower) {
		w.statement.Functions = addOnce(w.statement.Functions, name)
		if slices.Contains(samplers, lower) {
			return problem("function %q is not allowed: %s%s", name, varies, w.at(n))
		}
		return nil
	}
	arguments, _ := n["children"].([]any)
	if why := Refusal(name, len(arguments)); why != "" {
		return problem("%s%s", why, w.at(n))
	}
	if n["is_operator"] != true {
		w.statement.Functions = addOnce(w.statement.Functions, name)
	}
	return nil
}

var (
	// rowFunctions give several rows of one, which a statement may have.
	rowFunctions = []string{"unlist", "regexp_split_to_table", "generate_subscripts"}
	// samplers are aggregates that choose at random.
	samplers = []string{"reservoir_quantile"}
)
