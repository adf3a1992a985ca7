package expression_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
)

var tables = []string{"flights", "planes", "order"}

func judge(ctx context.Context, s *engine.Session, catalog *expression.Catalog, text string) (*expression.Statement, error) {
	st, err := expression.ParseStatement(ctx, s, text, tables)
	if err != nil {
		return nil, err
	}
	return st, catalog.UnknownIn(st)
}

// What is refused, and a part of what is said about it.
var hostile = map[string]string{
	"":                                                           "want one SELECT statement, got 0",
	"SELECT":                                                     "it is not an SQL statement: SELECT clause without selection list",
	"SELECT a FROM":                                              "something is missing at its end",
	"SELECT 1;":                                                  "without a semicolon",
	"SELECT 1; SELECT 2":                                         "want one SELECT statement, got 2",
	"SELECT 1; DROP TABLE flights":                               "want one SELECT statement",
	"SELECT 1) UNION (SELECT 2":                                  "it is not an SQL statement",
	"SELECT 1) AS x, (SELECT 2":                                  "it is not an SQL statement",
	"SELECT FROM flights":                                        "",
	"SELECT * FRM flights":                                       "it is not an SQL statement",
	"INSERT INTO flights VALUES (1)":                             "want one SELECT",
	"UPDATE flights SET a = 1":                                   "want one SELECT",
	"DELETE FROM flights":                                        "want one SELECT",
	"CREATE TABLE x AS SELECT 1":                                 "want one SELECT",
	"CREATE MACRO m() AS 1":                                      "want one SELECT",
	"DROP TABLE flights":                                         "want one SELECT",
	"ALTER TABLE flights ADD COLUMN x INT":                       "want one SELECT",
	"COPY flights TO '/tmp/x'":                                   "want one SELECT",
	"COPY (SELECT 1) TO '/tmp/x'":                                "want one SELECT",
	"ATTACH '/tmp/x.db'":                                         "want one SELECT",
	"DETACH temp":                                                "want one SELECT",
	"USE main":                                                   "want one SELECT",
	"SET threads=1":                                              "want one SELECT",
	"RESET threads":                                              "want one SELECT",
	"PRAGMA version":                                             "want one SELECT",
	"CALL pragma_version()":                                      "want one SELECT",
	"LOAD httpfs":                                                "want one SELECT",
	"INSTALL httpfs":                                             "want one SELECT",
	"EXPLAIN SELECT 1":                                           "want one SELECT",
	"EXPORT DATABASE '/tmp/x'":                                   "want one SELECT",
	"CHECKPOINT":                                                 "want one SELECT",
	"BEGIN":                                                      "want one SELECT",
	"PREPARE p AS SELECT 1":                                      "want one SELECT",
	"EXECUTE p":                                                  "want one SELECT",
	"VACUUM":                                                     "want one SELECT",
	"PIVOT flights ON a USING sum(b)":                            "want one SELECT",
	"DESCRIBE flights":                                           "not allowed",
	"SHOW TABLES":                                                "not allowed",
	"SUMMARIZE flights":                                          "not allowed",
	"SELECT * FROM (DESCRIBE flights)":                           "not allowed",
	"SELECT * FROM (SHOW ALL TABLES)":                            "not allowed",
	"FROM 'x.parquet'":                                           `unknown table "x.parquet"`,
	`SELECT * FROM "/etc/passwd"`:                                `unknown table "/etc/passwd"`,
	"SELECT * FROM 's3://bucket/x.csv'":                          "unknown table",
	"SELECT * FROM flihgts":                                      `unknown table "flihgts"; did you mean "flights"? (character 15)`,
	"SELECT * FROM other":                                        `unknown table "other" (tables are flights, planes, order) (character 15)`,
	"SELECT 'é', * FROM other":                                   "(character 20)",
	"SELECT * FROM main.flights":                                 `table "flights" must be named without "main" in front`,
	"SELECT * FROM temp.main.flights":                            "must be named without",
	"SELECT * FROM information_schema.tables":                    "must be named without",
	"SELECT * FROM pg_catalog.pg_class":                          "must be named without",
	"SELECT * FROM duckdb_settings":                              "unknown table",
	"SELECT * FROM sqlite_master":                                "unknown table",
	"SELECT * FROM duckdb_settings()":                            `table function "duckdb_settings" is not allowed`,
	"SELECT * FROM duckdb_secrets()":                             "is not allowed",
	"SELECT * FROM read_csv('/etc/passwd')":                      `table function "read_csv" is not allowed`,
	"SELECT * FROM read_parquet('x')":                            "is not allowed",
	"SELECT * FROM read_text('/etc/passwd')":                     "is not allowed",
	"SELECT * FROM read_blob('/proc/self/environ')":              "is not allowed",
	"SELECT * FROM read_json_auto('x')":                          "is not allowed",
	"SELECT * FROM parquet_scan('x')":                            "is not allowed",
	"SELECT * FROM glob('/*')":                                   "is not allowed",
	"SELECT * FROM sniff_csv('x')":                               "is not allowed",
	"SELECT * FROM query('SELECT 1')":                            "is not allowed",
	"SELECT * FROM query_table('x')":                             "is not allowed",
	"SELECT * FROM json_execute_serialized_sql('{}')":            "is not allowed",
	"SELECT * FROM pragma_database_list()":                       "is not allowed",
	"SELECT * FROM repeat_row(1, num_rows=3)":                    "is not allowed",
	"SELECT * FROM test_all_types()":                             "is not allowed",
	"SELECT * FROM flights, glob('/*')":                          "is not allowed",
	"SELECT * FROM flights WHERE x IN (FROM glob('/*'))":         "is not allowed",
	"WITH a AS (FROM read_text('/etc/passwd')) FROM a":           "is not allowed",
	"SELECT getenv('HOME')":                                      `function "getenv" is not allowed`,
	"SELECT current_setting('threads')":                          "is not allowed",
	"SELECT getvariable('x')":                                    "is not allowed",
	"SELECT version()":                                           "is not allowed",
	"SELECT now()":                                               "its value differs",
	"SELECT today()":                                             "its value differs",
	"SELECT random() FROM flights":                               "its value differs",
	"SELECT a FROM flights ORDER BY random()":                    "its value differs",
	"SELECT sum(random()) OVER () FROM flights":                  "its value differs",
	"SELECT uuid()":                                              "its value differs",
	"SELECT reservoir_quantile(a, 0.5) FROM flights":             "its value differs",
	"SELECT age(TIMESTAMP '2020-01-01')":                         "its value differs",
	"SELECT nextval('s')":                                        "is not allowed",
	"SELECT error('x')":                                          "is not allowed",
	"SELECT write_log('x')":                                      "is not allowed",
	"SELECT pg_catalog.version()":                                "must be called without",
	"SELECT pg_backend_pid()":                                    "is not allowed",
	"SELECT tidemill_secret(1)":                                  "is not allowed",
	"SELECT json_serialize_sql('SELECT 1')":                      "is not allowed",
	"SELECT $1":                                                  "a parameter",
	"SELECT ? FROM flights":                                      "a parameter",
	"SELECT #1 FROM flights":                                     "positional reference",
	"SELECT * FROM flights TABLESAMPLE 10%":                      "SAMPLE is not allowed",
	"SELECT * FROM flights USING SAMPLE 5":                       "SAMPLE is not allowed",
	"SELECT * FROM flights AT (VERSION => 3)":                    "AT is not allowed",
	"SELECT lenght(a) FROM flights":                              `unknown function "lenght"; did you mean "length"?`,
	"WITH x AS (SELECT 1) SELECT * FROM (SELECT * FROM y)":       `unknown table "y"`,
	"SELECT * FROM (WITH x AS (SELECT 1) FROM x) JOIN x ON true": `unknown table "x"`,
	"WITH a AS (FROM b), b AS (SELECT 1) FROM a":                 `unknown table "b"`,
	"SELECT (SELECT (SELECT max(x) FROM 'secret.csv'))":          "unknown table",
	"SELECT * FROM (PIVOT 'x.csv' ON a IN (1) USING sum(b))":     "unknown table",
	"SELECT * FROM flights UNION ALL FROM 'x.json'":              "unknown table",
	`WITH "x.csv" AS (FROM "x.csv") FROM "x.csv"`:                `unknown table "x.csv"`,
	`WITH "x.csv" AS MATERIALIZED (FROM "x.csv") FROM "x.csv"`:   `unknown table "x.csv"`,
	`WITH RECURSIVE "x.csv" AS (FROM "x.csv" UNION ALL FROM "x.csv") FROM "x.csv"`: `unknown table "x.csv"`,
	`WITH RECURSIVE r AS (SELECT 1 UNION ALL FROM recurring.r) FROM r`:             "must be named without",
	`SELECT * FROM flights, LATERAL (FROM 'x.csv')`:                                "unknown table",
	`SELECT * FROM flights SEMI JOIN 'x.csv' ON true`:                              "unknown table",
	`SELECT CASE WHEN true THEN (SELECT 1 FROM 'x.csv') END`:                       "unknown table",
	`SELECT [x FOR x IN (SELECT list(y) FROM 'x.csv')]`:                            "unknown table",
	`SELECT * FROM flights ORDER BY (SELECT 1 FROM 'x.csv')`:                       "unknown table",
	`SELECT * FROM flights LIMIT (SELECT 1 FROM 'x.csv')`:                          "unknown table",
	`SELECT a FROM flights GROUP BY a HAVING EXISTS (FROM 'x.csv')`:                "unknown table",
	`SELECT sum(a) FILTER (EXISTS (FROM 'x.csv')) OVER () FROM flights`:            "unknown table",
	`SELECT COLUMNS(c -> getenv(c) = 'x') FROM flights`:                            "is not allowed",
	`SELECT * REPLACE (getenv('HOME') AS a) FROM flights`:                          "is not allowed",
	`SELECT a.getenv() FROM flights`:                                               "must be called without",
	`SELECT list_transform(['HOME'], lambda x: getenv(x))`:                         "is not allowed",
	"SELECT 1\x00":        "not valid text",
	"SELECT '\xff'":       "not valid text",
	"SELECT 1 -- x\n; --": "",
	strings.Repeat("SELECT (", 600) + "1" + strings.Repeat(")", 600): "",
}

func TestHostileStatements(t *testing.T) {
	if len(hostile) < 60 {
		t.Fatalf("%d statements", len(hostile))
	}
	s := open(t)
	catalog, err := expression.ReadCatalog(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range hostile {
		_, err := judge(t.Context(), s, catalog, text)
		var problem *expression.Problem
		if !errors.As(err, &problem) || !strings.Contains(problem.Detail, want) {
			t.Errorf("%.80q: got %v, want %q", text, err, want)
		}
	}
}

// What a statement needs of its tables: "flights*" is all columns, and behind a colon stands the condition.
func TestStatements(t *testing.T) {
	s := open(t)
	catalog, err := expression.ReadCatalog(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"SELECT 1":                           "",
		"VALUES (1), (2)":                    "",
		"SELECT * FROM (VALUES (1)) AS v(x)": "",
		"SELECT count(*) FROM flights":       "flights",
		"SELECT * FROM flights":              "flights*",
		"FROM flights":                       "flights*",
		"TABLE flights":                      "flights*",
		`SELECT a FROM "order" -- a comment`: "order",
		"SELECT a FROM FLIGHTS":              "flights",
		"SELECT f.* FROM flights f JOIN planes p USING (tailnum)":                                         "flights* planes",
		"SELECT f FROM flights f, planes":                                                                 "flights* planes",
		"SELECT to_json(planes) FROM flights, planes":                                                     "flights planes*",
		"SELECT a FROM flights NATURAL JOIN planes":                                                       "flights* planes*",
		"SELECT COLUMNS('a.*') FROM flights":                                                              "flights*",
		"SELECT point.* FROM flights":                                                                     "flights",
		"SELECT x FROM flights AS f(x)":                                                                   "flights*",
		"SELECT * FROM (SELECT a, b FROM flights)":                                                        "flights",
		"SELECT * FROM (PIVOT flights ON a IN (1, 2) USING sum(b))":                                       "flights*",
		"WITH flights AS (SELECT a FROM flights) SELECT * FROM flights":                                   "flights",
		"WITH a AS (SELECT b FROM planes), c AS (FROM a) SELECT * FROM c":                                 "planes",
		"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r":     "",
		"SELECT i, unnest([1, 2]) FROM range(3) t(i), generate_series(1, 2), unnest([3])":                 "",
		"SELECT (SELECT flights.* FROM planes LIMIT 1) FROM flights":                                      "flights* planes",
		"SELECT a, row_number() OVER (ORDER BY b) FROM flights QUALIFY 1 = 1":                             "flights",
		"SELECT list(a ORDER BY b) FILTER (WHERE b > 1), quantile_cont(a, 0.5) FROM flights GROUP BY ALL": "flights",
		"SELECT a FROM flights UNION ALL BY NAME SELECT b FROM planes ORDER BY 1 LIMIT 3":                 "flights planes",
		"SELECT a FROM flights WHERE month <= 6 AND day IN (1, 2)":                                        "flights:((\"month\" <= 6)) AND ((\"day\" IN (1, 2)))",
		"SELECT a FROM flights WHERE flights.a > 1 AND b < (SELECT 1)":                                    "flights:((a > 1))",
		"SELECT f.a FROM flights f JOIN planes p ON f.x = p.x WHERE f.a = 'x' AND p.b = 2 AND c = 3":      "flights:((a = 'x')) planes:((b = 2))",
		"SELECT f.a FROM flights f LEFT JOIN planes p ON true WHERE f.a = 1 AND p.b IS NULL":              "flights:((a = 1)) planes",
		"SELECT f.a FROM flights f FULL JOIN planes p ON true WHERE f.a = 1":                              "flights planes",
		"SELECT f.a FROM flights f ASOF JOIN planes p ON f.x >= p.x WHERE p.b = 1 AND f.a = 1":            "flights planes",
		"SELECT f.a FROM flights f POSITIONAL JOIN planes p WHERE p.b = 1":                                "flights planes",
		"SELECT a FROM flights WHERE a > 1 UNION SELECT a FROM flights WHERE a < 1":                       "flights",
		"SELECT b AS a FROM flights WHERE a > 1":                                                          "flights",
		"SELECT a FROM flights WHERE a > 1 OR b > 2":                                                      "flights:(((a > 1) OR (b > 2)))",
		"SELECT a FROM flights WHERE planes.a > 1":                                                        "flights",
		"WITH w AS (SELECT a FROM flights WHERE a > 1) SELECT * FROM w, w AS x":                           "flights:((a > 1))",
	} {
		st, err := judge(t.Context(), s, catalog, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if strings.Contains(text, "point") && !slices.Contains(st.Columns, "point") {
			t.Errorf("%s: columns %q", text, st.Columns)
		}
		var got []string
		for _, table := range st.Tables {
			one := table.Name
			if table.All {
				one += "*"
			}
			if table.Where != nil {
				one += ":" + table.Where.Text
			}
			got = append(got, one)
		}
		slices.Sort(got)
		if joined := strings.Join(got, " "); joined != want {
			t.Errorf("%s:\n got %s\nwant %s", text, joined, want)
		}
	}
}

// Whatever passes is one relation over declared tables, and does nothing else: the engine itself must bind it without
// files, over tables that are there.
func FuzzParseStatement(f *testing.F) {
	for text := range hostile {
		f.Add(text)
	}
	f.Add("SELECT a, count(*) FROM flights f JOIN planes USING (a) WHERE f.b > 1 GROUP BY ALL ORDER BY 2 DESC LIMIT 3")
	f.Add("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) FROM r")
	s := open(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return
		}
		st, err := expression.ParseStatement(t.Context(), s, text, tables)
		var problem *expression.Problem
		if errors.As(err, &problem) {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := expression.ParseStatement(t.Context(), s, "SELECT * FROM "+st.SQL()+" AS whole", tables)
		if err != nil {
			if errors.As(err, &problem) && strings.Contains(problem.Detail, "nested too deeply") {
				return
			}
			t.Fatalf("%q passes, and around it something is wrong: %v", text, err)
		}
		if len(again.Tables) != len(st.Tables) {
			t.Fatalf("%q reads %v alone and %v inside", text, st.Tables, again.Tables)
		}
		for _, table := range st.Tables {
			if !slices.Contains(tables, table.Name) {
				t.Fatalf("%q reads %q", text, table.Name)
			}
		}
	})
}
