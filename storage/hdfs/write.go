package hdfs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	client "github.com/colinmarc/hdfs/v2"
	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/storage"
)

const (
	copyBuffer      = 1 << 20
	parallelDeletes = 8 // each with a session
	// replicated bounds the wait for the data nodes to report a file's last block.
	replicated = time.Minute
	// tidying bounds the removal of what a failed write left.
	tidying = 10 * time.Second
)

// sessionTree is the tree of an HDFS.
type sessionTree struct{ *session }

func (t sessionTree) stat(at string) (string, error) {
	info, err := t.Client.Stat(at)
	if missing(t.session, at, err) || err == nil && !isFile(info) {
		return "", fs.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	return etag(info), nil
}

func (t sessionTree) child(folder string) (string, error) {
	infos, err := t.Client.ReadDir(folder)
	if err != nil || len(infos) == 0 {
		return "", err
	}
	return infos[0].Name(), nil
}

func (t sessionTree) rename(from, to string) error { return t.Client.Rename(from, to) }

func (t sessionTree) remove(at string, all bool) error {
	if all {
		return t.Client.RemoveAll(at)
	}
	return t.Client.Remove(at)
}

// draft is a folder with one entry, the token, beside the path that it is for.
type draft struct{ at, folder, token string }

func newDraft(at string) draft {
	token := rand.Text()
	return draft{at: at, folder: beside(at, hidden+"draft-"+token), token: token}
}

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, cond storage.Condition) (storage.Object, error) {
	if size < 0 {
		return storage.Object{}, &storage.Error{Op: "put", URI: s.uri(key), Kind: storage.ErrInvalid, Cause: fmt.Errorf("size %d", size)}
	}
	return s.put(ctx, "put", key, io.NewSectionReader(body, 0, size), size, cond)
}

// Copy implements storage.Store. The bytes come and go again: HDFS copies nothing by itself.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	if _, err := s.path(to); err != nil {
		return err
	}
	body, obj, err := s.Get(ctx, from, storage.Range{})
	if err != nil {
		return err
	}
	_, err = s.put(ctx, "copy", to, body, obj.Size, storage.Always)
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (s *Store) put(ctx context.Context, op, key string, body io.Reader, size int64, cond storage.Condition) (storage.Object, error) {
	at, err := s.path(key)
	if err != nil {
		return storage.Object{}, err
	}
	var obj storage.Object
	d := newDraft(at)
	err = s.with(ctx, op, key, func(c *session) (err error) {
		if err := s.checkRoot(c); err != nil {
			return err
		}
		// What can be known before is not written first.
		if err := allowed(sessionTree{c}, at, cond); err != nil {
			return err
		}
		if obj, err = s.write(ctx, c, d, body, size); err != nil {
			return err
		}
		err = s.claims.publish(ctx, sessionTree{c}, at, d.folder, d.token, obj.ETag, cond)
		if err != nil && !errors.Is(err, storage.ErrCondition) {
			if info, statErr := c.Stat(at); statErr == nil && info.IsDir() {
				return fmt.Errorf("%w: a folder and an object cannot have the same key: %w", storage.ErrInvalid, err)
			}
		}
		return err
	})
	if err != nil {
		return storage.Object{}, errors.Join(err, s.tidy(ctx, d, err))
	}
	obj.Key = key
	return obj, nil
}

// tidy removes what a failed write left, also when ctx has ended. It reports nothing: what stays behind is found by
// listings.
func (s *Store) tidy(ctx context.Context, d draft, failed error) error {
	if errors.Is(failed, errDied) || errors.Is(failed, storage.ErrNoBucket) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidying)
	defer cancel()
	_ = s.with(ctx, "tidy", d.folder[1:], func(c *session) error {
		claim := folderOf(d.at)
		_ = c.Remove(path.Join(claim, d.token)) // a claim that was taken after all
		_ = c.Remove(claim)
		_ = c.RemoveAll(d.folder)
		s.prune(c, path.Dir(d.at))
		return nil
	})
	return nil
}

// write makes the draft and returns when the data nodes have it.
func (s *Store) write(ctx context.Context, c *session, d draft, body io.Reader, size int64) (storage.Object, error) {
	if err := s.claims.step("draft"); err != nil {
		return storage.Object{}, err
	}
	if err := c.MkdirAll(d.folder, 0o755); err != nil {
		return storage.Object{}, err
	}
	at := path.Join(d.folder, d.token)
	c.setWriting(true)
	defer c.setWriting(false)
	f, err := c.Create(at)
	if err != nil {
		return storage.Object{}, err
	}
	if err := fill(ctx, f, body, size); err != nil {
		_ = f.Close() // the draft is of no use; this ends what the library runs for it
		return storage.Object{}, err
	}
	if err := closeFile(ctx, f); err != nil {
		return storage.Object{}, err
	}
	info, err := c.Stat(at)
	if err != nil {
		return storage.Object{}, err
	}
	return object(at, info), nil
}

func fill(ctx context.Context, f io.Writer, body io.Reader, size int64) error {
	source := &sourceReader{ctx: ctx, reader: body}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, source, make([]byte, min(size+1, copyBuffer)))
	switch {
	case source.err != nil:
		return fmt.Errorf("%w: read what to write: %w", storage.ErrInvalid, source.err)
	case err != nil:
		return err
	case n != size:
		return fmt.Errorf("%w: read what to write: %d bytes instead of %d", storage.ErrInvalid, n, size)
	}
	return nil
}

// closeFile returns when enough data nodes have reported the last block.
func closeFile(ctx context.Context, f *client.FileWriter) error {
	ctx, cancel := context.WithTimeout(ctx, replicated)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := f.Close()
		if !client.IsErrReplicating(err) {
			return err
		}
		if wait(ctx, pause) != nil {
			return fmt.Errorf("%w: wait for the data nodes to report the last block: %w", storage.ErrUnavailable, err)
		}
	}
}

// sourceReader keeps the errors of what is read apart from those of what is written to, and ends with the context.
type sourceReader struct {
	ctx    context.Context
	reader io.Reader
	err    error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// Delete implements storage.Store. Folders that it leaves empty go too, up to the root.
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
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDeletes)
	for i, at := range paths {
		group.Go(func() error {
			return s.with(groupCtx, "delete", keys[i], func(c *session) error { return s.deleteOne(groupCtx, c, at) })
		})
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return s.failure(ctx, "delete", keys[0], ctx.Err())
	}
	return err
}

// deleteOne removes the file at a path, if there is one.
func (s *Store) deleteOne(ctx context.Context, c *session, at string) error {
	if _, err := s.stat(c, at); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	d := newDraft(at)
	if err := c.MkdirAll(path.Join(d.folder, d.token), 0o755); err != nil {
		return err
	}
	err := s.claims.delete(ctx, sessionTree{c}, at, d.folder, d.token)
	if err != nil && !errors.Is(err, errDied) {
		_ = c.RemoveAll(d.folder) // it is there if the claim was never taken
	}
	s.prune(c, path.Dir(at))
	return err
}

// prune removes a folder that is empty, and those above it that thereby become so. A folder that may not be removed
// ends it like one that is not empty.
func (s *Store) prune(c *session, folder string) {
	for folder != s.root && folder != "/" {
		if err := c.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
		folder = path.Dir(folder)
	}
}
