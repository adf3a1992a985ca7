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
	if len(plan.EarlierBytes) > 0 {
		if err := work.add(plan.EarlierBytes); err != nil {
			return jobs.Step{}, fmt.Errorf("read plan: earlier partial aggregates: %w", err)
		}
	}
	ranges := work.divide(spec)
	bad, err := badRows(done)
	if err != nil {
		return jobs.Step{}, err
	}
	inputs := make([][]byte, len(ranges))
	for i, r := range ranges {
		inputs[i] = proto.Encode(&proto.AggregateReduceInput{
			PlanURI: plan.PlanURI, FirstPartition: uint32(r.first), LastPartition: uint32(r.last), MapAttempts: done.Attempts,
			Commit: len(ranges) == 1, BadRows: bad,
		})
	}
	return stage(StageReduce, inputs), nil
}

// badRows is how many rows map tasks left out. The reduce tasks fail if it is more than the spec allows.
func badRows(mapped jobs.StageResult) (sum int64, err error) {
	for i, data := range mapped.Outputs {
		var out proto.AggregateMapOutput
		if err := proto.Decode(data, &out); err != nil {
			return 0, fmt.Errorf("read output of split %d: %w", i, err)
		}
		if out.BadRows < 0 || sum+out.BadRows < 0 {
			return 0, fmt.Errorf("read output of split %d: %d bad rows", i, out.BadRows)
		}
		sum += out.BadRows
	}
	return sum, nil
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
	mapped, err := earlier(done, StageMap)
	if err != nil {
		return jobs.Step{}, err
	}
	bad, err := badRows(mapped)
	if err != nil {
		return jobs.Step{}, err
	}
	input := proto.Encode(&proto.AggregateCommitInput{PlanURI: plan.PlanURI, Files: files, MapAttempts: mapped.Attempts, BadRows: bad})
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
	plan, err := earlier(done, StagePlan)
	if err != nil {
		return nil, err
	}
	return readPlan(plan)
}

// earlier is a stage of the same run that came before.
func earlier(done jobs.StageResult, name string) (jobs.StageResult, error) {
	for _, stage := range done.Earlier {
		if stage.Name == name {
			return stage, nil
		}
	}
	return jobs.StageResult{}, fmt.Errorf("there was no %s", name)
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
