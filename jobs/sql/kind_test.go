package sql_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/sql"
	"github.com/tidemill/tidemill/proto"
)

func decode(section string) (*jobs.Spec, []jobs.Problem) {
	return jobs.Decode([]byte(`{"name": "test", "kind": "sql", "sql": `+section+`}`), jobs.Kinds{sql.Kind{}})
}

const (
	flights = `{"name": "flights", "input": {"uri": "s3://flights/2013/", "format": "csv"}}`
	daily   = `{"name": "daily", "job": "flights-by-day", "run": "r-1"}`
	rest    = `"statement": "SELECT 1 FROM flights", "output": {"uri": "s3://results/top/"}`
)

func TestSection(t *testing.T) {
	spec, problems := decode(`{"tables": [` + flights + `, ` + daily + `], ` + rest + `}`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s := spec.Section.(*sql.Section)
	if diff := cmp.Diff([]jobs.Reference{{Pointer: "/sql/tables/1/job", Job: "flights-by-day", Run: "r-1"}}, s.References()); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	if s.Tables[0].Input.Escape != `"` || s.Output.Compression != "zstd" || s.WorkURI != "s3://results/top/_work/" {
		t.Errorf("defaults are missing: %+v", s)
	}
	check, err := sql.ParseCheck(s.Expressions()[0].Text)
	if diff := cmp.Diff(sql.Check{Tables: []string{"flights", "daily"}, Statement: "SELECT 1 FROM flights"}, check); err != nil || diff != "" {
		t.Errorf("check: %v (-want +got):\n%s", err, diff)
	}
	shown, err := spec.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	again, problems := jobs.Decode(shown, jobs.Kinds{sql.Kind{}})
	if len(problems) > 0 || !jobs.Equal(spec, again) {
		t.Errorf("what is shown is another spec: %v\n%s", problems, shown)
	}
}

func TestProblems(t *testing.T) {
	for section, want := range map[string]string{
		`{"tables": [], ` + rest + `}`:              "/sql/tables: want at least 1 element, got 0",
		`{"tables": [{"name": "a"}], ` + rest + `}`: "/sql/tables/0: want input, for files, or job, for the result of a job",
		`{"tables": [{"name": "a", "job": "b", "input": {"uri": "s3://abc/", "format": "csv"}}], ` + rest + `}`:                  "/sql/tables/0: a table is files (input) or the result of a job (job), not both",
		`{"tables": [` + flights + `, {"name": "FLIGHTS", "job": "b"}], ` + rest + `}`:                                           "/sql/tables/1/name: table 1 has that name, too",
		`{"tables": [{"name": "a", "input": {"uri": "s3://abc/", "format": "csv", "run": "x"}}], ` + rest + `}`:                  `/sql/tables/0/input/run: unknown field "run"`,
		`{"tables": [{"name": "a", "input": {"uri": "s3://abc/", "format": "csv", "new_since": "last_success"}}], ` + rest + `}`: "only for kind aggregate",
		`{"tables": [{"name": "a", "run": "x", "input": {"uri": "s3://abc/", "format": "csv"}}], ` + rest + `}`:                  `/sql/tables/0/run: field "run" is only for the result of a job`,
		`{"tables": [{"name": "a", "input": {"uri": "s3://results/", "format": "csv"}}], ` + rest + `}`:                          "the job would read its own results",
	} {
		_, problems := decode(section)
		var all []string
		for _, p := range problems {
			all = append(all, p.Pointer+": "+p.Detail)
		}
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%s: got %q, want %q", section, all, want)
		}
	}
}

func TestGraph(t *testing.T) {
	spec, problems := decode(`{"tables": [` + daily + `], ` + rest + `}`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	first := sql.Kind{}.First(spec, []proto.Source{{Job: "flights-by-day", URI: "s3://results/day/"}})
	var in proto.SQLInput
	if err := proto.Decode(first.Inputs[0], &in); err != nil || len(first.Inputs) != 1 || in.Sources[0].URI != "s3://results/day/" {
		t.Errorf("first stage: %+v, %v", first, err)
	}
	done := jobs.StageResult{Name: sql.StageQuery, Outputs: [][]byte{proto.Encode(&proto.SQLOutput{Committed: &proto.Output{Rows: 3}})}}
	if step, err := (sql.Kind{}).Next(spec, done); err != nil || step.Done == nil || step.Done.Rows != 3 {
		t.Errorf("end: %+v, %v", step, err)
	}
	for _, bad := range []jobs.StageResult{{Name: sql.StageQuery}, {Name: "map", Outputs: done.Outputs}, {Name: sql.StageQuery, Outputs: [][]byte{nil}}, {Name: sql.StageQuery, Outputs: [][]byte{{0xff}}}} {
		if step, err := (sql.Kind{}).Next(spec, bad); err == nil {
			t.Errorf("%+v: got %+v, want an error", bad, step)
		}
	}
}
