package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/storage"
)

const (
	lockName = private + "/lock"
	// lockTimeout bounds the wait for a process that was stopped while it held
	// the lock; otherwise the lock is held for one step only.
	lockTimeout = 30 * time.Second
	copyBuffer  = 1 << 20
)

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	to, err := s.path(key)
	if err != nil {
		return storage.Object{}, err
	}
	if size < 0 {
		return storage.Object{}, s.failure("put", key, fmt.Errorf("%w: size %d", storage.ErrInvalid, size))
	}
	root, err := s.open(ctx, "put", key)
	if err != nil {
		return storage.Object{}, err
	}
	defer root.Close()
	obj, err := put(ctx, root, key, to, io.NewSectionReader(body, 0, size), size, cond)
	if err != nil {
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: a folder and an object cannot have the same key: %w", storage.ErrInvalid, err)
		}
		return storage.Object{}, s.failure("put", key, err)
	}
	return obj, nil
}

// Copy implements storage.Store.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	path, err := s.path(to)
	if err != nil {
		return err
	}
	body, obj, err := s.Get(ctx, from, storage.Range{})
	if err != nil {
		return err
	}
	defer body.Close()
	root, err := s.open(ctx, "copy", from)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := put(ctx, root, to, path, body, obj.Size, storage.Always); err != nil {
		return s.failure("copy", from, err)
	}
	return nil
}

// put writes a file of its own and publishes it.
func put(ctx context.Context, root *os.Root, key, to string, body io.Reader, size int64, cond storage.Condition) (storage.Object, error) {
	if err := root.Mkdir(private, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return storage.Object{}, err
	}
	draft := private + "/" + rand.Text()
	obj, err := write(ctx, root, draft, body, size)
	if err == nil {
		err = locked(ctx, root, func() error { return publish(root, draft, key, to, cond) })
	}
	if removeErr := root.Remove(draft); err == nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = removeErr
	}
	if err == nil {
		err = syncFolder(root, path.Dir(to))
	}
	obj.Key = key
	return obj, err
}

// write makes the file draft with its bytes on disk and a time of its own.
func write(ctx context.Context, root *os.Root, draft string, body io.Reader, size int64) (storage.Object, error) {
	f, err := root.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return storage.Object{}, err
	}
	obj, err := fill(ctx, root, f, draft, body, size)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return obj, err
}

func fill(ctx context.Context, root *os.Root, f *os.File, draft string, body io.Reader, size int64) (storage.Object, error) {
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, contextReader{ctx, body}, make([]byte, min(size+1, copyBuffer)))
	if err != nil {
		return storage.Object{}, err
	}
	if n != size {
		return storage.Object{}, fmt.Errorf("%w: read what to write: %d bytes instead of %d", storage.ErrInvalid, n, size)
	}
	// The kernel's own stamp is as coarse as its clock tick, within which an
	// inode may be used again.
	now := time.Now()
	if err := root.Chtimes(draft, now, now); err != nil {
		return storage.Object{}, err
	}
	if err := f.Sync(); err != nil {
		return storage.Object{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return storage.Object{}, err
	}
	return object("", info), nil
}

// publish gives draft its name, under the lock.
func publish(root *os.Root, draft, key, to string, cond storage.Condition) error {
	if cond != storage.Always {
		current, err := stat(root, key, to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
		if !cond.Allows(current, err == nil) {
			return storage.ErrCondition
		}
	}
	if err := makeFolders(root, path.Dir(to)); err != nil {
		return err
	}
	if !cond.Absent() {
		return root.Rename(draft, to)
	}
	// A process that knows nothing of the lock may have made the file: only
	// link(2) refuses then.
	err := root.Link(draft, to)
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := root.Lstat(to); statErr == nil && info.IsDir() {
			return err
		}
		return storage.ErrCondition
	}
	return err
}

// makeFolders is MkdirAll that makes each new folder durable in its parent.
func makeFolders(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if info, err := root.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := makeFolders(root, path.Dir(dir)); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return syncFolder(root, path.Dir(dir))
}

// Delete implements storage.Store. Folders that it leaves empty go too.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	paths := make([]string, len(keys))
	for i, key := range keys {
		var err error
		if paths[i], err = s.path(key); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	root, err := s.open(ctx, "delete", keys[0])
	if err != nil {
		return err
	}
	defer root.Close()
	for i, p := range paths {
		if _, err := root.Lstat(p); errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue // without a lock: a folder of someone else's may not be writable
		}
		if err := locked(ctx, root, func() error { return remove(root, p) }); err != nil {
			return s.failure("delete", keys[i], err)
		}
	}
	return nil
}

func remove(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return nil // a folder is no object
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := path.Dir(name)
	for dir != "." {
		if err := root.Remove(dir); err != nil {
			break // it holds something else, as folders do
		}
		dir = path.Dir(dir)
	}
	return syncFolder(root, dir)
}

// locked runs step while no other process or goroutine runs one below root.
func locked(ctx context.Context, root *os.Root, step func() error) error {
	if err := root.Mkdir(private, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	err = flock(ctx, f)
	if err == nil {
		err = step()
	}
	return errors.Join(err, f.Close()) // closing unlocks
}

// flock asks again and again rather than block, so that ctx can end the wait.
func flock(ctx context.Context, f *os.File) error {
	deadline := time.Now().Add(lockTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s has been locked for %s", storage.ErrUnavailable, lockName, lockTimeout)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func syncFolder(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed again meanwhile, with what was in it
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// contextReader ends a long copy when ctx ends.
type contextReader struct {
	ctx    context.Context
	reader io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.reader.Read(p)
}
