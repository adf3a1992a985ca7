package lease

import (
	"context"
	"time"
)

// Lease is the right to lead, which at most one instance has at one time.
type Lease interface {
	// Acquire blocks until this instance leads or ctx ends. Losing the connection meanwhile is no error: it goes on
	// trying. It may be called again after a term is over, not while one lasts.
	Acquire(ctx context.Context) (Term, error)

	// Leader is who leads, as far as this instance knows. ok is false while nobody does or it is not known. It does not
	// block; Changed says when the answer changes.
	Leader() (leader Instance, ok bool)

	// Instances is who takes part, as far as this instance knows: who leads, then who would follow. It does not block; the
	// slice is the caller's.
	Instances() []Instance

	// Changed is closed when the answer of Leader or Instances has changed since this call.
	Changed() <-chan struct{}

	// Close gives up what is held. A term that lasts is over.
	Close() error
}

// Instance is a scheduler that takes part.
type Instance struct {
	URL     string    `json:"url"`  // under which the others reach its API
	Host    string    `json:"host"` // for people
	Version string    `json:"version"`
	Since   time.Time `json:"since"` // when it began to take part
}

// Term is leadership from Acquire until it is lost or resigned.
type Term interface {
	// Done is closed as soon as the term is over or may be: always before another instance can lead.
	Done() <-chan struct{}

	// Valid says whether this instance may act now. It looks at the clock, so that a process that was stopped for long
	// sees at once that its time is up. It is cheap and never blocks.
	Valid() bool

	// Claim names what proves the term to the store, such as the path of a ZooKeeper node; empty if the store needs none.
	Claim() string

	// Resign ends the term, so that another instance can lead at once. It blocks until that is known, at most until ctx
	// ends. May be called more than once, and after the term is over.
	Resign(ctx context.Context) error
}
