package aggregate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// New returns the work of kind "aggregate". It has no state.
func New() task.Kind { return kind{smallestSplit: input.SmallestSplit} }

type kind struct {
	smallestSplit int64 // bytes; tests cut finer
}

// Name is "aggregate".
func (kind) Name() string { return aggregate.Name }

// Run does one stage.
func (k kind) Run(ctx context.Context, work *task.Work) ([]byte, error) {
	if work.Data.Stage == jobs.StageCheck {
		return runCheck(ctx, work)
	}
	t, err := newStage(ctx, work)
	if err != nil {
		return nil, err
	}
	if done, err := t.published(ctx); done != nil || err != nil {
		return done, err
	}
	switch work.Data.Stage {
	case aggregate.StagePlan:
		out, err := t.runPlan(ctx, k.smallestSplit)
		return out, lake.Placed(err, t.output, pointerOutput)
	case aggregate.StageMap:
		return t.runMap(ctx)
	case aggregate.StageReduce:
		return t.runReduce(ctx)
	case aggregate.StageCommit:
		return t.runCommit(ctx)
	case jobs.StageClean:
		return lake.Clean(ctx, t.output, t.Data)
	}
	return nil, task.Final("", "run stage %q: there is no such stage of kind aggregate", work.Data.Stage)
}

// published is the output of a stage that commits if an earlier attempt has done so and its answer was lost: what that
// attempt read may be gone since. It is nil if there is something to do.
func (t *stage) published(ctx context.Context) ([]byte, error) {
	var wrap func(*proto.Output) proto.Marshaler
	switch t.Data.Stage {
	case aggregate.StagePlan:
		wrap = func(out *proto.Output) proto.Marshaler {
			return &proto.AggregatePlanOutput{Committed: out, Splits: 1, Partitions: 1}
		}
	case aggregate.StageReduce:
		wrap = func(out *proto.Output) proto.Marshaler { return &proto.AggregateReduceOutput{Committed: out} }
	case aggregate.StageCommit:
		wrap = func(out *proto.Output) proto.Marshaler { return &proto.AggregateCommitOutput{Committed: out} }
	default:
		return nil, nil
	}
	out, err := lake.Published(ctx, t.output, t.Data, pointerOutput)
	if out == nil || err != nil {
		return nil, err
	}
	return proto.Encode(wrap(out)), nil
}

// stage is one task at work, with the places that its job names.
type stage struct {
	*task.Work
	section *aggregate.Section
	store   storage.Store // of the output
	output  *commit.Output
	source  *source.Source // what the plan has looked at; nil in other tasks
	badRows *source.BadRows
	leftOut int64 // bad rows of the whole run, in the task that commits
}

func newStage(ctx context.Context, work *task.Work) (*stage, error) {
	section, ok := work.Spec.Section.(*aggregate.Section)
	if !ok {
		return nil, fmt.Errorf("run stage %q: the spec's section is a %T", work.Data.Stage, work.Spec.Section)
	}
	out, err := lake.OpenOutput(ctx, work, section.Output.URI, section.WorkURI, section.Output.Connection, pointerOutput)
	if err != nil {
		return nil, err
	}
	badRows := source.NewBadRows(&section.Input, pointerInput, filepath.Join(work.Dir, "bad-rows"))
	return &stage{Work: work, section: section, store: out.Store, output: out, badRows: badRows}, nil
}

// openInput reaches the input of the spec.
func (t *stage) openInput(ctx context.Context) (storage.Store, storage.URI, error) {
	return lake.Open(ctx, t.Work, t.section.Input.Prefix(), t.section.Input.Connection, pointerInput)
}

// prepare opens what map and reduce tasks go by.
func (t *stage) prepare(ctx context.Context, planURI string) (*plan, *engine.Session, *shape, error) {
	p, err := t.readPlan(ctx, planURI)
	if err != nil {
		return nil, nil, nil, err
	}
	if t.Data.Stage == aggregate.StageReduce && slices.ContainsFunc(p.Args, engine.IsFloat) {
		t.Threads = 1 // partial sums are added in the order of the splits
	}
	session, err := t.startEngine(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	sh, err := newShape(ctx, session, t.section)
	if err == nil {
		err = sh.setTypes(p)
	}
	if err != nil {
		closing(session, &err)
		return nil, nil, nil, err
	}
	return p, session, sh, nil
}

// attempt names this attempt among all of the run's.
func (t *stage) attempt() string { return lake.Attempt(t.Data) }

// workURI is an object or prefix in the run's work area.
func (t *stage) workURI(elements ...string) storage.URI {
	return t.output.WorkURI.Join(append([]string{t.Data.Run}, elements...)...)
}

// footers are fewer in tests.
var footers = source.UsualFooters

// newSource opens the input for what an expression of sh uses.
func (t *stage) newSource(session *engine.Session, sh *shape) *source.Source {
	config := source.Config{
		Input: t.section.Input, Pointer: pointerInput, Session: session, Dir: t.Dir, Memory: t.Memory, Disk: t.Data.Disk,
		Log: t.Log, Report: t.report, BadRows: t.badRows, Footers: footers, Uses: sh.uses, Names: sh.names(),
	}
	if sh.where != nil {
		config.Where = sh.where.parsed
	}
	return source.New(config)
}

func mapName(split int, attempt uint32) string {
	return strconv.Itoa(split) + "-" + strconv.Itoa(int(attempt))
}

// startEngine starts the engine within what the task may use.
func (t *stage) startEngine(ctx context.Context) (*engine.Session, error) {
	session, err := engine.Open(ctx, engine.Config{Dir: t.Dir, Memory: t.Memory, Disk: t.Data.Disk, Threads: t.Threads})
	if err != nil {
		return nil, err
	}
	if err := session.Register(functions()...); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return session, nil
}

// report says how far the task is, between from and to of the whole.
func (t *stage) report(phase string, fraction float64) {
	if t.Report != nil {
		t.Report(task.Progress{Fraction: fraction, Phase: phase})
	}
}
