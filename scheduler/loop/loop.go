package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/scheduler"
)

// Core is scheduler.Core. Only the loop's goroutine calls it.
type Core interface {
	Step(scheduler.Input) scheduler.Actions
	View() *scheduler.View
}

// Store is what the loop needs of scheduler/store. Both methods block.
type Store interface {
	Load(ctx context.Context) ([]scheduler.Record, error)
	Commit(ctx context.Context, changes []scheduler.Change) error
}

// Master is the connection to Mesos.
type Master interface {
	// Run stays subscribed and gives events to deliver, in order, until ctx ends (then it returns nil) or Mesos refuses
	// for good. Nothing that it started is left when it returns. identity is the stored one; its ID is empty the
	// very first time.
	Run(ctx context.Context, identity scheduler.Identity, deliver func(scheduler.Event)) error
	// Send queues calls to be sent in this order. It does not block.
	Send(calls []scheduler.Call)
}

// Observer is told what metrics are made of. Its methods must not block.
type Observer interface {
	Count(scheduler.Count)
	// Committed: a store write of that many changes, from that many events, has ended.
	Committed(events, changes int, took time.Duration, err error)
}

// Term is the time for which this instance leads; scheduler/lease has the one that can be lost.
type Term interface {
	// Done is closed when the term is over or may be.
	Done() <-chan struct{}
	// Valid says whether this instance may act now. It never blocks.
	Valid() bool
}

// Config is what a Loop is made of. All fields are needed, but for the last two.
type Config struct {
	Version  string                                 // of this program; a store remembers who brought its records to their format
	Core     func([]scheduler.Record) (Core, error) // makes the core from what is stored
	Store    Store
	Master   Master
	Observer Observer
	Log      *slog.Logger

	Term  Term   // nil: for ever
	After uint64 // views are numbered from the next number on, so that readers of an earlier loop's views go on
}

// forEver is the term of a scheduler that cannot lose it.
type forEver struct{}

func (forEver) Done() <-chan struct{} { return nil }
func (forEver) Valid() bool           { return true }

const (
	queueLength   = 1024
	maxTurn       = 512 // events whose changes share one commit
	idleTick      = time.Second
	commitTimeout = 30 * time.Second
)

// Loop owns a core. Do, View and Wait are safe for concurrent use.
type Loop struct {
	cfg     Config
	core    Core
	queue   chan item
	tickets atomic.Uint64
	waiting map[uint64]chan<- scheduler.Reply // commands without an answer yet; the loop's goroutine only
	board   board
	ahead   bool          // a commit has failed; the loop's goroutine only
	stopped chan struct{} // closed when Run returns
}

// item is an event on its way to the core, with where the answer goes if it is a command.
type item struct {
	event    scheduler.Event
	received time.Time // from Mesos
	ticket   uint64
	answer   chan<- scheduler.Reply
}

// ErrRecords: what is stored is damaged, or of a newer format. It stays as it is; trying again does not help.
var ErrRecords = errors.New("the stored records cannot be used")

// Open loads the records, brings them to the present format and makes the core. It blocks as long as the store does. View
// works from here on; Do waits for Run to begin. Errors: the store's, ErrRecords.
func Open(ctx context.Context, cfg Config) (*Loop, error) {
	records, err := load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	core, err := cfg.Core(records)
	if err != nil {
		return nil, fmt.Errorf("%w: read %d records: %w", ErrRecords, len(records), err)
	}
	if cfg.Term == nil {
		cfg.Term = forEver{}
	}
	l := &Loop{
		cfg:     cfg,
		core:    core,
		queue:   make(chan item, queueLength),
		waiting: make(map[uint64]chan<- scheduler.Reply),
		stopped: make(chan struct{}),
	}
	l.board.after = cfg.After
	l.board.draw(core, time.Time{})
	l.board.announce(l.View())
	return l, nil
}

// load returns the stored records in the present format.
func load(ctx context.Context, cfg Config) ([]scheduler.Record, error) {
	records, err := cfg.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	changes, err := scheduler.Migrate(records, cfg.Version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecords, err)
	}
	if len(changes) == 0 {
		return records, nil
	}
	if err := cfg.Store.Commit(ctx, changes); err != nil {
		return nil, fmt.Errorf("migrate %d records: %w", len(records), err)
	}
	if len(records) > 0 {
		cfg.Log.Info("brought the records to a new format", "format", scheduler.FormatVersion, "records", len(records), "changes", len(changes))
	}
	return cfg.Store.Load(ctx)
}

// ErrTermOver: the term for which this loop ran has ended. Acquire another one and open another loop.
var ErrTermOver = errors.New("the term of leadership is over")

// Run connects to Mesos and works until ctx ends, when it returns nil. It returns an error that is ErrTermOver,
// ErrStoring, or what Mesos refused for good; this Loop is over then. Commands without an answer are answered as
// unavailable. It is called once; nothing that it started is left when it returns.
//
// When ctx ends, what was decided is still stored. When the term ends nothing is waited for: a write on its way is given
// up, and the store keeps it out if it comes too late.
func (l *Loop) Run(ctx context.Context) error {
	term, end := l.term(ctx)
	defer end()
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-term.Done():
			return ErrTermOver
		case <-inner.Done():
			return nil
		}
	})
	group.Go(func() error {
		return l.cfg.Master.Run(inner, l.View().Framework, func(e scheduler.Event) {
			select {
			case l.queue <- item{event: e, received: time.Now()}:
			case <-inner.Done():
			}
		})
	})
	group.Go(func() error { return l.turns(inner, term) })
	err := group.Wait()
	l.stepDown()
	close(l.stopped)
	return err
}

// term is a context that ends with the term, not with ctx. The caller calls end, which waits for what was started.
func (l *Loop) term(ctx context.Context) (term context.Context, end func()) {
	term, cancel := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-l.cfg.Term.Done():
			cancel()
		case <-term.Done():
		}
	}()
	return term, func() { cancel(); <-watched }
}

// stepDown shows that this instance leads no more. A core that is ahead of the store is not looked at again: what it
// has in mind may never be stored.
func (l *Loop) stepDown() {
	if l.ahead {
		last := *l.View()
		last.Leading, last.Master = false, ""
		l.board.newest.Store(&last)
		return
	}
	now := time.Now()
	l.core.Step(scheduler.Input{Now: now, Random: rand.Uint64(), Event: scheduler.SteppedDown{}})
	l.board.draw(l.core, now)
}

// turns is the goroutine that owns the core. It ends with ctx; what it has begun then goes on until it is done or the
// term is over.
func (l *Loop) turns(ctx, term context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var ticked time.Time
	due := time.Now() // of the next Tick: the first one comes at once
	for {
		timer.Reset(time.Until(l.board.soonest(due)))
		var batch []item
		select {
		case <-ctx.Done():
			return nil
		case first := <-l.queue:
			batch = l.gather(first)
		case <-timer.C:
		}
		if !l.cfg.Term.Valid() { // this process may have been asleep
			return ErrTermOver
		}
		now := time.Now()
		if !now.Before(due) {
			batch = append(batch, item{event: scheduler.Tick{}})
			ticked = now
		}
		if len(batch) > 0 {
			wake, err := l.turn(term, now, batch)
			if err != nil {
				return err
			}
			due = nextTick(ticked, wake)
		}
		l.board.refresh(l.core, now)
	}
}

// nextTick is at wake, but never more than idleTick after the last one.
func nextTick(last, wake time.Time) time.Time {
	due := last.Add(idleTick)
	if !wake.IsZero() && wake.Before(due) {
		due = wake
	}
	return due
}

// gather adds what else waits already.
func (l *Loop) gather(first item) []item {
	batch := []item{first}
	for len(batch) < maxTurn {
		select {
		case next := <-l.queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// turn steps through a batch, stores, and then acts. Wake is the earliest that the core asked for after its last step.
func (l *Loop) turn(ctx context.Context, now time.Time, batch []item) (wake time.Time, err error) {
	var done outcome
	for _, one := range batch {
		if one.answer != nil {
			l.waiting[one.ticket] = one.answer
		}
		done.add(l.core.Step(scheduler.Input{Now: now, Random: rand.Uint64(), Event: one.event}), one.received)
	}
	l.board.stale = true
	if err := l.commit(ctx, len(batch), done.changes); err != nil {
		l.ahead = true
		return time.Time{}, err
	}
	if len(done.calls) > 0 {
		l.cfg.Master.Send(done.calls)
	}
	for _, received := range done.accepts {
		l.cfg.Observer.Count(scheduler.Count{Metric: scheduler.MetricOfferToLaunch, Value: time.Since(received).Seconds()})
	}
	if len(done.replies) > 0 {
		l.board.draw(l.core, now) // whoever is answered sees what he did
	}
	for _, reply := range done.replies {
		if answer, asked := l.waiting[reply.Ticket]; asked {
			delete(l.waiting, reply.Ticket)
			answer <- reply // has room for one
		}
	}
	for _, note := range done.notes {
		l.cfg.Log.LogAttrs(ctx, note.Level, note.Text, note.Attrs...)
	}
	for _, count := range done.counts {
		l.cfg.Observer.Count(count)
	}
	return done.wake, nil
}

// ErrStoring: a write to the store failed. Nobody knows what is stored; load it again before going on.
var ErrStoring = errors.New("storing failed")

// commit stores changes. The context is the term's.
func (l *Loop) commit(ctx context.Context, events int, changes []scheduler.Change) error {
	if len(changes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	begin := time.Now()
	err := l.cfg.Store.Commit(ctx, changes)
	l.cfg.Observer.Committed(events, len(changes), time.Since(begin), err)
	if err != nil {
		l.cfg.Log.Error("storing failed: giving up leadership", "changes", len(changes), "error", err)
		return fmt.Errorf("give up leadership: %w: %w", ErrStoring, err)
	}
	return nil
}

// Do carries out a command and blocks until what follows from it is stored; View then shows it. The value is what the
// command's comment says. The error is always a *scheduler.Error: Unavailable when ctx ended first (the command may
// still be carried out) or the loop has stopped.
func (l *Loop) Do(ctx context.Context, body scheduler.CommandBody) (any, error) {
	ticket := l.tickets.Add(1)
	answer := make(chan scheduler.Reply, 1)
	command := item{event: scheduler.Command{Ticket: ticket, Body: body}, ticket: ticket, answer: answer}
	select {
	case l.queue <- command:
	case <-l.stopped:
		return nil, unavailable("this instance has stopped scheduling: the command was not carried out")
	case <-ctx.Done():
		return nil, unavailable("the scheduler is busy: the command was not carried out")
	}
	select {
	case reply := <-answer:
		return result(reply)
	case <-ctx.Done():
		return nil, unavailable("the answer took too long: the command may still be carried out")
	case <-l.stopped:
	}
	select {
	case reply := <-answer: // it came just before the end
		return result(reply)
	default:
		return nil, errStopped()
	}
}

// result keeps a nil *scheduler.Error from becoming an error that is not nil.
func result(reply scheduler.Reply) (any, error) {
	if reply.Err != nil {
		return nil, reply.Err
	}
	return reply.Value, nil
}

func unavailable(text string) *scheduler.Error {
	return &scheduler.Error{Kind: scheduler.Unavailable, Message: text}
}

func errStopped() *scheduler.Error {
	return unavailable("this instance has stopped scheduling: the command may have been carried out")
}

// View is the picture of the state as it was at most 20 ms ago, and not older than the last Do that returned. It never
// blocks, and is never nil.
func (l *Loop) View() *scheduler.View { return l.board.newest.Load() }

// ErrStopped: Run has returned; there will be no newer view.
var ErrStopped = errors.New("the scheduler has stopped")

// Wait blocks until there is a view newer than sequence and returns it: pass 0 for the present one. Waiters see at most
// ten views a second, however much happens. Errors: the context's, ErrStopped.
func (l *Loop) Wait(ctx context.Context, sequence uint64) (*scheduler.View, error) {
	for {
		view, changed := l.board.read()
		if view.Sequence > sequence {
			return view, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a view newer than %d: %w", sequence, ctx.Err())
		case <-l.stopped:
			return nil, ErrStopped
		}
	}
}
