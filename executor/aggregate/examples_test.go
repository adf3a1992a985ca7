package aggregate_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/executor/aggregate"
)

// The examples with windows and sets give what plain SQL gives over the same files.
func TestExamplesWithWindowsAndSets(t *testing.T) {
	weblog := "read_json('" + weblogData + "', format='newline_delimited', columns={ts: 'TIMESTAMP', client_ip: 'VARCHAR', path: 'VARCHAR', status: 'BIGINT', bytes: 'BIGINT'})"
	flights := "read_csv('" + flightsData + "', nullstr='NA')"
	hours := `SELECT time_bucket(INTERVAL 1 HOUR, ts) AS s, time_bucket(INTERVAL 1 HOUR, ts) + INTERVAL 1 HOUR, %[1]s AS class, %[2]d AS number, count(*), sum(bytes), count(DISTINCT client_ip) FROM ` + weblog + ` GROUP BY s, class`
	delays := `SELECT %s AS carrier, %s AS month, %d AS number, count(*) AS flights, count(*) FILTER (WHERE dep_delay > 15), median(dep_delay), count(DISTINCT tailnum) FROM ` + flights + ` GROUP BY ALL HAVING count(*) >= 100`
	for name, sql := range map[string]string{
		"requests-by-hour": fmt.Sprintf(hours, "status // 100", 0) + " UNION ALL " + fmt.Sprintf(hours, "NULL", 1) + " ORDER BY s, class NULLS LAST",
		"longest-sessions": `SELECT min(ts) AS s, max(ts) + INTERVAL 90 MINUTE AS e, client_ip, count(*) AS n, count(DISTINCT path), min_by(path, (ts, path)) FROM
			(SELECT *, sum(b) OVER (PARTITION BY client_ip ORDER BY ts ROWS UNBOUNDED PRECEDING) AS session FROM
				(SELECT *, CASE WHEN ts - lag(ts) OVER (PARTITION BY client_ip ORDER BY ts) < INTERVAL 90 MINUTE THEN 0 ELSE 1 END AS b FROM ` + weblog + ` WHERE status < 500))
			GROUP BY client_ip, session HAVING n >= 10 AND e - s > INTERVAL 3 HOUR ORDER BY n DESC, s, e, client_ip LIMIT 20`,
		"delays-by-month": fmt.Sprintf(delays, "carrier", "month", 0) + " UNION ALL " + fmt.Sprintf(delays, "carrier", "NULL", 1) + " UNION ALL " + fmt.Sprintf(delays, "NULL", "NULL", 2) +
			" ORDER BY carrier NULLS LAST, number, month NULLS LAST",
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile("../../examples/" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var job struct{ Aggregate json.RawMessage }
			if err := json.Unmarshal(data, &job); err != nil {
				t.Fatal(err)
			}
			text := strings.NewReplacer("s3://flights/2013", "LAKE/in", "s3://weblog", "LAKE/in", "s3://results", "LAKE/out",
				`, "partition_by": ["carrier"]`, "").Replace(string(job.Aggregate)) // the order of folders is another matter
			l := newLake(t)
			if l.copyIn(weblogData, "in"); strings.Contains(text, "dep_delay") {
				l = newLake(t)
				l.copyIn(flightsData, "in")
			}
			l.kind = aggregate.NewCutting(200 << 10)
			out, err := l.run(text, 4)
			if err != nil {
				t.Fatal(err)
			}
			if len(l.stages) < 3 {
				t.Errorf("got stages %v, want several splits", l.stages)
			}
			compareRows(t, l.rows(out), query(t, sql))
		})
	}
}
