package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"time"

	"github.com/tidemill/tidemill/executor"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
)

// The behaviour of this build: see the package's comment. The linker sets them.
var fail, sleep, rows string

func main() {
	b, err := readBehaviour(fail, sleep, rows)
	if err != nil {
		fmt.Fprintln(os.Stderr, "shortrun:", err)
		os.Exit(1)
	}
	os.Exit(executor.Main(process.Kinds{Jobs: kinds.All(), Work: []task.Kind{b}}))
}

// behaviour is the work of kind aggregate that does none.
type behaviour struct {
	fail  uint64 // percent of runs
	sleep time.Duration
	rows  int64
}

var _ task.Kind = behaviour{}

func readBehaviour(fail, sleep, rows string) (b behaviour, err error) {
	if fail != "" {
		if b.fail, err = strconv.ParseUint(fail, 10, 64); err != nil || b.fail > 100 {
			return b, fmt.Errorf("main.fail is %q, want 0 to 100", fail)
		}
	}
	if sleep != "" {
		if b.sleep, err = time.ParseDuration(sleep); err != nil || b.sleep < 0 {
			return b, fmt.Errorf("main.sleep is %q, want a duration", sleep)
		}
	}
	if rows != "" {
		if b.rows, err = strconv.ParseInt(rows, 10, 64); err != nil || b.rows < 0 {
			return b, fmt.Errorf("main.rows is %q, want a number", rows)
		}
	}
	return b, nil
}

// Name is "aggregate": the scheduler's stages of that kind are used.
func (behaviour) Name() string { return aggregate.Name }

// Run does one stage. The plan stage says that it did everything.
func (b behaviour) Run(ctx context.Context, work *task.Work) ([]byte, error) {
	switch work.Data.Stage {
	case jobs.StageCheck:
		return proto.Encode(&proto.CheckOutput{}), nil
	case jobs.StageClean:
		return proto.Encode(&proto.CleanOutput{}), nil
	case aggregate.StagePlan:
		return b.plan(ctx, work)
	}
	return nil, task.Final("", "run stage %q: runs of this executor have only stage %s", work.Data.Stage, aggregate.StagePlan)
}

func (b behaviour) plan(ctx context.Context, work *task.Work) ([]byte, error) {
	if err := b.wait(ctx, work.Data.Params); err != nil {
		return nil, err
	}
	if fails(work.Data.Run, b.fail) {
		return nil, task.Final("", "this executor fails %d %% of its runs, and this is one of them", b.fail)
	}
	work.Report(task.Progress{Fraction: 1, Phase: "done", Rows: b.rows})
	section, ok := work.Spec.Section.(*aggregate.Section)
	if !ok {
		return nil, fmt.Errorf("run stage %q: the spec's section is a %T", work.Data.Stage, work.Spec.Section)
	}
	uri := section.Output.URI + "data/" + work.Data.Run + "/"
	return proto.Encode(&proto.AggregatePlanOutput{
		Committed: &proto.Output{URI: uri, Manifest: uri + "_manifest.json", Rows: b.rows},
		Splits:    1, Partitions: 1,
	}), nil
}

// fails says whether a run is one of so many in a hundred.
func fails(run string, percent uint64) bool {
	h := fnv.New64a()
	h.Write([]byte(run)) //nolint:errcheck // it never fails
	return h.Sum64()%100 < percent
}

func (b behaviour) wait(ctx context.Context, params map[string]string) error {
	duration := b.sleep
	if text := params["sleep"]; text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			return task.Final("", "parameter sleep: %w", err)
		}
	}
	select {
	case <-time.After(duration):
	case <-ctx.Done():
		return ctx.Err()
	}
	return awaitFile(ctx, params["until"])
}

// awaitFile returns when the file is there; at once without a name.
func awaitFile(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(name); err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
