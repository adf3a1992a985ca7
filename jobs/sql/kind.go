package sql

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
)

// Name is the kind's name.
const Name = "sql"

// StageQuery is the only stage of a run, beside those that every kind has.
const StageQuery = "query"

// Kind is the kind "sql". It has no state.
type Kind struct{}

var (
	_ jobs.Kind      = Kind{}
	_ jobs.Publisher = (*Section)(nil)
	_ jobs.Referrer  = (*Section)(nil)
)

// Name is "sql".
func (Kind) Name() string { return Name }

// DecodeSection reads a [*Section].
func (Kind) DecodeSection(d *jobs.Decoder) jobs.Section {
	s := &Section{}
	d.Into(s)
	if !d.Present() {
		return s
	}
	seen := map[string]int{} // in small letters, as the engine compares names
	for i := range s.Tables {
		at := d.At("tables").Index(i)
		s.Tables[i].settle(at)
		name := strings.ToLower(s.Tables[i].Name)
		if first, repeated := seen[name]; repeated && name != "" {
			at.At("name").Problem("table %d has that name, too; names differ in more than capitals", first+1)
		} else {
			seen[name] = i
		}
	}
	s.Output.Settle(d.At("output"))
	s.checkPlaces(d)
	if s.WorkURI == "" && s.Output.URI != "" {
		s.WorkURI = s.Output.URI + "_work/"
	}
	return s
}

// settle checks that a table is one thing, and fills in what depends on other fields.
func (t *Table) settle(d *jobs.Decoder) {
	in, job := d.At("input"), d.At("job")
	switch {
	case in.Present() && job.Present():
		d.Problem("a table is files (input) or the result of a job (job), not both")
	case !in.Present() && !job.Present():
		d.Problem("want input, for files, or job, for the result of a job")
	case d.At("run").Present() && !job.Present():
		d.At("run").Problem("field \"run\" is only for the result of a job")
	}
	if !in.Present() {
		t.Input = aggregate.Input{}
		return
	}
	for _, name := range []string{"new_since", "bad_rows"} {
		if at := in.At(name); at.Present() {
			at.Problem("field %q is only for kind aggregate", name)
		}
	}
	t.Input.Settle(in)
}

// checkPlaces makes sure that a run never reads what runs write.
func (s *Section) checkPlaces(d *jobs.Decoder) {
	out, work := d.At("output", "uri"), d.At("work")
	for i := range s.Tables {
		in := &s.Tables[i].Input
		at := d.At("tables").Index(i).At("input", "uri")
		if !at.Present() || !at.Sound() {
			continue
		}
		if out.Present() && out.Sound() && (in.Reaches(s.Output.URI) || strings.HasPrefix(in.URI, s.Output.URI)) {
			at.Problem("the table and the output %s lie inside one another: the job would read its own results; another job's result is read by its name", s.Output.URI)
		}
		if work.Present() && work.Sound() && in.Reaches(s.WorkURI) {
			work.Problem("the work area lies inside the table %s", in.URI)
		}
	}
}

// First is the query stage: one task.
func (Kind) First(_ *jobs.Spec, sources []proto.Source) jobs.StagePlan {
	return jobs.StagePlan{Name: StageQuery, Inputs: [][]byte{proto.Encode(&proto.SQLInput{Sources: sources})}}
}

// Next ends the run with what the task has committed.
func (Kind) Next(_ *jobs.Spec, done jobs.StageResult) (jobs.Step, error) {
	if done.Name != StageQuery || len(done.Outputs) != 1 {
		return jobs.Step{}, fmt.Errorf("follow stage %q with %d outputs: kind sql has one task of stage %q", done.Name, len(done.Outputs), StageQuery)
	}
	var out proto.SQLOutput
	if err := proto.Decode(done.Outputs[0], &out); err != nil {
		return jobs.Step{}, fmt.Errorf("follow stage %q: %w", done.Name, err)
	}
	if out.Committed == nil {
		return jobs.Step{}, fmt.Errorf("follow stage %q: the task named no result", done.Name)
	}
	return jobs.Step{Done: out.Committed}, nil
}
