package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidemill/tidemill/executor"
	"github.com/tidemill/tidemill/executor/describe"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	reader "github.com/tidemill/tidemill/proto/describe"
)

// runExecutor makes this test binary an executor whose aggregations do nothing.
func runExecutor() int {
	return executor.Main(process.Kinds{Jobs: kinds.All(), Work: []task.Kind{idleKind{}}})
}

// artifact is an executor file that runs this test binary. It describes itself as the version that the binary has.
func artifact() (version, content string) {
	own := describe.Own()
	binary, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return own.Version, fmt.Sprintf("#!/bin/sh\n# %s%s;\n# %s%s;\nexec '%s' \"$@\"\n",
		reader.BlockMarker, reader.JSON(proto.Description{
			OS: own.OS, Arch: own.Arch, ProtocolMin: own.ProtocolMin, ProtocolMax: own.ProtocolMax, Kinds: own.Kinds, Features: own.Features,
		}), reader.VersionMarker, own.Version, binary)
}

// splits is how many map tasks a run has.
const splits = 3

// idleKind has the stages of an aggregation and does no work. A map task ends once the file that the run's parameter
// "gate" names is there.
type idleKind struct{}

func (idleKind) Name() string { return "aggregate" }

func (idleKind) Run(ctx context.Context, work *task.Work) ([]byte, error) {
	work.Log.Info("idle", "stage", work.Data.Stage, "index", work.Data.Index)
	switch work.Data.Stage {
	case "check":
		return proto.Encode(&proto.CheckOutput{}), nil
	case "plan":
		return proto.Encode(&proto.AggregatePlanOutput{PlanURI: "file:///plan", Splits: splits, Partitions: 1}), nil
	case "map":
		return proto.Encode(&proto.AggregateMapOutput{Bytes: 1, Groups: 1}), awaitFile(ctx, work.Data.Params["gate"])
	case "reduce":
		return proto.Encode(&proto.AggregateReduceOutput{Committed: &proto.Output{
			URI: "file:///result/", Manifest: "file:///result/_manifest.json", Rows: 42, Files: 1,
		}}), nil
	}
	return nil, errors.New("no such stage")
}

func awaitFile(ctx context.Context, path string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
