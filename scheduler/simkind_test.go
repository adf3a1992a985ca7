package scheduler

import (
	"fmt"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// simKind is the kind of job of the simulation: stages of as many tasks as its section says. The output of a task is the
// Mesos ID of the attempt that made it; that of the last stage's only task is whoever holds the run's commit point.
type simKind struct{}

type simSection struct {
	Stages []int    `json:"stages" doc:"tasks of each stage; the last one has one task, which commits"`
	Check  []string `json:"check" doc:"expressions"`
	Memory []int64  `json:"memory" doc:"bytes for the tasks of each stage, where it is not the spec's"`
}

const (
	simWork   = "s3://work/"
	simCommit = "commit" // the input of the task that commits
)

func simStage(i int) string { return fmt.Sprintf("stage%d", i+1) }

func simOutput(holder string) *proto.Output { return &proto.Output{URI: "s3://out/" + holder} }

func (simKind) Name() string { return "sim" }

func (k simKind) FirstFeatures() []string { return jobs.Features(jobs.Kinds{k}) }

func (simKind) DecodeSection(d *jobs.Decoder) jobs.Section {
	section := &simSection{}
	d.Into(section)
	if len(section.Stages) == 0 {
		d.At("stages").Problem("want at least one stage")
	}
	return section
}

func (s *simSection) Expressions() []jobs.Expression {
	var all []jobs.Expression
	for i, text := range s.Check {
		all = append(all, jobs.Expression{Pointer: fmt.Sprintf("/sim/check/%d", i), Text: text})
	}
	return all
}

func (s *simSection) Work() (uri, connection string) { return simWork, "s3" }

func (k simKind) First(spec *jobs.Spec, _ []proto.Source) jobs.StagePlan { return *k.plan(spec, 0) }

// Repeats: every stage but the one that commits.
func (simKind) Repeats(spec *jobs.Spec, stage string) bool {
	return stage != simStage(len(spec.Section.(*simSection).Stages)-1)
}

func (simKind) plan(spec *jobs.Spec, i int) *jobs.StagePlan {
	section := spec.Section.(*simSection)
	plan := &jobs.StagePlan{Name: simStage(i)}
	for n := range section.Stages[i] {
		input := fmt.Appendf(nil, "part %d", n)
		if i == len(section.Stages)-1 {
			input = []byte(simCommit)
		}
		plan.Inputs = append(plan.Inputs, input)
	}
	if i < len(section.Memory) && section.Memory[i] > 0 {
		resources := spec.Resources
		resources.Memory = section.Memory[i]
		plan.Resources = &resources
	}
	return plan
}

func (k simKind) Next(spec *jobs.Spec, done jobs.StageResult) (jobs.Step, error) {
	section := spec.Section.(*simSection)
	at := len(done.Earlier)
	if done.Name != simStage(at) || len(done.Outputs) != section.Stages[at] {
		return jobs.Step{}, fmt.Errorf("stage %d is %q with %d outputs", at, done.Name, len(done.Outputs))
	}
	if at+1 < len(section.Stages) {
		return jobs.Step{Stage: k.plan(spec, at+1)}, nil
	}
	return jobs.Step{Done: simOutput(string(done.Outputs[0]))}, nil
}

// simUnsound is an expression that does not pass the checks.
const simUnsound = "unsound"

// simOld is one that only the older version takes.
const simOld = "old"

func simVerdict(in *proto.CheckInput, version string) *proto.CheckOutput {
	out := &proto.CheckOutput{}
	for _, e := range in.Expressions {
		if e.Text == simUnsound || e.Text == simOld && version != simVersions[0] {
			out.Problems = append(out.Problems, proto.Problem{Pointer: e.Pointer, Detail: "it is not sound"})
		}
	}
	return out
}
