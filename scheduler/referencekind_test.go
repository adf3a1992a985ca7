package scheduler

import (
	"fmt"
	"strconv"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// readKind is a kind for tests whose jobs read other jobs' results, and publish none. It has one task for each, whose
// input says where the result lies.
type readKind struct{}

type readSection struct {
	Of    []readOf `json:"of" doc:"what is read"`
	Check string   `json:"check,omitempty" doc:"an expression"`
}

type readOf struct {
	Job string `json:"job" required:"true" doc:"the job"`
	Run string `json:"run" doc:"the run"`
}

const readStage = "read"

func (readKind) Name() string { return "reader" }

func (k readKind) FirstFeatures() []string { return jobs.Features(jobs.Kinds{k}) }

func (readKind) DecodeSection(d *jobs.Decoder) jobs.Section {
	section := &readSection{}
	d.Into(section)
	return section
}

func (s *readSection) Expressions() []jobs.Expression {
	if s.Check == "" {
		return nil
	}
	return []jobs.Expression{{Pointer: "/reader/check", Text: s.Check}}
}

func (s *readSection) Work() (uri, connection string) { return "s3://work/", "s3" }

func (s *readSection) References() []jobs.Reference {
	var all []jobs.Reference
	for i, of := range s.Of {
		all = append(all, jobs.Reference{Pointer: "/reader/of/" + strconv.Itoa(i), Job: of.Job, Run: of.Run})
	}
	return all
}

func (readKind) First(_ *jobs.Spec, sources []proto.Source) jobs.StagePlan {
	plan := jobs.StagePlan{Name: readStage}
	for i := range sources {
		plan.Inputs = append(plan.Inputs, proto.Encode(&sources[i]))
	}
	return plan
}

func (readKind) Next(*jobs.Spec, jobs.StageResult) (jobs.Step, error) {
	return jobs.Step{Done: &proto.Output{}}, nil
}

// describeSources shows the sources in the plan of a reader.
func describeSources(plan *proto.Plan) string {
	out := ""
	for _, input := range plan.Inputs {
		source := mustDecode(input, &proto.Source{})
		out += fmt.Sprintf("\n  %s: %s by %s", source.Pointer, source.URI, source.Connection)
		if source.Run != "" {
			out += fmt.Sprintf(" of %s, manifest %q", source.Run, source.Manifest)
		}
	}
	return out
}
