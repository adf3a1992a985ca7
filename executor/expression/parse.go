package expression

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemill/tidemill/executor/engine"
)

// Expression is a text that was found to be sound.
type Expression struct {
	Text      string
	Columns   []string // what may be column names in it, each once, in order of appearance, as written
	Functions []string // names of the functions that it calls, each once; operators are not among them
	// Comparisons must all hold for the expression to hold, if it is a condition. There may be more to it.
	Comparisons []Comparison
}

// SQL is the expression for use within a statement. The line break ends a comment at its end.
func (e *Expression) SQL() string { return "(" + e.Text + "\n)" }

// Problem is why a text was refused, for its author.
type Problem struct{ Detail string }

func (p *Problem) Error() string { return p.Detail }

func problem(format string, args ...any) error { return &Problem{Detail: fmt.Sprintf(format, args...)} }

const before = "SELECT ("

// Parse checks one text. The error is a [*Problem] if the text is wrong, or the engine's or the context's.
func Parse(ctx context.Context, s *engine.Session, text string) (*Expression, error) {
	if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return nil, problem("it is not valid text: a NUL character, or not UTF-8")
	}
	raw, err := s.Strings(ctx, "SELECT CAST(json_serialize_sql("+engine.Literal(before+text+"\n)")+") AS VARCHAR)")
	if err != nil {
		return nil, fmt.Errorf("parse expression: %w", err)
	}
	if len(raw) != 1 {
		return nil, fmt.Errorf("parse expression: got %d answers", len(raw))
	}
	return read(text, []byte(raw[0]))
}

// read judges what the engine parsed.
func read(text string, parsed []byte) (*Expression, error) {
	var document struct {
		Error      bool
		Message    string `json:"error_message"`
		Position   string
		Statements []struct {
			Node map[string]any
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(parsed))
	decoder.UseNumber() // constants stay as they are
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("read parsed expression: %w", err)
	}
	if document.Error {
		return nil, syntaxProblem(text, document.Message, document.Position)
	}
	if len(document.Statements) != 1 {
		return nil, problem("want one expression, got several statements")
	}
	node := document.Statements[0].Node
	selected, err := onlySelection(node)
	if err != nil {
		return nil, err
	}
	w := walker{expression: &Expression{Text: text}}
	if err := w.visit(selected, 0); err != nil {
		return nil, err
	}
	if top, ok := selected.(map[string]any); ok {
		w.expression.Comparisons = comparisons(top)
	}
	return w.expression, nil
}

// onlySelection returns the one expression that node selects, if node does nothing else.
func onlySelection(node map[string]any) (any, error) {
	if node["type"] != "SELECT_NODE" {
		return nil, problem("want a scalar expression, got a query")
	}
	for _, clause := range []string{"where_clause", "having", "qualify", "sample"} {
		if node[clause] != nil {
			return nil, problem("want a scalar expression, got a query with %s", strings.ReplaceAll(strings.TrimSuffix(clause, "_clause"), "_", " "))
		}
	}
	for _, list := range []string{"modifiers", "group_expressions", "group_sets"} {
		if items, ok := node[list].([]any); ok && len(items) > 0 {
			return nil, problem("want a scalar expression, got a query with %s", strings.ReplaceAll(list, "_", " "))
		}
	}
	if from, ok := node["from_table"].(map[string]any); !ok || from["type"] != "EMPTY" {
		return nil, problem("want a scalar expression, got a query with FROM")
	}
	items, ok := node["select_list"].([]any)
	if !ok || len(items) != 1 {
		return nil, problem("want one expression, got %d", len(items))
	}
	item, ok := items[0].(map[string]any)
	if !ok {
		return nil, problem("want one expression")
	}
	if item["class"] == "FUNCTION" && item["function_name"] == "row" && item["schema"] == "main" {
		return nil, problem("want one expression, got several with commas between them")
	}
	return item, nil
}

func syntaxProblem(text, message, position string) error {
	message = strings.TrimSpace(message)
	if strings.HasPrefix(message, "Only SELECT statements") {
		return problem("want one expression, got several statements")
	}
	var at int
	if _, err := fmt.Sscan(position, &at); err != nil {
		return problem("it is not an SQL expression: %s", message)
	}
	at -= len(before) // the engine counts characters
	if at >= utf8.RuneCountInString(strings.TrimRight(text, " \t\r\n")) {
		return problem("it is not an SQL expression: something is missing at its end")
	}
	if at < 0 {
		return problem("it is not an SQL expression: %s", message)
	}
	return problem("it is not an SQL expression: %s (character %d)", message, at+1)
}

// maxDepth is far more than people nest, and less than would trouble the engine.
const maxDepth = 500

type walker struct {
	expression *Expression
}

// allowed are the classes of nodes that make up scalar expressions.
var allowed = []string{"COLUMN_REF", "CONSTANT", "FUNCTION", "OPERATOR", "COMPARISON", "CONJUNCTION", "BETWEEN", "CASE", "CAST", "COLLATE", "LAMBDA"}

// refused says what the other classes are to their authors.
var refused = map[string]string{
	"SUBQUERY":             "a subquery is not allowed",
	"WINDOW":               "a window function (OVER) is not allowed",
	"PARAMETER":            "a parameter ($1, ?) is not allowed",
	"POSITIONAL_REFERENCE": "a positional reference (#1) is not allowed: name the column",
	"STAR":                 "* and COLUMNS are not allowed: name the columns",
	"DEFAULT":              "DEFAULT is not allowed",
}

// visit walks every value below v.
func (w *walker) visit(v any, depth int) error {
	if depth > maxDepth {
		return problem("it is nested too deeply")
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := w.visit(item, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := w.node(v); err != nil {
			return err
		}
		for _, key := range sortedKeys(v) {
			if err := w.visit(v[key], depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// node judges one node, without what is below it.
func (w *walker) node(n map[string]any) error {
	class, ok := n["class"].(string)
	if !ok {
		return nil
	}
	if detail := refused[class]; detail != "" {
		return problem("%s", detail)
	}
	if !slices.Contains(allowed, class) {
		return problem("%s is not allowed in a scalar expression", strings.ToLower(strings.ReplaceAll(class, "_", " ")))
	}
	switch {
	case class == "FUNCTION":
		return w.function(n)
	case n["type"] == "GROUPING_FUNCTION":
		return problem("GROUPING is not allowed")
	case class == "COLUMN_REF":
		names, ok := n["column_names"].([]any)
		if !ok || len(names) == 0 {
			return problem("it names no column")
		}
		for _, name := range names {
			if text, ok := name.(string); ok {
				w.expression.Columns = addOnce(w.expression.Columns, text)
			}
		}
	}
	return nil
}

func (w *walker) function(n map[string]any) error {
	name, ok := n["function_name"].(string)
	if !ok {
		return problem("it calls a function without a name")
	}
	for _, qualifier := range []string{"catalog", "schema"} {
		if q, ok := n[qualifier].(string); ok && q != "" && q != "main" {
			return problem("function %q must be called without %q in front", name, q)
		}
	}
	arguments, _ := n["children"].([]any)
	if why := Refusal(name, len(arguments)); why != "" {
		return problem("%s", why)
	}
	if orders, ok := n["order_bys"].(map[string]any); ok {
		if items, ok := orders["orders"].([]any); ok && len(items) > 0 {
			return problem("ORDER BY is not allowed in a scalar function's arguments")
		}
	}
	if n["filter"] != nil || n["distinct"] == true {
		return problem("FILTER and DISTINCT are for aggregate functions, which are not allowed")
	}
	if n["is_operator"] != true {
		w.expression.Functions = addOnce(w.expression.Functions, name)
	}
	return nil
}

func addOnce(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
