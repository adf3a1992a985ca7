package commit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// ErrCancelled is given to an attempt that comes too late: the run was ended at its commit point. Nothing of the attempt
// will be visible; there is nothing to be repeated.
var ErrCancelled = errors.New("the run was cancelled or given up before this attempt could publish its result")

// Output is where a job's results go.
type Output struct {
	Store storage.Store
	URI   storage.URI // the job's output prefix
	// Work reaches WorkURI, the prefix below which each run has its work area; it may be the same store.
	Work    storage.Store
	WorkURI storage.URI
	Log     *slog.Logger
}

// FileURI is where an attempt writes a result file before it publishes.
func (o *Output) FileURI(run, attempt, name string) storage.URI {
	return o.URI.Join("data", run, attempt, name)
}

// Publish makes m the run's result, unless another attempt has been faster, and says what the result is. All files that
// m names must be there. The error matches [ErrCancelled] if the run was cancelled first, and [ErrExists] or
// [ErrIncompatible] if m's mode does not let it be. After any other error it is unknown whether m is the result; another
// call, of this or another attempt, finds out.
func (o *Output) Publish(ctx context.Context, m *Manifest) (*proto.Output, error) {
	if err := o.Check(ctx, m); err != nil {
		return nil, fmt.Errorf("publish result of run %q: %w", m.Run, err)
	}
	winner, err := o.claim(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("publish result of run %q: %w", m.Run, err)
	}
	if winner.Cancelled || winner.Attempt != m.Attempt {
		o.discard(ctx, m)
	}
	return o.finish(ctx, winner)
}

// Check says early what would keep a result like m from being published now: errors as of [Output.Publish]. m needs no entries.
func (o *Output) Check(ctx context.Context, m *Manifest) error {
	latest, _, err := o.readLatest(ctx, o.latestKey()) // what could not be entered there must not be published either
	if err != nil || latest == nil || m.Mode == Replace {
		return err
	}
	_, err = o.Store.Stat(ctx, o.manifestURI(m.Run).Key)
	switch {
	case err == nil: // what becomes of it is decided elsewhere
		return nil
	case !errors.Is(err, storage.ErrNotFound):
		return fmt.Errorf("look for manifest: %w", err)
	case m.Mode == FailIfExists:
		return fmt.Errorf("%w, that of run %q", ErrExists, latest.Run)
	}
	base, err := o.Latest(ctx)
	if err != nil {
		return err
	}
	return fits(base, m)
}

// Published says what the run's result is if an attempt has published one, and finishes what that attempt may have left
// undone. The result is nil if the commit point is still open. The error matches [ErrCancelled] if it was closed.
func (o *Output) Published(ctx context.Context, run string) (*proto.Output, error) {
	winner, err := o.readManifest(ctx, run)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the result of run %q: %w", run, err)
	}
	return o.finish(ctx, winner)
}

// finish enters a published result into _latest.json and removes what nobody needs any more.
func (o *Output) finish(ctx context.Context, winner *Manifest) (*proto.Output, error) {
	if winner.Cancelled {
		return nil, fmt.Errorf("publish result of run %q: %w", winner.Run, ErrCancelled)
	}
	result, err := o.enter(ctx, winner)
	if err != nil {
		return nil, fmt.Errorf("publish result of run %q: %w", winner.Run, err)
	}
	o.tidy(ctx, winner.Run)
	return o.output(winner, result.Manifest), nil
}

// Cancel closes the commit point of a run for good, or says what the run's result is if one was published before. Then
// it removes what the run left, except for logs.
func (o *Output) Cancel(ctx context.Context, run, attempt string, created time.Time) (*proto.Output, error) {
	winner, err := o.claim(ctx, &Manifest{Run: run, Attempt: attempt, Created: created, Cancelled: true})
	if err != nil {
		return nil, fmt.Errorf("cancel run %q: %w", run, err)
	}
	if !winner.Cancelled {
		out, err := o.finish(ctx, winner)
		if !errors.Is(err, ErrExists) && !errors.Is(err, ErrIncompatible) {
			return out, err
		}
	}
	if err := errors.Join(o.removeFiles(ctx, run, nil), o.removeIntermediates(ctx, run)); err != nil {
		return nil, fmt.Errorf("clean up after run %q: %w", run, err)
	}
	return nil, nil
}

// claim creates the run's commit point with m, or returns what is there.
func (o *Output) claim(ctx context.Context, m *Manifest) (*Manifest, error) {
	data, err := encode(m)
	if err != nil {
		return nil, err
	}
	uri := o.manifestURI(m.Run)
	_, err = storage.WriteAll(ctx, o.Store, uri.Key, data, storage.IfAbsent)
	if err == nil {
		return m, nil
	}
	if !errors.Is(err, storage.ErrCondition) && !errors.Is(err, storage.ErrUnavailable) {
		return nil, err
	}
	stored, readErr := o.readManifest(ctx, m.Run)
	if errors.Is(readErr, storage.ErrNotFound) {
		return nil, err // it had not happened
	}
	return stored, readErr
}

// discard removes the files of an attempt that has lost. What it cannot remove, a later run's tidying does.
func (o *Output) discard(ctx context.Context, m *Manifest) {
	if m.Cancelled {
		return
	}
	prefix := o.FileURI(m.Run, m.Attempt, "").Key
	if err := remove(ctx, o.Store, prefix, nil); err != nil {
		o.Log.Warn("cannot remove the files of an attempt that lost", "run", m.Run, "attempt", m.Attempt, "error", err)
	}
}
