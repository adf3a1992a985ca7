package aggregate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

const incrementalSection = `{"input": {"uri": "LAKE/in/", "format": "csv", "new_since": "last_success", "columns": {"k": "VARCHAR", "x": "DOUBLE", "i": "BIGINT"}},
	"where": "i >= 0", "group_by": [{"name": "k"}], "measures": {"n": {"count": "*"}, "s": {"sum": "i"}, "low": {"min": "x"}, "avg": {"avg": "x"}, "different": {"approx_distinct": "i"},
	"exactly": {"count_distinct": "i"}, "middle": {"median": "i"}, "spread": {"stddev": "x"}, "last": {"arg_max": "k", "by": "i"}}, "output": {"uri": "LAKE/out/"}}`

// manifest reads the manifest of an output.
func (l *lake) manifest(out *proto.Output) *commit.Manifest {
	l.t.Helper()
	data, err := os.ReadFile(l.path(out.Manifest))
	if err != nil {
		l.t.Fatal(err)
	}
	m := &commit.Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		l.t.Fatal(err)
	}
	return m
}

// mustRun expects a result.
func (l *lake) mustRun(section string) *proto.Output {
	l.t.Helper()
	out, err := l.run(section, 4)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// everything is the rows of one run over all files, without what earlier runs left.
func (l *lake) everything(section string) []string {
	l.t.Helper()
	section = strings.NewReplacer(`"new_since": "last_success", `, "", "LAKE/out/", fmt.Sprintf("LAKE/all-%d/", l.runs)).Replace(section)
	rows := l.rows(l.mustRun(section))
	slices.Sort(rows)
	return rows
}

func randomRows(r *rand.Rand, n, groups int) string {
	var b strings.Builder
	b.WriteString("k,x,i\n")
	for range n {
		fmt.Fprintf(&b, "g%d,%g,%d\n", r.IntN(groups), r.Float64(), r.IntN(1000)-10)
	}
	return b.String()
}

// Runs between which files come give the rows of one run over all files, however many reduce tasks there are.
func TestIncrementalRunsEqualOne(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newLake(t)
	for run := range 5 {
		for file := range r.IntN(3) + 1 {
			l.put(fmt.Sprintf("in/%c%d-%d.csv", 'a'+rune(r.IntN(26)), run, file), randomRows(r, 1+r.IntN(2000), 300))
		}
		l.kind = aggregate.NewCutting([]int64{1 << 20, 5_000}[r.IntN(2)])
		l.reduces = r.IntN(4)
		out := l.mustRun(incrementalSection)
		got := l.rows(out)
		slices.Sort(got)
		m := l.manifest(out)
		if base := m.State.Base; (base == "") != (run == 0) {
			t.Errorf("run %d builds on %q", run, base)
		}
		l.kind, l.reduces = aggregate.New(), 0
		compareRows(t, got, l.everything(incrementalSection))
	}
}

func TestNothingNew(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "k,x,i\na,1,1\n")
	first := l.mustRun(incrementalSection)
	again := l.mustRun(incrementalSection)
	if *again != *first || fmt.Sprint(l.stages) != "[plan 1]" {
		t.Errorf("got %v in %v, want %v", again, l.stages, first)
	}
	if err := os.Remove(filepath.Join(l.root, "in/1.csv")); err != nil {
		t.Fatal(err)
	}
	l.put("in/2.csv", "k,x,i\na,1,1\n")
	if got := fmt.Sprint(l.rows(l.mustRun(incrementalSection))); !strings.HasPrefix(got, "[a|2|2|") {
		t.Errorf("after the first file went: got %s", got)
	}
}

func TestChangedFile(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "k,x,i\na,1,1\n")
	first := l.mustRun(incrementalSection)
	if err := os.Remove(filepath.Join(l.root, "in/1.csv")); err != nil {
		t.Fatal(err)
	}
	l.put("in/1.csv", "k,x,i\na,1,12\n")
	f := l.mustFail(incrementalSection, 1)
	if !strings.Contains(f.Message, "/in/1.csv has changed") || f.Pointer != "/aggregate/input/new_since" || f.Class != proto.CLASS_FINAL {
		t.Errorf("got %v", f)
	}
	if got := l.rows(first); len(got) != 1 {
		t.Errorf("the result before has %v", got)
	}
}

// What partial aggregates depend on makes the run read everything; what comes behind them does not.
func TestChangedSpec(t *testing.T) {
	for _, test := range []struct {
		old, new string
		builds   bool
	}{
		{`"where": "i >= 0"`, `"where": "i >= 1"`, false},
		{`{"name": "k"}`, `{"name": "k", "expr": "upper(k)"}`, false},
		{`"n": {"count": "*"}`, `"n": {"count": "*"}, "most": {"max": "x"}`, false},
		{`"x": "DOUBLE"`, `"x": "DECIMAL(9,2)"`, false},
		{`"input": {`, `"having": "n > 0", "order_by": [{"name": "n"}], "limit": 100, "input": {`, true},
		{`"new_since"`, `"split_size": "2MiB", "new_since"`, true},
		{`"output": {`, `"output": {"format": "csv", `, true},
	} {
		l := newLake(t)
		l.put("in/1.csv", "k,x,i\na,1,1\nb,2,0\n")
		first := l.mustRun(incrementalSection)
		changed := strings.Replace(incrementalSection, test.old, test.new, 1)
		l.put("in/2.csv", "k,x,i\na,3,3\n")
		out := l.mustRun(changed)
		if base := l.manifest(out).State.Base; (base != "") != test.builds {
			t.Errorf("%s: after %s it builds on %q", test.new, first.Manifest, base)
		}
		got := l.rows(out)
		slices.Sort(got)
		compareRows(t, got, l.everything(changed))
	}
}

// A file with a column of another type makes the run read everything with types that hold all.
func TestWiderColumn(t *testing.T) {
	section := strings.Replace(incrementalSection, `, "columns": {"k": "VARCHAR", "x": "DOUBLE", "i": "BIGINT"}`, "", 1)
	l := newLake(t)
	l.put("in/1.csv", "k,x,i\na,1,1\n")
	l.mustRun(section)
	l.put("in/2.csv", "k,x,i\na,1.5,1\n")
	out := l.mustRun(section)
	if base := l.manifest(out).State.Base; base != "" {
		t.Errorf("it builds on %q", base)
	}
	compareRows(t, l.rows(out), l.everything(section))
}

// New files that look otherwise than those before give the rows of one run over all of them, too, and what is missing in
// the new ones alone costs no more than their rows.
func TestNewFilesThatDiffer(t *testing.T) {
	const section = `{"input": {"uri": "LAKE/in/", "format": "csv", "new_since": "last_success"}, "where": "n < '5'", "group_by": [{"name": "g", "expr": "concat(id, '.')"}],
		"measures": {"s": {"sum": "n"}, "c": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`
	for _, test := range []struct {
		name, first, second string
		builds              bool
	}{
		{"only an expression sees that a type is another", "id,n\n001,1\n002,2\n", "id,n\n001,1\nA2,2\n", false},
		{"only the filter sees that a type is another", "id,n\na,10\nb,2\n", "id,n\na,1.5\n", false},
		{"no rows", "id,n\na,1\n", "id,n\n", true},
		{"not even a header", "id,n\na,1\n", "", true},
		{"a column is missing", "id,n\na,1\n", "id\na\n", true},
		{"a column is empty", "id,n\na,1\n", "id,n\na,\nb,\n", true},
		{"another order, other capitals", "id,n\na,1\n", "N,x,ID\n2,y,a\n", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLake(t)
			l.put("in/1.csv", test.first)
			l.mustRun(section)
			l.put("in/2.csv", test.second)
			out := l.mustRun(section)
			if base := l.manifest(out).State.Base; (base != "") != test.builds {
				t.Errorf("it builds on %q", base)
			}
			got := l.rows(out)
			slices.Sort(got)
			compareRows(t, got, l.everything(section))
		})
	}
}

// What is made of the partial aggregates changes with the spec, even if there is nothing new.
func TestNothingNewButTheSpec(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "k,x,i\na,1,1\nb,2,0\nb,3,0\n")
	l.mustRun(incrementalSection)
	changed := strings.NewReplacer(`"input": {`, `"having": "n > 1", "input": {`, `"output": {`, `"output": {"format": "csv", `).Replace(incrementalSection)
	for i, want := range []string{"[plan 1 map 1 reduce 1]", "[plan 1]"} {
		out := l.mustRun(changed)
		if got := fmt.Sprint(l.stages); got != want {
			t.Errorf("run %d: got stages %s, want %s", i, got, want)
		}
		if m := l.manifest(out); m.State.Base != "test-1" || m.Format != "csv" {
			t.Errorf("run %d: got %+v", i, m)
		}
		compareRows(t, l.rows(out), l.everything(changed))
	}
}

// Runs that end between any two stages, or in one, leave what the next one needs, and no rows count twice.
func TestIncrementalRunsThatDie(t *testing.T) {
	l := newLake(t)
	r := rand.New(rand.NewPCG(1, 1))
	l.put("in/0.csv", randomRows(r, 500, 20))
	l.mustRun(incrementalSection)
	for run := 1; run <= 3; run++ {
		l.put(fmt.Sprintf("in/%d.csv", run), randomRows(r, 500, 20))
		for i, stop := range []string{"plan", "map", "reduce", "map", "reduce"} {
			ctx, cancel := context.WithCancel(t.Context())
			l.ctx = ctx
			l.before = func(stage string) {
				if stage != stop {
					return
				}
				if i < 3 {
					cancel()
				} else {
					timer := time.AfterFunc(time.Duration(r.IntN(40))*time.Millisecond, cancel)
					t.Cleanup(func() { timer.Stop() })
				}
			}
			if out, err := l.run(incrementalSection, 4); i < 3 && !errors.Is(err, context.Canceled) {
				t.Errorf("stopped at %s: got %v, %v", stop, out, err)
			}
			cancel()
		}
		l.before, l.ctx = nil, nil
		got := l.rows(l.mustRun(incrementalSection))
		slices.Sort(got)
		compareRows(t, got, l.everything(incrementalSection))
	}
}

// Two runs of one job at one time both read the new files; whichever is the newest in the end has each row once, and the
// next run goes on from it.
func TestIncrementalRunsAtOneTime(t *testing.T) {
	l := newLake(t)
	r := rand.New(rand.NewPCG(2, 1))
	l.put("in/0.csv", randomRows(r, 500, 20))
	l.mustRun(incrementalSection)
	l.put("in/1.csv", randomRows(r, 500, 20))
	var other *proto.Output
	l.before = func(stage string) {
		if stage != "reduce" {
			return
		}
		l.before = nil // inside this run, between its map and its reduce tasks, another one
		l.put("in/2.csv", randomRows(r, 500, 20))
		other = l.mustRun(incrementalSection)
	}
	one := l.mustRun(incrementalSection)
	if len(l.rows(one)) != 20 || len(l.rows(other)) != 20 {
		t.Fatalf("got %v and %v", one, other)
	}
	l.put("in/3.csv", randomRows(r, 500, 20))
	got := l.rows(l.mustRun(incrementalSection))
	slices.Sort(got)
	compareRows(t, got, l.everything(incrementalSection))
}

// The result on which a run builds is pushed out before it reads it.
func TestOvertakenIncrementalRun(t *testing.T) {
	l := newLake(t)
	r := rand.New(rand.NewPCG(3, 1))
	l.put("in/0.csv", randomRows(r, 50, 5))
	l.mustRun(incrementalSection)
	l.put("in/1.csv", randomRows(r, 50, 5))
	l.before = func(stage string) {
		if stage != "reduce" {
			return
		}
		l.before = nil
		for i := range 4 {
			l.put(fmt.Sprintf("in/2%d.csv", i), randomRows(r, 50, 5))
			l.mustRun(incrementalSection)
		}
	}
	_, err := l.run(incrementalSection, 1)
	var failure *task.Failure
	if errors.As(err, &failure); !errors.Is(err, storage.ErrNotFound) || failure == nil || failure.Kind != "conflict" {
		t.Errorf("got %v", err)
	}
}
