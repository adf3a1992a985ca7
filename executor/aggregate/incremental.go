package aggregate

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/executor/aggregate/segment"
	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// An incremental run (new_since) reads only files that the result before has not: that result's manifest names a list of
// the files that have been read, and the partial aggregates of all of them, in the form of a map task's output. Reduce
// tasks merge these first, as if another map task had made them, and write what they have merged for the next run.
//
// So a result is always that of one run over exactly the files of its list, whatever runs there were, at whatever time,
// and whichever of them died.

// increment is what an incremental run goes by, in its plan.
type increment struct {
	Base        string   `json:"base,omitempty"`     // the run on whose result this one builds; empty: it reads everything
	Partials    []string `json:"partials,omitempty"` // URIs of that result's partial aggregates
	Inputs      string   `json:"inputs"`             // the URI of the list of files, those of this run among them, in the work area
	Fingerprint string   `json:"fingerprint"`        // of all that partial aggregates depend on
}

// planIncrement plans an incremental run. It always has a map and a reduce stage.
func (t *stage) planIncrement(ctx context.Context, session *engine.Session, sh *shape, set *input.Set, smallestSplit int64) ([]byte, error) {
	base, err := t.base(ctx)
	if err != nil {
		return nil, err
	}
	fresh, err := t.since(ctx, base, set)
	if err != nil {
		return nil, err
	}
	if base != nil && len(fresh.Files) == 0 {
		finish, err := t.finishing()
		if err != nil {
			return nil, err
		}
		if base.State.Finish == finish {
			t.report("nothing new", 1)
			return proto.Encode(&proto.AggregatePlanOutput{Committed: t.output.Describe(base), Splits: 1, Partitions: 1}), nil
		}
	}
	look := fresh
	if len(fresh.Files) == 0 {
		look = set
	}
	p, fingerprint, err := t.planFiles(ctx, session, sh, fresh, look, smallestSplit)
	if base != nil && (unfit(err) || err == nil && fingerprint != base.State.Fingerprint) {
		// By themselves the new files may look otherwise than beside the others: a column is in none of them, or empty.
		p, fingerprint, err = t.planAgain(ctx, session, fresh, set, smallestSplit)
	}
	if base != nil && (unfit(err) || err == nil && fingerprint != base.State.Fingerprint) {
		t.readsEverything(base, "with the new files, columns have other types, or the engine divides groups in another way")
		base = nil
		if fresh, err = t.since(ctx, nil, set); err != nil {
			return nil, err
		}
		p, fingerprint, err = t.planAgain(ctx, session, fresh, fresh, smallestSplit)
	}
	if err != nil {
		return nil, err
	}
	p.Increment = &increment{Inputs: t.inputsURI().String(), Fingerprint: fingerprint}
	out := &proto.AggregatePlanOutput{Splits: uint32(len(p.Splits)), Partitions: uint32(p.Partitions), Bytes: fresh.Bytes()}
	if base != nil {
		p.Increment.Base, p.Increment.Partials = base.Run, base.State.Partials
		if out.EarlierBytes, err = t.earlierBytes(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := t.uploadInputs(ctx); err != nil {
		return nil, err
	}
	if out.PlanURI, err = t.writePlan(ctx, p); err != nil {
		return nil, err
	}
	t.report("planned", 1)
	return proto.Encode(out), nil
}

// base is the result on which the run can build; nil if it has to read everything.
func (t *stage) base(ctx context.Context) (*commit.Manifest, error) {
	base, err := t.output.Latest(ctx)
	if err != nil || base == nil {
		return nil, err
	}
	want, err := t.meaning()
	switch {
	case err != nil:
		return nil, err
	case base.State == nil:
		t.readsEverything(base, "that run was not incremental")
		return nil, nil
	case len(base.State.Fingerprint) < len(want) || base.State.Fingerprint[:len(want)] != want:
		t.readsEverything(base, "the job has changed since")
		return nil, nil
	}
	return base, nil
}

func (t *stage) readsEverything(base *commit.Manifest, because string) {
	t.Log.Warn("the run cannot build on the result before and reads all files", "before", base.Run, "because", because)
}

// meaning is a fingerprint of what the spec says about partial aggregates.
func (t *stage) meaning() (string, error) {
	in := t.section.Input
	in.Connection, in.NewSince, in.BadRows, in.SplitSize = "", "", aggregate.BadRows{}, 0
	return digest(in, t.section.Where, t.section.Time, t.section.Window, t.section.GroupBy, t.section.GroupingSets, t.section.Measures)
}

func digest(of ...any) (string, error) {
	data, err := json.Marshal(of)
	if err != nil {
		return "", fmt.Errorf("compute fingerprint: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

// finishing is a fingerprint of what the spec says about the result, beside what its partial aggregates depend on.
func (t *stage) finishing() (string, error) {
	out := t.section.Output
	out.URI, out.Connection, out.Mode = "", "", ""
	return digest(t.section.Having, t.section.OrderBy, t.section.Limit, out)
}

// unfit says that some files cannot be read as the spec wants them to be.
func unfit(err error) bool {
	var failure *task.Failure
	return errors.As(err, &failure) && failure.Class == proto.CLASS_FINAL
}

// planFiles plans for some files, by the columns of those in look. It gives the fingerprint of the partial aggregates that
// will come out of them: what the spec says, the types that were found, what measures are made of, and how the engine
// divides groups into partitions.
func (t *stage) planFiles(ctx context.Context, session *engine.Session, sh *shape, set, look *input.Set, smallestSplit int64) (*plan, string, error) {
	p, err := t.plan(ctx, session, sh, set, look, smallestSplit)
	if err != nil {
		return nil, "", err
	}
	p.Partitions = 1
	if len(sh.exchangeKeys()) > 0 {
		p.Partitions = mostPartitions // the same in all runs
	}
	var hashes []string
	err = session.Query(ctx, "SELECT CAST(hash(hash(1, 'a', 0.5::DOUBLE, DATE '2020-01-01', NULL)) AS VARCHAR)", func(row []driver.Value) error {
		hashes = append(hashes, fmt.Sprint(row[0]))
		return nil
	})
	if err != nil {
		return nil, "", lake.Failure("compute fingerprint", err)
	}
	meaning, err := t.meaning()
	if err != nil {
		return nil, "", err
	}
	types := make([]string, len(p.Columns)) // on which the values of expressions depend, whatever types these have
	for i, c := range p.Columns {
		types[i] = strings.ToLower(c.Name) + " " + c.Type
	}
	slices.Sort(types)
	form, err := digest(p.Keys, p.Args, p.Time, types, fmt.Sprintf("%+v", sh.parts), p.Partitions, hashes)
	return p, meaning + "-" + form, err
}

// planAgain is planFiles in a session that has planned before.
func (t *stage) planAgain(ctx context.Context, session *engine.Session, set, look *input.Set, smallestSplit int64) (*plan, string, error) {
	if err := dropTables(ctx, session); err != nil {
		return nil, "", lake.Failure("plan again", err)
	}
	sh, err := newShape(ctx, session, t.section)
	if err != nil {
		return nil, "", err
	}
	return t.planFiles(ctx, session, sh, set, look, smallestSplit)
}

func (t *stage) inputsPath() string { return filepath.Join(t.Dir, "inputs") }

func (t *stage) inputsURI() storage.URI {
	return t.workURI(fmt.Sprintf("inputs-%d.jsonl.zst", t.Data.Attempt))
}

// since gives the files that base, which may be nil, has not read, and writes the list of all to inputsPath.
func (t *stage) since(ctx context.Context, base *commit.Manifest, set *input.Set) (_ *input.Set, err error) {
	var before io.Reader
	if base != nil {
		at, err := storage.ParseURI(base.State.Inputs)
		if err != nil {
			return nil, fmt.Errorf("read list of input files: %w", err)
		}
		object, err := t.store.Stat(ctx, at.Key)
		if err != nil {
			return nil, overtaken(fmt.Errorf("read list of input files: %w", err))
		}
		reader := storage.NewReader(ctx, t.store, object, storage.Range{}, source.ReadAhead(t.Memory))
		defer closing(reader, &err)
		before = reader
	}
	list, err := os.Create(t.inputsPath())
	if err != nil {
		return nil, fmt.Errorf("write list of input files: %w", err)
	}
	defer closing(list, &err)
	return set.Since(before, list)
}

func (t *stage) uploadInputs(ctx context.Context) error {
	info, err := os.Stat(t.inputsPath())
	if err != nil {
		return fmt.Errorf("look at list of input files: %w", err)
	}
	return lake.Upload(ctx, t.output.Work, t.inputsURI().Key, t.inputsPath(), info.Size())
}

// overtaken makes an error that says that the result before is gone one that a new plan may mend.
func overtaken(err error) error {
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	failure := task.Passing("three other runs have published results since this one looked: %w", err)
	failure.Kind = "conflict"
	return failure
}

// baseGone makes an error of a reduce task a final one if it comes from this: what its plan builds on is not kept any more.
func (t *stage) baseGone(ctx context.Context, p *plan, err error) error {
	if !errors.Is(err, storage.ErrNotFound) || p.Increment == nil {
		return err
	}
	places, placesErr := t.earlier(p)
	if placesErr != nil {
		return placesErr
	}
	for _, at := range places {
		if _, statErr := at.store.Stat(ctx, at.key); errors.Is(statErr, storage.ErrNotFound) {
			failure := task.Final("/aggregate/input/new_since", "three other runs have published results since this one planned to build on that of run %q; start it again: %w", p.Increment.Base, err)
			failure.Kind = "conflict"
			return failure
		}
	}
	return err
}

// earlierBytes is how large the partial aggregates on which a run builds are, as for map outputs.
func (t *stage) earlierBytes(ctx context.Context, p *plan) ([]int64, error) {
	var all segment.Index
	places, err := t.earlier(p)
	if err != nil {
		return nil, err
	}
	for _, at := range places {
		object, err := segment.Open(ctx, at.store, at.key)
		if err != nil {
			return nil, overtaken(err)
		}
		all = append(all, object.Index...)
	}
	return partitionBytes(all, p.Partitions), nil
}

// place is an object and what reaches it.
type place struct {
	store storage.Store
	key   string
}

// earlier are the partial aggregates on which a run builds.
func (t *stage) earlier(p *plan) ([]place, error) {
	if p.Increment == nil {
		return nil, nil
	}
	var all []place
	for _, text := range p.Increment.Partials {
		at, err := storage.ParseURI(text)
		if err != nil {
			return nil, fmt.Errorf("read plan: %w", err)
		}
		all = append(all, place{t.store, at.Key})
	}
	return all, nil
}

// stateName is the folder of what a result leaves for the next run, and the name of one reduce task's share of it.
const stateName = "_state"

// stateURI is an object of this attempt's.
func (t *stage) stateURI(name string) storage.URI {
	return t.output.FileURI(t.Data.Run, t.attempt(), stateName+"/"+name)
}

// leaveState stores what the only reduce task has merged, and the list of files, for the next run.
func (t *stage) leaveState(ctx context.Context, p *plan, merged *outgoing) (*commit.State, error) {
	if merged == nil {
		return nil, nil
	}
	to := t.stateURI("partials-00000")
	if _, err := merged.put(ctx, t.store, to.Key); err != nil {
		return nil, err
	}
	return t.state(ctx, p, []string{to.String()})
}

// gatherState copies what several reduce tasks have merged.
func (t *stage) gatherState(ctx context.Context, p *plan, reduced []proto.AggregateFile) (*commit.State, error) {
	if p.Increment == nil {
		return nil, nil
	}
	var partials []string
	for i, task := range reduced {
		to := t.stateURI(fmt.Sprintf("partials-%05d", i))
		if err := t.moveState(ctx, t.reduceURI(i, task.Attempt).Join(stateName), to); err != nil {
			return nil, err
		}
		partials = append(partials, to.String())
	}
	return t.state(ctx, p, partials)
}

func (t *stage) state(ctx context.Context, p *plan, partials []string) (*commit.State, error) {
	inputs, err := storage.ParseURI(p.Increment.Inputs)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	to := t.stateURI("inputs.jsonl.zst")
	if err := t.moveState(ctx, inputs, to); err != nil {
		return nil, err
	}
	finish, err := t.finishing()
	if err != nil {
		return nil, err
	}
	return &commit.State{Base: p.Increment.Base, Fingerprint: p.Increment.Fingerprint, Finish: finish, Inputs: to.String(), Partials: partials}, nil
}

func (t *stage) moveState(ctx context.Context, from, to storage.URI) error {
	object, err := t.output.Work.Stat(ctx, from.Key)
	if err != nil {
		return fmt.Errorf("copy what the next run goes on with: %w", err)
	}
	return t.move(ctx, from, to, 0, object.Size)
}
