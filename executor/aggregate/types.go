package aggregate

import (
	"fmt"

	"github.com/tidemill/tidemill/executor/engine"
)

// The engine's types, as far as measures tell them apart.

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
	if engine.IsFloat(kind) {
		return "DOUBLE"
	}
	if scale, ok := engine.IsDecimal(kind); ok {
		return fmt.Sprintf("DECIMAL(38,%d)", scale)
	}
	return wholeNumber
}

// counted is the type in which different values are put into a sketch.
func counted(kind string) string {
	switch {
	case engine.IsLong(kind):
		return "BIGINT"
	case engine.IsFloat(kind):
		return "DOUBLE"
	}
	return "VARCHAR"
}
