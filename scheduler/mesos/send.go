package mesos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// tries is how often a call whose answer was lost is sent.
const tries = 3

// envelope is a call on its way.
type envelope struct {
	call         scheduler.Call // nil for what this package sends by itself
	message      *sched.Call    // that
	name         string
	lane         lane
	subscription *subscription // under which it was sent; nil: there was none

	// answered is told what became of what this package sends by itself. If the subscription ended before there was an
	// answer it is not: then nobody was asked, or nobody knows.
	answered func(status int, text string, err error)
}

// lane is what a call must keep its order with.
type lane string

// alone is no lane: the call keeps its order with all others.
const alone lane = ""

// laneOf says which order matters. What is launched on one agent, and killed there, goes in order: the first task of an
// executor pays for it, and a KILL must not overtake its launch. Offers that are given back or agreed to stand for
// themselves; but REVIVE and SUPPRESS change what the filters of earlier calls do, and RECONCILE asks for tasks that
// earlier ones launched: they go alone.
func laneOf(call scheduler.Call) lane {
	switch c := call.(type) {
	case scheduler.Accept:
		return agentLane(c.AgentID)
	case scheduler.Kill:
		return agentLane(c.AgentID)
	case scheduler.Acknowledge:
		return agentLane(c.AgentID)
	case scheduler.SendMessage:
		return agentLane(c.AgentID)
	case scheduler.Decline:
		return offerLane(c.OfferIDs)
	case scheduler.AcceptInverse:
		return offerLane(c.OfferIDs)
	case scheduler.DeclineInverse:
		return offerLane(c.OfferIDs)
	}
	return alone
}

func agentLane(id string) lane {
	if id == "" {
		return alone
	}
	return "agent " + lane(id)
}

func offerLane(ids []string) lane {
	if len(ids) == 0 {
		return alone
	}
	return "offer " + lane(ids[0])
}

// Send queues calls, to be sent under the subscription that is alive now, in this order as far as it matters (see the
// package's comment). It never blocks. What is refused or cannot be sent comes back as CallFailed, except after Run has
// returned. It must not be called before Run.
func (c *Connection) Send(calls []scheduler.Call) {
	current := c.current.Load()
	for _, call := range calls {
		e := envelope{call: call, name: name(call), lane: laneOf(call), subscription: current}
		if _, ack := call.(scheduler.Acknowledge); ack {
			c.acks.add(e)
		} else {
			c.ordered.add(e)
		}
	}
}

// handle sends a call and tells whoever wants to know how that went.
func (c *Connection) handle(ctx context.Context, e envelope, deliver func(scheduler.Event)) {
	status, text, err := c.send(ctx, e)
	switch {
	case ctx.Err() != nil || errors.Is(err, errUnknown):
	case e.answered != nil:
		if err == nil || e.subscription.ctx.Err() == nil {
			e.answered(status, text, err)
		}
	case err != nil:
		deliver(scheduler.CallFailed{Call: e.call, Reason: err.Error()})
	case !taken(status):
		deliver(scheduler.CallFailed{Call: e.call, Status: status, Reason: text})
	}
}

func taken(status int) bool { return status == http.StatusAccepted || status == http.StatusOK }

// errUnknown: nobody knows whether Mesos took the call. The subscription is over, and reconciliation settles it.
var errUnknown = errors.New("the answer to a call was lost")

// send sends one call and waits for its answer. An error other than errUnknown means that it was not taken.
func (c *Connection) send(ctx context.Context, e envelope) (status int, text string, err error) {
	s := e.subscription
	if s == nil || s.ctx.Err() != nil {
		return 0, "", errNotForCall
	}
	body, err := e.encode()
	if err != nil {
		return 0, "", err
	}
	for try := 1; ; try++ {
		status, text, err := c.exchange(s.ctx, s, body)
		switch {
		case err == nil:
			return status, text, nil
		case errors.Is(err, errMayNotAct):
			s.drop(err)
			return 0, "", err
		case s.ctx.Err() != nil:
			return 0, "", errUnknown
		}
		if _, accept := e.call.(scheduler.Accept); accept {
			// It must not be sent again: if the first one arrived, the second names used offers, and the task that runs
			// would be reported as dropped. A new subscription shuts a late one out, and reconciliation tells.
			s.drop(fmt.Errorf("%w: %w", errCallLost, err))
			return 0, "", errUnknown
		}
		if try == tries {
			return 0, "", err
		}
		select {
		case <-time.After(c.backoff(try)):
		case <-ctx.Done():
			return 0, "", errUnknown
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
func (c *Connection) exchange(ctx context.Context, s *subscription, body []byte) (status int, text string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.pace.callTimeout, errors.New("no answer in time"))
	defer cancel()
	response, err := c.post(ctx, endpoint(s.master), s.streamID, body)
	if err != nil {
		return 0, "", err
	}
	text, err = answer(response)
	return response.StatusCode, text, err
}
