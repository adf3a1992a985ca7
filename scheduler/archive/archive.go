package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

var (
	// ErrNotFound: the archive has no such run.
	ErrNotFound = errors.New("the run is not in the archive")
	// ErrBroken: a file cannot be read to its end, or holds something else. What else is in it is lost with it; restore
	// the object from a copy, or remove it.
	ErrBroken = errors.New("a file of the archive is broken")
)

// Run is an ended run as the archive keeps it. It is shared by readers: nothing of it may be changed.
type Run struct {
	Record   *proto.Run
	Progress float64
	Stages   []Stage // as in Record, with the sums over their tasks

	pair    string // in which it is: the key without its ending
	details detailsSpan
}

// Stage is a stage of an ended run with the sums over its tasks.
type Stage struct {
	Name    string
	Created time.Time // when its tasks began to wait
	scheduler.Figures
}

// View is the run without its tasks: each looks as if it was never launched.
func (r *Run) View() *scheduler.RunView {
	view := &scheduler.RunView{Run: r.Record, Progress: r.Progress, Settled: true}
	for i, stage := range r.Stages {
		view.Stages = append(view.Stages, &scheduler.StageView{
			Name: stage.Name, Created: stage.Created, Tasks: make([]*scheduler.TaskView, r.Record.Stages[i].Tasks),
		})
	}
	return view
}

// Position is a place in the list of all runs, the newest first: behind the run of that creation and ID. The zero
// Position is before all.
type Position struct {
	Created time.Time
	ID      string
}

// Before says whether p comes earlier in the list than q.
func (p Position) Before(q Position) bool {
	if !p.Created.Equal(q.Created) {
		return p.Created.After(q.Created)
	}
	return p.ID < q.ID
}

// Position is the run's own place in the list.
func (r *Run) Position() Position { return Position{Created: r.Record.Created, ID: r.Record.ID} }

// Filter says which runs are wanted; its zero value, all.
type Filter struct {
	Job    string           // empty: of any job
	States []proto.RunState // empty: in any state
}

func (f Filter) wants(r *Run) bool {
	return (f.Job == "" || r.Record.Job == f.Job) && (len(f.States) == 0 || slices.Contains(f.States, r.Record.State))
}

// Page is a piece of the list.
type Page struct {
	Runs []*Run // newest first
	// More: the list goes on behind Next. A page with More may hold fewer runs than were asked for, even none, when they
	// are rare.
	More bool
	Next Position
}

// Archive reads and writes. Make one with [New]. It is safe for concurrent use; several on one object storage, in
// several processes, disturb each other neither.
type Archive struct {
	objects storage.Store
	index   *index

	smallPair, largePair int64 // bounds of Compact
}

// New is the archive below archive/ in objects, which should retry (storage.WithRetry). It sends nothing.
func New(objects storage.Store, log *slog.Logger) *Archive {
	return &Archive{objects: objects, index: newIndex(objects, log), smallPair: smallPair, largePair: largePair}
}

const (
	// listingAge is how old a listing may be by which readers look for runs. [Archiver] lets the scheduler forget a run
	// only after a longer time, so that it is always seen here or there.
	listingAge = 5 * time.Second
	// missAge bounds how often the storage is asked for runs that are not there.
	missAge = time.Second
	// mostReads is how many files one page may read that are not in memory. It ends early then.
	mostReads = 200
)

// Run reads a run. It blocks until the storage has answered. Errors: ErrNotFound; ErrBroken when it may be in a file
// that cannot be read; those of storage.Store.
func (a *Archive) Run(ctx context.Context, id string) (*Run, error) {
	run, err := a.find(ctx, id, listingAge)
	if errors.Is(err, ErrNotFound) {
		run, err = a.find(ctx, id, missAge)
	}
	return run, err
}

func (a *Archive) find(ctx context.Context, id string, age time.Duration) (*Run, error) {
	_, created, err := jobs.ParseRunID(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	found, err := a.index.runs(ctx, dayOf(created), age)
	if err != nil {
		return nil, fmt.Errorf("look for run %s in the archive: %w", id, err)
	}
	for _, run := range found.runs {
		if run.Record.ID == id {
			return run, nil
		}
	}
	if len(found.broken) > 0 {
		return nil, fmt.Errorf("look for run %s in the archive: %w", id, errors.Join(found.broken...))
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
}

// List gives up to limit runs behind a position that the filter wants, newest first, each once. It blocks until the
// storage has answered, and leaves out what is in broken files. Errors: those of storage.Store.
func (a *Archive) List(ctx context.Context, filter Filter, after Position, limit int) (Page, error) {
	days, err := a.index.days(ctx, listingAge)
	if err != nil {
		return Page{}, fmt.Errorf("list the archive: %w", err)
	}
	var page Page
	reads := 0
	for _, day := range days { // newest first
		if !after.Created.IsZero() && day > dayOf(after.Created) {
			continue
		}
		if reads >= mostReads {
			page.More, page.Next = true, beginning(day)
			return page, nil
		}
		found, err := a.index.runs(ctx, day, listingAge)
		if err != nil {
			return Page{}, fmt.Errorf("list the archive: %w", err)
		}
		reads += found.reads
		for _, run := range newestFirst(found.runs) {
			if !filter.wants(run) || after != (Position{}) && !after.Before(run.Position()) {
				continue
			}
			if len(page.Runs) == limit {
				page.More, page.Next = true, page.Runs[limit-1].Position()
				return page, nil
			}
			page.Runs = append(page.Runs, run)
		}
	}
	return page, nil
}

// newestFirst sorts runs, and leaves each in once.
func newestFirst(runs []*Run) []*Run {
	sorted := slices.Clone(runs)
	slices.SortStableFunc(sorted, func(a, b *Run) int {
		if order := b.Record.Created.Compare(a.Record.Created); order != 0 {
			return order
		}
		return strings.Compare(a.Record.ID, b.Record.ID)
	})
	return slices.CompactFunc(sorted, func(a, b *Run) bool { return a.Record.ID == b.Record.ID })
}

// dayOf names a day's folder.
func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// beginning is a position between the runs of a day and those of the day after.
func beginning(day string) Position {
	midnight, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return Position{} // cannot be: the index takes no other folders for days
	}
	return Position{Created: midnight.AddDate(0, 0, 1).Add(-1)}
}
