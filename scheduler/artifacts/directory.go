package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/proto/describe"
	"github.com/tidemill/tidemill/scheduler"
)

const (
	// MaxSize bounds one file, in bytes.
	MaxSize = 2 << 30

	uploadPrefix = ".upload-"
	abandoned    = time.Hour // an upload that is older has no process behind it
)

var validSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Directory is a directory of executor files. Safe for concurrent use.
type Directory struct {
	path    string
	maxSize int64
}

// Open makes the directory if it is not there and removes what uploads that a crash cut off have left in it.
func Open(path string) (*Directory, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("open artefacts: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("open artefacts: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !strings.HasPrefix(entry.Name(), uploadPrefix) || time.Since(info.ModTime()) < abandoned {
			continue // one that is gone by now is no trouble
		}
		if err := os.Remove(filepath.Join(path, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove abandoned upload: %w", err)
		}
	}
	return &Directory{path: path, maxSize: MaxSize}, nil
}

// Put reads body to its end and keeps it if its SHA-256 is sum (64 hex digits) and it describes itself as that version,
// os and arch. It blocks as long as the body comes; the file is durable when it returns. It may be repeated, and
// leaves nothing behind when it fails. A body that is not what was promised, or broke off, is a *scheduler.Error of
// kind Invalid; one above MaxSize an *http.MaxBytesError; other errors are this machine's.
func (d *Directory) Put(ctx context.Context, version, goos, arch, sum string, body io.Reader) (_ proto.Artifact, err error) {
	sum = strings.ToLower(sum)
	if !validSum.MatchString(sum) {
		return proto.Artifact{}, invalid("%q is not a SHA-256: want 64 hex digits", sum)
	}
	file, err := os.CreateTemp(d.path, uploadPrefix)
	if err != nil {
		return proto.Artifact{}, fmt.Errorf("keep artefact: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		if gone := errors.Join(file.Close(), os.Remove(file.Name())); gone != nil && !errors.Is(gone, os.ErrClosed) {
			err = fmt.Errorf("%w (and its temporary file stays: %w)", err, gone)
		}
	}()
	size, err := d.receive(ctx, file, sum, body)
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
	if err := d.publish(file, sum); err != nil {
		return proto.Artifact{}, fmt.Errorf("keep artefact %s: %w", sum, err)
	}
	return proto.Artifact{OS: goos, Arch: arch, SHA256: sum, Size_: size, Description: description}, nil
}

// receive copies body to file and compares the sum.
func (d *Directory) receive(ctx context.Context, file *os.File, sum string, body io.Reader) (int64, error) {
	hash := sha256.New()
	source := &source{ctx: ctx, reader: io.LimitReader(body, d.maxSize+1)}
	size, err := io.Copy(io.MultiWriter(file, hash), source)
	switch {
	case source.failed != nil:
		if errors.As(source.failed, new(*http.MaxBytesError)) || ctx.Err() != nil {
			return 0, fmt.Errorf("receive artefact: %w", source.failed)
		}
		return 0, invalid("the upload broke off after %d bytes: %v", size, source.failed)
	case err != nil:
		return 0, fmt.Errorf("keep artefact: %w", err)
	case size > d.maxSize:
		return 0, fmt.Errorf("receive artefact: %w", &http.MaxBytesError{Limit: d.maxSize})
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

// publish makes the file durable and gives it its name.
func (d *Directory) publish(file *os.File, sum string) error {
	if err := errors.Join(file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), d.file(sum)); err != nil {
		return err
	}
	return d.sync()
}

// sync makes names in the directory durable.
func (d *Directory) sync() error {
	directory, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

func (d *Directory) file(sum string) string { return filepath.Join(d.path, sum) }

// Has says whether the file of that sum is there.
func (d *Directory) Has(sum string) bool {
	if !validSum.MatchString(sum) {
		return false
	}
	info, err := os.Stat(d.file(sum))
	return err == nil && info.Mode().IsRegular()
}

// Delete removes a file. One that is not there is no error. Whoever is reading it gets the rest.
func (d *Directory) Delete(_ context.Context, sum string) error {
	if !validSum.MatchString(sum) {
		return invalid("%q is not a SHA-256: want 64 hex digits", sum)
	}
	if err := os.Remove(d.file(sum)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete artefact: %w", err)
	}
	return nil
}

func invalid(format string, args ...any) *scheduler.Error {
	return &scheduler.Error{Kind: scheduler.Invalid, Message: fmt.Sprintf(format, args...)}
}
