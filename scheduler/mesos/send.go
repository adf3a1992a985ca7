package mesos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// tries is how often a call whose answer was lost is sent.
const tries = 3

// envelope is a call on its way.
type envelope struct {
	call         scheduler.Call // nil for what this package sends by itself
	message      *sched.Call
	name         string
	subscription *subscription // under which it was sent; nil: there was none
}

// lane is an unbounded queue whose calls go out one after the other.
type lane struct {
	mu      sync.Mutex
	waiting []envelope
	filled  chan struct{} // holds a token while something waits
}

func newLane() *lane { return &lane{filled: make(chan struct{}, 1)} }

func (l *lane) add(e envelope) {
	l.mu.Lock()
	l.waiting = append(l.waiting, e)
	l.mu.Unlock()
	select {
	case l.filled <- struct{}{}:
	default:
	}
}

// take returns all that waits, once there is something.
func (l *lane) take(ctx context.Context) ([]envelope, bool) {
	select {
	case <-l.filled:
	case <-ctx.Done():
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.waiting
	l.waiting = nil
	return all, true
}

// Send queues calls, to be sent in this order under the subscription that is alive now. It never blocks. What is
// refused or cannot be sent comes back as CallFailed, except after Run has returned. It must not be called before Run.
func (c *Connection) Send(calls []scheduler.Call) {
	current := c.current.Load()
	for _, call := range calls {
		e := envelope{call: call, name: name(call), subscription: current}
		if _, ack := call.(scheduler.Acknowledge); ack {
			c.acks.add(e)
		} else {
			c.ordered.add(e)
		}
	}
}

// serve sends what a lane holds until ctx ends.
func (c *Connection) serve(ctx context.Context, l *lane, deliver func(scheduler.Event)) {
	for {
		batch, ok := l.take(ctx)
		if !ok {
			return
		}
		for _, e := range batch {
			failed := c.send(ctx, e)
			if failed == nil || ctx.Err() != nil {
				continue
			}
			if e.call == nil {
				c.log.Warn("a call failed", "call", e.name, "status", failed.Status, "reason", failed.Reason)
				continue
			}
			deliver(*failed)
		}
	}
}

// send sends one call and waits for its answer; nil if Mesos took it, or if the subscription ended while it was on its
// way: then nobody knows, and reconciliation settles it.
func (c *Connection) send(ctx context.Context, e envelope) *scheduler.CallFailed {
	s := e.subscription
	if s == nil || s.ctx.Err() != nil {
		return &scheduler.CallFailed{Call: e.call, Reason: errNotForCall.Error()}
	}
	body, err := e.encode()
	if err != nil {
		return &scheduler.CallFailed{Call: e.call, Reason: err.Error()}
	}
	for try := 1; ; try++ {
		status, text, err := c.exchange(s, body)
		switch {
		case err == nil && status == http.StatusAccepted:
			return nil
		case err == nil:
			return &scheduler.CallFailed{Call: e.call, Status: status, Reason: text}
		case s.ctx.Err() != nil:
			return nil
		}
		if _, accept := e.call.(scheduler.Accept); accept {
			// It must not be sent again: if the first one arrived, the second names used offers, and the task that runs
			// would be reported as dropped. A new subscription shuts a late one out, and reconciliation tells.
			s.drop(fmt.Errorf("%w: %w", errCallLost, err))
			return nil
		}
		if try == tries {
			return &scheduler.CallFailed{Call: e.call, Reason: err.Error()}
		}
		select {
		case <-time.After(c.backoff(try)):
		case <-ctx.Done():
			return nil
		}
	}
}

func (e envelope) encode() ([]byte, error) {
	m := e.message
	if m == nil {
		var err error
		if m, err = message(e.call, e.subscription.frameworkID); err != nil {
			return nil, err
		}
	}
	body, err := m.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.name, err)
	}
	return body, nil
}

// exchange posts a call and reads the answer. An error means that there was none.
func (c *Connection) exchange(s *subscription, body []byte) (status int, text string, err error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, c.pace.callTimeout, errors.New("no answer in time"))
	defer cancel()
	response, err := c.post(ctx, endpoint(s.master), s.streamID, body)
	if err != nil {
		return 0, "", err
	}
	text, err = answer(response)
	return response.StatusCode, text, err
}
