package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tidemill/tidemill/scheduler"
)

const (
	passEvery    = time.Minute
	firstBackoff = 5 * time.Second
	mostBackoff  = 5 * time.Minute
	compactEvery = time.Hour

	// writeAfter is when an ended run is written. Many share a file then.
	writeAfter = 5 * time.Minute
	// forgetAfter is for how long a run is in the archive before the scheduler forgets it: until then every reader has
	// listed the archive anew.
	forgetAfter = 3 * listingAge

	// Of one write, and of one command to the scheduler.
	mostRuns  = 500
	mostTasks = 20_000 // launched ones; a run with more goes by itself
)

// Scheduler is whose runs are archived; scheduler/loop implements it.
type Scheduler interface {
	// View is the newest picture. It does not block and is never nil.
	View() *scheduler.View
	// Do carries out a command and blocks until its outcome is stored.
	Do(ctx context.Context, body scheduler.CommandBody) (any, error)
}

// Observer is told what the Archiver does; scheduler/metrics implements it. None of it may block.
type Observer interface {
	Archived(runs int)          // so many were written
	ArchiveWaiting(runs int)    // so many should be in the archive and are not
	ArchiveFailed()             // one pass did
	ArchiveCompacted(pairs int) // so many went into larger ones
}

// Archiver moves ended runs from the scheduler to the archive. All fields are needed.
type Archiver struct {
	Scheduler Scheduler
	Archive   *Archive
	KeepRuns  int // how many ended runs the scheduler keeps beside the archive, the newest
	Observer  Observer
	Log       *slog.Logger
}

// Run works until ctx ends. Only a leader runs it; that two do for a moment is harmless. Storage or a scheduler that
// fails is logged once and tried again: until then the runs stay where they are.
func (a *Archiver) Run(ctx context.Context) {
	m := &mover{Archiver: a, since: time.Now(), written: make(map[string]time.Time)}
	compacted := time.Now()
	failures := 0
	timer := time.NewTimer(firstBackoff)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := m.pass(ctx)
		if err == nil && time.Since(compacted) >= compactEvery {
			compacted = time.Now()
			err = a.compact(ctx)
		}
		failures = a.outcome(ctx, failures, err)
		if failures > 0 {
			timer.Reset(min(firstBackoff<<min(failures-1, 10), mostBackoff))
		} else {
			timer.Reset(passEvery)
		}
	}
}

// outcome logs the first of several failures, and their end.
func (a *Archiver) outcome(ctx context.Context, failures int, err error) int {
	switch {
	case err == nil && failures > 0:
		a.Log.Info("ended runs are archived again", "failures", failures)
		return 0
	case err == nil || ctx.Err() != nil:
		return 0
	case failures == 0:
		a.Log.Error("ended runs cannot be archived; they stay in the store meanwhile", "error", err)
	}
	a.Observer.ArchiveFailed()
	return failures + 1
}

func (a *Archiver) compact(ctx context.Context) error {
	pairs, err := a.Archive.Compact(ctx)
	if pairs > 0 {
		a.Observer.ArchiveCompacted(pairs)
	}
	return err
}

// mover remembers what is in the archive, and since when, of the runs that the scheduler keeps.
type mover struct {
	*Archiver
	since   time.Time // when it began: runs that ended later are in the archive only if it wrote them
	written map[string]time.Time
}

// pass forgets what has been in the archive for long enough and is beyond what is kept, and writes what is due.
func (m *mover) pass(ctx context.Context) error {
	now := time.Now()
	settled := m.settled()
	beyond := settled[:max(0, len(settled)-m.KeepRuns)]
	var gone []*scheduler.RunView
	for _, run := range beyond {
		if since, there := m.written[run.Run.ID]; there && now.Sub(since) >= forgetAfter {
			gone = append(gone, run)
		}
	}
	if err := m.forget(ctx, gone); err != nil {
		return err
	}
	due, err := m.due(ctx, settled, len(beyond), now)
	m.Observer.ArchiveWaiting(len(due))
	if err != nil {
		return err
	}
	for _, batch := range batches(due) {
		if err := m.Archive.Write(ctx, batch); err != nil {
			return err
		}
		for _, run := range batch {
			m.written[run.Run.ID] = time.Now()
		}
		m.Observer.Archived(len(batch))
		due = due[len(batch):]
		m.Observer.ArchiveWaiting(len(due))
	}
	return nil
}

// settled are the runs that may be archived, those that ended first first.
func (m *mover) settled() []*scheduler.RunView {
	view := m.Scheduler.View()
	var out []*scheduler.RunView
	for _, run := range view.Runs {
		if run.Settled && run.Run.Ended != nil {
			out = append(out, run)
		}
	}
	slices.SortFunc(out, func(a, b *scheduler.RunView) int {
		return cmp.Or(a.Run.Ended.Compare(*b.Run.Ended), cmp.Compare(a.Run.ID, b.Run.ID))
	})
	for id := range m.written {
		if view.Runs[id] == nil {
			delete(m.written, id)
		}
	}
	return out
}

// due are the runs to be written: the first so many of them at once, the others some time after their end. What an
// earlier leader has written is not due.
func (m *mover) due(ctx context.Context, settled []*scheduler.RunView, atOnce int, now time.Time) ([]*scheduler.RunView, error) {
	var out []*scheduler.RunView
	for i, run := range settled {
		if _, there := m.written[run.Run.ID]; there || i >= atOnce && now.Sub(*run.Run.Ended) < writeAfter {
			continue
		}
		there, err := m.there(ctx, run)
		if err != nil {
			return append(out, run), err
		}
		if there {
			m.written[run.Run.ID] = now
			continue
		}
		out = append(out, run)
	}
	return out, nil
}

// there says whether an earlier leader has written a run. One in a broken file is written again.
func (m *mover) there(ctx context.Context, run *scheduler.RunView) (bool, error) {
	if run.Run.Ended.After(m.since) {
		return false, nil
	}
	_, err := m.Archive.Run(ctx, run.Run.ID)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrBroken) {
		return false, nil
	}
	return err == nil, err
}

// forget tells the scheduler that it need not keep the runs.
func (m *mover) forget(ctx context.Context, runs []*scheduler.RunView) error {
	for _, batch := range batches(runs) {
		var ids []string
		for _, run := range batch {
			ids = append(ids, run.Run.ID)
		}
		if _, err := m.Scheduler.Do(ctx, scheduler.ArchiveRuns{Runs: ids}); err != nil {
			return fmt.Errorf("forget %d archived runs: %w", len(ids), err)
		}
	}
	return nil
}

// batches cuts runs into pieces of bounded size.
func batches(runs []*scheduler.RunView) [][]*scheduler.RunView {
	var out [][]*scheduler.RunView
	begin, tasks := 0, 0
	for i, run := range runs {
		n := launched(run)
		if i > begin && (i-begin == mostRuns || tasks+n > mostTasks) {
			out = append(out, runs[begin:i])
			begin, tasks = i, 0
		}
		tasks += n
	}
	if begin < len(runs) {
		out = append(out, runs[begin:])
	}
	return out
}

func launched(run *scheduler.RunView) int {
	n := 0
	for _, stage := range run.Stages {
		for _, task := range stage.Tasks {
			if task != nil {
				n++
			}
		}
	}
	return n
}
