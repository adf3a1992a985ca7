package aggregate_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
)

var (
	oracleSeed  = flag.Uint64("oracle.seed", 0, "of the first random aggregation; 0: by chance")
	oracleCount = flag.Int("oracle.count", 60, "how many random aggregations")
)

// TestOracle runs random aggregations over random tables in random files, in several tasks, and compares the rows with
// those of plain SQL on the same engine over the table itself.
func TestOracle(t *testing.T) {
	seed := *oracleSeed
	if seed == 0 {
		seed = rand.Uint64N(1_000_000_000)
	}
	t.Logf("seeds from %d on", seed)
	for i := range uint64(*oracleCount) {
		a := newAggregation(seed + i)
		t.Run(fmt.Sprint(a.seed), func(t *testing.T) {
			t.Parallel()
			db := a.truth(t)
			got := a.run(t)
			compareOracle(t, a, got, directRows(t, db, a.reference(duckDialect)))
		})
	}
}

// truth is a database with the table.
func (a *aggregation) truth(t *testing.T) *sql.DB {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxOpenConns(1)
	for _, statement := range append([]string{"SET TimeZone='UTC'", "SET threads=1"}, a.table.create()...) {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%v in %.500s", err, statement)
		}
	}
	return db
}

// run does the aggregation, mostly in tasks that are cut as finely as the files allow, and returns the rows of the result.
func (a *aggregation) run(t *testing.T) [][]string {
	t.Helper()
	l := newLake(t)
	if a.seed%4 > 0 {
		l.kind = aggregate.NewCutting(64)
	}
	if a.format == "parquet" {
		a.writeParquet(t, l)
	} else {
		for _, f := range a.files {
			l.put(f.key("in"), string(f.content))
		}
	}
	out, err := l.run(a.json(), a.tasks)
	if err != nil {
		t.Fatalf("%v\n%s\ntable %v", err, a.json(), a.table.create()[:1])
	}
	return a.result(t, l, out)
}

func (a *aggregation) writeParquet(t *testing.T, l *lake) {
	t.Helper()
	db := a.truth(t)
	list := []string{}
	for i, c := range a.table.columns {
		if i != a.table.partition {
			list = append(list, c.name)
		}
	}
	for _, f := range a.files {
		path := filepath.Join(l.root, f.key("in"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		statements := []string{"CREATE OR REPLACE TABLE part AS SELECT * FROM truth LIMIT 0"}
		if len(f.rows) > 0 {
			statements = append(statements, "INSERT INTO part VALUES "+a.table.literals(f.rows))
		}
		statements = append(statements, fmt.Sprintf("COPY (SELECT %s FROM part) TO '%s' (FORMAT parquet, ROW_GROUP_SIZE 2048)", strings.Join(list, ", "), strings.ReplaceAll(path, "'", "''")))
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%v in %.300s", err, statement)
			}
		}
	}
}

// result reads the files of the result.
func (a *aggregation) result(t *testing.T, l *lake, out *proto.Output) [][]string {
	t.Helper()
	var all [][]string
	for _, line := range l.rows(out) {
		all = append(all, strings.Split(line, "|"))
	}
	return all
}

// directRows asks the database; a missing value is ∅, as in [ask].
func directRows(t *testing.T, db *sql.DB, query string) [][]string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "SELECT COLUMNS(*)::VARCHAR FROM ("+query+")")
	if err != nil {
		t.Fatalf("%v in %s", err, query)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			if row[i] = "∅"; v.Valid {
				row[i] = v.String
			}
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// compareOracle pairs rows by their keys. Reference rows have one more column behind each that is compared with bounds.
func compareOracle(t *testing.T, a *aggregation, got, want [][]string) {
	t.Helper()
	explain := func() string { return a.json() + "\n" + a.reference(duckDialect) }
	byKey := func(x, y []string) int { return slices.Compare(x, y) }
	for _, rows := range [][][]string{got, want} {
		for _, row := range rows {
			for i := range row {
				row[i] = plainText(row[i])
			}
		}
		slices.SortFunc(rows, byKey)
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d\ngot %v\nwant %v\n%s", len(got), len(want), got[:min(5, len(got))], want[:min(5, len(want))], explain())
	}
	for i, row := range got {
		if diff := a.differs(row, want[i]); diff != "" {
			t.Fatalf("row %v, want %v: %s\n%s", row, want[i], diff, explain())
		}
	}
}

// plainText writes values alike that engines spell differently.
func plainText(text string) string {
	switch text {
	case "-0.0":
		return "0.0" // the engines group them as one value, and show either
	case "-nan", "NaN":
		return "nan"
	}
	return text
}

func (a *aggregation) differs(got, want []string) string {
	if len(got) != len(a.columns) {
		return fmt.Sprintf("%d columns, want %d", len(got), len(a.columns))
	}
	k := 0
	for i, column := range a.columns {
		ok := got[i] == want[k]
		switch column.compare {
		case close9:
			ok = ok || near(got[i], want[k], 1e-9)
		case nearly:
			ok = ok || near(got[i], want[k], 0.05)
		case within:
			ok = ok || between(got[i], want[k], want[k+1])
			k++
		}
		if !ok {
			return fmt.Sprintf("column %s", column.name)
		}
		k++
	}
	return ""
}

func near(got, want string, relative float64) bool {
	x, errX := strconv.ParseFloat(got, 64)
	y, errY := strconv.ParseFloat(want, 64)
	if errX != nil || errY != nil {
		return false
	}
	return x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= relative*max(math.Abs(x), math.Abs(y))
}

func between(got, low, high string) bool {
	x, err := strconv.ParseFloat(got, 64)
	y, errY := strconv.ParseFloat(low, 64)
	z, errZ := strconv.ParseFloat(high, 64)
	return err == nil && errY == nil && errZ == nil && y <= x && x <= z
}
