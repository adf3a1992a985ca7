package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// A term lasts for 2/3 of the session timeout after the ensemble has confirmed the session, counted from when it was
// asked, and is asked six times a timeout. It cannot have taken the session away before: it counts the whole timeout,
// from when a server has got the question; the third that is left is for what a server knew and the ensemble did not yet
// (half a tick, where a timeout has at least two).
const (
	lastsNumerator, lastsDenominator = 2, 3
	beatsPerTimeout                  = 6
)

type term struct {
	lease *ZooKeeper
	path  string // of the candidate's node
	token string
	lost  <-chan struct{} // the session in which the node was made
	gone  zookeeper.Watch // of the node
	lasts time.Duration   // without a confirmation
	every time.Duration   // between two questions

	until   atomic.Pointer[time.Time] // Valid before this
	mu      sync.Mutex                // for writing until
	over    bool                      // under mu
	done    chan struct{}
	ctx     context.Context // ends with the term
	cancel  context.CancelFunc
	removed <-chan struct{} // closed when the node is known to be gone; set when the term is over
}

func newTerm(l *ZooKeeper, path, token string, lost <-chan struct{}, gone zookeeper.Watch) *term {
	timeout := l.session.Timeout()
	t := &term{
		lease: l, path: path, token: token, lost: lost, gone: gone,
		lasts: timeout * lastsNumerator / lastsDenominator,
		every: timeout / beatsPerTimeout,
		done:  make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(l.ctx)
	until := time.Now().Add(t.lasts) // for the first beat only: nobody has the term yet
	t.until.Store(&until)
	return t
}

// keep has the term confirmed again and again, until it is over.
func (t *term) keep() {
	pause(t.ctx, t.every)
	for t.ctx.Err() == nil {
		asked := time.Now()
		err := t.beat(t.ctx, asked)
		if errors.Is(err, zookeeper.ErrNoNode) || errors.Is(err, zookeeper.ErrNoAuth) || errors.Is(err, zookeeper.ErrClosed) {
			t.end(err.Error())
		}
		pause(t.ctx, time.Until(asked.Add(t.every)))
	}
}

// beat asks the ensemble to confirm that the session and the node in it are there. It is a write: a server that is cut
// off from the others still answers reads.
func (t *term) beat(ctx context.Context, asked time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, asked.Add(t.lasts))
	defer cancel()
	err := t.lease.session.Multi(ctx,
		zookeeper.Check(t.path, zookeeper.AnyVersion),
		zookeeper.Set(heartbeat, nil, zookeeper.AnyVersion))
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || !t.Valid() {
		return errors.New("the confirmation came too late") // watch sees it, too
	}
	until := asked.Add(t.lasts)
	t.until.Store(&until)
	return nil
}

// watch ends the term when its time is up, or its session or node is known to be gone.
func (t *term) watch() {
	for {
		timer := time.NewTimer(time.Until(*t.until.Load()))
		select {
		case <-timer.C:
			if !t.Valid() {
				t.end("not confirmed in time")
			}
		case <-t.lost:
			t.end("session lost")
		case <-t.gone:
			t.end("its node is gone")
		case <-t.ctx.Done():
			t.end("closed")
		}
		timer.Stop()
		if t.ctx.Err() != nil {
			return
		}
	}
}

// end ends the term for this instance first, and then for the others.
func (t *term) end(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.over = true
	past := time.Time{}
	t.until.Store(&past)
	close(t.done)
	t.cancel()
	t.lease.log.Info("term over", "reason", why)
	t.removed = t.lease.withdraw(t.token)
}

// Done implements Term.
func (t *term) Done() <-chan struct{} { return t.done }

// Valid implements Term. It asks both clocks: the monotonic one stands still while a machine is suspended, the other may
// be set back.
func (t *term) Valid() bool {
	now, until := time.Now(), *t.until.Load()
	return now.Before(until) && now.Round(0).Before(until.Round(0))
}

// Claim implements Term: the path of the candidate's node below the path of the session's URL.
func (t *term) Claim() string { return t.path }

// Resign implements Term.
func (t *term) Resign(ctx context.Context) error {
	t.end("resigned")
	t.mu.Lock()
	removed := t.removed
	t.mu.Unlock()
	select {
	case <-removed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("resign: the node may still be there, until the session ends: %w", ctx.Err())
	}
}
