package service

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/lease"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/storage"
)

// ensemble is what ZooKeeper is to several services, in memory: records with a fence, and an election.
type ensemble struct {
	mu         sync.Mutex
	records    map[scheduler.Key][]byte
	commits    uint64
	epoch      uint64
	claim      string // of the term that leads, as the store knows it
	refused    int    // commits of those that do not
	candidates []*candidate
	changed    chan struct{}
	terms      int
	down       error // of every read and write
}

func newEnsemble() *ensemble {
	return &ensemble{records: map[scheduler.Key][]byte{}, changed: make(chan struct{})}
}

// open is an opener.
func (e *ensemble) open(Config, storage.Store, *slog.Logger) (shared, error) {
	return shared{
		records: &view{ensemble: e},
		lease: func(self lease.Instance) (lease.Lease, error) {
			return &candidate{ensemble: e, self: self}, nil
		},
		close: func() error { return nil },
	}, nil
}

func (e *ensemble) do(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
	close(e.changed)
	e.changed = make(chan struct{})
}

// expire takes the lease away from whoever leads, as when its session is lost.
func (e *ensemble) expire() {
	e.do(func() {
		if len(e.candidates) > 0 && e.candidates[0].term != nil {
			e.candidates[0].over()
		}
	})
}

// view is the store as one instance sees it.
type view struct {
	*ensemble
	claimed string
}

var errClaim = errors.New("the claim does not hold")

func (v *view) Lead(_ context.Context, claim string) (led, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.down != nil {
		return led{}, v.down
	}
	if !slices.ContainsFunc(v.candidates, func(c *candidate) bool { return c.term != nil && c.term.claim == claim }) {
		return led{}, errClaim
	}
	v.epoch++
	v.claimed, v.claim = claim, claim
	return led{Store: v, epoch: v.epoch}, nil
}

func (v *view) all() []scheduler.Record {
	all := []scheduler.Record{}
	for key, value := range v.records {
		all = append(all, scheduler.Record{Key: key, Value: slices.Clone(value)})
	}
	return all
}

func (v *view) Load(context.Context) ([]scheduler.Record, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all(), v.down
}

func (v *view) Snapshot(context.Context) (store.Snapshot, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return store.Snapshot{Epoch: v.epoch, Commit: v.commits, Records: v.all()}, v.down
}

var errFenced = errors.New("another instance leads")

func (v *view) Commit(ctx context.Context, changes []scheduler.Change) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case v.down != nil:
		return v.down
	case v.claim != v.claimed:
		v.refused++
		return errFenced
	}
	for _, c := range changes {
		if c.Value == nil {
			delete(v.records, c.Key)
		} else {
			v.records[c.Key] = slices.Clone(c.Value)
		}
	}
	v.commits++
	return nil
}

func (v *view) KeepUp(context.Context, *slog.Logger) {}

func (v *view) Close() error { return nil }

// candidate is the lease of one instance.
type candidate struct {
	*ensemble
	self lease.Instance
	term *memoryTerm
}

func (c *candidate) Acquire(ctx context.Context) (lease.Term, error) {
	c.do(func() { c.candidates = append(c.candidates, c) })
	for {
		c.mu.Lock()
		if len(c.candidates) > 0 && c.candidates[0] == c {
			c.terms++
			c.term = &memoryTerm{candidate: c, claim: time.Now().String() + c.self.URL, done: make(chan struct{})}
			c.mu.Unlock()
			c.do(func() {})
			return c.term, nil
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			c.do(c.leave)
			return nil, ctx.Err()
		}
	}
}

func (c *candidate) leave() {
	c.candidates = slices.DeleteFunc(c.candidates, func(other *candidate) bool { return other == c })
}

// over ends the term, before anybody else can lead. mu is held.
func (c *candidate) over() {
	close(c.term.done)
	c.term = nil
	c.leave()
}

func (c *candidate) Leader() (lease.Instance, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.candidates) == 0 || c.candidates[0].term == nil {
		return lease.Instance{}, false
	}
	return c.candidates[0].self, true
}

func (c *candidate) Instances() []lease.Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []lease.Instance
	for _, one := range c.candidates {
		all = append(all, one.self)
	}
	return all
}

func (c *candidate) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *candidate) Close() error { return nil }

type memoryTerm struct {
	*candidate
	claim string
	done  chan struct{}
}

func (t *memoryTerm) Done() <-chan struct{} { return t.done }
func (t *memoryTerm) Claim() string         { return t.claim }

func (t *memoryTerm) Valid() bool {
	select {
	case <-t.done:
		return false
	default:
		return true
	}
}

func (t *memoryTerm) Resign(context.Context) error {
	t.do(func() {
		if t.candidate.term == t {
			t.over()
		}
	})
	return nil
}

var _ store.Store = (*view)(nil)
