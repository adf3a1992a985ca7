//go:build endtoend

package endtoend

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
)

// badSpec is a spec over s3://bad/<name>/ that sums column b by column a.
func badSpec(name string, change ...string) string {
	spec := `{"name": "NAME", "kind": "aggregate", "retries": {"max": 2, "backoff": "100ms"},
		"aggregate": {"input": {"uri": "s3://bad/NAME/", "format": "csv"},
		"group_by": [{"name": "a"}], "measures": {"n": {"count": "*"}, "b": {"sum": "b"}},
		"output": {"uri": "s3://results/NAME/", "format": "csv"}}}`
	for i := 0; i+1 < len(change); i += 2 {
		if !strings.Contains(spec, change[i]) {
			panic(change[i] + " is not in the spec")
		}
		spec = strings.Replace(spec, change[i], change[i+1], 1)
	}
	return strings.ReplaceAll(spec, "NAME", name)
}

// TestRefusedSpecs sends what must be refused at once, each with its own place and words.
func TestRefusedSpecs(t *testing.T) {
	c := newCluster(t, options{agents: 1})
	for _, test := range []struct {
		name    string
		body    string
		status  int
		pointer string
		words   string
	}{
		{"wrong type", badSpec("x", `"n": {"count": "*"}`, `"n": {"count": 5}`), 422, "/aggregate/measures/n/count", "string"},
		{"unknown field", badSpec("x", `"kind"`, `"paralelism": 3, "kind"`), 422, "/paralelism", "parallelism"},
		{"duplicate key", badSpec("x", `"kind"`, `"kind": "aggregate", "kind"`), 422, "/kind", "more than once"},
		{"unknown channel", badSpec("x", `"kind"`, `"executor": {"channel": "stabel"}, "kind"`), 422, "/executor/channel", "stable"},
		{"unknown version", badSpec("x", `"kind"`, `"executor": {"version": "9.9.9"}, "kind"`), 422, "/executor/version", "9.9.9"},
		{"bad expression", badSpec("x", `{"sum": "b"}`, `{"sum": "b +"}`), 422, "/aggregate/measures/b/sum", ""},
		{"subquery", badSpec("x", `{"sum": "b"}`, `{"sum": "(select 1)"}`), 422, "/aggregate/measures/b/sum", "subquer"},
		{"file function", badSpec("x", `"group_by"`, `"where": "read_text('/etc/passwd') is null", "group_by"`), 422, "/aggregate/where", "read_text"},
		{"second statement", badSpec("x", `{"sum": "b"}`, `{"sum": "b); drop table x; --"}`), 422, "/aggregate/measures/b/sum", ""},
		{"bad UTF-8", strings.Replace(badSpec("x"), `"a"`, "\"\xff\"", 1), 400, "/aggregate/group_by/0/name", "UTF-8"},
		{"nesting", strings.Repeat(`[`, 100_000), 400, "", "deep"},
		{"nesting in a field", badSpec("x", `{"sum": "b"}`, strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000)), 400, "", "deep"},
		{"name with a slash", badSpec("x", `"name": "NAME"`, `"name": "a/b"`), 422, "/name", "/"},
		{"large body", `{"name": "` + strings.Repeat("x", 10<<20) + `"}`, 413, "", ""},
		{"no JSON", `name: x`, 400, "", "line 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var problem wire.Error
			status, err := c.call(http.MethodPost, "/v1/jobs", strings.NewReader(test.body), &problem, "Content-Type", "application/json")
			if err != nil || status != test.status {
				t.Fatalf("status %d, %v, want %d: %+v", status, err, test.status, problem)
			}
			text := problem.Detail
			found := test.pointer == ""
			for _, p := range problem.Errors {
				text += " " + p.Detail
				found = found || p.Pointer == test.pointer
			}
			if !found || !strings.Contains(text, test.words) {
				t.Errorf("want %q at %q, got %+v", test.words, test.pointer, problem)
			}
		})
	}
	var list wire.List[wire.Job]
	c.must(http.MethodGet, "/v1/jobs", nil, &list)
	if len(list.Items) > 0 {
		t.Errorf("refused jobs were stored: %+v", list.Items)
	}
}

// TestBadData runs jobs whose data or places are wrong: one attempt, a message that says where, nothing visible.
func TestBadData(t *testing.T) {
	c := newCluster(t, options{agents: 1})
	good := "a,b\nx,1\ny,2\n"
	c.put("s3://bad/column/1.csv", []byte(good))
	c.put("s3://bad/cut/1.csv.gz", gzipped(t, good+strings.Repeat("x,1\ny,2\n", 100_000))[:500])
	c.put("s3://bad/wide/1.csv", []byte(good+"x,1,9\n"))
	// The column's type is fixed by what the plan sees of the beginning of the file.
	c.put("s3://bad/text/1.csv", []byte(good+strings.Repeat("x,1\n", 600_000)+"y,many\n"))
	c.put("s3://bad/json/1.jsonl", []byte("{\"a\": \"x\", \"b\": 1}\n{\"a\": \"x\", \"b\": \n"))
	for _, test := range []struct {
		name    string
		spec    string
		kind    string
		pointer string
		words   []string
	}{
		{"bucket", badSpec("bucket", "s3://bad/NAME/", "s3://nowhere/NAME/"), "not_found", "/aggregate/input/uri", []string{"nowhere"}},
		{"empty", badSpec("empty"), "not_found", "/aggregate/input/uri", []string{"s3://bad/empty/"}},
		{"column", badSpec("column", `{"sum": "b"}`, `{"sum": "bb"}`), "invalid", "/aggregate/measures/b/sum", []string{`"bb"`, `"b"`}},
		{"cut", badSpec("cut"), "invalid", "", []string{"s3://bad/cut/1.csv.gz", "short"}},
		{"wide", badSpec("wide"), "invalid", "", []string{"s3://bad/wide/1.csv", "4"}},
		{"text", badSpec("text"), "invalid", "", []string{"s3://bad/text/1.csv", "600004", "many"}},
		{"json", badSpec("json", `"csv"}`, `"jsonl"}`), "invalid", "", []string{"s3://bad/json/1.jsonl", "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c.in(t)
			c.putJob(test.spec)
			run := c.await(c.startRun(test.name, "x").ID, time.Minute)
			if run.State != "failed" || run.Error == nil {
				t.Fatalf("run %s: %+v", run.State, run)
			}
			if run.Error.Kind != test.kind || run.Error.Pointer != test.pointer {
				t.Errorf("kind %q at %q, want %q at %q: %s", run.Error.Kind, run.Error.Pointer, test.kind, test.pointer, run.Error.Message)
			}
			for _, w := range test.words {
				if !strings.Contains(run.Error.Message, w) {
					t.Errorf("the message does not say %q: %s", w, run.Error.Message)
				}
			}
			if strings.Contains(run.Error.Message, c.dir) {
				t.Errorf("the message names a path of the agent: %s", run.Error.Message)
			}
			var tasks wire.List[wire.Task]
			c.must(http.MethodGet, "/v1/runs/"+run.ID+"/tasks", nil, &tasks)
			for _, task := range tasks.Items {
				if task.Stage != "clean" && len(task.Attempts) > 1 {
					t.Errorf("task %s had %d attempts", task.ID, len(task.Attempts))
				}
			}
			c.nothingVisible("s3://results/" + test.name + "/")
		})
	}
}

// nothingVisible checks that an output has neither data nor a _latest.json.
func (c *cluster) nothingVisible(output string) {
	c.t.Helper()
	if m := c.latest(output); m != "" {
		c.t.Errorf("%s_latest.json names %s", output, m)
	}
	for _, key := range c.list(output + "data/") {
		if !strings.HasSuffix(key, "/_manifest.json") {
			c.t.Errorf("%s has %s", output, key)
		}
	}
}

// TestOutageAndWrongKeys takes away S3 and the keys: attempts are repeated, then the run fails with a clear message.
func TestOutageAndWrongKeys(t *testing.T) {
	c := newCluster(t, options{agents: 1, schedulerFlags: []string{"--executor-linger", "1s"}})
	c.putJob(replaceOnce(t, example(t, "requests-by-status", "requests-by-status"), `"kind"`, `"retries": {"max": 1, "backoff": "100ms"}, "kind"`))

	c.writeConnections("not-the-secret-key")
	run := c.await(c.startRun("requests-by-status", "wrong").ID, 90*time.Second)
	checkOutage(t, c, run, "wrong keys")
	if text := fmt.Sprintf("%+v", run.Error); strings.Contains(text, "not-the-secret-key") || strings.Contains(text, c.s3.SecretKey()) {
		t.Errorf("the message has a key: %s", text)
	}

	c.writeConnections(c.s3.SecretKey())
	if err := c.s3.Stop(); err != nil {
		t.Fatal(err)
	}
	checkOutage(t, c, c.await(c.startRun("requests-by-status", "down").ID, 3*time.Minute), "S3 down")
}

func checkOutage(t *testing.T, c *cluster, run wire.Run, what string) {
	t.Helper()
	if run.State != "failed" || run.Error == nil || run.Error.Kind != "unavailable" || !strings.Contains(run.Error.Message, "s3://") {
		t.Fatalf("%s: run %s: %+v", what, run.State, run.Error)
	}
	t.Logf("%s: %s", what, run.Error.Message)
	var tasks wire.List[wire.Task]
	c.must(http.MethodGet, "/v1/runs/"+run.ID+"/tasks", nil, &tasks)
	if n := len(tasks.Items[0].Attempts); n != 2 {
		t.Errorf("%s: %d attempts, want the first and one retry", what, n)
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestProblemAnswers looks at the shape of refusals outside of specs.
func TestProblemAnswers(t *testing.T) {
	c := newCluster(t, options{agents: 1})
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/v1/jobs/none", 404},
		{http.MethodGet, "/v1/runs/none", 404},
		{http.MethodPost, "/v1/jobs/none/runs", 404},
		{http.MethodGet, "/v1/nothing", 404},
		{http.MethodPatch, "/v1/jobs", 405},
	} {
		var raw json.RawMessage
		status, err := c.call(test.method, test.path, nil, &raw)
		var problem wire.Error
		if err == nil {
			err = json.Unmarshal(raw, &problem)
		}
		if err != nil || status != test.status || problem.Status != test.status || problem.Detail == "" {
			t.Errorf("%s %s: %d, %v: %s", test.method, test.path, status, err, raw)
		}
	}
}
