package aggregate

import (
	"fmt"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// Stages of a run, beside those that every kind has.
const (
	StagePlan   = "plan"
	StageMap    = "map"
	StageReduce = "reduce"
	StageCommit = "commit"
)

// Bounds on what a plan may ask for. The executor keeps far below them; they bound what a broken one can cost.
const (
	maxSplits     = 100_000
	maxPartitions = 10_000
)

// First is the plan stage: one task without input.
func (Kind) First(*jobs.Spec, []proto.Source) jobs.StagePlan {
	return jobs.StagePlan{Name: StagePlan, Inputs: [][]byte{nil}}
}

// Repeats is true of stages whose tasks write to places of their attempts' own, and make nothing visible. One reduce task
// alone commits, but no second attempt follows where there are no siblings.
func (Kind) Repeats(_ *jobs.Spec, stage string) bool {
	return stage == StageMap || stage == StageReduce
}

// Next follows the graph in the package's comment.
func (Kind) Next(spec *jobs.Spec, done jobs.StageResult) (jobs.Step, error) {
	var step jobs.Step
	var err error
	switch done.Name {
	case StagePlan:
		step, err = afterPlan(done)
	case StageMap:
		step, err = afterMap(spec, done)
	case StageReduce:
		step, err = afterReduce(done)
	case StageCommit:
		step, err = afterCommit(done)
	default:
		err = fmt.Errorf("no such stage")
	}
	if err != nil {
		return jobs.Step{}, fmt.Errorf("follow stage %q: %w", done.Name, err)
	}
	return step, nil
}

func afterPlan(done jobs.StageResult) (jobs.Step, error) {
	plan, err := readPlan(done)
	if err != nil {
		return jobs.Step{}, err
	}
	if plan.Committed != nil {
		return jobs.Step{Done: plan.Committed}, nil
	}
	inputs := make([][]byte, plan.Splits)
	for i := range inputs {
		inputs[i] = proto.Encode(&proto.AggregateMapInput{PlanURI: plan.PlanURI, Split: uint32(i)})
	}
	return stage(StageMap, inputs), nil
}

func afterMap(spec *jobs.Spec, done jobs.StageResult) (jobs.Step, error) {
	plan, err := earlierPlan(done)
	if err != nil {
		return jobs.Step{}, err
	}
	if len(done.Outputs) != int(plan.Splits) || len(done.Attempts) != int(plan.Splits) {
		return jobs.Step{}, fmt.Errorf("%d outputs and %d attempts of %d splits", len(done.Outputs), len(done.Attempts), plan.Splits)
	}
	work, err := mapped(done, int(plan.Partitions))
	if err != nil {
		return jobs.Step{}, err
	}
	ranges := work.divide(spec)
	inputs := make([][]byte, len(ranges))
	for i, r := range ranges {
		inputs[i] = proto.Encode(&proto.AggregateReduceInput{
			PlanURI: plan.PlanURI, FirstPartition: uint32(r.first), LastPartition: uint32(r.last), MapAttempts: done.Attempts,
			Commit: len(ranges) == 1,
		})
	}
	return stage(StageReduce, inputs), nil
}

func afterReduce(done jobs.StageResult) (jobs.Step, error) {
	plan, err := earlierPlan(done)
	if err != nil {
		return jobs.Step{}, err
	}
	if len(done.Outputs) == 0 || len(done.Outputs) != len(done.Attempts) {
		return jobs.Step{}, fmt.Errorf("%d outputs and %d attempts", len(done.Outputs), len(done.Attempts))
	}
	files := make([]proto.AggregateFile, len(done.Outputs))
	for i, data := range done.Outputs {
		var out proto.AggregateReduceOutput
		if err := proto.Decode(data, &out); err != nil {
			return jobs.Step{}, fmt.Errorf("read output of task %d: %w", i, err)
		}
		if len(done.Outputs) == 1 {
			return finish(out.Committed)
		}
		files[i] = proto.AggregateFile{Attempt: done.Attempts[i], Bytes: out.Bytes, Rows: out.Rows}
	}
	input := proto.Encode(&proto.AggregateCommitInput{PlanURI: plan.PlanURI, Files: files})
	return stage(StageCommit, [][]byte{input}), nil
}

func afterCommit(done jobs.StageResult) (jobs.Step, error) {
	if len(done.Outputs) != 1 {
		return jobs.Step{}, fmt.Errorf("%d outputs", len(done.Outputs))
	}
	var out proto.AggregateCommitOutput
	if err := proto.Decode(done.Outputs[0], &out); err != nil {
		return jobs.Step{}, err
	}
	return finish(out.Committed)
}

func finish(committed *proto.Output) (jobs.Step, error) {
	if committed == nil {
		return jobs.Step{}, fmt.Errorf("the committing task named no result")
	}
	return jobs.Step{Done: committed}, nil
}

func stage(name string, inputs [][]byte) jobs.Step {
	return jobs.Step{Stage: &jobs.StagePlan{Name: name, Inputs: inputs}}
}

// earlierPlan is what the plan stage of the same run put out.
func earlierPlan(done jobs.StageResult) (*proto.AggregatePlanOutput, error) {
	for _, earlier := range done.Earlier {
		if earlier.Name == StagePlan {
			return readPlan(earlier)
		}
	}
	return nil, fmt.Errorf("there was no plan")
}

func readPlan(done jobs.StageResult) (*proto.AggregatePlanOutput, error) {
	if len(done.Outputs) != 1 {
		return nil, fmt.Errorf("%d plans", len(done.Outputs))
	}
	plan := &proto.AggregatePlanOutput{}
	if err := proto.Decode(done.Outputs[0], plan); err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	switch {
	case plan.Committed != nil:
	case plan.PlanURI == "":
		return nil, fmt.Errorf("the plan has no URI")
	case plan.Splits < 1 || plan.Splits > maxSplits:
		return nil, fmt.Errorf("the plan has %d splits, want 1 to %d", plan.Splits, maxSplits)
	case plan.Partitions < 1 || plan.Partitions > maxPartitions:
		return nil, fmt.Errorf("the plan has %d partitions, want 1 to %d", plan.Partitions, maxPartitions)
	}
	return plan, nil
}
