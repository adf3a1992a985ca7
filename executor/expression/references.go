package expression

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
)

// What a statement needs of its tables: found out by names, and rather too much than too little.

// references is what was seen of tables in a statement.
type references struct {
	single []string       // names of one part, or last parts: they may mean whole rows
	times  map[string]int // how often each declared table stands in FROM
	terms  map[string][]any
}

// reads remembers that a declared table stands in FROM.
func (w *statementWalker) reads(i int, n map[string]any) {
	name := w.tables[i]
	if w.times == nil {
		w.times, w.terms = map[string]int{}, map[string][]any{}
	}
	w.times[name]++
	if w.find(name) == nil {
		w.statement.Tables = append(w.statement.Tables, Table{Name: name})
	}
	alias := strings.ToLower(called(n))
	w.aliases[alias] = addOnce(w.aliases[alias], name)
	if columns, ok := n["column_name_alias"].([]any); !ok || len(columns) > 0 { // columns get other names by their places
		w.find(name).All = true
		w.times[name]++
	}
}

// called is the name that a table has in its query.
func called(n map[string]any) string {
	if alias, ok := n["alias"].(string); ok && alias != "" {
		return alias
	}
	name, _ := n["table_name"].(string)
	return name
}

func (w *statementWalker) find(name string) *Table {
	i := slices.IndexFunc(w.statement.Tables, func(t Table) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &w.statement.Tables[i]
}

// refers remembers a name that may stand for a whole row.
func (w *statementWalker) refers(names []any) {
	if last, ok := names[len(names)-1].(string); ok {
		w.single = addOnce(w.single, last)
	}
}

// wholeRows marks the tables of which rows are used as values.
func (w *statementWalker) wholeRows() {
	for _, name := range w.single {
		for _, table := range w.aliases[strings.ToLower(name)] {
			w.find(table).All = true
		}
	}
}

// query looks at what a query does with the tables in its FROM: stars, and conditions.
func (w *statementWalker) query(n map[string]any, kind string, seen scope) {
	if kind != "SELECT_NODE" {
		return
	}
	from := below(n, "from_table")
	var bases []map[string]any
	implied := collect(from, &bases)
	for _, key := range []string{"select_list", "where_clause", "group_expressions", "having", "qualify", "modifiers"} {
		w.stars(n[key], bases, seen, 0)
	}
	if implied {
		w.useAll(bases, seen, "")
	}
	where, ok := n["where_clause"].(map[string]any)
	if !ok {
		return
	}
	for _, base := range preserved(from) {
		w.conditions(base, bases, n, conjuncts(where), seen)
	}
}

// collect gathers the tables of a FROM that are no subqueries. implied says that columns are used that are not named.
func collect(from map[string]any, bases *[]map[string]any) (implied bool) {
	switch from["type"] {
	case "BASE_TABLE":
		*bases = append(*bases, from)
	case "JOIN":
		left, right := collect(below(from, "left"), bases), collect(below(from, "right"), bases)
		return left || right || from["ref_type"] == "NATURAL"
	case "PIVOT":
		collect(below(from, "source"), bases)
		return true
	}
	return false
}

// stars looks for * in expressions of a query, without those of subqueries.
func (w *statementWalker) stars(v any, bases []map[string]any, seen scope, depth int) {
	if depth > maxDepth {
		return // which visit refuses
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			w.stars(item, bases, seen, depth+1)
		}
	case map[string]any:
		switch v["class"] {
		case "SUBQUERY":
			w.stars(v["child"], bases, seen, depth+1)
			return
		case "STAR":
			relation, _ := v["relation_name"].(string)
			w.useAll(bases, seen, relation)
		}
		for _, item := range v {
			w.stars(item, bases, seen, depth+1)
		}
	}
}

// useAll marks the tables among bases that are called so; all of them if that is empty; and all of the spec's if none is.
func (w *statementWalker) useAll(bases []map[string]any, seen scope, name string) {
	found := name == ""
	for _, base := range bases {
		if name != "" && !strings.EqualFold(called(base), name) {
			continue
		}
		found = true
		w.useWhole(base, seen)
	}
	if !found { // a subquery, a table of a query around this one, or a column with fields
		w.single = addOnce(w.single, name)
		w.statement.Columns = addOnce(w.statement.Columns, name)
	}
}

func (w *statementWalker) useWhole(base map[string]any, seen scope) {
	name, _ := base["table_name"].(string)
	if i := w.declared(name); i >= 0 && !seen[strings.ToLower(name)] {
		alias := strings.ToLower(called(base))
		w.aliases[alias] = addOnce(w.aliases[alias], w.tables[i])
		w.single = addOnce(w.single, alias)
	}
}

// preserved are the tables of a FROM of which rows that fail the query's WHERE could as well not be there: they are
// joined by plain joins, on a side that is never filled up with missing values.
func preserved(from map[string]any) []map[string]any {
	switch from["type"] {
	case "BASE_TABLE":
		return []map[string]any{from}
	case "JOIN":
		if kind := from["ref_type"]; kind != "REGULAR" && kind != "CROSS" && kind != "NATURAL" {
			return nil
		}
		switch from["join_type"] {
		case "INNER":
			return append(preserved(below(from, "left")), preserved(below(from, "right"))...)
		case "LEFT", "SEMI", "ANTI":
			return preserved(below(from, "left"))
		case "RIGHT":
			return preserved(below(from, "right"))
		}
	}
	return nil
}

// conditions remembers the terms of a WHERE that are about one table alone.
func (w *statementWalker) conditions(base map[string]any, bases []map[string]any, query map[string]any, terms []any, seen scope) {
	name, _ := base["table_name"].(string)
	i := w.declared(name)
	if i < 0 || seen[strings.ToLower(name)] {
		return
	}
	alone := below(query, "from_table")["type"] == "BASE_TABLE"
	alias := called(base)
	for _, other := range bases {
		if strings.EqualFold(called(other), alias) && other["query_location"] != base["query_location"] {
			return // it is not clear which of them is meant
		}
	}
	given := map[string]bool{} // what names of one part may mean, too
	selected, _ := query["select_list"].([]any)
	for _, item := range selected {
		if n, ok := item.(map[string]any); ok {
			if text, ok := n["alias"].(string); ok {
				given[strings.ToLower(text)] = true
			}
		}
	}
	for _, term := range terms {
		if plain, ok := unqualified(term, alias, alone, given, 0); ok {
			if w.terms == nil {
				w.times, w.terms = map[string]int{}, map[string][]any{}
			}
			w.terms[w.tables[i]] = append(w.terms[w.tables[i]], plain)
		}
	}
}

// unqualified is a copy of an expression with plain names for the columns of the table called alias; ok says that it has
// no others.
func unqualified(v any, alias string, alone bool, given map[string]bool, depth int) (plain any, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			if list[i], ok = unqualified(item, alias, alone, given, depth+1); !ok {
				return nil, false
			}
		}
		return list, true
	case map[string]any:
		switch v["class"] {
		case "SUBQUERY", "WINDOW", "STAR", "LAMBDA":
			return nil, false
		}
		tree := make(map[string]any, len(v))
		for key, item := range v {
			if tree[key], ok = unqualified(item, alias, alone, given, depth+1); !ok {
				return nil, false
			}
		}
		if v["class"] == "COLUMN_REF" {
			names, _ := v["column_names"].([]any)
			last, isText := "", false
			if len(names) > 0 {
				last, isText = names[len(names)-1].(string)
			}
			switch first, _ := append(names, nil)[0].(string); {
			case !isText || len(names) > 2 || Clock(last):
				return nil, false
			case len(names) == 2 && !strings.EqualFold(first, alias):
				return nil, false
			case len(names) == 1 && (!alone || given[strings.ToLower(last)] || strings.EqualFold(last, alias)):
				return nil, false
			}
			tree["column_names"] = []any{last}
		}
		return tree, true
	}
	return v, true
}

// where makes an expression of the terms that are about a table, if it is read once only.
func (w *statementWalker) where(ctx context.Context, s *engine.Session, t *Table) error {
	if w.times[t.Name] != 1 {
		return nil
	}
	var texts []string
	for _, term := range w.terms[t.Name] {
		text, err := written(ctx, s, term)
		if err != nil {
			return err
		}
		_, err = Parse(ctx, s, text)
		if p := (*Problem)(nil); errors.As(err, &p) {
			continue // it is more than a scalar expression, and only a help
		}
		if err != nil {
			return err
		}
		texts = append(texts, "("+text+")")
	}
	if len(texts) == 0 {
		return nil
	}
	where, err := Parse(ctx, s, strings.Join(texts, " AND "))
	t.Where = where
	return err
}

// written is the SQL of a parsed expression.
func written(ctx context.Context, s *engine.Session, node any) (string, error) {
	p, err := serializeAny(ctx, s, before+"true)")
	if err != nil {
		return "", err
	}
	selected, ok := selection(p)
	if !ok {
		return "", errors.New("write expression: the engine's tree has another shape")
	}
	selected[0] = node
	encoded, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	text, err := s.Strings(ctx, "SELECT json_deserialize_sql("+engine.Literal(string(encoded))+")")
	if err != nil || len(text) != 1 {
		return "", errors.Join(errors.New("write expression: the engine gave no text"), err)
	}
	return strings.TrimPrefix(text[0], "SELECT "), nil
}

func serializeAny(ctx context.Context, s *engine.Session, text string) (map[string]any, error) {
	raw, err := s.Strings(ctx, "SELECT CAST(json_serialize_sql("+engine.Literal(text)+") AS VARCHAR)")
	if err != nil || len(raw) != 1 {
		return nil, errors.Join(errors.New("parse expression: the engine gave no tree"), err)
	}
	decoder := json.NewDecoder(strings.NewReader(raw[0]))
	decoder.UseNumber()
	var document map[string]any
	return document, decoder.Decode(&document)
}
