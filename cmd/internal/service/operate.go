package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tidemill/tidemill/cmd/internal/build"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/scheduler/store"
)

// This file has what an operator does to a store while no scheduler leads: the settings are those of the scheduler.

// ErrLed: a scheduler leads, and what was asked for needs that none does. Stop all that share the store, then try again.
var ErrLed = errors.New("a scheduler leads this store")

// ErrNotEmpty: records were to be imported into a store that has some. Replace them, or use another store.
var ErrNotEmpty = errors.New("the store is not empty")

// leaseTimeout is how long an operator's command waits for the lease, which is free if no scheduler leads: a session
// that has just ended may keep it for a session timeout.
func (c Config) leaseTimeout() time.Duration { return c.StoreSessionTimeout + 2*time.Second }

// Export writes all records of the store to w, as store.Import reads them. It blocks. Beside a scheduler it works with a
// store that can be shared; one in a file is taken, which is store.ErrInUse: its scheduler exports it over the API.
func Export(ctx context.Context, cfg Config, w io.Writer) error {
	if err := cfg.existing(); err != nil {
		return err
	}
	return offline(ctx, cfg, openRecords, func(s *service, _ newLease) error { return s.export(ctx, w) })
}

// exportTimeout is for reading all records: a store that does not answer is said to be away, not waited for.
const exportTimeout = time.Minute

// teardownTimeout is for finding the leading master, subscribing, and the answer.
const teardownTimeout = 2 * time.Minute

func (s *service) export(ctx context.Context, w io.Writer) error {
	within, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	snapshot, err := s.records.Snapshot(within)
	if err != nil {
		return err
	}
	if len(snapshot.Records) == 0 {
		return fmt.Errorf("export: %w", ErrNoRecords)
	}
	return store.Export(w, store.Header{Version: build.Version(), Exported: time.Now().UTC(), Epoch: snapshot.Epoch}, snapshot.Records)
}

// Import puts what Export has written into the store, all or nothing, and says how many records there were. It blocks.
// An export that is not whole, or whose records this version cannot use, changes nothing. A store that holds something is
// ErrNotEmpty, unless replace is set. While a scheduler leads it is ErrLed, or store.ErrInUse.
func Import(ctx context.Context, cfg Config, r io.Reader, replace bool) (header store.Header, err error) {
	header, records, err := store.Import(r)
	if err != nil {
		return header, err
	}
	return header, leading(ctx, cfg, openRecords, func(s *service, taken led) error {
		if _, err := scheduler.Picture(s.core(), records, time.Now()); err != nil {
			return fmt.Errorf("import: these records cannot be used: %w", err)
		}
		there, err := taken.Load(ctx)
		if err != nil {
			return err
		}
		if n := holds(there); n > 0 && !replace {
			return fmt.Errorf("%w: it holds %d records", ErrNotEmpty, n)
		}
		return store.Replace(ctx, taken, records)
	})
}

// holds counts the records that say more than how the others are written.
func holds(records []scheduler.Record) int {
	n := 0
	for _, r := range records {
		if r.Key.Kind != scheduler.KindFormat {
			n++
		}
	}
	return n
}

// Framework is what the store knows of the framework.
type Framework struct {
	ID         string
	Registered time.Time
	Attempts   []scheduler.ForgottenAttempt // that have not ended, as far as is known
	Runs       int                          // that have not ended
}

// ErrNoRecords: no scheduler has ever used the store, or it is another one than was meant. Look at --store and --data-dir.
var ErrNoRecords = errors.New("the store holds no records: is it the right one")

// ErrNoFramework: none is registered. There is nothing to be done.
var ErrNoFramework = errors.New("the store knows of no framework")

// ShowFramework reads what is known of the framework, and changes nothing. It blocks. Errors as those of Export, and
// ErrNoFramework.
func ShowFramework(ctx context.Context, cfg Config) (f Framework, err error) {
	if err := cfg.existing(); err != nil {
		return f, err
	}
	err = offline(ctx, cfg, openRecords, func(s *service, _ newLease) error {
		snapshot, err := s.records.Snapshot(ctx)
		if err != nil {
			return err
		}
		f, _, err = s.forget(snapshot.Records)
		return err
	})
	return f, err
}

// ForgetFramework gives the framework's ID up: the next scheduler registers anew. What ran under it is an orphan if
// Mesos has not removed the framework; it is taken for lost, and its tasks run again. It blocks. Errors as those of
// Import, and ErrNoFramework.
func ForgetFramework(ctx context.Context, cfg Config) (f Framework, err error) {
	if err := cfg.existing(); err != nil {
		return f, err
	}
	err = leading(ctx, cfg, openRecords, func(s *service, taken led) error {
		f, err = s.giveUp(ctx, taken)
		return err
	})
	return f, err
}

// Teardown makes Mesos kill everything that runs under the framework and remove it, and then forgets it. It blocks.
// Errors as those of ForgetFramework, and mesos.Teardown's.
func Teardown(ctx context.Context, cfg Config) (f Framework, err error) {
	if err := cfg.existing(); err != nil {
		return f, err
	}
	err = leading(ctx, cfg, openRecords, func(s *service, taken led) error {
		records, err := taken.Load(ctx)
		if err != nil {
			return err
		}
		identity, err := registered(records)
		if err != nil {
			return err
		}
		connection, err := s.mesos()
		if err != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, teardownTimeout)
		defer cancel()
		if err := mesos.Teardown(within, connection, scheduler.Identity{ID: identity.ID, Info: identity.Info}); err != nil {
			if within.Err() != nil && ctx.Err() == nil {
				err = fmt.Errorf("tear down: Mesos has not confirmed it within %s, and the records are as they were; try again when a master leads: %w", teardownTimeout, err)
			}
			return err
		}
		f, err = s.giveUp(ctx, taken)
		return err
	})
	return f, err
}

// giveUp stores what forgetting the framework changes.
func (s *service) giveUp(ctx context.Context, taken led) (Framework, error) {
	records, err := taken.Load(ctx)
	if err != nil {
		return Framework{}, err
	}
	f, changes, err := s.forget(records)
	if err != nil {
		return Framework{}, err
	}
	return f, taken.Commit(ctx, changes)
}

// forget says what is known of the framework, and what forgetting it changes in the records.
func (s *service) forget(records []scheduler.Record) (f Framework, changes []scheduler.Change, err error) {
	known, err := registered(records)
	if err != nil {
		return f, nil, err
	}
	forgotten, changes, err := scheduler.Forget(s.core(), records, build.Version(), time.Now())
	if err != nil {
		return f, nil, err
	}
	view, err := scheduler.Picture(s.core(), records, time.Now())
	if err != nil {
		return f, nil, err
	}
	f = Framework{ID: known.ID, Registered: known.Created, Attempts: forgotten.Attempts}
	for _, run := range view.Runs {
		if run.Run.Ended == nil {
			f.Runs++
		}
	}
	return f, changes, nil
}

func registered(records []scheduler.Record) (*proto.Framework, error) {
	for _, r := range records {
		if r.Key.Kind == scheduler.KindFramework {
			f := &proto.Framework{}
			if err := proto.Decode(r.Value, f); err != nil {
				return nil, fmt.Errorf("read %s %q: %w", r.Key.Kind, r.Key.ID, err)
			}
			return f, nil
		}
	}
	return nil, ErrNoFramework
}

// existing says that there is a store to be read. One in a file would be made, and an export from the wrong directory
// would be a backup of nothing.
func (c Config) existing() error {
	if !c.Store.Empty() {
		return nil
	}
	if _, err := os.Stat(c.recordsFile()); err != nil {
		return fmt.Errorf("--data-dir: there are no records: %w", err)
	}
	return nil
}

type newLease = func(lease.Instance) (lease.Lease, error)

// offline does something with a store that is opened for it.
func offline(ctx context.Context, cfg Config, open opener, do func(*service, newLease) error) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s := &service{cfg: cfg, log: cfg.Logger}
	if s.log == nil {
		s.log = newLogger(cfg)
	}
	defer func() { err = errors.Join(unknownUser(err), s.close()) }()
	newLease, err := s.openStore(ctx, open)
	if err != nil {
		return err
	}
	return do(s, newLease)
}

// leading does something with a store that is taken over for it.
func leading(ctx context.Context, cfg Config, open opener, do func(*service, led) error) error {
	return offline(ctx, cfg, open, func(s *service, newLease newLease) (err error) {
		held, err := newLease(lease.Instance{Host: s.host(), Version: build.Version(), Since: time.Now().UTC()})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, held.Close()) }()
		waiting, stop := context.WithTimeout(ctx, cfg.leaseTimeout())
		defer stop()
		term, err := held.Acquire(waiting)
		switch leader, known := held.Leader(); {
		case err != nil && ctx.Err() == nil && waiting.Err() != nil && known:
			return fmt.Errorf("%w: %s on %s", ErrLed, leader.URL, leader.Host)
		case err != nil:
			return err
		}
		defer s.resign(term)
		taken, err := s.records.Lead(ctx, term.Claim())
		if err != nil {
			return err
		}
		return do(s, taken)
	})
}
