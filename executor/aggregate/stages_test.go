package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

const countSection = `{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "a"}], "measures": {"n": {"count": "*"}}, "output": {"uri": "LAKE/out/"}}`

// step does one task of run "test-1" by hand.
func (l *lake) step(section, stage string, index, attempt uint32, input proto.Marshaler) ([]byte, error) {
	l.t.Helper()
	return l.stepWith(4, section, stage, index, attempt, input)
}

// stepWith is step with another parallelism.
func (l *lake) stepWith(parallelism int, section, stage string, index, attempt uint32, input proto.Marshaler) ([]byte, error) {
	l.t.Helper()
	spec, raw := l.spec(section, parallelism)
	data := &proto.TaskData{
		Run: "test-1", Job: spec.Name, Kind: spec.Kind, Stage: stage, Index: index, Attempt: attempt, Spec: raw,
		RunCreated: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if input != nil {
		data.Input = proto.Encode(input)
	}
	return l.do(l.t.Context(), spec, data)
}

func (l *lake) planned(out []byte, err error) *proto.AggregatePlanOutput {
	l.t.Helper()
	plan := &proto.AggregatePlanOutput{}
	if err = errors.Join(err, proto.Decode(out, plan)); err != nil {
		l.t.Fatal(err)
	}
	return plan
}

func TestTwoAttemptsGiveOneResult(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "a\nx\ny\nx\n")
	first := l.planned(l.step(countSection, "plan", 0, 1, nil))
	second := l.planned(l.step(countSection, "plan", 0, 2, nil))
	if first.Committed == nil || first.Committed.URI != second.Committed.URI {
		t.Errorf("got %v, then %v", first.Committed, second.Committed)
	}
	if left, err := filepath.Glob(filepath.Join(l.root, "out/data/test-1/*")); err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
	if work, err := os.ReadDir(filepath.Join(l.root, "out/_work")); err == nil && len(work) > 0 {
		t.Errorf("left in the work area is %v", work)
	}
}

// An attempt whose answer was lost may have tidied up after its commit; the next one finds the result all the same.
func TestRepeatAfterTheCommit(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "a\nx\ny\nx\n")
	first := l.planned(l.step(countSection, "plan", 0, 1, nil))
	gone := "file://" + l.root + "/out/_work/test-1/plan-1.json"
	for stage, input := range map[string]proto.Marshaler{
		"reduce": &proto.AggregateReduceInput{PlanURI: gone, LastPartition: 1, MapAttempts: []uint32{1}, Commit: true},
		"commit": &proto.AggregateCommitInput{PlanURI: gone, Files: []proto.AggregateFile{{Attempt: 1}}},
	} {
		out, err := l.step(countSection, stage, 0, 2, input)
		var reduced proto.AggregateReduceOutput // the field has the same number in both
		if err = errors.Join(err, proto.Decode(out, &reduced)); err != nil || reduced.Committed == nil || reduced.Committed.URI != first.Committed.URI {
			t.Errorf("%s: got %v, %v, want %v", stage, reduced.Committed, err, first.Committed)
		}
	}
	if _, err := l.step(countSection, "clean", 0, 1, &proto.CleanInput{Settle: true}); err != nil {
		t.Error(err)
	}
}

// Nothing is published over a _latest.json that is not ours.
func TestForeignLatest(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "a\nx\ny\nx\n")
	l.put("out/_latest.json", "somebody else's")
	_, err := l.step(countSection, "plan", 0, 1, nil)
	if err == nil || !strings.Contains(err.Error(), "_latest.json") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(l.root, "out/data/test-1/_manifest.json")); err == nil {
		t.Error("there is a manifest")
	}
}

func TestCleanFencesLateAttempts(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "a\nx\ny\nx\n")
	out, err := l.step(countSection, "clean", 0, 1, &proto.CleanInput{Settle: true})
	var cleaned proto.CleanOutput
	if err = errors.Join(err, proto.Decode(out, &cleaned)); err != nil || cleaned.Committed != nil {
		t.Fatalf("got %v, %v", cleaned, err)
	}
	_, err = l.step(countSection, "plan", 0, 1, nil)
	var failure *task.Failure
	if !errors.As(err, &failure) || failure.Class != proto.CLASS_FINAL || failure.Kind != "conflict" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(l.root, "out/_latest.json")); err == nil {
		t.Error("the cancelled run is the latest result")
	}
}

func TestCleanFindsACommit(t *testing.T) {
	l := newLake(t)
	l.put("in/1.csv", "a\nx\ny\nx\n")
	plan := l.planned(l.step(countSection, "plan", 0, 1, nil))
	out, err := l.step(countSection, "clean", 0, 1, &proto.CleanInput{Settle: true})
	var cleaned proto.CleanOutput
	if err = errors.Join(err, proto.Decode(out, &cleaned)); err != nil || cleaned.Committed == nil || cleaned.Committed.URI != plan.Committed.URI {
		t.Errorf("got %v, %v, want %v", cleaned.Committed, err, plan.Committed)
	}
}

// Attempts of map tasks that lost, and partial results of others, do not count.
func TestReduceTakesTheNamedAttempts(t *testing.T) {
	l := newLake(t)
	l.kind = aggregate.NewCutting(10)
	l.put("in/1.csv", "a\nxxxxxxxxxxxxxxxxxxxx\n")
	l.put("in/2.csv", "a\nyyyyyyyyyyyyyyyyyyyy\n")
	plan := l.planned(l.step(countSection, "plan", 0, 1, nil))
	if plan.Splits != 2 || plan.Partitions != 256 {
		t.Fatalf("got %v", plan)
	}
	for split, attempt := range []uint32{1, 2} {
		if _, err := l.step(countSection, "map", uint32(split), attempt, &proto.AggregateMapInput{PlanURI: plan.PlanURI, Split: uint32(split)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.step(countSection, "map", 1, 1, &proto.AggregateMapInput{PlanURI: plan.PlanURI, Split: 0}); err != nil { // another one, as if it had lost
		t.Fatal(err)
	}
	out, err := l.step(countSection, "reduce", 0, 1, &proto.AggregateReduceInput{PlanURI: plan.PlanURI, LastPartition: 256, MapAttempts: []uint32{1, 2}, Commit: true})
	var reduced proto.AggregateReduceOutput
	if err = errors.Join(err, proto.Decode(out, &reduced)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(l.rows(reduced.Committed), " "); got != "xxxxxxxxxxxxxxxxxxxx|1 yyyyyyyyyyyyyyyyyyyy|1" {
		t.Errorf("got %s", got)
	}
}

func TestObjectThatChangesBetweenPlanAndMap(t *testing.T) {
	l := newLake(t)
	l.kind = aggregate.NewCutting(10)
	l.put("in/1.csv", "a\nxxxxxxxxxxxxxxxxxxxx\n")
	l.put("in/2.csv", "a\nyyyyyyyyyyyyyyyyyyyy\n")
	plan := l.planned(l.step(countSection, "plan", 0, 1, nil))
	if err := os.Remove(filepath.Join(l.root, "in/2.csv")); err != nil {
		t.Fatal(err)
	}
	l.put("in/2.csv", "a\nzzzzzzzzzzzzzzzzzzzz\n")
	_, err := l.step(countSection, "map", 1, 1, &proto.AggregateMapInput{PlanURI: plan.PlanURI, Split: 1})
	var failure *task.Failure
	if !errors.As(err, &failure) || failure.Class != proto.CLASS_FINAL || !strings.HasSuffix(failure.Message, "/in/2.csv changed while the run was reading it") {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	l := newLake(t)
	out, err := l.do(t.Context(), nil, &proto.TaskData{Stage: jobs.StageCheck, Input: proto.Encode(&proto.CheckInput{Expressions: []proto.Expression{
		{Pointer: "/aggregate/where", Text: "month <= 6"},
		{Pointer: "/aggregate/group_by/0/expr", Text: "lowr(a)"},
		{Pointer: "/aggregate/measures/x/sum", Text: "(SELECT 1)"},
		{Pointer: "/aggregate/measures/y/sum", Text: "a +"},
		{Pointer: "/aggregate/measures/z/max", Text: "read_text('/etc/passwd')"},
	}})})
	var checked proto.CheckOutput
	if err = errors.Join(err, proto.Decode(out, &checked)); err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, p := range checked.Problems {
		got = append(got, p.Pointer+": "+p.Detail)
	}
	want := []string{
		`/aggregate/group_by/0/expr: unknown function "lowr"; did you mean "lower"?`,
		`/aggregate/measures/x/sum: a subquery is not allowed`,
		`/aggregate/measures/y/sum: it is not an SQL expression: something is missing at its end`,
		`/aggregate/measures/z/max: function "read_text" is not allowed: it reads or changes things outside the row`,
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestProgress(t *testing.T) {
	l := newLake(t)
	l.copyIn(flightsData, "flights")
	out, err := l.run(flightsSection, 1)
	if err != nil {
		t.Fatal(err)
	}
	last := l.reports[len(l.reports)-1]
	for i, r := range l.reports[1:] {
		if before := l.reports[i]; r.Fraction < before.Fraction || r.Rows < before.Rows || r.Bytes < before.Bytes {
			t.Errorf("progress goes back from %+v to %+v", before, r)
		}
	}
	if last.Fraction != 1 || last.Rows != 336_776 || last.OutRows != out.Rows || last.OutBytes != out.Bytes || last.Bytes < 8_000_000 {
		t.Errorf("the last report is %+v of %v", last, out)
	}
}

// A task that is to end does so within a second, wherever it is, and leaves nothing visible.
func TestCancel(t *testing.T) {
	l := newLake(t)
	l.copyIn(flightsData, "flights")
	spec, raw := l.spec(flightsSection, 1)
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithCancel(t.Context())
		var asked time.Time
		timer := time.AfterFunc(after, func() { asked = time.Now(); cancel() })
		_, err := l.do(ctx, spec, &proto.TaskData{Run: "test-1", Kind: spec.Kind, Stage: "plan", Attempt: 1, Spec: raw})
		timer.Stop()
		cancel()
		if err == nil {
			t.Logf("it was done within %s", after)
			continue
		}
		if f := task.Classify(err); f.Kind != "killed" || f.Class != proto.CLASS_OURS {
			t.Errorf("after %s: got %v", after, err)
		}
		if took := time.Since(asked); took > 3*time.Second { // one, and slack for a busy machine
			t.Errorf("after %s: it took %s to end", after, took)
		}
	}
}

func TestUnknownConnection(t *testing.T) {
	l := newLake(t)
	f := l.mustFail(strings.Replace(countSection, `"format"`, `"compression": "none", "format"`, 1), 1)
	if f.Pointer != "/aggregate/input/uri" {
		t.Errorf("got %v", f)
	}
	section := strings.ReplaceAll(countSection, "LAKE/out/", "s3://results/out/")
	f = l.mustFail(section, 1)
	if f.Pointer != "/aggregate/output/connection" || f.Class != proto.CLASS_FINAL {
		t.Errorf("got %v", f)
	}
}
