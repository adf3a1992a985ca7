package commit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemill/tidemill/storage"
)

// enter makes sure that _latest.json knows what the run has written, once and for all, and returns the result that it
// became. m is what the run's commit point holds. The error matches ErrExists or ErrIncompatible if the run can never be
// entered: all attempts are told the same.
func (o *Output) enter(ctx context.Context, m *Manifest) (Result, error) {
	var last error
	for range tries {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		current, condition, err := o.readLatest(ctx, o.latestKey())
		if err != nil {
			return Result{}, err
		}
		if known := current.find(m.Run); known != nil {
			return *known, nil
		}
		// Looked for after _latest.json was read: had the run been entered and pushed out since, the write would fail.
		if known, err := o.entered(ctx, m); known != nil || err != nil {
			return *orZero(known), err
		}
		step, err := o.next(ctx, current, m)
		if errors.Is(err, storage.ErrNotFound) { // the result before is gone: others were faster
			last = err
			continue
		}
		if err != nil || step.latest == current {
			return step.result, err
		}
		switch last = o.write(ctx, current, step.latest, condition); {
		case last == nil:
			return step.result, step.refusal
		case errors.Is(last, storage.ErrCondition): // another run was faster: put both in order
		case errors.Is(last, storage.ErrUnavailable): // it may have happened: look
		default:
			return Result{}, fmt.Errorf("write latest: %w", last)
		}
	}
	return Result{}, fmt.Errorf("write latest: %w", last)
}

func orZero(r *Result) *Result {
	if r == nil {
		return &Result{}
	}
	return r
}

// step is what becomes of _latest.json with one more run.
type step struct {
	latest  *Latest
	result  Result
	refusal error // it only notes that the run is refused, because of this
}

func (o *Output) next(ctx context.Context, current *Latest, m *Manifest) (step, error) {
	r := Result{Run: m.Run, Manifest: o.manifestURI(m.Run).String(), URI: o.output(m, "").URI, Created: m.Created, Mode: m.Mode}
	if current == nil || !m.Mode.builds() {
		if current != nil && m.Mode == FailIfExists {
			return step{}, fmt.Errorf("%w, that of run %q", ErrExists, current.Run)
		}
		return step{latest: current.with(r), result: r}, nil
	}
	base, err := o.readResult(ctx, current.Kept[0])
	if err != nil {
		return step{}, err
	}
	if err := fits(base, m); err != nil {
		if current.refuses(m.Run) {
			return step{}, err
		}
		return step{latest: current.refusing(m.Run), refusal: err}, nil
	}
	if current.refuses(m.Run) {
		return step{}, fmt.Errorf("%w: it did not when the run came to its end", ErrIncompatible)
	}
	// The name says what is built on what, so whoever writes this object writes the same.
	at := o.URI.Join("data", m.Run, fmt.Sprintf("_manifest-after-%s.json", base.Run))
	data, err := encode(m.onto(base))
	if err != nil {
		return step{}, err
	}
	if len(data) > mostManifest {
		return step{}, fmt.Errorf("build on the result of run %q: %w: the manifest would have %d bytes, at most %d are possible; a run that replaces the result makes fewer files of it", base.Run, storage.ErrInvalid, len(data), mostManifest)
	}
	if _, err := storage.WriteAll(ctx, o.Store, at.Key, data, storage.Always); err != nil {
		return step{}, fmt.Errorf("write manifest: %w", err)
	}
	r.Manifest = at.String()
	next := current.with(r)
	return step{latest: next, result: next.Kept[0]}, nil
}

// write puts next in the place of current. Runs that it pushes out, and that could be entered a second time, leave a mark
// first.
func (o *Output) write(ctx context.Context, current, next *Latest, condition storage.Condition) error {
	if current != nil {
		for _, r := range current.Kept {
			if r.Mode == Replace || next.keeps(r.Run) {
				continue
			}
			data, err := encode(r)
			if err != nil {
				return err
			}
			if _, err := storage.WriteAll(ctx, o.Store, o.markKey(r.Run), data, storage.Always); err != nil {
				return err
			}
		}
	}
	data, err := next.encode()
	if err != nil {
		return err
	}
	_, err = storage.WriteAll(ctx, o.Store, o.latestKey(), data, condition)
	return err
}

// markName is the object that says that a run was entered and pushed out again. Runs that replace everything need none:
// those that are pushed out are older than what is kept, and never entered for that reason.
const markName = "_entered.json"

func (o *Output) markKey(run string) string { return o.URI.Join("data", run, markName).Key }

// entered is the result that a run once was, if it has left a mark.
func (o *Output) entered(ctx context.Context, m *Manifest) (*Result, error) {
	if m.Mode == Replace {
		return nil, nil
	}
	data, _, err := storage.ReadAll(ctx, o.Store, o.markKey(m.Run), mostLatest)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read mark: %w", err)
	}
	r := &Result{}
	if err := json.Unmarshal(data, r); err != nil || r.Run != m.Run {
		return nil, fmt.Errorf("read mark of run %q: it names %q: %w", m.Run, r.Run, err)
	}
	return r, nil
}
