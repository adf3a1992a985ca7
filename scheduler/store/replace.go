package store

import (
	"context"

	"github.com/tidemill/tidemill/scheduler"
)

// Replace makes records all that s holds, with one commit: whoever reads sees what was there or what is there then, never
// a mixture. It blocks. Errors are those of Load and Commit.
func Replace(ctx context.Context, s Store, records []scheduler.Record) error {
	old, err := s.Load(ctx)
	if err != nil {
		return err
	}
	changes := make([]scheduler.Change, 0, len(old)+len(records))
	for _, r := range old {
		changes = append(changes, scheduler.Change{Key: r.Key})
	}
	for _, r := range records { // later changes of a key win
		value := r.Value
		if value == nil {
			value = []byte{} // an empty value, not a removal
		}
		changes = append(changes, scheduler.Change{Key: r.Key, Value: value})
	}
	return s.Commit(ctx, changes)
}
