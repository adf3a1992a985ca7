package reread

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	every   = time.Second // between two looks at the files
	maxFile = 1 << 20     // bytes
)

// File is one file as it was read.
type File struct {
	Path string
	Data []byte
	Mode fs.FileMode

	modified time.Time // for the last time, as it was after the content was read
}

// Private is an error if everybody on this machine can read or write the file. It has the path and never the content.
func (f File) Private() error {
	if mode := f.Mode.Perm(); mode&0o007 != 0 {
		return fmt.Errorf("%s has mode %04o: everybody on this machine can use it, make it 0600 or 0640", f.Path, mode)
	}
	return nil
}

// Value is something of type T that is made of files. Make one with [Open]. Its methods are safe for concurrent use.
type Value[T any] struct {
	paths   []string
	build   func([]File) (T, error)
	log     *slog.Logger
	now     func() time.Time
	current atomic.Pointer[T]
	err     atomic.Pointer[error]

	turn  sync.Mutex // whoever looks at the files
	seen  []File     // that the value, or the error, is made of
	fresh []File     // others that the last look found and that may be half-written; nil if there are none
	next  time.Time  // of the next look
}

// Open reads the files and makes the value of them, in the order of paths. It is called again whenever one of them has
// changed in content or mode; its error says what is wrong without showing secrets. A nil log is slog.Default().
func Open[T any](paths []string, build func([]File) (T, error), log *slog.Logger) (*Value[T], error) {
	return open(paths, build, log, time.Now)
}

func open[T any](paths []string, build func([]File) (T, error), log *slog.Logger, now func() time.Time) (*Value[T], error) {
	if log == nil {
		log = slog.Default()
	}
	v := &Value[T]{paths: paths, build: build, log: log, now: now}
	files, err := read(paths)
	if err != nil {
		return nil, err
	}
	made, err := build(files)
	if err != nil {
		return nil, err
	}
	v.current.Store(&made)
	v.seen, v.next = files, now().Add(every)
	return v, nil
}

// Get gives the value, at most two seconds older than the files: new content counts once it has stayed the same for a
// second, by the files' modification times or by two looks. One caller a second blocks for reading them; others get
// what there is.
func (v *Value[T]) Get() T {
	if v.turn.TryLock() {
		v.look()
		v.turn.Unlock()
	}
	return *v.current.Load()
}

// Err says why the files as they were last read cannot be used; nil if the value is made of them.
func (v *Value[T]) Err() error {
	v.Get()
	if err := v.err.Load(); err != nil {
		return *err
	}
	return nil
}

// look makes the value again if the files are others than at the last look. The caller has the turn.
func (v *Value[T]) look() {
	now := v.now()
	if now.Before(v.next) {
		return
	}
	v.next = now.Add(every)
	files, err := read(v.paths)
	if err != nil {
		v.seen, v.fresh = nil, nil // once they can be read they are new
		v.failed(err)
		return
	}
	if same(files, v.seen) {
		v.fresh = nil
		return
	}
	if !settled(files, now) && !same(files, v.fresh) {
		v.fresh = files
		return
	}
	v.seen, v.fresh = files, nil
	made, err := v.build(files)
	if err != nil {
		v.failed(err)
		return
	}
	v.current.Store(&made)
	v.err.Store(nil)
	v.log.Info("files were read again", "files", v.paths)
}

// failed keeps the value, and tells of each reason once.
func (v *Value[T]) failed(err error) {
	if last := v.err.Load(); last == nil || (*last).Error() != err.Error() {
		v.log.Error("changed files cannot be used; what was read before still holds", "files", v.paths, "error", err)
	}
	v.err.Store(&err)
}

// settled says that nobody has written to the files for a second before now. A clock that is ahead of this machine's, as
// that of a file server may be, makes it false.
func settled(files []File, now time.Time) bool {
	return !slices.ContainsFunc(files, func(f File) bool { return f.modified.After(now.Add(-every)) })
}

func same(a, b []File) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Mode != b[i].Mode || !bytes.Equal(a[i].Data, b[i].Data) {
			return false
		}
	}
	return true
}

func read(paths []string) ([]File, error) {
	files := make([]File, len(paths))
	for i, path := range paths {
		var err error
		if files[i], err = readFile(path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readFile(path string) (f File, err error) {
	file, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return f, err
	}
	if !info.Mode().IsRegular() {
		return f, fmt.Errorf("read %s: it is not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return f, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxFile {
		return f, fmt.Errorf("read %s: it has more than %d bytes", path, maxFile)
	}
	// Asked for after reading: what is written meanwhile shows.
	if info, err = file.Stat(); err != nil {
		return f, err
	}
	return File{Path: path, Data: data, Mode: info.Mode(), modified: info.ModTime()}, nil
}
