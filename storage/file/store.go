package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tidemill/tidemill/storage"
)

// private is the folder for unfinished files and the lock.
const private = ".tidemill"

// Config says where a store is.
type Config struct {
	Root string // absolute path of a folder
	// Prefix stands in front of every key. With the root's own path here,
	// "srv/lake/" for /srv/lake, keys are those of file:///srv/lake/… URIs.
	// Empty, or ends in a slash.
	Prefix string
}

// Store is one folder.
type Store struct{ config Config }

var _ storage.Store = (*Store)(nil)

// Open checks c; whether the folder exists shows in the store's calls. Its
// errors match storage.ErrInvalid.
func Open(c Config) (*Store, error) {
	if !filepath.IsAbs(c.Root) {
		return nil, fmt.Errorf("open folder %q: %w: it is not an absolute path", c.Root, storage.ErrInvalid)
	}
	if c.Prefix != "" && !strings.HasSuffix(c.Prefix, "/") {
		return nil, fmt.Errorf("open folder %q: %w: prefix %q does not end in a slash", c.Root, storage.ErrInvalid, c.Prefix)
	}
	c.Root = filepath.Clean(c.Root)
	return &Store{config: c}, nil
}

// uri is for messages: the real path, whatever the prefix is.
func (s *Store) uri(key string) string {
	return storage.SchemeFile + "://" + s.config.Root + "/" + strings.TrimPrefix(key, s.config.Prefix)
}

// path turns a key into a path below the root.
func (s *Store) path(key string) (string, error) {
	if err := storage.CheckKey(key); err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(key, s.config.Prefix)
	switch {
	case !ok:
		return "", fmt.Errorf("check key %q: %w: it is outside of %s", key, storage.ErrInvalid, s.config.Root)
	case !fs.ValidPath(path) || path == ".":
		return "", fmt.Errorf("check key %q: %w: a file's key has no empty, \".\" or \"..\" segments", key, storage.ErrInvalid)
	case path == private || strings.HasPrefix(path, private+"/"):
		return "", fmt.Errorf("check key %q: %w: %s is not for objects", key, storage.ErrInvalid, private)
	}
	return path, nil
}

// open opens the root for one call, so that a folder that was removed and made
// anew is seen as it is.
func (s *Store) open(ctx context.Context, op, key string) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, &storage.Error{Op: op, URI: s.uri(key), Kind: err}
	}
	root, err := os.OpenRoot(s.config.Root)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil, &storage.Error{Op: op, URI: s.uri(key), Kind: storage.ErrNoBucket, Cause: err}
		}
		return nil, s.failure(op, key, err)
	}
	return root, nil
}

func (s *Store) failure(op, key string, err error) error {
	return &storage.Error{Op: op, URI: s.uri(key), Kind: kind(err), Cause: err}
}

func kind(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{storage.ErrCondition, storage.ErrUnavailable, storage.ErrInvalid, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return storage.ErrNotFound
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return storage.ErrDenied
	case errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.EINVAL):
		return storage.ErrInvalid
	}
	if _, ok := errors.AsType[syscall.Errno](err); !ok {
		return storage.ErrInvalid // a link out of the root, or a body that cannot be read
	}
	return storage.ErrUnavailable // I/O errors, a full disk, too many open files
}

// object describes an open or found file.
func object(key string, info fs.FileInfo) storage.Object {
	var inode uint64
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = stat.Ino
	}
	return storage.Object{
		Key:      key,
		Size:     info.Size(),
		ETag:     fmt.Sprintf("%x-%x-%x", inode, info.ModTime().UnixNano(), info.Size()),
		Modified: info.ModTime(),
	}
}

// stat describes the file at path; anything but a regular file is not there.
func stat(root *os.Root, key, path string) (storage.Object, error) {
	info, err := root.Stat(path)
	if err != nil {
		return storage.Object{}, err
	}
	if !info.Mode().IsRegular() {
		return storage.Object{}, fs.ErrNotExist
	}
	return object(key, info), nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (storage.Object, error) {
	path, err := s.path(key)
	if err != nil {
		return storage.Object{}, err
	}
	root, err := s.open(ctx, "stat", key)
	if err != nil {
		return storage.Object{}, err
	}
	defer root.Close()
	obj, err := stat(root, key, path)
	if err != nil {
		return storage.Object{}, s.failure("stat", key, err)
	}
	return obj, nil
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, storage.Object{}, err
	}
	root, err := s.open(ctx, "get", key)
	if err != nil {
		return nil, storage.Object{}, err
	}
	defer root.Close()
	f, obj, err := openRegular(root, key, path)
	if err != nil {
		return nil, storage.Object{}, s.failure("get", key, err)
	}
	switch {
	case r.ETag != "" && r.ETag != obj.ETag:
		err = fmt.Errorf("%w: the object has changed", storage.ErrCondition)
	case r.Offset < 0 || r.Length < 0 || r.Offset > 0 && r.Offset >= obj.Size:
		err = fmt.Errorf("%w: the object has no range %d+%d", storage.ErrInvalid, r.Offset, r.Length)
	}
	if err != nil {
		return nil, storage.Object{}, s.failure("get", key, errors.Join(err, f.Close()))
	}
	left := obj.Size - r.Offset
	if r.Length > 0 {
		left = min(left, r.Length)
	}
	return &body{ctx: ctx, store: s, key: key, file: f, offset: r.Offset, left: left}, obj, nil
}

func openRegular(root *os.Root, key, path string) (*os.File, storage.Object, error) {
	// O_NONBLOCK: opening a named pipe must not wait for a writer.
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, storage.Object{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, storage.Object{}, errors.Join(err, f.Close())
	}
	return f, object(key, info), nil
}

// body reads a range of an open file.
type body struct {
	ctx          context.Context
	store        *Store
	key          string
	file         *os.File
	offset, left int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, b.store.failure("read", b.key, err)
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.file.ReadAt(p[:min(int64(len(p)), b.left)], b.offset)
	b.offset += int64(n)
	b.left -= int64(n)
	if n > 0 || err == nil {
		return n, nil
	}
	if err == io.EOF { // someone has cut the file short in place
		err = fmt.Errorf("%w: the file has become shorter", storage.ErrCondition)
	}
	return 0, b.store.failure("read", b.key, err)
}

func (b *body) Close() error {
	if err := b.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return b.store.failure("close", b.key, err)
	}
	return nil
}
