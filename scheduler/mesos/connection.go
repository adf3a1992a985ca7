package mesos

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemill/tidemill/scheduler"
)

// Connection is the connection to the master that leads. Run and Send may be called from different goroutines;
// Run once only.
type Connection struct {
	cfg       Config
	detector  detector
	transport *http.Transport
	log       *slog.Logger
	pace      pace
	asStored  bool                         // presents the framework as it is registered, whatever is configured
	current   atomic.Pointer[subscription] // nil while there is none
	ordered   *traffic                     // every call but
	acks      *traffic                     // acknowledgements
}

// pace holds the times that tests shorten.
type pace struct {
	heartbeat   time.Duration // assumed until the master says its own
	missed      int           // heartbeats, before the stream is dropped
	subscribe   time.Duration // from SUBSCRIBE to SUBSCRIBED, redirects included
	callTimeout time.Duration // for the answer to one call
	backoffMin  time.Duration
	backoffMax  time.Duration
	settled     time.Duration // a subscription that held for so long starts the back-off anew
}

var defaultPace = pace{
	heartbeat:   15 * time.Second,
	missed:      5,
	subscribe:   30 * time.Second,
	callTimeout: 15 * time.Second,
	backoffMin:  100 * time.Millisecond,
	backoffMax:  10 * time.Second,
	settled:     10 * time.Second,
}

// New checks the configuration and reads its files. Nothing is sent before Run.
func New(cfg Config) (*Connection, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	found, err := newDetector(cfg)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MayAct == nil {
		cfg.MayAct = func() bool { return true }
	}
	return &Connection{
		cfg:       cfg,
		detector:  found,
		transport: transport,
		log:       cfg.Log,
		pace:      defaultPace,
		ordered:   newTraffic(callsInFlight),
		acks:      newTraffic(acksInFlight),
	}, nil
}

// Run subscribes and keeps subscribing until ctx ends, when it returns nil, or until there is no use: then with an error
// that is ErrFailedOver, ErrRemoved, ErrRefused or ErrImmutable. identity is the stored one, empty the very first time.
//
// deliver is given each event: those of a subscription in order, each after the one before has been taken; CallFailed
// and FrameworkUpdated events come from other goroutines at any time. It may block, which holds up the stream. When Run
// returns, nothing that it started is left.
func (c *Connection) Run(ctx context.Context, identity scheduler.Identity, deliver func(scheduler.Event)) error {
	if !c.asStored {
		if err := c.cfg.immutable(identity.ID, identity.Info); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() {
		if err := c.detector.watch(ctx); err != nil {
			stop(err)
		}
	})
	for _, t := range []*traffic{c.ordered, c.acks} {
		helpers.Go(func() { t.run(ctx, func(e envelope) { c.handle(ctx, e, deliver) }) })
	}
	defer func() {
		stop(nil)
		helpers.Wait()
		c.transport.CloseIdleConnections()
	}()
	err := c.subscriptions(ctx, &registration{Identity: identity}, deliver)
	if err == nil && fatal(context.Cause(ctx)) { // the detector's
		err = context.Cause(ctx)
	}
	if err != nil {
		c.log.Error("the subscription is over for good", "masters", c.detector.String(), "error", err)
	}
	return err
}

// subscriptions makes one after the other. It returns nil when ctx has ended.
func (c *Connection) subscriptions(ctx context.Context, known *registration, deliver func(scheduler.Event)) error {
	for failures := 0; ; failures++ {
		found, err := c.detector.next(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		s := &subscription{connection: c, registration: known, deliver: deliver, master: found.master, lost: found.lost}
		err = s.run(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrRefused) && s.outdated():
			// It may be what is registered that is refused, and what is wanted that mends it.
			known.set(scheduler.Identity{ID: known.get().ID})
		case fatal(err):
			return err
		case s.lasted() >= c.pace.settled:
			failures = 0
		}
		wait := c.backoff(failures)
		if found.more && s.since.IsZero() {
			wait = 0
			failures--
		}
		c.log.Warn("not subscribed", "master", s.master.String(), "error", err, "retry_in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-found.lost: // another one leads: it has not failed yet
			failures = -1
		case <-ctx.Done():
			return nil
		}
	}
}

// registration is what Mesos knows of this framework.
type registration struct {
	mu sync.Mutex
	scheduler.Identity
}

func (r *registration) get() scheduler.Identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Identity
}

func (r *registration) set(identity scheduler.Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Identity = identity
}

func fatal(err error) bool {
	return errors.Is(err, ErrFailedOver) || errors.Is(err, ErrRemoved) || errors.Is(err, ErrRefused) || errors.Is(err, ErrImmutable)
}

// backoff doubles from backoffMin to backoffMax. Half of it is chance, so that schedulers do not come back in step.
func (c *Connection) backoff(failures int) time.Duration {
	full := c.pace.backoffMax
	if failures < 20 {
		full = min(full, c.pace.backoffMin<<failures)
	}
	return full/2 + rand.N(full/2+1)
}
