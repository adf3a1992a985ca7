package queue

import "sync"

// Queue is used by pointer and made by New.
type Queue[T any] struct {
	mu     sync.Mutex
	items  []T
	closed bool
	wake   chan struct{}
}

// New makes an empty, open queue.
func New[T any]() *Queue[T] {
	return &Queue[T]{wake: make(chan struct{}, 1)}
}

// Put appends an item; after Close it does nothing.
func (q *Queue[T]) Put(item T) {
	q.mu.Lock()
	if !q.closed {
		q.items = append(q.items, item)
	}
	q.mu.Unlock()
	q.poke()
}

// Close lets nothing more in; what is there can still be taken.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.poke()
}

// Take empties the queue. closed says that nothing will follow.
func (q *Queue[T]) Take() (items []T, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, q.items = q.items, nil
	return items, q.closed
}

// Wake receives after Put and Close, once for any number of them.
func (q *Queue[T]) Wake() <-chan struct{} { return q.wake }

func (q *Queue[T]) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
