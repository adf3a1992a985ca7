package aggregate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
)

const (
	planURI = "s3://results/a/_work/run/plan-1.json"
	mib     = 1 << 20
)

var result = &proto.Output{URI: "s3://results/a/data/run/run.plan.0.1/", Manifest: "s3://results/a/data/run/_manifest.json", Rows: 3, Files: 1, Bytes: 100}

// planned is a finished plan stage.
func planned(splits, partitions uint32) jobs.StageResult {
	return finished(aggregate.StagePlan, 1, proto.Encode(&proto.AggregatePlanOutput{PlanURI: planURI, Splits: splits, Partitions: partitions, Bytes: 1000}))
}

// finished is a stage whose tasks all finished in that attempt.
func finished(name string, attempt uint32, outputs ...[]byte) jobs.StageResult {
	attempts := make([]uint32, len(outputs))
	for i := range attempts {
		attempts[i] = attempt
	}
	return jobs.StageResult{Name: name, Outputs: outputs, Attempts: attempts}
}

// mapped is a finished map stage of as many splits as there are sizes.
func mapped(partitions uint32, sizes ...int64) jobs.StageResult {
	outputs := make([][]byte, len(sizes))
	for i, size := range sizes {
		outputs[i] = proto.Encode(&proto.AggregateMapOutput{Bytes: size, Groups: 10})
	}
	done := finished(aggregate.StageMap, 2, outputs...)
	done.Earlier = []jobs.StageResult{planned(uint32(len(sizes)), partitions)}
	return done
}

func next(t *testing.T, parallelism int, done jobs.StageResult) jobs.Step {
	t.Helper()
	step, err := aggregate.Kind{}.Next(&jobs.Spec{Parallelism: parallelism}, done)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func decodeAll[T any, M interface {
	*T
	proto.Unmarshaler
}](t interface {
	Helper()
	Fatal(...any)
}, inputs [][]byte) []T {
	t.Helper()
	all := make([]T, len(inputs))
	for i, data := range inputs {
		if err := proto.Decode(data, M(&all[i])); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestFirst(t *testing.T) {
	got := aggregate.Kind{}.First(&jobs.Spec{}, nil)
	if diff := cmp.Diff(jobs.StagePlan{Name: "plan", Inputs: [][]byte{nil}}, got); diff != "" {
		t.Errorf("first stage (-want +got):\n%s", diff)
	}
}

func TestOneSplit(t *testing.T) {
	step := next(t, 4, finished("plan", 1, proto.Encode(&proto.AggregatePlanOutput{Committed: result})))
	if diff := cmp.Diff(jobs.Step{Done: result}, step); diff != "" {
		t.Errorf("after plan (-want +got):\n%s", diff)
	}
}

func TestOneReduceTask(t *testing.T) {
	step := next(t, 4, planned(3, 16))
	if step.Stage == nil || step.Stage.Name != "map" || step.Stage.Resources != nil {
		t.Fatalf("after plan: got %+v", step)
	}
	wantMaps := []proto.AggregateMapInput{{PlanURI: planURI, Split: 0}, {PlanURI: planURI, Split: 1}, {PlanURI: planURI, Split: 2}}
	if diff := cmp.Diff(wantMaps, decodeAll[proto.AggregateMapInput](t, step.Stage.Inputs)); diff != "" {
		t.Errorf("map inputs (-want +got):\n%s", diff)
	}

	done := mapped(16, mib, 0, mib)
	done.Attempts = []uint32{1, 3, 2}
	step = next(t, 4, done)
	if step.Stage == nil || step.Stage.Name != "reduce" {
		t.Fatalf("after map: got %+v", step)
	}
	wantReduces := []proto.AggregateReduceInput{{PlanURI: planURI, FirstPartition: 0, LastPartition: 16, MapAttempts: []uint32{1, 3, 2}, Commit: true}}
	if diff := cmp.Diff(wantReduces, decodeAll[proto.AggregateReduceInput](t, step.Stage.Inputs)); diff != "" {
		t.Errorf("reduce inputs (-want +got):\n%s", diff)
	}

	reduced := finished("reduce", 1, proto.Encode(&proto.AggregateReduceOutput{Committed: result}))
	reduced.Earlier = []jobs.StageResult{planned(3, 16), done}
	if diff := cmp.Diff(jobs.Step{Done: result}, next(t, 4, reduced)); diff != "" {
		t.Errorf("after reduce (-want +got):\n%s", diff)
	}
}

func TestSeveralReduceTasks(t *testing.T) {
	step := next(t, 4, mapped(10, 100*mib, 60*mib))
	wantReduces := []proto.AggregateReduceInput{
		{PlanURI: planURI, FirstPartition: 0, LastPartition: 3, MapAttempts: []uint32{2, 2}},
		{PlanURI: planURI, FirstPartition: 3, LastPartition: 6, MapAttempts: []uint32{2, 2}},
		{PlanURI: planURI, FirstPartition: 6, LastPartition: 10, MapAttempts: []uint32{2, 2}},
	}
	if diff := cmp.Diff(wantReduces, decodeAll[proto.AggregateReduceInput](t, step.Stage.Inputs)); diff != "" {
		t.Errorf("reduce inputs (-want +got):\n%s", diff)
	}

	reduced := finished("reduce", 1,
		proto.Encode(&proto.AggregateReduceOutput{Bytes: 10, Rows: 1}),
		proto.Encode(&proto.AggregateReduceOutput{Bytes: 20, Rows: 2}),
		proto.Encode(&proto.AggregateReduceOutput{}))
	reduced.Attempts = []uint32{1, 4, 1}
	reduced.Earlier = []jobs.StageResult{planned(2, 10), mapped(10, 100*mib, 60*mib)}
	step = next(t, 4, reduced)
	if step.Stage == nil || step.Stage.Name != "commit" {
		t.Fatalf("after reduce: got %+v", step)
	}
	wantCommit := []proto.AggregateCommitInput{{PlanURI: planURI, Files: []proto.AggregateFile{
		{Attempt: 1, Bytes: 10, Rows: 1}, {Attempt: 4, Bytes: 20, Rows: 2}, {Attempt: 1},
	}, MapAttempts: []uint32{2, 2}}}
	if diff := cmp.Diff(wantCommit, decodeAll[proto.AggregateCommitInput](t, step.Stage.Inputs)); diff != "" {
		t.Errorf("commit input (-want +got):\n%s", diff)
	}

	committed := finished("commit", 1, proto.Encode(&proto.AggregateCommitOutput{Committed: result}))
	committed.Earlier = append(reduced.Earlier, reduced)
	if diff := cmp.Diff(jobs.Step{Done: result}, next(t, 4, committed)); diff != "" {
		t.Errorf("after commit (-want +got):\n%s", diff)
	}
}

func TestReduceTasks(t *testing.T) {
	for _, test := range []struct {
		bytes       int64
		partitions  uint32
		parallelism int
		want        int
	}{
		{0, 16, 4, 1},
		{64*mib - 1, 16, 4, 1},
		{64 * mib, 16, 4, 1},
		{64*mib + 1, 16, 4, 2},
		{2048 * mib, 16, 4, 4},   // no more than run at a time,
		{2048*mib + 1, 16, 4, 5}, // unless each took very long
		{1 << 40, 16, 100, 16},
		{1 << 40, 1, 100, 1},
		{1<<63 - 1, 10_000, 1000, 10_000},
	} {
		step := next(t, test.parallelism, mapped(test.partitions, test.bytes))
		inputs := decodeAll[proto.AggregateReduceInput](t, step.Stage.Inputs)
		if len(inputs) != test.want {
			t.Errorf("%+v: got %d tasks", test, len(inputs))
		}
		if inputs[0].Commit != (test.want == 1) {
			t.Errorf("%+v: commit is %t", test, inputs[0].Commit)
		}
	}
}

// Each partition is taken once, in order, by no more tasks than are worth it, and no task has more to do than an even share
// and half of one partition on either side, unless it has only one.
func TestPartitionsAreCovered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := 1 << rapid.IntRange(0, 8).Draw(t, "partitions")
		done := mapped(uint32(partitions))
		done.Earlier = []jobs.StageResult{planned(uint32(rapid.IntRange(1, 10).Draw(t, "splits")), uint32(partitions))}
		want := make([]float64, partitions)
		total, largest := 0.0, 0.0
		for range decodeAll[proto.AggregatePlanOutput](t, done.Earlier[0].Outputs)[0].Splits {
			n := 1 << rapid.IntRange(0, 8).Filter(func(n int) bool { return 1<<n <= partitions }).Draw(t, "parts")
			sizes := rapid.SliceOfN(rapid.Int64Range(0, 1<<rapid.IntRange(1, 40).Draw(t, "large")), n, n).Draw(t, "sizes")
			for i := range want {
				want[i] += float64(sizes[i*n/partitions]) / float64(partitions/n)
			}
			done.Outputs = append(done.Outputs, proto.Encode(&proto.AggregateMapOutput{Bytes: 1, PartitionBytes: sizes}))
			done.Attempts = append(done.Attempts, 1)
		}
		for _, size := range want {
			total, largest = total+size, max(largest, size)
		}
		memory := rapid.Int64Range(64*mib, 64*1024*mib).Draw(t, "memory")
		parallelism := rapid.IntRange(1, 1000).Draw(t, "parallelism")
		step, err := aggregate.Kind{}.Next(&jobs.Spec{Parallelism: parallelism, Resources: jobs.Resources{Memory: memory}}, done)
		if err != nil {
			t.Fatal(err)
		}
		inputs := decodeAll[proto.AggregateReduceInput](t, step.Stage.Inputs)
		if worth := int(total/(16*mib)) + 2; len(inputs) > max(1, worth) {
			t.Fatalf("got %d tasks for %.0f bytes", len(inputs), total)
		}
		last := uint32(0)
		for i, in := range inputs {
			if in.FirstPartition != last || in.LastPartition <= last {
				t.Fatalf("task %d of %d takes [%d, %d)", i, len(inputs), in.FirstPartition, in.LastPartition)
			}
			last = in.LastPartition
			size := 0.0
			for _, s := range want[in.FirstPartition:in.LastPartition] {
				size += s
			}
			if in.LastPartition-in.FirstPartition > 1 && size > total/float64(len(inputs))+largest+float64(2*partitions) {
				t.Fatalf("task %d of %d has %.0f of %.0f bytes", i, len(inputs), size, total)
			}
		}
		if int(last) != partitions {
			t.Fatalf("%d of %d partitions are taken", last, partitions)
		}
	})
}

// A partition that is far larger than the others is a task of its own, and the others are shared evenly.
func TestSkewedPartitions(t *testing.T) {
	sizes := make([]int64, 16)
	for i := range sizes {
		sizes[i] = 3 * mib
	}
	sizes[5] = 400 * mib
	done := finished(aggregate.StageMap, 1, proto.Encode(&proto.AggregateMapOutput{Bytes: 1, PartitionBytes: sizes}))
	done.Earlier = []jobs.StageResult{planned(1, 16)}
	step := next(t, 4, done)
	var got []string
	for _, in := range decodeAll[proto.AggregateReduceInput](t, step.Stage.Inputs) {
		got = append(got, fmt.Sprintf("%d-%d", in.FirstPartition, in.LastPartition))
	}
	if diff := cmp.Diff([]string{"0-5", "5-6", "6-11", "11-16"}, got); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
}

func TestNextRefuses(t *testing.T) {
	garbage := []byte{0xff, 0xff, 0xff}
	withPlan := func(done jobs.StageResult) jobs.StageResult {
		done.Earlier = []jobs.StageResult{planned(1, 1)}
		return done
	}
	plan := func(out proto.AggregatePlanOutput) jobs.StageResult { return finished("plan", 1, proto.Encode(&out)) }
	short := mapped(1, 1, 1)
	short.Attempts = short.Attempts[:1]
	for _, test := range []struct {
		name string
		done jobs.StageResult
		want string
	}{
		{"stage", finished("sort", 1), `follow stage "sort": no such stage`},
		{"no plan output", finished("plan", 1), "0 plans"},
		{"garbage plan", finished("plan", 1, garbage), "decode *proto.AggregatePlanOutput"},
		{"no URI", plan(proto.AggregatePlanOutput{Splits: 1, Partitions: 1}), "the plan has no URI"},
		{"no splits", plan(proto.AggregatePlanOutput{PlanURI: planURI, Partitions: 1}), "the plan has 0 splits"},
		{"too many splits", plan(proto.AggregatePlanOutput{PlanURI: planURI, Splits: 1 << 31, Partitions: 1}), "want 1 to 100000"},
		{"no partitions", plan(proto.AggregatePlanOutput{PlanURI: planURI, Splits: 1}), "the plan has 0 partitions"},
		{"too many partitions", plan(proto.AggregatePlanOutput{PlanURI: planURI, Splits: 1, Partitions: 1 << 31}), "want 1 to 10000"},
		{"map without plan", finished("map", 1, nil), "there was no plan"},
		{"maps missing", withPlan(finished("map", 1)), "0 outputs and 0 attempts of 1 splits"},
		{"attempts missing", short, "2 outputs and 1 attempts of 2 splits"},
		{"garbage map", withPlan(finished("map", 1, garbage)), "read output of split 0"},
		{"negative map", mapped(1, -1), "-1 bytes"},
		{"no reduce", withPlan(finished("reduce", 1)), "0 outputs"},
		{"garbage reduce", withPlan(finished("reduce", 1, garbage)), "read output of task 0"},
		{"reduce without commit", withPlan(finished("reduce", 1, nil)), "the committing task named no result"},
		{"no commit", withPlan(finished("commit", 1)), "0 outputs"},
		{"garbage commit", withPlan(finished("commit", 1, garbage)), "decode *proto.AggregateCommitOutput"},
		{"commit without result", withPlan(finished("commit", 1, nil)), "the committing task named no result"},
	} {
		t.Run(test.name, func(t *testing.T) {
			step, err := aggregate.Kind{}.Next(&jobs.Spec{Parallelism: 4}, test.done)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "follow stage ") {
				t.Errorf("got step %+v and error %v, want %q", step, err, test.want)
			}
		})
	}
}

// Next never panics, and says either a stage, a result or an error.
func FuzzNext(f *testing.F) {
	plan := proto.Encode(&proto.AggregatePlanOutput{PlanURI: planURI, Splits: 2, Partitions: 4})
	f.Add("plan", plan, []byte(nil), uint8(0))
	f.Add("plan", proto.Encode(&proto.AggregatePlanOutput{Committed: result}), []byte(nil), uint8(0))
	f.Add("map", proto.Encode(&proto.AggregateMapOutput{Bytes: 1 << 40, Groups: 1}), plan, uint8(2))
	f.Add("reduce", proto.Encode(&proto.AggregateReduceOutput{Bytes: 1, Rows: 1}), plan, uint8(2))
	f.Add("reduce", proto.Encode(&proto.AggregateReduceOutput{Committed: result}), plan, uint8(1))
	f.Add("commit", proto.Encode(&proto.AggregateCommitOutput{Committed: result}), plan, uint8(1))
	f.Fuzz(func(t *testing.T, name string, output, plan []byte, tasks uint8) {
		done := jobs.StageResult{Name: name, Earlier: []jobs.StageResult{finished("plan", 1, plan)}}
		for i := range tasks {
			done.Outputs, done.Attempts = append(done.Outputs, output), append(done.Attempts, uint32(i))
		}
		step, err := aggregate.Kind{}.Next(&jobs.Spec{Parallelism: 4}, done)
		answers := 0
		for _, given := range []bool{step.Stage != nil, step.Done != nil, err != nil} {
			if given {
				answers++
			}
		}
		if answers != 1 || step.Stage != nil && len(step.Stage.Inputs) == 0 {
			t.Errorf("got %+v and error %v", step, err)
		}
	})
}
