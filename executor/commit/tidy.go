package commit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/storage"
)

const (
	// abandoned is how old the newest file of a run without a commit point must be before the run is given up. A run
	// writes files there only right before it commits; an attempt that died then may have to wait long for the next.
	abandoned = 7 * 24 * time.Hour
	// forgotten is how long tombstones and the logs of runs without a result stay.
	forgotten = 14 * 24 * time.Hour
	// tidying is how long it may take: what is left over goes with a later run.
	tidying = 30 * time.Second
)

// tidy removes what nobody needs any more after the run's result was published. It does what it can: trouble is logged.
func (o *Output) tidy(ctx context.Context, run string, latest *Latest) {
	ctx, cancel := context.WithTimeout(ctx, tidying)
	defer cancel()
	err := errors.Join(
		o.removeIntermediates(ctx, run),
		o.removeResults(ctx, run, latest),
		o.removeOldWork(ctx, run, latest),
	)
	if err != nil && ctx.Err() == nil {
		o.Log.Warn("cannot remove everything that is not needed any more", "run", run, "error", err)
	}
}

// removeIntermediates empties the run's work area, except for logs.
func (o *Output) removeIntermediates(ctx context.Context, run string) error {
	prefix := o.WorkURI.Join(run, "").Key
	return remove(ctx, o.Work, prefix, func(object storage.Object) bool {
		return !strings.HasPrefix(object.Key, prefix+"logs/")
	})
}

// residue is what lies in one run's folder below data/ or the work area.
type residue struct {
	run      string
	manifest bool
	newest   time.Time
}

// survey groups the objects below prefix by run, and hands each run to visit as soon as it is known whole.
func survey(ctx context.Context, store storage.Store, prefix string, visit func(residue, time.Time) error) error {
	var all []residue
	var now time.Time // by the store's clock, as far as it shows
	for object, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return fmt.Errorf("list what runs left: %w", err)
		}
		run, rest, ok := strings.Cut(strings.TrimPrefix(object.Key, prefix), "/")
		if !ok {
			continue
		}
		if len(all) == 0 || all[len(all)-1].run != run {
			all = append(all, residue{run: run})
		}
		r := &all[len(all)-1]
		r.manifest = r.manifest || rest == manifestName
		if object.Modified.After(r.newest) {
			r.newest = object.Modified
		}
		if object.Modified.After(now) {
			now = object.Modified
		}
	}
	var errs error
	for _, r := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		errs = errors.Join(errs, visit(r, now))
	}
	return errs
}

// removeResults removes results beyond those that are kept, and what attempts left that did not win.
func (o *Output) removeResults(ctx context.Context, run string, latest *Latest) error {
	return survey(ctx, o.Store, o.URI.Join("data", "").Key, func(r residue, now time.Time) error {
		switch {
		case r.run == run: // its other attempts may be at work
			return nil
		case !r.manifest:
			if now.Sub(r.newest) < abandoned {
				return nil
			}
			// Close its commit point first, so that an attempt that wakes up cannot publish what is gone.
			_, err := o.claim(ctx, &Manifest{Run: r.run, Attempt: "abandoned", Cancelled: true})
			return err
		}
		m, err := o.readManifest(ctx, r.run)
		if errors.Is(err, storage.ErrNotFound) {
			return nil // another attempt tidies up, too
		}
		if err != nil {
			return err
		}
		return o.removeResult(ctx, r, m, latest, now)
	})
}

func (o *Output) removeResult(ctx context.Context, r residue, m *Manifest, latest *Latest, now time.Time) error {
	switch {
	case latest.keeps(r.run):
		return o.removeFiles(ctx, r.run, m)
	case m.Cancelled:
		if now.Sub(r.newest) < forgotten {
			return o.removeFiles(ctx, r.run, m)
		}
	case len(latest.Kept) < Keep || !m.Created.Before(latest.Kept[Keep-1].Created):
		return nil // it is just being entered
	}
	if err := o.removeFiles(ctx, r.run, nil); err != nil {
		return err
	}
	if err := o.Store.Delete(ctx, o.manifestURI(r.run).Key); err != nil {
		return fmt.Errorf("remove manifest of run %q: %w", r.run, err)
	}
	return remove(ctx, o.Work, o.WorkURI.Join(r.run, "").Key, nil)
}

// removeFiles removes a run's files, except for the commit point and the files of the attempt that keep names.
func (o *Output) removeFiles(ctx context.Context, run string, keep *Manifest) error {
	prefix := o.URI.Join("data", run, "").Key
	return remove(ctx, o.Store, prefix, func(object storage.Object) bool {
		name := strings.TrimPrefix(object.Key, prefix)
		if name == manifestName {
			return false
		}
		return keep == nil || keep.Cancelled || !strings.HasPrefix(name, keep.Attempt+"/")
	})
}

// removeOldWork removes the work areas of runs that left no result, once their logs are old. Only the usual work area
// is known to hold nothing else: another one may be shared.
func (o *Output) removeOldWork(ctx context.Context, run string, latest *Latest) error {
	if o.WorkURI.Join("") != o.URI.Join("_work", "") {
		return nil
	}
	return survey(ctx, o.Work, o.WorkURI.Join("").Key, func(r residue, now time.Time) error {
		if r.run == run || latest.keeps(r.run) || now.Sub(r.newest) < forgotten {
			return nil
		}
		return remove(ctx, o.Work, o.WorkURI.Join(r.run, "").Key, nil)
	})
}

// batch is how many keys are removed at a time.
const batch = 500

// remove deletes the objects below prefix that unwanted, unless it is nil, selects.
func remove(ctx context.Context, store storage.Store, prefix string, unwanted func(storage.Object) bool) error {
	var keys []string
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		err := store.Delete(ctx, keys...)
		keys = keys[:0]
		if err != nil {
			return fmt.Errorf("remove what is below %q: %w", prefix, err)
		}
		return nil
	}
	for object, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return fmt.Errorf("list %q: %w", prefix, err)
		}
		if unwanted != nil && !unwanted(object) {
			continue
		}
		if keys = append(keys, object.Key); len(keys) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
