package lease

import (
	"context"
	"sync"
)

// Alone is the lease of the only instance: it leads whenever it wants to. Something else (the lock on the file store)
// keeps a second one out.
type Alone struct {
	self    Instance
	changed chan struct{} // never closed: the answers do not change

	mu   sync.Mutex
	term *aloneTerm
}

// NewAlone returns the lease of self.
func NewAlone(self Instance) *Alone { return &Alone{self: self, changed: make(chan struct{})} }

// Acquire implements Lease. It does not wait for anything.
func (a *Alone) Acquire(ctx context.Context) (Term, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.term = &aloneTerm{done: make(chan struct{})}
	return a.term, nil
}

// Leader implements Lease.
func (a *Alone) Leader() (Instance, bool) { return a.self, true }

// Instances implements Lease.
func (a *Alone) Instances() []Instance { return []Instance{a.self} }

// Changed implements Lease.
func (a *Alone) Changed() <-chan struct{} { return a.changed }

// Close implements Lease.
func (a *Alone) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.term == nil {
		return nil
	}
	return a.term.Resign(context.Background())
}

type aloneTerm struct {
	done chan struct{}
	once sync.Once
}

func (t *aloneTerm) Done() <-chan struct{} { return t.done }

func (t *aloneTerm) Valid() bool {
	select {
	case <-t.done:
		return false
	default:
		return true
	}
}

func (t *aloneTerm) Claim() string { return "" }

func (t *aloneTerm) Resign(context.Context) error {
	t.once.Do(func() { close(t.done) })
	return nil
}
