package loop

import (
	"sync"
	"time"

	"github.com/tidemill/tidemill/scheduler"
)

// board is where waiters look: it shows the newest view, changed at most once in announceEvery.
type board struct {
	mu      sync.Mutex
	view    *scheduler.View
	changed chan struct{} // closed when view is replaced

	// Of the loop's goroutine only.
	last    time.Time // of the last announcement
	pending bool      // a newer view waits for its time
}

func (b *board) announce(view *scheduler.View) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
	}
	b.view, b.changed = view, make(chan struct{})
}

func (b *board) read() (*scheduler.View, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view, b.changed
}

// offer announces view if it is new and the last announcement is long enough ago, or remembers to do so.
func (b *board) offer(view *scheduler.View, now time.Time) {
	shown, _ := b.read()
	switch {
	case view.Sequence == shown.Sequence:
		b.pending = false
	case now.Sub(b.last) < announceEvery:
		b.pending = true
	default:
		b.announce(view)
		b.last, b.pending = now, false
	}
}

// soonest is when the loop must wake up: at due, or earlier if a view waits to be announced.
func (b *board) soonest(due time.Time) time.Time {
	if announce := b.last.Add(announceEvery); b.pending && announce.Before(due) {
		return announce
	}
	return due
}
