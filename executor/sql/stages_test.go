package sql_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// committed is what a task of stage query, or of stage clean, says that was published; nil: nothing.
func committed(t *testing.T, raw []byte, err error) *proto.Output {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out proto.SQLOutput // the field has the same number in both
	if err := proto.Decode(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out.Committed
}

// attempt is the data of another attempt of a task.
func attempt(d *proto.TaskData, number uint32) *proto.TaskData {
	again := *d
	again.Attempt = number
	return &again
}

const ten = "SELECT range AS n FROM range(10)"

// An attempt whose answer was lost has published; the next one finds that, also when its tables are gone.
func TestRepeatAfterTheCommit(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "a\nx\ny\nx\n")
	spec, data := l.spec("out", "SELECT a, count(*) AS n FROM t GROUP BY a", "", files("t", "in", "csv", ""))
	query := l.task(spec, data, 1, "query")
	raw, err := l.do(spec, query)
	first := committed(t, raw, err)
	if err := os.RemoveAll(filepath.Join(l.root, "in")); err != nil {
		t.Fatal(err)
	}
	raw, err = l.do(spec, attempt(query, 2))
	if diff := cmp.Diff(first, committed(t, raw, err)); diff != "" {
		t.Errorf("the second attempt has another result (-first +second):\n%s", diff)
	}
	raw, err = l.do(spec, l.task(spec, data, 1, "clean"))
	if diff := cmp.Diff(first, committed(t, raw, err)); diff != "" {
		t.Errorf("cleaning finds another result (-first +found):\n%s", diff)
	}
}

// Two attempts at one time publish one result, and the loser's files go.
func TestTwoAttemptsAtOneTime(t *testing.T) {
	l := newLake(t)
	spec, data := l.spec("out", ten, "", files("t", "in", "csv", ""))
	query := l.task(spec, data, 1, "query")
	other := *l
	var raws [2][]byte
	var errs [2]error
	var both sync.WaitGroup
	both.Go(func() { raws[0], errs[0] = l.do(spec, query) })
	both.Go(func() { raws[1], errs[1] = other.do(spec, attempt(query, 2)) })
	both.Wait()
	first, second := committed(t, raws[0], errs[0]), committed(t, raws[1], errs[1])
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two results (-first +second):\n%s", diff)
	}
	if rows := l.rows(first); len(rows) != 10 {
		t.Errorf("got %d rows", len(rows))
	}
}

// Once a run was cancelled, a late attempt cannot publish.
func TestCleanFencesLateAttempts(t *testing.T) {
	l := newLake(t)
	spec, data := l.spec("out", ten, "", files("t", "in", "csv", ""))
	clean := l.task(spec, data, 1, "clean")
	clean.Input = proto.Encode(&proto.CleanInput{Settle: true})
	raw, err := l.do(spec, clean)
	if out := committed(t, raw, err); out != nil {
		t.Fatalf("a result is there before anybody has made one: %v", out)
	}
	_, err = l.do(spec, l.task(spec, data, 1, "query"))
	if f := task.Classify(err); err == nil || f.Class != proto.CLASS_FINAL || f.Kind != "conflict" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(l.root, "out/_latest.json")); err == nil {
		t.Error("the cancelled run is the latest result")
	}
}

// What an attempt left that was killed before its commit goes with a later run, and no reader ever sees it.
func TestKilledBeforeTheCommit(t *testing.T) {
	l := newLake(t)
	spec, data := l.spec("out", ten, "", files("t", "in", "csv", ""))
	l.put("out/data/run-1/query.0.1/part-00000.parquet", "half of a file")
	raw, err := l.do(spec, attempt(l.task(spec, data, 1, "query"), 2))
	out := committed(t, raw, err)
	for _, e := range l.manifest(out).Entries {
		if !strings.Contains(e.URL, "/run-1/query.0.2/") {
			t.Errorf("the result names %s", e.URL)
		}
	}
	if rows := l.rows(out); len(rows) != 10 {
		t.Errorf("got %d rows", len(rows))
	}
}

// A statement that would run for hours ends within seconds when its task is to end, and leaves nothing visible.
func TestCancel(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "a\n"+strings.Repeat("1\n", 1000))
	spec, data := l.spec("out", "SELECT count(*) AS n FROM t a, t b, t c, t d, t e WHERE a.a + b.a + c.a + d.a + e.a = 7", "", files("t", "in", "csv", ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.ctx = ctx
	var asked time.Time
	l.during = func(string) {
		if asked.IsZero() && len(l.report) > 0 && l.report[len(l.report)-1].Phase == "computing" {
			asked = time.Now()
			cancel()
		}
	}
	_, err := l.do(spec, l.task(spec, data, 1, "query"))
	if f := task.Classify(err); err == nil || f.Kind != "killed" || f.Class != proto.CLASS_OURS {
		t.Errorf("got %v", err)
	}
	if took := time.Since(asked); took > 5*time.Second { // one, and slack for a busy machine
		t.Errorf("it took %s to end", took)
	}
	if _, err := os.Stat(filepath.Join(l.root, "out/_latest.json")); err == nil {
		t.Error("there is a result")
	}
}

// A statement that needs more than the task has fails by itself, and says of what.
func TestBounds(t *testing.T) {
	l := newLake(t)
	l.memory, l.disk = 64<<20, 32<<20
	for statement, want := range map[string]string{
		"SELECT * FROM range(100000000) a(x) ORDER BY hash(x), x":          "disk",
		"SELECT list(x) AS l FROM range(100000000) a(x)":                   "memory",
		"SELECT string_agg(x::VARCHAR, '') AS s FROM range(90000000) a(x)": "memory",
	} {
		f := l.fail("out", statement, "", files("t", "in", "csv", ""))
		if !strings.Contains(f.Message, want) || f.Class == proto.CLASS_OURS {
			t.Errorf("%s: got %v %v, want a word about %s", statement, f.Class, f, want)
		}
	}
}

// Tables that are too large for the task's disk fail it with a number to ask for.
func TestTablesLargerThanTheDisk(t *testing.T) {
	l := newLake(t)
	l.disk = 4 << 20
	l.write("p/a.parquet", "SELECT range AS n, hash(range) AS h, hash(range + 1) AS i FROM range(2000000)", "FORMAT parquet")
	l.write("c/a.csv", "SELECT range AS n, hash(range) AS h, hash(range + 1) AS i FROM range(400000)", "FORMAT csv, HEADER")
	for _, table := range []string{files("t", "p", "parquet", ""), files("t", "c", "csv", "")} {
		f := l.fail("out", "SELECT sum(h) AS h, sum(i) AS i, sum(n) AS n FROM t", "", table)
		if f.Pointer != "/resources/disk" || !strings.Contains(f.Message, "takes about ") || f.Class != proto.CLASS_FINAL {
			t.Errorf("%s: got %v", table, f)
		}
	}
	// What the statement does not name takes no room.
	if rows := l.must("out", "SELECT count(*) AS n FROM t", "", files("t", "p", "parquet", "")); !cmp.Equal(rows, []string{"2000000"}) {
		t.Errorf("got %v", rows)
	}
}

// Tables of other jobs are what their newest manifest names, whatever the mode, format and folders of their output.
func TestResultsOfOtherJobs(t *testing.T) {
	l := newLake(t)
	first := "SELECT range AS id, 'c' || range % 3 AS city, CASE WHEN range % 4 > 0 THEN range / 8 END AS x, [range] AS l, DATE '2024-01-01' + range::INTEGER AS day FROM range(100)"
	second := strings.Replace(first, "range(100)", "range(100, 130)", 1)
	none := files("t", "in", "csv", "")
	for _, format := range []string{"parquet", "csv", "jsonl"} {
		for _, more := range []string{"", `"partition_by": ["city"]`} {
			for _, mode := range []string{"replace", "append", "replace_partitions"} {
				if mode == "replace_partitions" && more == "" {
					continue
				}
				name := fmt.Sprintf("%s-%s-%d", format, strings.ReplaceAll(mode, "_", "-"), len(more))
				output := fmt.Sprintf(`"format": %q, "mode": %q`, format, mode)
				if more != "" {
					output += ", " + more
				}
				want := second
				l.must(name, first, output, none)
				for range 2 {
					if _, err := l.run(name, second, output, none); err != nil {
						t.Fatal(err)
					}
				}
				if mode == "append" {
					want = first + " UNION ALL " + second + " UNION ALL " + second
				}
				read := "SELECT id, city, x, l[1] AS e, day FROM %s ORDER BY ALL"
				got := l.must("out", fmt.Sprintf(read, "prev"), "", published("prev", name))
				if diff := cmp.Diff(ask(t, nil, fmt.Sprintf(read, "("+want+")")), got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
				types := l.must("out", "SELECT typeof(id) AS id, typeof(city) AS city, typeof(x) AS x, typeof(l) AS l, typeof(day) AS day FROM prev LIMIT 1", "", published("prev", name))
				if want := []string{"BIGINT|VARCHAR|DOUBLE|BIGINT[]|DATE"}; !cmp.Equal(types, want) {
					t.Errorf("%s: the types are %v, want %v", name, types, want)
				}
			}
		}
	}
}

// A result without rows is a table without rows, whose columns can be named.
func TestEmptyResultOfAnotherJob(t *testing.T) {
	l := newLake(t)
	for _, output := range []string{"", `"partition_by": ["city"]`, `"format": "csv"`, `"format": "jsonl", "partition_by": ["city"]`} {
		l.must("empty", "SELECT range AS id, 'x' AS city, [1] AS l FROM range(0)", output, files("t", "in", "csv", ""))
		got := l.must("out", "SELECT count(*) AS n, max(id) AS id, max(city) AS city, max(l) AS l FROM prev", "", published("prev", "empty"))
		if !cmp.Equal(got, []string{"0|∅|∅|∅"}) {
			t.Errorf("%s: got %v", output, got)
		}
	}
}

// A given run is read, also when newer ones have ended; one that is gone, or never was, is said.
func TestGivenRun(t *testing.T) {
	l := newLake(t)
	none := files("t", "in", "csv", "")
	f := l.fail("out", "FROM prev", "", published("prev", "job"))
	if f.Kind != "not_found" || f.Class != proto.CLASS_FINAL || f.Pointer != "/sql/tables/0/job" || !strings.Contains(f.Message, `"job" has not published a result yet`) {
		t.Errorf("without a result: got %v %v", f.Kind, f)
	}
	first := l.runs + 1
	for n := range 5 {
		l.must("job", fmt.Sprintf("SELECT %d AS n", n), "", none)
	}
	for n, want := range map[int]string{3: "3", 2: "2"} {
		l.sources["job"] = fmt.Sprintf("run-%d", first+n)
		if got := l.must("out", "FROM prev", "", published("prev", "job")); !cmp.Equal(got, []string{want}) {
			t.Errorf("run %d: got %v", n, got)
		}
	}
	l.sources["job"] = fmt.Sprintf("run-%d", first)
	f = l.fail("out", "FROM prev", "", published("prev", "job"))
	if f.Kind != "not_found" || f.Class != proto.CLASS_FINAL || !strings.Contains(f.Message, "has no result, or not any more") {
		t.Errorf("a run whose result is gone: got %v %v", f.Kind, f)
	}
}

// Progress goes forward, and says at last what was read and written.
func TestProgress(t *testing.T) {
	l := newLake(t)
	tables, _ := sampleTables(l)
	out, err := l.run("out", "SELECT t.*, i.name FROM trips t JOIN items i USING (id) WHERE month < 3", "", tables...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range l.report[1:] {
		if before := l.report[i]; r.Fraction < before.Fraction || r.Rows < before.Rows || r.Bytes < before.Bytes {
			t.Errorf("progress goes back from %+v to %+v", before, r)
		}
	}
	if last := l.report[len(l.report)-1]; last.Fraction != 1 || last.OutRows != out.Rows || last.OutBytes != out.Bytes || last.Bytes == 0 {
		t.Errorf("the last report is %+v of %v", last, out)
	}
}

// What is wrong with a statement is said with its place when it is checked, without data.
func TestCheck(t *testing.T) {
	l := newLake(t)
	for statement, want := range map[string]string{
		"SELECT 1 AS x":             "",
		"SELECT * FROM t":           "",
		"SELECT * FROM trps":        `unknown table "trps" (tables are t) (character 15)`,
		"SELECT * FROM 'x.parquet'": `unknown table "x.parquet"`,
		"SELECT sum(x FROM t":       "it is not an SQL statement",
		"SELECT now()":              "its value differs",
	} {
		spec, data := l.spec("out", statement, "", files("t", "in", "csv", ""))
		check := l.task(spec, data, 1, jobs.StageCheck)
		var expressions []proto.Expression
		for _, e := range spec.Section.Expressions() {
			expressions = append(expressions, proto.Expression{Pointer: e.Pointer, Text: e.Text})
		}
		check.Input = proto.Encode(&proto.CheckInput{Expressions: expressions})
		raw, err := l.do(spec, check)
		var out proto.CheckOutput
		if err = errors.Join(err, proto.Decode(raw, &out)); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		got, err := json.Marshal(out.Problems)
		switch {
		case err != nil:
			t.Fatal(err)
		case want == "" && len(out.Problems) > 0, want != "" && (len(out.Problems) != 1 || out.Problems[0].Pointer != "/sql/statement" || !strings.Contains(out.Problems[0].Detail, want)):
			t.Errorf("%s: got %s, want %q", statement, got, want)
		}
	}
}
