package scheduler

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// workKind is a kind for tests: its section says how many tasks each stage has.
type workKind struct{ name string }

type workSection struct {
	Stages []int        `json:"stages" doc:"tasks of each stage"`
	Check  []string     `json:"check" doc:"expressions"`
	CPUs   float64      `json:"cpus" doc:"cpus of the tasks of later stages"`
	Input  int          `json:"input" doc:"bytes of each task's input"`
	Window []workWindow `json:"window" doc:"what executors that name no features do not have"`
}

type workWindow struct {
	Every string `json:"every" required:"true" enum:"hour,day" doc:"its length"`
}

var workStages = []string{"plan", "map", "reduce", "commit"}

func (k workKind) Name() string { return k.name }

func (k workKind) FirstFeatures() []string {
	return []string{k.name + ".check", k.name + ".cpus", k.name + ".input", k.name + ".stages"}
}

func (k workKind) DecodeSection(d *jobs.Decoder) jobs.Section {
	section := &workSection{}
	d.Into(section)
	if len(section.Stages) == 0 || len(section.Stages) > len(workStages) {
		d.At("stages").Problem("want 1 to %d stages", len(workStages))
	}
	return section
}

func (s *workSection) Expressions() []jobs.Expression {
	var all []jobs.Expression
	for i, text := range s.Check {
		all = append(all, jobs.Expression{Pointer: fmt.Sprintf("/work/check/%d", i), Text: text})
	}
	return all
}

func (s *workSection) Work() (uri, connection string) { return "s3://work/", "s3" }

func (s *workSection) Publishes() (uri, connection string) {
	return fmt.Sprintf("s3://out/%d-stages/", len(s.Stages)), "lake"
}

func (k workKind) First(spec *jobs.Spec, _ []proto.Source) jobs.StagePlan { return *k.plan(spec, 0) }

func (k workKind) plan(spec *jobs.Spec, i int) *jobs.StagePlan {
	section := spec.Section.(*workSection)
	plan := &jobs.StagePlan{Name: workStages[i], Inputs: make([][]byte, section.Stages[i])}
	for n := range plan.Inputs {
		if section.Input > 0 {
			plan.Inputs[n] = bytes.Repeat([]byte{byte(n)}, section.Input)
		}
	}
	if i > 0 && section.CPUs > 0 {
		resources := spec.Resources
		resources.CPUs = section.CPUs
		plan.Resources = &resources
	}
	return plan
}

// Next: an output "stop" ends the run early, "broken" cannot be read. The result names all that the core handed over.
func (k workKind) Next(spec *jobs.Spec, done jobs.StageResult) (jobs.Step, error) {
	section := spec.Section.(*workSection)
	at := len(done.Earlier)
	if done.Name != workStages[at] || len(done.Outputs) != section.Stages[at] || len(done.Attempts) != section.Stages[at] {
		return jobs.Step{}, fmt.Errorf("stage %d is %q with %d outputs", at, done.Name, len(done.Outputs))
	}
	stop := false
	for _, output := range done.Outputs {
		if string(output) == "broken" {
			return jobs.Step{}, fmt.Errorf("output %q of stage %s", output, done.Name)
		}
		stop = stop || string(output) == "stop"
	}
	if at+1 < len(section.Stages) && !stop {
		return jobs.Step{Stage: k.plan(spec, at+1)}, nil
	}
	var parts []string
	for _, stage := range append(done.Earlier[:at:at], done) {
		parts = append(parts, fmt.Sprintf("%s:%d", stage.Name, stage.Attempts))
	}
	return jobs.Step{Done: &proto.Output{URI: "s3://out/" + strings.Join(parts, "/"), Manifest: "s3://out/manifest", Files: int64(len(done.Outputs))}}, nil
}

// flowKind is a kind whose runs move to other versions, but for their last stage if there are several.
type flowKind struct{ workKind }

func (k flowKind) Moves(spec *jobs.Spec, stage string) bool {
	last := len(spec.Section.(*workSection).Stages) - 1
	return last == 0 || stage != workStages[last]
}

// wideKind is a kind whose tasks may have two attempts at a time, but for those of the stage that commits.
type wideKind struct{ workKind }

func (k wideKind) Repeats(_ *jobs.Spec, stage string) bool { return stage != "commit" }
