package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"

	client "github.com/colinmarc/hdfs/v2"

	"github.com/tidemill/tidemill/storage"
)

// hidden is how names begin that are no objects: drafts and claims.
const hidden = ".tidemill-"

// Store is what is below one folder of a nameservice.
type Store struct {
	pool   *pool
	root   string // absolute
	claims claims
	seen   atomic.Bool // the root is known to exist
}

var _ storage.Store = (*Store)(nil)

func newStore(p *pool, root string) *Store {
	return &Store{pool: p, root: root, claims: claims{patience: patience, abandoned: abandoned}}
}

func (s *Store) uri(key string) string {
	return storage.URI{Scheme: storage.SchemeHDFS, Bucket: s.pool.place.authority, Key: key}.String()
}

// path is where the object of a key is.
func (s *Store) path(key string) (string, error) {
	if err := storage.CheckKey(key); err != nil {
		return "", err
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "" || segment == "." || segment == "..":
			return "", fmt.Errorf("check key %q: %w: a file's key has no empty, \".\" or \"..\" segments", key, storage.ErrInvalid)
		case strings.Contains(segment, ":"):
			return "", fmt.Errorf("check key %q: %w: names in HDFS have no colon", key, storage.ErrInvalid)
		case strings.HasPrefix(segment, hidden):
			return "", fmt.Errorf("check key %q: %w: names that begin with %s are not for objects", key, storage.ErrInvalid, hidden)
		}
	}
	p := "/" + key
	if s.root != "/" && !strings.HasPrefix(p, s.root+"/") {
		return "", fmt.Errorf("check key %q: %w: it is outside of %s", key, storage.ErrInvalid, s.root)
	}
	return p, nil
}

// with runs do with a session and gives its error a kind. A session whose connection failed takes all idle ones with it.
func (s *Store) with(ctx context.Context, op, key string, do func(*session) error) error {
	c, err := s.pool.take(ctx)
	if err != nil {
		s.pool.drop()
		return s.failure(ctx, op, key, err)
	}
	err = do(c)
	s.release(c, err)
	if err != nil {
		return s.failure(ctx, op, key, err)
	}
	return nil
}

// release gives a session back after it ended with err.
func (s *Store) release(c *session, err error) {
	if err != nil && !answered(err) {
		c.broken = true
		s.pool.drop()
	}
	s.pool.give(c)
}

// checkRoot tells a missing root from a missing object. Once the root has been seen it is there.
func (s *Store) checkRoot(c *session) error {
	if s.root == "/" || s.seen.Load() {
		return nil
	}
	info, err := c.Stat(s.root)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return fmt.Errorf("%w: there is no folder %s", storage.ErrNoBucket, s.root)
	}
	if err == nil {
		s.seen.Store(true)
	}
	return err
}

// stat describes the file at a path; fs.ErrNotExist if there is none, or a folder.
func (s *Store) stat(c *session, at string) (storage.Object, error) {
	info, err := c.Stat(at)
	if missing(c, at, err) {
		if err := s.checkRoot(c); err != nil {
			return storage.Object{}, err
		}
		return storage.Object{}, fs.ErrNotExist
	}
	if err != nil {
		return storage.Object{}, err
	}
	if !isFile(info) {
		return storage.Object{}, fs.ErrNotExist
	}
	return object(at, info), nil
}

// missing says that an error of c at a path means that there is nothing, perhaps because a file stands where the path
// has a folder. Name nodes call that not permitted.
func missing(c *session, at string, err error) bool {
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if remote, ok := remoteError(err); ok && remote.Exception() == "org.apache.hadoop.fs.ParentNotDirectoryException" {
		return true
	}
	for denied := err; errors.Is(denied, fs.ErrPermission) && at != "/"; {
		var info os.FileInfo
		at = path.Dir(at)
		if info, denied = c.Stat(at); denied == nil {
			return !info.IsDir()
		}
	}
	return false
}

func status(info os.FileInfo) *client.FileStatus {
	status, _ := info.Sys().(*client.FileStatus) // that is what it documents
	return status
}

func isFile(info os.FileInfo) bool { return status(info).GetFileType().String() == "IS_FILE" }

func object(at string, info os.FileInfo) storage.Object {
	return storage.Object{Key: at[1:], Size: info.Size(), ETag: etag(info), Modified: info.ModTime()}
}

func etag(info os.FileInfo) string {
	return fmt.Sprintf("%x-%x-%x", status(info).GetFileId(), info.ModTime().UnixMilli(), info.Size())
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key string) (obj storage.Object, err error) {
	at, err := s.path(key)
	if err != nil {
		return storage.Object{}, err
	}
	err = s.with(ctx, "stat", key, func(c *session) error {
		obj, err = s.stat(c, at)
		return err
	})
	return obj, err
}

// Get implements storage.Store. Its body has a session of its own.
func (s *Store) Get(ctx context.Context, key string, r storage.Range) (io.ReadCloser, storage.Object, error) {
	at, err := s.path(key)
	if err != nil {
		return nil, storage.Object{}, err
	}
	c, err := s.pool.take(ctx)
	if err != nil {
		s.pool.drop()
		return nil, storage.Object{}, s.failure(ctx, "get", key, err)
	}
	b, obj, err := s.open(c, at, r)
	if err != nil {
		s.release(c, err)
		return nil, storage.Object{}, s.failure(ctx, "get", key, err)
	}
	b.ctx, b.key = ctx, key
	return b, obj, nil
}

// firstRead is how much of a body comes with Get: it shows that the blocks are those of the version.
const firstRead = 32 << 10

const openAttempts = 5

// open finds the version and its blocks. They come from the name node one after the other: what is replaced in between
// is found anew.
func (s *Store) open(c *session, at string, r storage.Range) (*body, storage.Object, error) {
	for attempt := 1; ; attempt++ {
		b, obj, err := s.openOnce(c, at, r)
		if err == nil && b.left == 0 {
			return b, obj, nil
		}
		if err != nil && obj.ETag == "" {
			return nil, storage.Object{}, err
		}
		now, statErr := s.stat(c, at)
		switch {
		case err == nil && statErr == nil && now.ETag == obj.ETag:
			return b, obj, nil
		case err != nil && (statErr != nil || now.ETag == obj.ETag):
			return nil, storage.Object{}, err
		}
		if b != nil {
			_ = b.file.Close() // another version has taken its place
		}
		switch {
		case statErr != nil:
			return nil, storage.Object{}, statErr
		case r.ETag != "" && r.ETag != now.ETag:
			return nil, storage.Object{}, errChanged
		case attempt == openAttempts:
			return nil, storage.Object{}, fmt.Errorf("%w: it has changed %d times while it was opened", storage.ErrUnavailable, attempt)
		}
	}
}

var errChanged = fmt.Errorf("%w: the object has changed", storage.ErrCondition)

// openOnce opens the version that is there and reads the first bytes. The object is set as soon as it is known.
func (s *Store) openOnce(c *session, at string, r storage.Range) (*body, storage.Object, error) {
	f, err := c.Open(at)
	if missing(c, at, err) {
		_, err := s.stat(c, at)
		if err == nil {
			err = fs.ErrNotExist // it has come this moment
		}
		return nil, storage.Object{}, err
	}
	if err != nil {
		return nil, storage.Object{}, err
	}
	if !isFile(f.Stat()) {
		return nil, storage.Object{}, fs.ErrNotExist
	}
	obj := object(at, f.Stat())
	switch {
	case r.ETag != "" && r.ETag != obj.ETag:
		return nil, storage.Object{}, errChanged
	case r.Offset < 0 || r.Length < 0 || r.Offset > 0 && r.Offset >= obj.Size:
		return nil, storage.Object{}, fmt.Errorf("%w: the object has no range %d+%d", storage.ErrInvalid, r.Offset, r.Length)
	}
	left := obj.Size - r.Offset
	if r.Length > 0 {
		left = min(left, r.Length)
	}
	b := &body{store: s, session: c, file: f, left: left}
	if left == 0 {
		return b, obj, nil
	}
	if _, err := f.Seek(r.Offset, io.SeekStart); err != nil {
		return nil, obj, err
	}
	b.first = make([]byte, min(left, firstRead))
	n, err := f.Read(b.first)
	b.first = b.first[:n]
	if n == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, obj, errors.Join(err, f.Close())
	}
	return b, obj, nil
}

// body reads a range of an open file.
type body struct {
	ctx     context.Context
	store   *Store
	session *session // nil once closed
	key     string
	file    *client.FileReader
	first   []byte // read already
	left    int64  // first included
	err     error  // of the file, sticky
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, b.store.failure(b.ctx, "read", b.key, err)
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.err != nil {
		return 0, b.store.failure(b.ctx, "read", b.key, b.err)
	}
	p = p[:min(int64(len(p)), b.left)]
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		b.left -= int64(n)
		return n, nil
	}
	n, err := b.file.Read(p)
	b.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if b.left > 0 {
		b.err = err
	}
	if n > 0 || b.err == nil {
		return n, nil
	}
	return 0, b.store.failure(b.ctx, "read", b.key, b.err)
}

func (b *body) Close() error {
	if b.session == nil {
		return nil
	}
	err := b.file.Close()
	b.store.release(b.session, b.err)
	b.session = nil
	if err != nil && b.left == 0 && b.ctx.Err() == nil {
		return b.store.failure(b.ctx, "close", b.key, err)
	}
	return nil // of a body that was given up it does not matter
}

// beside is a path in the same folder.
func beside(at, name string) string { return path.Join(path.Dir(at), name) }
