package source

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
)

// Types of one column in several files become one that keeps the values of all of them: see unify.

var (
	timestamps = []string{"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
	// digits is how many decimal digits whole numbers have.
	digits = map[string]int{"TINYINT": 3, "UTINYINT": 3, "SMALLINT": 5, "USMALLINT": 5, "INTEGER": 10, "UINTEGER": 10, "BIGINT": 19, "UBIGINT": 20}
)

// unify is the type that holds the values of two types, with the exactness that they have. Whole numbers and decimals
// become DOUBLE beside floating-point numbers, and times are exact to the microsecond then. ok says that there is one.
func unify(a, b string) (kind string, ok bool) {
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		first, second := pair[0], pair[1]
		switch {
		case first == second, first == `"NULL"`:
			return second, true
		case strings.HasSuffix(first, "[]") && strings.HasSuffix(second, "[]"):
			kind, ok = unify(strings.TrimSuffix(first, "[]"), strings.TrimSuffix(second, "[]"))
			return kind + "[]", ok
		case engine.IsInteger(first) && engine.IsInteger(second):
			return unifyIntegers(first, second), first != "UHUGEINT" && second != "UHUGEINT"
		case engine.IsFloat(first) && (engine.IsFloat(second) || engine.IsInteger(second) || isDecimal(second)):
			return "DOUBLE", true
		case isDecimal(first) && (engine.IsInteger(second) || isDecimal(second)):
			return unifyDecimals(first, second)
		case slices.Contains(timestamps, first) && (second == "DATE" || slices.Contains(timestamps, second)):
			return "TIMESTAMP", true
		case first == "VARCHAR" && second == "JSON":
			return "VARCHAR", true
		}
	}
	return "", false
}

func unifyIntegers(a, b string) string {
	if engine.IsLong(a) && engine.IsLong(b) {
		return "BIGINT"
	}
	return "HUGEINT"
}

func unifyDecimals(a, b string) (string, bool) {
	wholeA, scaleA, okA := decimalDigits(a)
	wholeB, scaleB, okB := decimalDigits(b)
	scale := max(scaleA, scaleB)
	width := max(wholeA, wholeB) + scale
	return fmt.Sprintf("DECIMAL(%d,%d)", width, scale), okA && okB && width <= 38
}

// decimalDigits is how many digits a number has before and behind the point.
func decimalDigits(kind string) (whole, scale int, ok bool) {
	if n, ok := digits[kind]; ok {
		return n, 0, true
	}
	inside, isDecimal := strings.CutPrefix(strings.TrimSuffix(kind, ")"), "DECIMAL(")
	width, after, _ := strings.Cut(inside, ",")
	w, errW := strconv.Atoi(width)
	s, errS := strconv.Atoi(after)
	return w - s, s, isDecimal && errW == nil && errS == nil
}

// widens says that every value of one type is one of another, and that they keep their order.
func widens(from, to string) bool {
	kind, ok := unify(from, to)
	return ok && kind == to
}
