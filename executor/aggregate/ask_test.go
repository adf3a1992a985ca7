package aggregate_test

import (
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"
)

// ask runs SQL on a new connection and returns each row as one line of text.
func ask(t testing.TB, connector driver.Connector, statement string) []string {
	t.Helper()
	db := sql.OpenDB(connector) // closes the connector, too
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows, err := db.QueryContext(t.Context(), "SELECT COLUMNS(*)::VARCHAR FROM ("+statement+")")
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		parts := make([]string, len(values))
		for i, v := range values {
			parts[i] = "∅"
			if v.Valid {
				parts[i] = v.String
			}
		}
		all = append(all, strings.Join(parts, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
