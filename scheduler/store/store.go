package store

import (
	"context"
	"errors"

	"github.com/tidemill/tidemill/scheduler"
)

// Store holds records.
type Store interface {
	// Load returns all records, in an order that stays the same as long as nothing is committed. It blocks. The values
	// belong to the caller.
	Load(ctx context.Context) ([]scheduler.Record, error)

	// Commit makes all changes or none. When it returns nil they are durable: they are there after a crash of the
	// machine. Later changes of one key win over earlier ones. Removing what is not there is no error. It blocks, and
	// keeps no value. After an error the changes may or may not be stored: load again before going on.
	Commit(ctx context.Context, changes []scheduler.Change) error

	// Close gives the store free for another process. It may be called more than once; everything else then fails
	// with ErrClosed.
	Close() error
}

var (
	// ErrInUse: another process holds the store. Stop it, or use another file.
	ErrInUse = errors.New("another process uses it")
	// ErrFormat: the file is not a store, or one of a newer tidemill. Nothing was changed.
	ErrFormat = errors.New("its format is not known to this version of tidemill")
	// ErrFenced: another instance has taken the store over, and nothing of this one is stored any more. Stop leading.
	ErrFenced = errors.New("another instance leads the store")
	// ErrTooLarge: a value, or all of one commit, does not fit into the store. Nothing was changed; see Large.
	ErrTooLarge = errors.New("it is too large for the store")
	// ErrFull: there are too many records. Nothing was changed; remove some.
	ErrFull = errors.New("the store is full")
	// ErrClosed: the store was closed before.
	ErrClosed = errors.New("the store is closed")
)
