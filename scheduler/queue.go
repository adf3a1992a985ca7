package scheduler

import (
	"slices"
	"time"
)

// queue holds the launchable tasks of a shape: first those that were launched before, first come, first served; then
// those that never were, in the order of the stage's plan. A retry does not wait behind a long stage: what is wrong with
// a task comes out early.
type queue struct {
	again []*task // removed ones stay until their turn, and are never pushed again before it
	head  int
	count int // of again
	fresh fresh
}

// fresh are the tasks of a stage that were never launched. They have no task: the plan says all about them.
type fresh struct {
	stage *stage // nil: there are none, or they are not to be launched
	next  int    // no index below it is fresh
	count int
	since time.Time
}

func (q *queue) len() int { return q.count + q.fresh.count }

// since is when the task that has waited longest became launchable; the queue must not be empty.
func (q *queue) since() time.Time {
	var since time.Time
	if q.count > 0 {
		since = q.first().ready
	}
	if q.fresh.count > 0 {
		since = earlier(since, q.fresh.since)
	}
	return since
}

func (q *queue) push(t *task) {
	t.queued = true
	q.again = append(q.again, t)
	q.count++
}

func (q *queue) remove(t *task) {
	t.queued = false
	q.count--
	if q.count == 0 {
		q.again, q.head = nil, 0
	}
}

// forget takes out what is left of a task that was removed, so that it may be pushed again before its turn.
func (q *queue) forget(t *task) {
	q.again = slices.DeleteFunc(q.again[q.head:], func(other *task) bool { return other == t })
	q.head = 0
}

// first is the task that has waited longest of those that were launched before, or nil.
func (q *queue) first() *task {
	if q.count == 0 {
		return nil
	}
	for !q.again[q.head].queued {
		q.again[q.head] = nil
		q.head++
	}
	return q.again[q.head]
}

// sift shows the tasks that were launched before, in their order, to visit, which may remove the one that it is shown,
// until it returns false.
func (q *queue) sift(visit func(*task) bool) {
	at := q.head
	for more := true; more && at < len(q.again); at++ {
		if t := q.again[at]; t.queued {
			more = visit(t)
		}
	}
	// What is left of those that were shown moves up to the rest, so that none that is gone stays in between.
	head := min(at, len(q.again))
	for i := head - 1; i >= q.head; i-- {
		t := q.again[i]
		q.again[i] = nil
		if t.queued {
			head--
			q.again[head] = t
		}
	}
	q.head = head
}

func (f *fresh) take() *task {
	for f.stage.tasks[f.next] != nil {
		f.next++
	}
	t := f.stage.add(f.next)
	t.ready = f.since
	f.next++
	f.count--
	return t
}
