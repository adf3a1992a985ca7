package loop

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemill/tidemill/scheduler"
)

const (
	drawEvery     = 20 * time.Millisecond  // a view is made at most so often, unless a command waits for it
	announceEvery = 100 * time.Millisecond // waiters are woken at most so often
)

// board shows views. Making one costs in proportion to the runs that changed, so a burst of updates shares one.
type board struct {
	newest atomic.Pointer[scheduler.View]

	mu        sync.Mutex
	announced *scheduler.View
	changed   chan struct{} // closed when announced is replaced

	// Of the loop's goroutine only.
	after   uint64          // is added to the core's numbers
	raw     *scheduler.View // newest as the core gave it
	stale   bool            // steps were made since newest
	drawn   time.Time
	pending bool // newest is not announced yet
	woken   time.Time
}

// draw makes the newest view.
func (b *board) draw(core Core, now time.Time) {
	if view := core.View(); view != b.raw {
		numbered := *view
		numbered.Sequence += b.after
		b.raw = view
		b.newest.Store(&numbered)
	}
	b.stale, b.drawn = false, now
}

// refresh draws and announces what is due at now.
func (b *board) refresh(core Core, now time.Time) {
	if b.stale && now.Sub(b.drawn) >= drawEvery {
		b.draw(core, now)
	}
	shown, _ := b.read()
	newest := b.newest.Load()
	b.pending = newest.Sequence != shown.Sequence
	if b.pending && now.Sub(b.woken) >= announceEvery {
		b.announce(newest)
		b.woken, b.pending = now, false
	}
}

// soonest is when refresh has something to do, or due if that is earlier.
func (b *board) soonest(due time.Time) time.Time {
	if draw := b.drawn.Add(drawEvery); b.stale && draw.Before(due) {
		due = draw
	}
	if announce := b.woken.Add(announceEvery); b.pending && announce.Before(due) {
		due = announce
	}
	return due
}

func (b *board) announce(view *scheduler.View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
	}
	b.announced, b.changed = view, make(chan struct{})
}

// read returns what waiters see, and a channel that is closed when there is something newer.
func (b *board) read() (*scheduler.View, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.announced, b.changed
}
