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
	if _, err := fetch(ctx, l.objects, records, nil); err != nil {
		return nil, err
	}
	return records, nil
}

// fetch puts values in the place of their pointers. known is looked at first; it may be nil.
func fetch(ctx context.Context, objects storage.Store, records []scheduler.Record, known map[string][]byte) (used map[string][]byte, err error) {
	values := make([][]byte, len(records))
	pointers := make([]pointer, len(records))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(largeParallel)
	for i, record := range records {
		p, is, err := readPointer(record.Value)
		if !is {
			continue
		}
		pointers[i] = p
		if values[i] = known[p.Object]; values[i] != nil {
			continue
		}
		group.Go(func() error {
			if err == nil {
				values[i], err = read(ctx, objects, p)
			}
			if err != nil {
				return fmt.Errorf("read large record %s %q: %w", record.Key.Kind, record.Key.ID, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	used = make(map[string][]byte)
	for i, value := range values {
		if value != nil {
			records[i].Value = value
			used[pointers[i].Object] = value
		}
	}
	return used, nil
}

func read(ctx context.Context, objects storage.Store, p pointer) ([]byte, error) {
	value, object, err := storage.ReadAll(ctx, objects, p.Object, p.Size)
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

// Fetcher reads large values for one who follows what a leader writes. It keeps those of the last records, so that it
// reads only what is new. It is for one goroutine at a time.
type Fetcher struct {
	objects storage.Store
	kept    map[string][]byte // by object
}

// NewFetcher reads objects that a [Large] has written.
func NewFetcher(objects storage.Store) *Fetcher { return &Fetcher{objects: objects} }

// Fetch puts the values in the place of their pointers, in records as the store below a Large has them. It blocks until
// all are read, and changes nothing when it fails. The values are not to be changed. An object that is missing or has
// other bytes is ErrDamaged.
func (f *Fetcher) Fetch(ctx context.Context, records []scheduler.Record) error {
	kept, err := fetch(ctx, f.objects, records, f.kept)
	if err == nil {
		f.kept = kept
	}
	return err
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
