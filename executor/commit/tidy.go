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
func (o *Output) tidy(ctx context.Context, run string) {
	ctx, cancel := context.WithTimeout(ctx, tidying)
	defer cancel()
	err := errors.Join(
		o.removeIntermediates(ctx, run),
		o.sweep(ctx, run),
		o.removeOldWork(ctx, run),
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
	manifest bool // its commit point is there
	entered  bool // its mark is there
	objects  int
	newest   time.Time
}

// survey groups the objects below prefix by run. now is the time by the store's clock, as far as it shows.
func survey(ctx context.Context, store storage.Store, prefix string) (all []residue, now time.Time, err error) {
	for object, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return nil, now, fmt.Errorf("list what runs left: %w", err)
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
		r.entered = r.entered || rest == markName
		r.objects++
		if object.Modified.After(r.newest) {
			r.newest = object.Modified
		}
		if object.Modified.After(now) {
			now = object.Modified
		}
	}
	return all, now, nil
}

// sweep removes results beyond those that are kept, and what attempts left that did not win: all that no kept manifest
// names, of runs of which it is decided for good what became of them.
//
// First it sees which runs are decided, then which files are named. A run that was decided by then is never entered
// again, and a later result names of its files only what the newest one at that moment names.
func (o *Output) sweep(ctx context.Context, run string) error {
	all, now, err := survey(ctx, o.Store, o.URI.Join("data", "").Key)
	if err != nil {
		return err
	}
	latest, _, err := o.readLatest(ctx, o.latestKey())
	if err != nil || latest == nil {
		return err
	}
	named, err := o.named(ctx, latest)
	if err != nil {
		return err
	}
	var errs error
	for _, r := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.run != run { // its other attempts may be at work
			errs = errors.Join(errs, o.sweepRun(ctx, r, latest, named[r.run], now))
		}
	}
	return errs
}

// named is, by run, the names in its folder that kept results need.
func (o *Output) named(ctx context.Context, latest *Latest) (map[string]map[string]bool, error) {
	all := map[string]map[string]bool{}
	prefix := o.URI.Join("data", "").String()
	add := func(uri string) {
		below, ours := strings.CutPrefix(uri, prefix)
		run, name, ok := strings.Cut(below, "/")
		if !ours || !ok {
			return
		}
		if all[run] == nil {
			all[run] = map[string]bool{}
		}
		all[run][name] = true
	}
	for _, r := range latest.Kept {
		m, err := o.readResult(ctx, r)
		if err != nil {
			return nil, err // perhaps it has been pushed out since: the next run tidies up
		}
		add(r.Manifest)
		for _, e := range m.Entries {
			add(e.URL)
		}
		for _, uri := range m.State.objects() {
			add(uri)
		}
	}
	return all, nil
}

func (o *Output) sweepRun(ctx context.Context, r residue, latest *Latest, named map[string]bool, now time.Time) error {
	if !r.manifest {
		if now.Sub(r.newest) < abandoned {
			return nil
		}
		// Close its commit point first, so that an attempt that wakes up cannot publish what is gone.
		_, err := o.claim(ctx, &Manifest{Run: r.run, Attempt: "abandoned", Cancelled: true})
		return err
	}
	kept := latest.keeps(r.run)
	if expected := len(named) + 1; (kept || r.entered) && len(named) > 0 && r.objects == expected+count(r.entered)-count(named[manifestName]) {
		return nil // nothing is there but what is needed
	}
	m, err := o.readManifest(ctx, r.run)
	if errors.Is(err, storage.ErrNotFound) {
		return nil // another attempt tidies up, too
	}
	if err != nil {
		return err
	}
	old := now.Sub(r.newest) >= forgotten
	switch {
	case kept:
		return o.removeFiles(ctx, r.run, named)
	case m.Cancelled, m.Mode == FailIfExists && !r.entered, latest.refuses(r.run): // it will never be a result
	case m.Mode == Replace:
		if len(latest.Kept) < Keep || !m.Created.Before(latest.Kept[Keep-1].Created) {
			return nil // it is just being entered
		}
		old = true // it cannot come back: all that is kept is later
	case !r.entered:
		return nil // an attempt or a clean-up task will enter it
	}
	if len(named) > 0 || !old {
		return o.removeFiles(ctx, r.run, named)
	}
	return o.removeRun(ctx, r.run)
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// removeRun removes all of a run, with its commit point and its logs.
func (o *Output) removeRun(ctx context.Context, run string) error {
	if err := o.removeFiles(ctx, run, nil); err != nil {
		return err
	}
	for _, key := range []string{o.manifestURI(run).Key, o.markKey(run)} { // in this order: an attempt that is this late finds the mark
		if err := o.Store.Delete(ctx, key); err != nil {
			return fmt.Errorf("remove manifest of run %q: %w", run, err)
		}
	}
	return remove(ctx, o.Work, o.WorkURI.Join(run, "").Key, nil)
}

// removeFiles removes what is in a run's folder, except for the commit point, the mark, and what is named.
func (o *Output) removeFiles(ctx context.Context, run string, named map[string]bool) error {
	prefix := o.URI.Join("data", run, "").Key
	return remove(ctx, o.Store, prefix, func(object storage.Object) bool {
		name := strings.TrimPrefix(object.Key, prefix)
		return name != manifestName && name != markName && !named[name]
	})
}

// removeOldWork removes the work areas of runs that left no result, once their logs are old. Only the usual work area
// is known to hold nothing else: another one may be shared.
func (o *Output) removeOldWork(ctx context.Context, run string) error {
	if o.WorkURI.Join("") != o.URI.Join("_work", "") {
		return nil
	}
	all, now, err := survey(ctx, o.Work, o.WorkURI.Join("").Key)
	if err != nil {
		return err
	}
	latest, _, err := o.readLatest(ctx, o.latestKey())
	if err != nil {
		return err
	}
	var errs error
	for _, r := range all {
		if r.run == run || latest.keeps(r.run) || now.Sub(r.newest) < forgotten {
			continue
		}
		errs = errors.Join(errs, remove(ctx, o.Work, o.WorkURI.Join(r.run, "").Key, nil))
	}
	return errs
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
