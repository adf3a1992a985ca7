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
		return out, t.placed(err)
	case aggregate.StageMap:
		return t.runMap(ctx)
	case aggregate.StageReduce:
		return t.runReduce(ctx)
	case aggregate.StageCommit:
		return t.runCommit(ctx)
	case jobs.StageClean:
		return t.runClean(ctx)
	}
	return nil, task.Final("", "run stage %q: there is no such stage of kind aggregate", work.Data.Stage)
}

// published is the output of a stage that commits if an earlier attempt has done so and its answer was lost: what that
// attempt read may be gone since. It is nil if there is something to do.
func (t *stage) published(ctx context.Context) ([]byte, error) {
	if t.Data.Attempt < 2 {
		return nil, nil
	}
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
	out, err := t.output.Published(ctx, t.Data.Run)
	if out == nil || err != nil {
		return nil, t.placed(refused(tooLate(err)))
	}
	return proto.Encode(wrap(out)), nil
}

// stage is one task at work, with the places that its job names.
type stage struct {
	*task.Work
	section *aggregate.Section
	store   storage.Store // of the output
	output  *commit.Output
	parquet *parquetFiles // what the plan has seen of them; nil for other formats and tasks
	badRows *badRows
	leftOut int64 // bad rows of the whole run, in the task that commits
}

func newStage(ctx context.Context, work *task.Work) (*stage, error) {
	section, ok := work.Spec.Section.(*aggregate.Section)
	if !ok {
		return nil, fmt.Errorf("run stage %q: the spec's section is a %T", work.Data.Stage, work.Spec.Section)
	}
	t := &stage{Work: work, section: section}
	t.badRows = &badRows{spec: section.Input.BadRows, unit: "line", path: filepath.Join(work.Dir, "bad-rows")}
	if section.Input.Format == "parquet" {
		t.badRows.unit = "row"
	}
	store, uri, err := t.open(ctx, section.Output.URI, section.Output.Connection, "/aggregate/output/")
	if err != nil {
		return nil, err
	}
	workStore, workURI, err := t.open(ctx, section.WorkURI, section.Output.Connection, "/aggregate/output/")
	if err != nil {
		return nil, err
	}
	t.store = store
	t.output = &commit.Output{Store: store, URI: uri, Work: workStore, WorkURI: workURI, Log: work.Log}
	return t, nil
}

// open resolves a connection for a place that the spec names.
func (t *stage) open(ctx context.Context, text, connection, pointer string) (storage.Store, storage.URI, error) {
	uri, err := storage.ParseURI(text)
	if err != nil {
		return nil, uri, task.Final(pointer+"uri", "%w", err)
	}
	store, err := t.Connections.Open(ctx, connection, uri)
	if errors.Is(err, storage.ErrInvalid) {
		return nil, uri, task.Final(pointer+"connection", "%w", err)
	}
	return store, uri, err
}

// placed says in terms of the spec that there is no bucket to write to. The input's has been found before.
func (t *stage) placed(err error) error {
	var said *task.Failure
	if !errors.Is(err, storage.ErrNoBucket) || errors.As(err, &said) {
		return err
	}
	places := t.section.Output.URI
	if t.output.WorkURI.Bucket != t.output.URI.Bucket {
		places += " or " + t.section.WorkURI
	}
	failure := task.Final("/aggregate/output/uri", "the bucket of %s does not exist", places)
	failure.Kind, failure.Err = "not_found", err
	return failure
}

// openInput reaches the input of the spec.
func (t *stage) openInput(ctx context.Context) (storage.Store, storage.URI, error) {
	return t.open(ctx, t.section.Input.Prefix(), t.section.Input.Connection, "/aggregate/input/")
}

// prepare opens what map and reduce tasks go by.
func (t *stage) prepare(ctx context.Context, planURI string) (*plan, *engine.Session, *shape, error) {
	p, err := t.readPlan(ctx, planURI)
	if err != nil {
		return nil, nil, nil, err
	}
	if t.Data.Stage == aggregate.StageReduce && slices.ContainsFunc(p.Args, isFloat) {
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

// attempt names this attempt among all of the run's: the directory of what it writes.
func (t *stage) attempt() string {
	return fmt.Sprintf("%s.%d.%d", t.Data.Stage, t.Data.Index, t.Data.Attempt)
}

// workURI is an object or prefix in the run's work area.
func (t *stage) workURI(elements ...string) storage.URI {
	return t.output.WorkURI.Join(append([]string{t.Data.Run}, elements...)...)
}

func mapName(split int, attempt uint32) string {
	return strconv.Itoa(split) + "-" + strconv.Itoa(int(attempt))
}

// readAhead keeps a small share of the task's memory for what is fetched ahead.
func (t *stage) readAhead() storage.ReadAhead {
	return storage.ReadAhead{Chunk: min(max(t.Memory/64, 256<<10), 8<<20), Parallel: 4}
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

// decodeInput reads the stage's own message.
func decodeInput(work *task.Work, m proto.Unmarshaler) error {
	if err := proto.Decode(work.Data.Input, m); err != nil {
		return task.Final("", "read input of stage %q: %w", work.Data.Stage, err)
	}
	return nil
}
