package result

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
)

// column is one column of the rows that are written.
type column struct {
	name, kind string // the engine's type
}

func describe(ctx context.Context, session *engine.Session, query string) ([]column, error) {
	var columns []column
	err := session.Query(ctx, "DESCRIBE "+query, func(row []driver.Value) error {
		name, okName := row[0].(string)
		kind, okKind := row[1].(string)
		if !okName || !okKind {
			return fmt.Errorf("describe result: got %T and %T", row[0], row[1])
		}
		columns = append(columns, column{name, kind})
		return nil
	})
	return columns, err
}

func (c column) nested() bool {
	return strings.HasSuffix(c.kind, "]") || slices.ContainsFunc([]string{"STRUCT(", "MAP(", "UNION("}, func(p string) bool { return strings.HasPrefix(c.kind, p) })
}

// written is the column as a format keeps it. Parquet has types of its own. Text formats get bytes in base64; CSV what has
// an inside as JSON; and JSON, which has no such numbers, NaN and infinity as strings.
func (c column) written(format string) string {
	name := engine.Name(c.name)
	switch {
	case format == "parquet":
		return name
	case c.kind == "BLOB":
		return "to_base64(" + name + ") AS " + name
	case format == "csv" && c.nested():
		return "CAST(to_json(" + name + ") AS VARCHAR) AS " + name
	case format == "jsonl" && (c.kind == "DOUBLE" || c.kind == "FLOAT"):
		return fmt.Sprintf("CASE WHEN isfinite(%[1]s) THEN to_json(%[1]s) WHEN isnan(%[1]s) THEN to_json('NaN') "+
			"WHEN %[1]s > 0 THEN to_json('Infinity') WHEN %[1]s < 0 THEN to_json('-Infinity') END AS %[1]s", name)
	}
	return name
}

// Guesses of how much one value takes, in bytes.
const (
	guessNumber = 8
	guessText   = 32
	guessNested = 4 << 10
)

// guess is about how many bytes a value takes before anything is known of it.
func (c column) guess() int64 {
	switch {
	case c.kind == "BLOB" || c.nested():
		return guessNested
	case c.kind == "VARCHAR" || c.kind == "JSON":
		return guessText
	case c.kind == "HUGEINT" || c.kind == "UUID" || strings.HasPrefix(c.kind, "DECIMAL"):
		return 2 * guessNumber
	}
	return guessNumber
}

// measured is the SQL for the bytes of a value, or empty if all have as many.
func (c column) measured() string {
	name := engine.Name(c.name)
	switch {
	case c.kind == "BLOB":
		return "octet_length(" + name + ")"
	case c.kind == "VARCHAR" || c.kind == "JSON":
		return "strlen(" + name + ")"
	case c.nested():
		return "strlen(CAST(" + name + " AS VARCHAR))"
	}
	return ""
}

// width is how many bytes a row of a relation has before compression, on average; at least 1.
func width(ctx context.Context, session *engine.Session, columns []column, relation string) (float64, error) {
	terms := []string{"0"}
	var fixed int64
	for _, c := range columns {
		if sql := c.measured(); sql != "" {
			terms = append(terms, "coalesce("+sql+", 0)")
		} else {
			fixed += c.guess()
		}
	}
	mean := 0.0
	err := session.Query(ctx, "SELECT coalesce(avg("+strings.Join(terms, " + ")+"), 0) FROM "+relation, func(row []driver.Value) error {
		var ok bool
		if mean, ok = row[0].(float64); !ok {
			return fmt.Errorf("measure result: got %T", row[0])
		}
		return nil
	})
	return max(mean+float64(fixed), 1), err
}
