//go:build endtoend

package endtoend

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/result"
)

// TestSQL joins files with what another job has published, and compares with plain Go over the same files. Then it sends
// statements that must be refused, and reads a given run.
func TestSQL(t *testing.T) {
	c := newCluster(t, options{})
	worst := example(t, "worst-days", "worst-days")
	c.expect(http.StatusUnprocessableEntity, http.MethodPost, "/v1/jobs", worst, nil, "/sql/tables/1/job", "flights-by-carrier")
	c.putJob(example(t, "flights-by-carrier", "flights-by-carrier"))
	c.putJob(worst)

	early := c.await(c.startRun("worst-days", "early").ID, time.Minute)
	if early.State != "failed" || early.Error == nil || early.Error.Pointer != "/sql/tables/1/job" || !strings.Contains(early.Error.Message, "has not published a result yet") {
		t.Errorf("before there was a result: %s, %+v", early.State, early.Error)
	}
	c.nothingVisible("s3://results/worst-days/")

	flights := c.await(c.startRun("flights-by-carrier", "a").ID, time.Minute)
	if flights.State != "succeeded" {
		t.Fatalf("flights: %s: %+v", flights.State, flights.Error)
	}
	run := c.await(c.startRun("worst-days", "b").ID, time.Minute)
	if run.State != "succeeded" || len(run.Stages) != 1 {
		t.Fatalf("%s in %+v: %+v", run.State, run.Stages, run.Error)
	}
	checkWorstDays(t, c.result(run.Output.Manifest), expectFlights(t))
	if latest := c.latest("s3://results/worst-days/"); latest != run.Output.Manifest {
		t.Errorf("_latest.json names %q, the run %q", latest, run.Output.Manifest)
	}

	t.Run("a given run", func(t *testing.T) {
		c := c.in(t)
		count := func(name, more string) string {
			return fmt.Sprintf(`{"name": %q, "kind": "sql", "sql": {"tables": [{"name": "days", "job": "flights-by-carrier"%s}],
				"statement": "SELECT count(*) AS n FROM days", "output": {"uri": "s3://results/%s/", "format": "csv"}}}`, name, more, name)
		}
		spec := replaceOnce(t, example(t, "flights-by-carrier", "flights-by-carrier"), `"group_by"`, `"where": "carrier = 'UA'", "group_by"`)
		c.putJob(spec)
		if next := c.await(c.startRun("flights-by-carrier", "c").ID, time.Minute); next.State != "succeeded" {
			t.Fatalf("flights: %s: %+v", next.State, next.Error)
		}
		c.putJob(count("given", `, "run": "`+flights.ID+`"`))
		c.putJob(count("newest", ""))
		groups := expectFlights(t)
		united := 0
		for key := range groups {
			if strings.HasPrefix(key, "UA ") {
				united++
			}
		}
		for job, want := range map[string]int{"given": len(groups), "newest": united} {
			run := c.await(c.startRun(job, "x").ID, time.Minute)
			if run.State != "succeeded" {
				t.Fatalf("%s: %s: %+v", job, run.State, run.Error)
			}
			if got := c.result(run.Output.Manifest).Rows; len(got) != 1 || got[0][0] != strconv.Itoa(want) {
				t.Errorf("%s: got %v rows, want %d", job, got, want)
			}
		}
		c.expect(http.StatusUnprocessableEntity, http.MethodPost, "/v1/jobs", count("other", `, "run": "worst-days-1"`), nil, "/sql/tables/0")
	})

	for name, test := range map[string]struct{ statement, words string }{
		"another table":  {"SELECT * FROM flihgts", `did you mean "flights"`},
		"a file":         {"SELECT * FROM 's3://flights/2013/*.csv.gz'", "unknown table"},
		"a function":     {"SELECT * FROM read_text('/etc/passwd')", "read_text"},
		"two statements": {"SELECT 1; SELECT 2", "one SELECT"},
		"a change":       {"DROP TABLE flights", "one SELECT"},
		"a clock":        {"SELECT now() AS n", "differs"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			c.expect(http.StatusUnprocessableEntity, http.MethodPost, "/v1/jobs", fmt.Sprintf(`{"name": "refused", "kind": "sql", "sql": {"tables": [{"name": "flights",
				"input": {"uri": "s3://flights/2013/", "format": "csv"}}], "statement": %q, "output": {"uri": "s3://results/refused/"}}}`, test.statement), nil, "/sql/statement", test.words)
		})
	}
	var list wire.List[wire.Job]
	c.must(http.MethodGet, "/v1/jobs", nil, &list)
	for _, job := range list.Items {
		if job.Name == "refused" {
			t.Error("a refused job was stored")
		}
	}
}

// checkWorstDays compares with the three days of each carrier, of those with 20 flights, on which delays were longest.
func checkWorstDays(t *testing.T, got *result.Table, groups map[string]*flightGroup) {
	t.Helper()
	type day struct {
		carrier, day string
		avg          float64
		*flightGroup
	}
	byCarrier := map[string][]day{}
	for key, g := range groups {
		if g.flights < 20 || len(g.delays) == 0 {
			continue
		}
		carrier, date, _ := strings.Cut(key, " ")
		sum := 0.0
		for _, d := range g.delays {
			sum += d
		}
		byCarrier[carrier] = append(byCarrier[carrier], day{carrier, date, sum / float64(len(g.delays)), g})
	}
	want := map[string]day{}
	for _, days := range byCarrier {
		slices.SortFunc(days, func(a, b day) int { return cmp.Or(cmp.Compare(b.avg, a.avg), cmp.Compare(a.day, b.day)) })
		for _, d := range days[:min(3, len(days))] {
			want[d.carrier+" "+d.day] = d
		}
	}
	at := columns(t, got, "carrier", "day", "avg_delay", "longest_delay", "destinations")
	last := math.Inf(1)
	for _, row := range got.Rows {
		key := row[at["carrier"]] + " " + row[at["day"]]
		w, ok := want[key]
		if !ok {
			t.Errorf("%s is not among the worst days, or twice", key)
			continue
		}
		delete(want, key)
		avg, err := strconv.ParseFloat(row[at["avg_delay"]], 64)
		if err != nil || math.Abs(avg-w.avg) > 0.0501 || avg > last {
			t.Errorf("%s has the average %s after %g, want about %g (%v)", key, row[at["avg_delay"]], last, w.avg, err)
		}
		last = avg
		longest := fmt.Sprint(int64(slices.Max(w.delays)))
		if row[at["longest_delay"]] != longest || row[at["destinations"]] != strconv.Itoa(len(w.dests)) {
			t.Errorf("%s has %v, want %s and %d", key, row, longest, len(w.dests))
		}
	}
	if len(want) > 0 || len(got.Rows) < 20 {
		t.Errorf("%d rows, %d are missing", len(got.Rows), len(want))
	}
}
