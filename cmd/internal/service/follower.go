package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
)

// freshFor is how old the view of a standby may be that somebody reads.
const freshFor = time.Second

// tryFor is how long one reader tries again to read a store that could not be read.
const tryFor = time.Second

// snapshot is records.Snapshot.
type snapshot func(ctx context.Context) (store.Snapshot, error)

// picture makes a view of records, as scheduler.Picture does.
type picture func([]scheduler.Record) (*scheduler.View, error)

// follower keeps up with what another instance stores. It does so only when asked: a standby that nobody reads costs
// the store nothing.
type follower struct {
	snapshot snapshot
	draw     picture
	publish  func(scheduler.View) bool // false: views are not taken at present
	turn     chan struct{}             // holds one token: whoever has it reads

	mu     sync.Mutex
	asOf   time.Time // the view has all that was stored before then; zero: there is none
	commit uint64    // that the view shows; 0: not known
	epoch  uint64
	breaks uint64    // how often following was interrupted
	failed time.Time // when the store could not be read; zero: it could, the last time
}

func newFollower(read snapshot, draw picture, publish func(scheduler.View) bool) *follower {
	f := &follower{snapshot: read, draw: draw, publish: publish, turn: make(chan struct{}, 1)}
	f.turn <- struct{}{}
	return f
}

// read makes sure that the view has all that was stored before since, and says how old it is. When that cannot be had,
// an older view is good enough, and says its age; without any, it is an error. While the store cannot be read most
// readers do not wait for it, unless they insist.
func (f *follower) read(ctx context.Context, since time.Time, insist bool) (age time.Duration, err error) {
	err = f.reach(ctx, since, insist)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asOf.IsZero() {
		return max(0, time.Since(f.asOf)), nil
	}
	return 0, err
}

// reach reads if nobody else has done so since. Readers queue up; the one who reads does it for all who wait.
func (f *follower) reach(ctx context.Context, since time.Time, insist bool) error {
	if f.has(since) {
		return nil
	}
	ctx, leave, err := f.enter(ctx, insist)
	if err != nil {
		return err
	}
	defer leave()
	if f.has(since) {
		return nil
	}
	err = f.take(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.failed = time.Time{}
	case !errors.Is(err, errInterrupted) && !errors.Is(ctx.Err(), context.Canceled): // and nobody waits any more
		f.failed = time.Now()
	}
	return err
}

// enter waits for the turn to read. While the store cannot be read nobody queues up for what will not come: one reader
// tries, not long and not often, and the others do with what there is. Those who insist have their turn.
func (f *follower) enter(ctx context.Context, insist bool) (limited context.Context, leave func(), err error) {
	if blind, lately := f.blind(); blind && !insist {
		select {
		case <-f.turn:
			if !lately {
				ctx, cancel := context.WithTimeout(ctx, tryFor)
				return ctx, func() { cancel(); f.turn <- struct{}{} }, nil
			}
			f.turn <- struct{}{}
		default:
		}
		return nil, nil, errBlind
	}
	select {
	case <-f.turn:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("wait for the store: %w", ctx.Err())
	}
	if blind, _ := f.blind(); blind && !insist { // whoever was first has waited in vain
		f.turn <- struct{}{}
		return nil, nil, errBlind
	}
	return ctx, func() { f.turn <- struct{}{} }, nil
}

// blind says whether the store could not be read the last time, but before; and whether that was a moment ago.
func (f *follower) blind() (blind, lately bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.failed.IsZero() && !f.asOf.IsZero(), time.Since(f.failed) < freshFor
}

// take reads and publishes. The caller has the turn.
func (f *follower) take(ctx context.Context) error {
	f.mu.Lock()
	shown, breaks := f.commit, f.breaks
	f.mu.Unlock()
	begin := time.Now()
	stored, err := f.snapshot(ctx)
	if err != nil {
		return err
	}
	var view *scheduler.View
	if stored.Commit == 0 || stored.Commit != shown {
		if view, err = f.draw(stored.Records); err != nil {
			return err
		}
		view.At = begin.UTC()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.breaks != breaks || view != nil && !f.publish(*view) {
		return errInterrupted
	}
	f.asOf, f.commit, f.epoch = begin, stored.Commit, stored.Epoch
	return nil
}

// errBlind: the store could not be read a moment ago.
var errBlind = errors.New("the store cannot be read")

// errInterrupted: this instance has led, or is about to, since reading began.
var errInterrupted = errors.New("the instance is about to lead")

func (f *follower) has(since time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.asOf.IsZero() && !f.asOf.Before(since)
}

// resume begins anew after this instance has led until that time: what a read under way finds may be older than that.
func (f *follower) resume(led time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asOf, f.commit, f.failed = led, 0, time.Time{}
	f.breaks++
}

// age is how old the view is; ok is false if there is none.
func (f *follower) age() (age time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.asOf), !f.asOf.IsZero()
}

// seen is the number of the newest term that the records were written in, as far as they were read.
func (f *follower) seen() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch
}
