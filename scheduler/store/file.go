package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/tidemill/tidemill/scheduler"
)

// format of the file: one bucket "records" with a bucket for each kind in it, whose keys are IDs; and one bucket "meta".
const format = "tidemill-1"

var (
	metaBucket    = []byte("meta")
	recordsBucket = []byte("records")
	formatKey     = []byte("format")
)

// File is a Store in one file. A lock on it keeps a second process out.
type File struct {
	path string
	db   *bolt.DB
}

// Open opens the store at path, creating it (mode 0600) and its directory if they are not there. It returns at once:
// with ErrInUse if another process has it open, ErrFormat if it is something else.
func Open(path string) (*File, error) {
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := refuseForeign(path); err != nil {
		return nil, fmt.Errorf("open store %q: %w", path, err)
	}
	// The timeout only bounds how long bbolt tries to lock: it tries once.
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Nanosecond, FreelistType: bolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open store %q: %w", path, ErrInUse)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("open store %q: %w (%w)", path, ErrFormat, err)
	case err != nil:
		return nil, fmt.Errorf("open store %q: %w", path, err)
	}
	f := &File{path: path, db: db}
	if err := f.prepare(directory); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %q: %w", path, err), db.Close())
	}
	return f, nil
}

// refuseForeign turns away a file that is no bbolt database before bbolt would lay one out in it: a page begins with
// its number, flags and, in the first one, bbolt's magic number at byte 16.
func refuseForeign(path string) error {
	head := make([]byte, 20)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := file.Read(head)
	if closed := file.Close(); closed != nil {
		return closed
	}
	if n == 0 {
		return nil // empty: bbolt lays out a new one
	}
	if err != nil {
		return err
	}
	if magic := []byte{0xed, 0xda, 0x0c, 0xed}; n < len(head) || !bytes.Equal(head[16:20], magic) {
		return ErrFormat
	}
	return nil
}

// prepare checks the format, or writes it into a new file, and makes the file's name durable.
func (f *File) prepare(directory string) error {
	if err := os.Chmod(f.path, 0o600); err != nil {
		return err
	}
	fresh := false
	err := f.db.Update(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(metaBucket); meta != nil {
			if got := meta.Get(formatKey); string(got) != format {
				return fmt.Errorf("%w: it says %q, not %q", ErrFormat, got, format)
			}
			return nil
		}
		if name, _ := tx.Cursor().First(); name != nil {
			return fmt.Errorf("%w: it belongs to another program", ErrFormat)
		}
		fresh = true
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(recordsBucket); err != nil {
			return err
		}
		return meta.Put(formatKey, []byte(format))
	})
	if err != nil || !fresh {
		return err
	}
	return syncDirectory(directory)
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

// Load implements Store. Records come by kind, then by ID.
func (f *File) Load(ctx context.Context) ([]scheduler.Record, error) {
	var out []scheduler.Record
	err := f.db.View(func(tx *bolt.Tx) error {
		all := tx.Bucket(recordsBucket)
		return all.ForEachBucket(func(kind []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return all.Bucket(kind).ForEach(func(id, value []byte) error {
				out = append(out, scheduler.Record{
					Key:   scheduler.Key{Kind: scheduler.RecordKind(kind), ID: string(id)},
					Value: bytes.Clone(value), // what bbolt returns is gone after the transaction
				})
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("load store %q: %w", f.path, closed(err))
	}
	return out, nil
}

// Commit implements Store, with one transaction and one fsync for all changes.
func (f *File) Commit(ctx context.Context, changes []scheduler.Change) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit %d changes: %w", len(changes), err)
	}
	ordered := inOrder(changes)
	err := f.db.Update(func(tx *bolt.Tx) error {
		all := tx.Bucket(recordsBucket)
		for _, change := range ordered {
			if err := apply(all, change); err != nil {
				return fmt.Errorf("%s %q: %w", change.Key.Kind, change.Key.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit %d changes to store %q: %w", len(changes), f.path, closed(err))
	}
	return nil
}

// inOrder sorts changes by key; those of one key stay in their order. A leaf of bbolt grows without bounds until the end of
// the transaction, and each key that goes into its middle moves all behind it: 100,000 in no order take many seconds.
func inOrder(changes []scheduler.Change) []scheduler.Change {
	ordered := slices.Clone(changes)
	slices.SortStableFunc(ordered, func(a, b scheduler.Change) int {
		return cmp.Or(cmp.Compare(a.Key.Kind, b.Key.Kind), cmp.Compare(a.Key.ID, b.Key.ID))
	})
	return ordered
}

func apply(all *bolt.Bucket, change scheduler.Change) error {
	kind, id := []byte(change.Key.Kind), []byte(change.Key.ID)
	if change.Value == nil {
		bucket := all.Bucket(kind)
		if bucket == nil {
			return nil
		}
		return bucket.Delete(id)
	}
	bucket, err := all.CreateBucketIfNotExists(kind)
	if err != nil {
		return err
	}
	return bucket.Put(id, change.Value)
}

// Close implements Store.
func (f *File) Close() error {
	if err := f.db.Close(); err != nil {
		return fmt.Errorf("close store %q: %w", f.path, err)
	}
	return nil
}

func closed(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
