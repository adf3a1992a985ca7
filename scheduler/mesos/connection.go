package mesos

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemill/tidemill/scheduler"
)

// Connection is the connection to the master that leads. Run and Send may be called from different goroutines;
// Run once only.
type Connection struct {
	cfg       Config
	master    *url.URL
	transport *http.Transport
	log       *slog.Logger
	pace      pace
	current   atomic.Pointer[subscription] // nil while there is none
	ordered   *lane                        // every call but
	acks      *lane                        // acknowledgements
}

// pace holds the times that tests shorten.
type pace struct {
	heartbeat   time.Duration // assumed until the master says its own
	missed      int           // heartbeats, before the stream is dropped
	callTimeout time.Duration // for the answer to one call
	backoffMin  time.Duration
	backoffMax  time.Duration
	settled     time.Duration // a subscription that held for so long starts the back-off anew
}

var defaultPace = pace{
	heartbeat:   15 * time.Second,
	missed:      5,
	callTimeout: 15 * time.Second,
	backoffMin:  100 * time.Millisecond,
	backoffMax:  10 * time.Second,
	settled:     10 * time.Second,
}

// New checks the configuration. Nothing is sent before Run.
func New(cfg Config) (*Connection, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	master, err := masterURL(cfg.Master)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Connection{
		cfg:    cfg,
		master: master,
		// No http.Client: it fails on the redirects of a standby before it asks what to do with them. HTTP/1.1 only: a
		// subscription then has a connection of its own.
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     time.Minute,
		},
		log:     cfg.Log,
		pace:    defaultPace,
		ordered: newLane(),
		acks:    newLane(),
	}, nil
}

// Run subscribes and keeps subscribing until ctx ends, when it returns nil, or until Mesos says that there is no use:
// then with an error that is ErrFailedOver, ErrRemoved or ErrRefused. identity is the stored one; its ID is
// empty the very first time.
//
// deliver is given each event: those of a subscription in order, each after the one before has been taken; CallFailed
// events come from other goroutines at any time. It may block, which holds up the stream. When Run returns, nothing
// that it started is left.
func (c *Connection) Run(ctx context.Context, identity scheduler.Identity, deliver func(scheduler.Event)) error {
	frameworkID := identity.ID
	ctx, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for _, l := range []*lane{c.ordered, c.acks} {
		senders.Go(func() { c.serve(ctx, l, deliver) })
	}
	defer func() {
		stop()
		senders.Wait()
		c.transport.CloseIdleConnections()
	}()

	for failures := 0; ; failures++ {
		s := &subscription{connection: c, frameworkID: frameworkID, deliver: deliver}
		err := s.run(ctx)
		frameworkID = s.frameworkID
		if ctx.Err() != nil {
			return nil
		}
		if fatal(err) {
			c.log.Error("the subscription is over for good", "master", s.master.String(), "error", err)
			return err
		}
		if s.lasted() >= c.pace.settled {
			failures = 0
		}
		wait := c.backoff(failures)
		c.log.Warn("not subscribed", "master", s.master.String(), "error", err, "retry_in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

func fatal(err error) bool {
	return errors.Is(err, ErrFailedOver) || errors.Is(err, ErrRemoved) || errors.Is(err, ErrRefused)
}

// backoff doubles from backoffMin to backoffMax. Half of it is chance, so that schedulers do not come back in step.
func (c *Connection) backoff(failures int) time.Duration {
	full := c.pace.backoffMax
	if failures < 20 {
		full = min(full, c.pace.backoffMin<<failures)
	}
	return full/2 + rand.N(full/2+1)
}
