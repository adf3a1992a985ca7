package engine

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The engine's names of types, as DESCRIBE gives them, told apart as far as callers need.

var (
	integers = []string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT", "UHUGEINT"}
	longs    = []string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
	decimal  = regexp.MustCompile(`^DECIMAL\([0-9]+,([0-9]+)\)$`)
)

// IsInteger says that values of a type are whole numbers.
func IsInteger(kind string) bool { return slices.Contains(integers, kind) }

// IsLong says that values of a type are whole numbers that fit a signed 64-bit integer.
func IsLong(kind string) bool { return slices.Contains(longs, kind) }

// IsFloat says that values of a type are floating-point numbers.
func IsFloat(kind string) bool { return kind == "FLOAT" || kind == "DOUBLE" }

// IsDecimal says that values of a type are decimals, with so many digits behind the point.
func IsDecimal(kind string) (scale int, is bool) {
	m := decimal.FindStringSubmatch(kind)
	if m == nil {
		return 0, false
	}
	scale, err := strconv.Atoi(m[1])
	return scale, err == nil
}

// IsNumber says that one can compute with values of a type. BOOLEAN counts as 0 and 1.
func IsNumber(kind string) bool {
	return IsInteger(kind) || IsFloat(kind) || kind == "BOOLEAN" || decimal.MatchString(kind)
}

// IsNested says that values of a type have an inside: lists, structs, maps.
func IsNested(kind string) bool {
	return strings.HasSuffix(kind, "]") || strings.HasPrefix(kind, "STRUCT") || strings.HasPrefix(kind, "MAP") || strings.HasPrefix(kind, "UNION")
}

// Unkept says why values of a type would not be the same any more after they were written to a file and read back, or is
// empty.
func Unkept(kind string) string {
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
