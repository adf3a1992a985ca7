package scheduler

import (
	"container/heap"
	"time"
)

// timed is something that wants to be looked at when time has passed. When fire is called it does whatever is due and
// arms itself again for what is due next; it may be called early.
type timed interface {
	fire(c *Core)
	clock() *alarm
}

// alarm is when its owner wants to be looked at; zero: not at all.
type alarm struct{ at time.Time }

func (a *alarm) clock() *alarm { return a }

type timer struct {
	at  time.Time
	seq uint64 // timers of one moment fire in the order in which they were armed
	who timed
}

// timers is a heap of them. A timer whose owner has been armed for another moment since is stale and does nothing.
type timers struct {
	heap timerHeap
	seq  uint64
}

// arm makes sure that who fires at that time, or earlier.
func (c *Core) arm(who timed, at time.Time) {
	if least := c.now.Add(time.Millisecond); at.Before(least) {
		at = least // what is due now is done now, not by arming
	}
	clock := who.clock()
	if !clock.at.IsZero() && !at.Before(clock.at) {
		return
	}
	clock.at = at
	c.timers.seq++
	heap.Push(&c.timers.heap, timer{at, c.timers.seq, who})
}

func (c *Core) fireTimers() {
	for len(c.timers.heap) > 0 && !c.timers.heap[0].at.After(c.now) {
		t := heap.Pop(&c.timers.heap).(timer)
		if clock := t.who.clock(); clock.at.Equal(t.at) {
			clock.at = time.Time{}
			t.who.fire(c)
		}
	}
}

// next is when the first timer fires that is not stale; zero if none is armed.
func (t *timers) next() time.Time {
	for len(t.heap) > 0 {
		first := t.heap[0]
		if first.who.clock().at.Equal(first.at) {
			return first.at
		}
		heap.Pop(&t.heap)
	}
	return time.Time{}
}

type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	return last
}
