package expression

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
)

// Terms are the conditions that must all hold for an expression to hold: those that AND joins at its top, or the
// expression itself.
func (e *Expression) Terms(ctx context.Context, s *engine.Session) ([]*Expression, error) {
	raw, err := s.Strings(ctx, "SELECT CAST(json_serialize_sql("+engine.Literal(before+e.Text+"\n)")+") AS VARCHAR)")
	if err != nil || len(raw) != 1 {
		return nil, fmt.Errorf("divide expression: %w, %d answers", err, len(raw))
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(raw[0])))
	decoder.UseNumber() // positions and constants stay as they are
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("divide expression: %w", err)
	}
	selected, ok := selection(document)
	if !ok {
		return nil, fmt.Errorf("divide expression: %q is no selection", e.Text)
	}
	var terms []*Expression
	for _, node := range conjuncts(selected[0]) {
		selected[0] = node
		encoded, err := json.Marshal(document)
		if err != nil {
			return nil, fmt.Errorf("divide expression: %w", err)
		}
		text, err := s.Strings(ctx, "SELECT json_deserialize_sql("+engine.Literal(string(encoded))+")")
		if err != nil || len(text) != 1 {
			return nil, fmt.Errorf("divide expression: %w, %d answers", err, len(text))
		}
		term, err := Parse(ctx, s, strings.TrimPrefix(text[0], "SELECT "))
		if err != nil {
			return nil, fmt.Errorf("divide expression: %w", err)
		}
		terms = append(terms, term)
	}
	return terms, nil
}

// selection is the list of what a parsed statement selects.
func selection(document map[string]any) ([]any, bool) {
	statements, ok := document["statements"].([]any)
	if !ok || len(statements) != 1 {
		return nil, false
	}
	statement, _ := statements[0].(map[string]any)
	node, _ := statement["node"].(map[string]any)
	list, ok := node["select_list"].([]any)
	return list, ok && len(list) == 1
}

func conjuncts(node any) []any {
	n, ok := node.(map[string]any)
	if !ok || n["type"] != "CONJUNCTION_AND" {
		return []any{node}
	}
	children, _ := n["children"].([]any)
	var all []any
	for _, child := range children {
		all = append(all, conjuncts(child)...)
	}
	return all
}
