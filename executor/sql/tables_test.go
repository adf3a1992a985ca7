package sql_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Tables of all formats, and what DuckDB reads of the same files.
func sampleTables(l *lake) (tables, views []string) {
	l.write("csv/a.csv", "SELECT range AS id, 'name ' || range AS name, CASE WHEN range % 7 > 0 THEN range / 4 END AS price, DATE '2024-01-01' + (range % 90)::INTEGER AS day FROM range(400)", "FORMAT csv, HEADER")
	l.write("csv/b.csv.gz", "SELECT range AS id, 'name ' || range AS name, range / 4 AS price, DATE '2024-01-01' + (range % 90)::INTEGER AS day FROM range(400, 500)", "FORMAT csv, HEADER, COMPRESSION gzip")
	l.write("json/a.jsonl", "SELECT range AS id, {'city': 'c' || range % 5, 'tags': [range, range + 1]} AS place, range % 3 = 0 AS open FROM range(100, 300)", "FORMAT json")
	for month := range 12 {
		l.write(fmt.Sprintf("trips/year=2024/month=%d/x.parquet", month+1),
			fmt.Sprintf("SELECT range AS trip, range %% 500 AS id, (range * 37 %% 1000) / 8 AS distance, TIMESTAMP '2024-01-01' + INTERVAL (range) MINUTE AS moment, 'c' || range %% 5 AS city FROM range(%d, %d)", month*5000, (month+1)*5000),
			"FORMAT parquet, ROW_GROUP_SIZE 2048")
	}
	tables = []string{files("items", "csv", "csv", ""), files("places", "json", "jsonl", ""), files("trips", "trips", "parquet", `, "hive_partitions": true`)}
	views = []string{
		"CREATE VIEW items AS FROM read_csv('" + l.root + "/csv/*.csv*', header=true, union_by_name=true)",
		"CREATE VIEW places AS FROM read_json('" + l.root + "/json/*.jsonl', format='newline_delimited')",
		"CREATE VIEW trips AS FROM read_parquet('" + l.root + "/trips/*/*/*.parquet', hive_partitioning=true)",
	}
	return tables, views
}

// Statements give what DuckDB gives over the same files, row for row.
func TestStatements(t *testing.T) {
	l := newLake(t)
	tables, views := sampleTables(l)
	for i, statement := range []string{
		"SELECT count(*) AS n FROM items",
		"SELECT * FROM items ORDER BY id DESC LIMIT 20",
		"FROM places ORDER BY id LIMIT 3",
		"SELECT place.city AS city, count(*) AS n, sum(len(place.tags)) AS tags FROM places WHERE open GROUP BY ALL ORDER BY 1",
		"SELECT place.* FROM places ORDER BY id LIMIT 3",
		"SELECT 1 AS one, 'x' AS two -- a comment",
		"VALUES (1, 'a'), (2, 'b')",
		"SELECT month, count(*) AS n, round(sum(distance), 6) AS distance FROM trips WHERE month BETWEEN 3 AND 5 GROUP BY month ORDER BY month",
		"SELECT count(*) AS n FROM trips WHERE trip >= 41000 AND trip < 41500",
		"SELECT i.name, count(*) AS trips, max(t.moment) AS last FROM trips t JOIN items i USING (id) WHERE t.month = 2 AND i.price > 50 GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10",
		"SELECT i.id, p.place.city AS city FROM items i LEFT JOIN places p ON p.id = i.id WHERE i.id < 120 AND p.open IS NULL ORDER BY 1",
		"SELECT id FROM items WHERE NOT EXISTS (SELECT 1 FROM trips WHERE trips.id = items.id AND trips.month = 13) ORDER BY 1 LIMIT 4",
		"SELECT id, (SELECT max(trip) FROM trips t WHERE t.id = i.id AND t.month = 4) AS last FROM items i WHERE id % 50 = 0 ORDER BY 1",
		// price is a column of the query around it
		"SELECT id, (SELECT count(*) FROM trips WHERE month = 4 AND price IS NOT NULL) AS n FROM items ORDER BY id LIMIT 10",
		"WITH t AS (SELECT city, avg(distance) AS mean FROM trips GROUP BY city) SELECT a.city, round(a.mean - b.mean, 9) AS d FROM t a, t b WHERE a.city < b.city ORDER BY ALL",
		"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n, name FROM r JOIN items ON id = n ORDER BY n",
		"SELECT id FROM items WHERE id < 5 UNION ALL SELECT trip FROM trips WHERE trip > 59995 ORDER BY 1",
		"SELECT id FROM items INTERSECT SELECT id FROM places ORDER BY 1 LIMIT 5",
		"SELECT city, moment, distance FROM trips QUALIFY row_number() OVER (PARTITION BY city ORDER BY distance DESC, moment) <= 2 ORDER BY ALL",
		"SELECT * EXCLUDE (moment, year, month) REPLACE (upper(city) AS city) FROM trips WHERE trip = 7",
		"SELECT COLUMNS('i.*') FROM items ORDER BY id LIMIT 1",
		"SELECT p FROM (SELECT p FROM places p WHERE id = 103)",
		"SELECT sum(c) AS d FROM trips AS x(a, b, c, d, e, f, g)",
		"SELECT range AS n FROM range(5) ORDER BY n DESC",
		"SELECT unnest(place.tags) AS tag FROM places ORDER BY 1 LIMIT 5",
		"SELECT city, month, count(*) AS n FROM trips GROUP BY ROLLUP (city, month) ORDER BY ALL LIMIT 12",
		"SELECT * FROM (PIVOT (SELECT city, year, trip FROM trips) ON city IN ('c0', 'c1') USING count(trip)) ORDER BY ALL",
		"SELECT list(name ORDER BY id) AS names FROM items WHERE id < 4",
		"SELECT a.trip FROM trips a ASOF JOIN trips b ON a.trip >= b.trip AND a.city = b.city WHERE a.month = 1 ORDER BY 1 LIMIT 3",
		"SELECT year, approx_count_distinct(id) > 400 AS many FROM trips GROUP BY year",
	} {
		if got, want := l.must(fmt.Sprintf("out%d", i), statement, "", tables...), ask(t, views, statement); !cmp.Equal(got, want) {
			t.Errorf("%s (-want +got):\n%s", statement, cmp.Diff(want, got))
		}
	}
}
