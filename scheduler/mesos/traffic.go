package mesos

import (
	"context"
	"sync"
)

// How many calls may be on their way at one time. With a master that answers after 5 ms that is 6,400 calls a second.
const (
	callsInFlight = 32
	acksInFlight  = 16
)

// traffic sends calls of one kind of connection in the order that matters, several at one time where it does not.
// Calls with the same lane go one after the other, each after the answer to the one before. A call without a lane goes
// alone: after the answers to all before it, and before all behind it.
type traffic struct {
	limit   int
	mu      sync.Mutex
	waiting []envelope
	filled  chan struct{} // holds a token while something waits
}

func newTraffic(limit int) *traffic {
	return &traffic{limit: limit, filled: make(chan struct{}, 1)}
}

// add never blocks.
func (t *traffic) add(e envelope) {
	t.mu.Lock()
	t.waiting = append(t.waiting, e)
	t.mu.Unlock()
	select {
	case t.filled <- struct{}{}:
	default:
	}
}

// take returns all that waits, once there is something.
func (t *traffic) take(ctx context.Context) ([]envelope, bool) {
	select {
	case <-t.filled:
	case <-ctx.Done():
		return nil, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.waiting
	t.waiting = nil
	return all, true
}

// maxLanes bounds the memory for lanes that are idle.
const maxLanes = 4096

// run hands what is added to send, which must return soon after ctx has ended. Nothing that it started is left when it
// returns.
func (t *traffic) run(ctx context.Context, send func(envelope)) {
	var (
		underWay sync.WaitGroup
		places   = make(chan struct{}, t.limit)
		last     = make(map[lane]chan struct{}) // closed when the newest call of that lane has been answered
	)
	defer underWay.Wait()
	for {
		batch, ok := t.take(ctx)
		if !ok {
			return
		}
		for _, e := range batch {
			if e.lane == alone || len(last) >= maxLanes {
				underWay.Wait()
				clear(last)
			}
			if e.lane == alone {
				send(e)
				continue
			}
			before, answered := last[e.lane], make(chan struct{})
			last[e.lane] = answered
			places <- struct{}{} // the one before has its place already, so this one's turn will come
			underWay.Go(func() {
				if before != nil {
					<-before
				}
				send(e)
				close(answered)
				<-places
			})
		}
	}
}
