package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

const (
	// LargeLimit is the size in bytes above which values of a store with small nodes are better kept elsewhere.
	LargeLimit = 64 << 10

	largeFolder   = "large/"
	largeParallel = 8           // objects read or written at once
	largePause    = time.Second // between attempts to write while the storage does not answer
)

// ErrDamaged: an object that a record points at is missing, or its bytes are not those that were written. Restore it
// from a copy of the object storage, or import a backup of the records.
var ErrDamaged = errors.New("a large record is damaged")

// Large is a Store whose large values lie in object storage; the store below it has a pointer in their place, with the
// object's name and sum.
//
// An object is written before the record that points at it and is never written again: each has a name of its own,
// large/<sha256>.<random>. So nothing that an old leader does late can spoil what a new one points at. Objects that
// nothing points at (a commit failed after they were written, or the record has changed since) are removed by Collect.
type Large struct {
	inner   Store
	objects storage.Store
	limit   int
}

// NewLarge keeps values of more than limit bytes of inner in objects, which should retry (storage.WithRetry).
func NewLarge(inner Store, objects storage.Store, limit int) *Large {
	return &Large{inner: inner, objects: objects, limit: limit}
}

// pointerMark begins the value that stands for one that lies elsewhere. No protobuf message begins with it, and values
// of other sorts that do are kept as objects, however small.
const pointerMark = "\x00tidemill large "

// pointer is what follows the mark, as JSON.
type pointer struct {
	Object string `json:"object"` // its key
	SHA256 string `json:"sha256"` // of the value, lower-case hex
	Size   int64  `json:"size"`   // bytes
}

func (p pointer) value() ([]byte, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return append([]byte(pointerMark), text...), nil
}

// readPointer says whether value is a pointer, and which.
func readPointer(value []byte) (p pointer, is bool, err error) {
	text, is := bytes.CutPrefix(value, []byte(pointerMark))
	if !is {
		return pointer{}, false, nil
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return pointer{}, true, fmt.Errorf("%w: its pointer cannot be read: %w", ErrDamaged, err)
	}
	if !strings.HasPrefix(p.Object, largeFolder) || p.Size < 0 {
		return pointer{}, true, fmt.Errorf("%w: its pointer names object %q of %d bytes", ErrDamaged, p.Object, p.Size)
	}
	return p, true, nil
}

// Load implements Store. A value whose object is missing or has other bytes is ErrDamaged.
func (l *Large) Load(ctx context.Context) ([]scheduler.Record, error) {
	records, err := l.inner.Load(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.Fetch(ctx, records); err != nil {
		return nil, err
	}
	return records, nil
}

// Fetch puts the values in the place of their pointers, in records as the store below has them. It blocks until all are
// read. An object that is missing or has other bytes is ErrDamaged; whoever follows a leader's writes may also see that
// when the record was replaced more than a day ago, and reads the records anew.
func (l *Large) Fetch(ctx context.Context, records []scheduler.Record) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(largeParallel)
	for i := range records {
		record := &records[i]
		p, is, err := readPointer(record.Value)
		if !is {
			continue
		}
		group.Go(func() error {
			if err == nil {
				record.Value, err = l.read(ctx, p)
			}
			if err != nil {
				return fmt.Errorf("read large record %s %q: %w", record.Key.Kind, record.Key.ID, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (l *Large) read(ctx context.Context, p pointer) ([]byte, error) {
	value, object, err := storage.ReadAll(ctx, l.objects, p.Object, p.Size)
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrInvalid):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, err
	case object.Size != p.Size || sumOf(value) != p.SHA256:
		return nil, fmt.Errorf("%w: object %s does not hold the bytes that were written", ErrDamaged, p.Object)
	}
	return value, nil
}

// Commit implements Store. While the storage does not answer, it goes on trying to write objects until ctx ends, and
// then fails without having changed a record.
func (l *Large) Commit(ctx context.Context, changes []scheduler.Change) error {
	changes, err := l.spill(ctx, changes)
	if err != nil {
		return fmt.Errorf("commit %d changes: %w", len(changes), err)
	}
	return l.inner.Commit(ctx, changes)
}

// spill writes the objects of large values, and gives the changes with pointers in their place.
func (l *Large) spill(ctx context.Context, changes []scheduler.Change) ([]scheduler.Change, error) {
	isLarge := func(value []byte) bool {
		return len(value) > l.limit || bytes.HasPrefix(value, []byte(pointerMark))
	}
	if !slices.ContainsFunc(changes, func(c scheduler.Change) bool { return isLarge(c.Value) }) {
		return changes, nil
	}
	out := slices.Clone(changes)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(largeParallel)
	for i, change := range changes {
		if !isLarge(change.Value) {
			continue
		}
		group.Go(func() (err error) {
			out[i].Value, err = l.write(ctx, change)
			return err
		})
	}
	return out, group.Wait()
}

// write makes the value's object and gives the pointer to it.
func (l *Large) write(ctx context.Context, change scheduler.Change) ([]byte, error) {
	sum := sumOf(change.Value)
	p := pointer{Object: largeFolder + sum + "." + strings.ToLower(rand.Text()), SHA256: sum, Size: int64(len(change.Value))}
	for {
		_, err := storage.WriteAll(ctx, l.objects, p.Object, change.Value, storage.Always)
		if err == nil {
			return p.value()
		}
		if !errors.Is(err, storage.ErrUnavailable) || !pause(ctx, largePause) {
			return nil, fmt.Errorf("keep large record %s %q: %w", change.Key.Kind, change.Key.ID, err)
		}
	}
}

// pause says whether there is time left after it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func sumOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// Close implements Store.
func (l *Large) Close() error { return l.inner.Close() }
