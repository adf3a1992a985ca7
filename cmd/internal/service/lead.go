package service

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/cmd/internal/build"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/archive"
	"github.com/tidemill/tidemill/scheduler/artifacts"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/loop"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

const (
	resignTimeout = 5 * time.Second
	takeTimeout   = 2 * time.Minute // for taking the store over and reading it
	retryFirst    = 500 * time.Millisecond
	retryMost     = 30 * time.Second
	retrySettled  = time.Minute // a term that lasted so long starts the back-off anew
)

// FinalError is what ends [Run] although nothing was wrong from the start: something that would come again, and that an
// operator has to decide about. Mesos will not have the framework as it is configured, or has removed it; the records
// cannot be used, or their ensemble refuses the credentials.
type FinalError struct{ err error }

// Error implements error.
func (e *FinalError) Error() string { return e.err.Error() }

// Unwrap is for errors.Is and errors.As.
func (e *FinalError) Unwrap() error { return e.err }

// stand takes part in the election until ctx ends, and leads whenever it is this instance's turn. A term that ends, for
// whatever reason passes by itself, makes it a standby again. An error is a [FinalError].
func (s *service) stand(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; failures++ {
		term, err := s.acquire(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return &FinalError{unknownUser(fmt.Errorf("acquire leadership: %w", err))}
		}
		begin := time.Now()
		err = s.term(ctx, term)
		final := err != nil && forGood(err, term)
		s.resign(term)
		switch {
		case final:
			return &FinalError{unknownUser(err)}
		case ctx.Err() != nil:
			return nil
		}
		if time.Since(begin) > retrySettled {
			failures = 0
		}
		wait := s.pace(failures)
		s.log.Warn("stepped down", "error", err, "led", time.Since(begin).Round(time.Millisecond), "retry_in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return nil
}

// acquire waits until it is this instance's turn, and keeps up with the store meanwhile.
func (s *service) acquire(ctx context.Context) (lease.Term, error) {
	waiting, stop := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() { s.records.KeepUp(waiting, s.log) })
	defer reading.Wait()
	defer stop()
	return s.lease.Acquire(ctx)
}

// retryIn doubles from retryFirst to retryMost; half of it is chance.
func retryIn(failures int) time.Duration {
	full := min(retryMost, retryFirst<<min(failures, 10))
	return full/2 + rand.N(full/2+1)
}

// forGood says whether an error that ended a term would end the next one too, whoever leads.
func forGood(err error, term lease.Term) bool {
	switch {
	case errors.Is(err, mesos.ErrFailedOver):
		// A successor has the lease before it subscribes. Who takes the framework over while this term lasts is none of
		// ours, and is not to be fought.
		return term.Valid()
	case errors.Is(err, mesos.ErrRefused), errors.Is(err, mesos.ErrRemoved), errors.Is(err, mesos.ErrImmutable),
		errors.Is(err, loop.ErrRecords), errors.Is(err, store.ErrFormat), errors.Is(err, zookeeper.ErrNoAuth):
		return true
	}
	return false
}

// unknownUser adds what to do to an error of a store that refuses the credentials. Those of the masters say it themselves.
func unknownUser(err error) error {
	if errors.Is(err, zookeeper.ErrNoAuth) && !errors.Is(err, mesos.ErrRefused) {
		return fmt.Errorf("%w: check user and password in --store (TIDEMILL_STORE), and the ACL of its path", err)
	}
	return err
}

// term leads: it blocks until the term is over, ctx ends (when it returns nil), or something fails.
func (s *service) term(ctx context.Context, term lease.Term) error {
	s.numbers.LeaseChanged(true)
	defer s.numbers.LeaseChanged(false)
	after := s.instance.claim()
	defer s.instance.stepDown()
	l, taken, err := s.take(ctx, term, after)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.instance.lead(l, taken.epoch)
	s.log.Info("leading", "epoch", taken.epoch)
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		s.missing(inner, l)
		return nil
	})
	group.Go(func() error {
		(&archive.Archiver{Scheduler: l, Archive: s.archive, KeepRuns: s.cfg.Scheduling.KeepRuns, Observer: s.numbers, Log: s.log}).Run(inner)
		return nil
	})
	group.Go(func() error {
		(&artifacts.Collector{Store: s.files, View: l.View, Leads: term.Valid, Log: s.log}).Run(inner)
		return nil
	})
	group.Go(func() error {
		if taken.upkeep != nil {
			taken.upkeep(inner, s.log)
		}
		return nil
	})
	group.Go(func() error { return ended(l.Run(inner)) })
	if err := group.Wait(); !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// errEnded ends what runs beside the loop when that has ended without an error.
var errEnded = errors.New("the loop has ended")

func ended(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}

// take takes the store over and makes the loop from what is there. It gives up when the term ends.
func (s *service) take(ctx context.Context, term lease.Term, after uint64) (l *loop.Loop, taken led, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeTimeout)
	defer cancel()
	watched := make(chan struct{})
	defer func() { cancel(); <-watched }()
	go func() {
		defer close(watched)
		select {
		case <-term.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	if taken, err = s.records.Lead(ctx, term.Claim()); err != nil {
		return nil, led{}, err
	}
	master, err := s.master(term.Valid)
	if err != nil {
		return nil, led{}, err
	}
	l, err = loop.Open(ctx, loop.Config{
		Version: build.Version(),
		Core: func(stored []scheduler.Record) (loop.Core, error) {
			core, err := scheduler.New(s.core(), stored)
			if err != nil {
				return nil, err
			}
			return core, nil
		},
		Store:    taken,
		Master:   master,
		Observer: s.numbers,
		Log:      s.log,
		Term:     term,
		After:    after,
	})
	return l, taken, err
}

// resign lets another instance lead at once.
func (s *service) resign(term lease.Term) {
	ctx, cancel := context.WithTimeout(context.Background(), resignTimeout)
	defer cancel()
	if err := term.Resign(ctx); err != nil {
		s.log.Warn("leadership was not given back; it ends by itself", "error", err)
	}
}

// missing tells of versions whose file is gone: launches with them would fail on every agent that has not fetched it.
func (s *service) missing(ctx context.Context, l *loop.Loop) {
	for name, version := range l.View().Versions {
		for _, a := range version.Version.Artifacts {
			there, err := s.files.Has(ctx, a.SHA256)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.log.Error("the file of an executor version cannot be looked for", "version", name, "error", err)
			case !there:
				s.log.Error("the file of an executor version is missing", "version", name, "os", a.OS, "arch", a.Arch, "sha256", a.SHA256)
			}
		}
	}
}
