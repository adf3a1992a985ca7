package mesos

import (
	"context"
	"errors"
	"fmt"

	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler/calls"

	"github.com/tidemill/tidemill/scheduler"
)

// errTornDown ends what Teardown runs.
var errTornDown = errors.New("the framework is torn down")

// Teardown ends a registered framework for good: Mesos kills all its tasks and executors, and its ID can never be used
// again. It blocks until Mesos has said so, until ctx ends, or until Mesos refuses. A framework that Mesos has removed
// already is no error. Any other scheduler of this framework is failed over. Only an operator asks for this.
func Teardown(ctx context.Context, cfg Config, identity scheduler.Identity) error {
	if identity.ID == "" {
		return errors.New("tear down framework: none is registered")
	}
	c, err := New(cfg)
	if err != nil {
		return err
	}
	return c.teardown(ctx, identity)
}

func (c *Connection) teardown(ctx context.Context, identity scheduler.Identity) error {
	c.asStored = true
	call := &sched.Call{Type: sched.Call_TEARDOWN}
	body, err := call.With(calls.Framework(identity.ID)).Marshal()
	if err != nil {
		return fmt.Errorf("encode TEARDOWN: %w", err)
	}
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// What comes before the next Subscribed does not matter, and neither do offers: all of it dies with the framework.
	err = c.Run(inner, identity, func(event scheduler.Event) {
		if _, ok := event.(scheduler.Subscribed); !ok || inner.Err() != nil {
			return
		}
		// The stream may end before the answer comes, so this is not bound to the subscription. If the answer is lost, the
		// next subscription shows whether the framework is still there.
		status, text, err := c.exchange(inner, c.current.Load(), body)
		switch {
		case err != nil:
			c.log.Warn("the answer to TEARDOWN was lost", "framework", identity.ID, "error", err)
			c.current.Load().drop(err)
		case taken(status):
			stop(errTornDown)
		default:
			stop(fmt.Errorf("the master answered %d %s", status, text))
		}
	})
	switch {
	case errors.Is(err, ErrRemoved), errors.Is(context.Cause(inner), errTornDown):
		return nil
	case err == nil:
		err = context.Cause(inner)
	}
	return fmt.Errorf("tear down framework %s: %w", identity.ID, err)
}
