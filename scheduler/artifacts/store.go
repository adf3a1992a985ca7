package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/proto/describe"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// MaxSize bounds one file, in bytes.
const MaxSize = 2 << 30

// folder holds the objects.
const folder = "artifacts/"

var validSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Store is the executor files in object storage. Safe for concurrent use, also by several processes.
type Store struct {
	objects storage.Store
	maxSize int64
	holds   holds
	// temporary opens a file for one upload, which is gone as soon as it is closed.
	temporary func() (*os.File, error)
}

// New is the files below artifacts/ in objects, which should retry (storage.WithRetry). spool is a local directory for
// uploads that are being received: they have no name there, so that nothing is left of one when the process dies. It
// must exist; empty means the system's directory for temporary files.
func New(objects storage.Store, spool string) *Store {
	return &Store{
		objects: objects, maxSize: MaxSize, holds: holds{bySum: map[string]*hold{}},
		temporary: func() (*os.File, error) { return temporary(spool) },
	}
}

// MaxSize is how many bytes a file may have.
func (s *Store) MaxSize() int64 { return s.maxSize }

// Hold keeps the file of that SHA-256, in lower-case hex, from being deleted by this process until release is called, be
// it there or not: from before [Store.Put] until its version is registered. It blocks while the file is being deleted.
// Any number of holders may be at one time.
func (s *Store) Hold(sum string) (release func()) { return s.holds.take(sum) }

// Put reads body to its end and keeps it if its SHA-256 is sum (64 hex digits), it describes itself as that version, os
// and arch, and its header is that of a program for them. It blocks as long as the body comes and the storage takes; the
// file is durable when it returns. It may be repeated, and leaves nothing behind when it fails. A body that is not what was
// promised, or broke off, is a *scheduler.Error of kind Invalid; storage that does not answer, or a full disk here, one of
// kind Unavailable; a body above MaxSize an *http.MaxBytesError; other errors are this machine's or the storage's.
func (s *Store) Put(ctx context.Context, version, goos, arch, sum string, body io.Reader) (_ proto.Artifact, err error) {
	sum = strings.ToLower(sum)
	if !validSum.MatchString(sum) {
		return proto.Artifact{}, invalid("%q is not a SHA-256: want 64 hex digits", sum)
	}
	file, err := s.temporary()
	if err != nil {
		return proto.Artifact{}, spoolError(err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := s.receive(ctx, file, sum, body)
	if err != nil {
		return proto.Artifact{}, err
	}
	description, err := describe.Read(file, size)
	if err != nil {
		return proto.Artifact{}, invalid("%v", err)
	}
	if description.Version != version || description.OS != goos || description.Arch != arch {
		return proto.Artifact{}, invalid("the file is executor version %s for %s-%s, not %s for %s-%s",
			description.Version, description.OS, description.Arch, version, goos, arch)
	}
	if err := checkMachine(file, size, goos, arch); err != nil {
		return proto.Artifact{}, err
	}
	if err := s.keep(ctx, sum, file, size); err != nil {
		return proto.Artifact{}, failed("keep artefact "+sum, err)
	}
	return proto.Artifact{OS: goos, Arch: arch, SHA256: sum, Size_: size, Description: description}, nil
}

// temporary opens a file without a name.
func temporary(folder string) (*os.File, error) {
	file, err := os.CreateTemp(folder, "tidemill-upload-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// receive copies body to file and compares the sum.
func (s *Store) receive(ctx context.Context, file *os.File, sum string, body io.Reader) (int64, error) {
	hash := sha256.New()
	source := &source{ctx: ctx, reader: io.LimitReader(body, s.maxSize+1)}
	size, err := io.Copy(io.MultiWriter(file, hash), source)
	switch {
	case source.failed != nil && ctx.Err() != nil: // its sender has gone away, and what reading says of that varies
		return 0, fmt.Errorf("receive artefact: %w", ctx.Err())
	case source.failed != nil:
		if errors.As(source.failed, new(*http.MaxBytesError)) {
			return 0, fmt.Errorf("receive artefact: %w", source.failed)
		}
		return 0, invalid("the upload broke off after %d bytes: %v", size, source.failed)
	case err != nil:
		return 0, spoolError(err)
	case size > s.maxSize:
		return 0, fmt.Errorf("receive artefact: %w", &http.MaxBytesError{Limit: s.maxSize})
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return 0, invalid("the SHA-256 of the %d bytes received is %s, not %s", size, got, sum)
	}
	return size, nil
}

// source remembers that reading failed, so that a broken upload is not taken for a full disk.
type source struct {
	ctx    context.Context
	reader io.Reader
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	if s.failed = s.ctx.Err(); s.failed != nil {
		return 0, s.failed
	}
	n, err := s.reader.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

// keep puts the file under its sum, unless it is there and young: an object appears whole or not at all.
func (s *Store) keep(ctx context.Context, sum string, file io.ReaderAt, size int64) error {
	there, err := s.objects.Stat(ctx, folder+sum)
	switch {
	case err == nil && there.Size == size && time.Since(there.Modified) < refreshAfter:
		return nil
	case err != nil && !isGone(err):
		return err
	}
	_, err = s.objects.Put(ctx, folder+sum, file, size, storage.Always)
	return err
}

func isGone(err error) bool { return errors.Is(err, storage.ErrNotFound) }

// Has says whether the file of that sum is there. It blocks until the storage has answered.
func (s *Store) Has(ctx context.Context, sum string) (bool, error) {
	if !validSum.MatchString(sum) {
		return false, nil
	}
	_, err := s.objects.Stat(ctx, folder+sum)
	switch {
	case isGone(err):
		return false, nil
	case err != nil:
		return false, failed("look for artefact "+sum, err)
	}
	return true, nil
}

// Delete removes a file, unless somebody holds it or needed says that a version has it. needed is asked when nobody can
// hold the file any more: before that, an upload might register it between the question and the deletion. A file that is
// not there is no error.
func (s *Store) Delete(ctx context.Context, sum string, needed func() bool) error {
	if !validSum.MatchString(sum) {
		return invalid("%q is not a SHA-256: want 64 hex digits", sum)
	}
	return s.holds.remove(sum, func() error {
		if needed() {
			return nil
		}
		if err := s.objects.Delete(ctx, folder+sum); err != nil {
			return failed("delete artefact "+sum, err)
		}
		return nil
	})
}

func invalid(format string, args ...any) *scheduler.Error {
	return &scheduler.Error{Kind: scheduler.Invalid, Message: fmt.Sprintf(format, args...)}
}

// spoolError tells a disk that is full, and may have room again, from other errors.
func spoolError(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) {
			return &scheduler.Error{Kind: scheduler.Unavailable, Message: "the scheduler's disk has no room to receive the file: " + full.Error()}
		}
	}
	return fmt.Errorf("receive artefact: %w", err)
}

// failed tells storage that may come back from other errors.
func failed(what string, err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return &scheduler.Error{Kind: scheduler.Unavailable, Message: fmt.Sprintf("%s: %v", what, err)}
	}
	return fmt.Errorf("%s: %w", what, err)
}
