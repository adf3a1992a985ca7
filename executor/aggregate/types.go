package aggregate

import (
	"regexp"
	"slices"
	"strings"
)

// The engine's types, as far as measures tell them apart.

var (
	integers = []string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT", "UHUGEINT"}
	longs    = []string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"} // fit a signed 64-bit integer
	decimal  = regexp.MustCompile(`^DECIMAL\([0-9]+,([0-9]+)\)$`)
)

func isInteger(kind string) bool { return slices.Contains(integers, kind) }
func isFloat(kind string) bool   { return kind == "FLOAT" || kind == "DOUBLE" }
func isNumber(kind string) bool {
	return isInteger(kind) || isFloat(kind) || kind == "BOOLEAN" || decimal.MatchString(kind)
}

// isNested says that values have an inside: lists, structs, maps.
func isNested(kind string) bool {
	return strings.HasSuffix(kind, "]") || strings.HasPrefix(kind, "STRUCT") || strings.HasPrefix(kind, "MAP") || strings.HasPrefix(kind, "UNION")
}

const wholeNumber = "DECIMAL(38,0)"

// stored is the type in which values of a type are kept in results: Parquet has no integers beyond 64 bits.
func stored(kind string) string {
	switch kind {
	case "HUGEINT", "UHUGEINT":
		return wholeNumber
	case `"NULL"`:
		return "VARCHAR"
	}
	return kind
}

// summable is the type in which arguments of a type are computed with: the engine sums UHUGEINT as DOUBLE.
func summable(kind string) string {
	if kind == "UHUGEINT" {
		return wholeNumber
	}
	return kind
}

// summed is the type of a sum.
func summed(kind string) string {
	if isFloat(kind) {
		return "DOUBLE"
	}
	if m := decimal.FindStringSubmatch(kind); m != nil {
		return "DECIMAL(38," + m[1] + ")"
	}
	return wholeNumber
}

// counted is the type in which different values are put into a sketch.
func counted(kind string) string {
	switch {
	case slices.Contains(longs, kind):
		return "BIGINT"
	case isFloat(kind):
		return "DOUBLE"
	}
	return "VARCHAR"
}

// unkept says why values of a type would not be the same any more after they were written to a file and read back, or is
// empty.
func unkept(kind string) string {
	switch {
	case kind == "INTERVAL":
		return "files keep it to the millisecond only, take epoch_us() of it"
	case kind == "TIME WITH TIME ZONE":
		return "files do not keep its zone, cast it to VARCHAR"
	case strings.HasPrefix(kind, "ENUM("):
		return "files do not keep its order, cast it to VARCHAR"
	}
	return ""
}
