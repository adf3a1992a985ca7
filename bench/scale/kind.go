package main

import (
	"bytes"
	"fmt"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// kind is a kind of job without any work: one stage of so many tasks.
type kind struct{}

const (
	kindName   = "scale"
	stageName  = "map"
	inputBytes = 100 // of each task
)

type section struct {
	Tasks int `json:"tasks" required:"true" min:"1" doc:"tasks of a run"`
}

func (kind) Name() string { return kindName }

func (kind) DecodeSection(d *jobs.Decoder) jobs.Section {
	s := &section{}
	d.Into(s)
	return s
}

func (*section) Expressions() []jobs.Expression { return nil }

func (*section) Work() (uri, connection string) { return "s3://work/", "s3" }

func (kind) First(spec *jobs.Spec, _ []proto.Source) jobs.StagePlan {
	plan := jobs.StagePlan{Name: stageName, Inputs: make([][]byte, spec.Section.(*section).Tasks)}
	for i := range plan.Inputs {
		plan.Inputs[i] = bytes.Repeat([]byte{byte(i)}, inputBytes)
	}
	return plan
}

func (kind) Next(spec *jobs.Spec, done jobs.StageResult) (jobs.Step, error) {
	if want := spec.Section.(*section).Tasks; len(done.Outputs) != want {
		return jobs.Step{}, fmt.Errorf("stage %s has %d outputs of %d tasks", done.Name, len(done.Outputs), want)
	}
	return jobs.Step{Done: &proto.Output{URI: "s3://out/"}}, nil
}
