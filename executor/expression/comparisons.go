package expression

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
)

// Comparison is a condition that a plain column is compared with constants. An expression that is true implies all of
// its own.
type Comparison struct {
	Column string // as written
	// Op is <, <=, =, >=, >, IN, IS NULL or IS NOT NULL.
	Op     string
	Values []Constant // of IN any number, of IS NULL and IS NOT NULL none, of the others one
}

// Constant is a value in an expression.
type Constant struct {
	SQL  string
	Type string // the engine's name of its type, without precision: VARCHAR, INTEGER, DECIMAL, DATE, …
}

// comparisons finds those that AND joins at the top of a parsed expression.
func comparisons(node map[string]any) []Comparison {
	switch node["type"] {
	case "CONJUNCTION_AND":
		var all []Comparison
		for _, child := range children(node) {
			all = append(all, comparisons(child)...)
		}
		return all
	case "COMPARE_BETWEEN":
		input, lower, upper := below(node, "input"), below(node, "lower"), below(node, "upper")
		return slices.Concat(compare(input, ">=", lower), compare(input, "<=", upper))
	case "COMPARE_IN":
		if operands := children(node); len(operands) > 1 {
			return compare(operands[0], "IN", operands[1:]...)
		}
	case "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL":
		op := map[any]string{"OPERATOR_IS_NULL": "IS NULL", "OPERATOR_IS_NOT_NULL": "IS NOT NULL"}[node["type"]]
		if operands := children(node); len(operands) == 1 {
			return compare(operands[0], op)
		}
	}
	op, known := operators[node["type"]]
	if !known {
		return nil
	}
	left, right := below(node, "left"), below(node, "right")
	if right["class"] == "COLUMN_REF" {
		left, right, op = right, left, mirrored[op]
	}
	return compare(left, op, right)
}

var (
	operators = map[any]string{
		"COMPARE_EQUAL": "=", "COMPARE_LESSTHAN": "<", "COMPARE_LESSTHANOREQUALTO": "<=",
		"COMPARE_GREATERTHAN": ">", "COMPARE_GREATERTHANOREQUALTO": ">=",
	}
	mirrored = map[string]string{"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
)

func below(node map[string]any, key string) map[string]any {
	child, _ := node[key].(map[string]any)
	return child
}

func children(node map[string]any) (all []map[string]any) {
	items, _ := node["children"].([]any)
	for _, item := range items {
		child, _ := item.(map[string]any)
		all = append(all, child)
	}
	return all
}

// compare is one comparison, or none if it is not of a plain column with constants.
func compare(column map[string]any, op string, values ...map[string]any) []Comparison {
	names, _ := column["column_names"].([]any)
	if column["class"] != "COLUMN_REF" || len(names) != 1 {
		return nil
	}
	name, ok := names[0].(string)
	if !ok {
		return nil
	}
	c := Comparison{Column: name, Op: op}
	for _, value := range values {
		constant, ok := readConstant(value)
		if !ok {
			return nil
		}
		c.Values = append(c.Values, constant)
	}
	return []Comparison{c}
}

// readConstant takes plain numbers and text, and text that is cast to a time: DATE '2020-02-03'.
func readConstant(node map[string]any) (Constant, bool) {
	if node["type"] == "OPERATOR_CAST" {
		to, _ := below(node, "cast_type")["id"].(string)
		text, ok := readConstant(below(node, "child"))
		if !ok || node["try_cast"] == true || text.Type != "VARCHAR" || !slices.Contains([]string{"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}, to) {
			return Constant{}, false
		}
		return Constant{SQL: fmt.Sprintf("CAST(%s AS %s)", text.SQL, to), Type: to}, true
	}
	value := below(node, "value")
	kind, _ := below(value, "type")["id"].(string)
	if node["type"] != "VALUE_CONSTANT" || value["is_null"] != false {
		return Constant{}, false
	}
	switch raw := value["value"].(type) {
	case string:
		if kind == "VARCHAR" && !strings.ContainsRune(raw, 0) {
			return Constant{SQL: engine.Literal(raw), Type: kind}, true
		}
	case json.Number:
		switch kind {
		case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE":
			return Constant{SQL: fmt.Sprintf("CAST('%s' AS %s)", raw, kind), Type: kind}, true
		case "DECIMAL":
			return readDecimal(raw.String(), below(below(value, "type"), "type_info"))
		}
	}
	return Constant{}, false
}

func readDecimal(unscaled string, info map[string]any) (Constant, bool) {
	width, okWidth := info["width"].(json.Number)
	scaleText, okScale := info["scale"].(json.Number)
	scale, err := scaleText.Int64()
	n, ok := new(big.Int).SetString(unscaled, 10)
	if !okWidth || !okScale || err != nil || !ok || scale < 0 || scale > 38 {
		return Constant{}, false
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil)
	value := new(big.Rat).SetFrac(n, unit).FloatString(int(scale))
	return Constant{SQL: fmt.Sprintf("CAST('%s' AS DECIMAL(%s,%d))", value, width, scale), Type: "DECIMAL"}, true
}
