package fetcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// entry is one file of the cache. The executable bit belongs to it because sandboxes
// share the file itself, and so its mode.
type entry struct {
	user, uri  string
	executable bool
}

// mode lets nobody write: the file is everybody's.
func (e entry) mode() fs.FileMode {
	if e.executable {
		return 0o555
	}
	return 0o444
}

func (e entry) file(dir string) string {
	sum := sha256.Sum256([]byte(e.user + "\x00" + e.uri))
	name := hex.EncodeToString(sum[:])
	if e.executable {
		name += ".x"
	}
	return filepath.Join(dir, name)
}

// intact says whether the entry is there, and with its own mode: who changed the mode
// through a sandbox may have changed more.
func (e entry) intact(dir string) bool {
	info, err := os.Lstat(e.file(dir))
	return err == nil && info.Mode() == e.mode()
}

// fetchCached makes target a file of the cache, downloading it first when it is the
// first who asks.
func (f *Fetcher) fetchCached(ctx context.Context, e entry, target string) error {
	for {
		if err := f.ensure(ctx, e); err != nil {
			return err
		}
		err := f.place(e.file(f.cacheDir), target)
		if err == nil {
			return nil
		}
		if _, gone := os.Lstat(e.file(f.cacheDir)); !errors.Is(gone, fs.ErrNotExist) {
			return err
		} // else it was collected since
	}
}

// place links a file of the cache to target, or copies it where that is not possible:
// on another file system, or with too many links. It notes the use.
func (f *Fetcher) place(cached, target string) error {
	now := time.Now()
	if err := os.Chtimes(cached, now, now); err != nil {
		return err
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.link(cached, target) == nil {
		return nil
	}
	info, err := os.Stat(cached)
	if err != nil {
		return err
	}
	if err := copyFile(cached, target); err != nil {
		return err
	}
	return os.Chmod(target, info.Mode())
}

// ensure brings an entry into the cache. Those who ask for a file at the same time
// share one download, and so do the two entries of one URI.
func (f *Fetcher) ensure(ctx context.Context, e entry) error {
	plain := entry{user: e.user, uri: e.uri}
	for {
		flight := f.flights.DoChan(plain.file(f.cacheDir), func() (any, error) {
			return e, f.fill(ctx, e)
		})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case result := <-flight:
			// The flight ran with the context of whoever asked first; if that one
			// gave up and we did not, ask again.
			if errors.Is(result.Err, context.Canceled) && ctx.Err() == nil {
				continue
			}
			if result.Err != nil || result.Val == e {
				return result.Err
			}
			// That was the URI's other entry.
		}
	}
}

// fill makes the entry unless it is there: from the URI's other one, or by a download.
func (f *Fetcher) fill(ctx context.Context, e entry) error {
	if e.intact(f.cacheDir) {
		return nil
	}
	if err := os.MkdirAll(f.cacheDir, 0o755); err != nil {
		return err
	}
	file := e.file(f.cacheDir)
	part, other := file+".part", entry{user: e.user, uri: e.uri, executable: !e.executable}
	err := fs.ErrNotExist
	if other.intact(f.cacheDir) {
		err = copyFile(other.file(f.cacheDir), part)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = f.download(ctx, e.uri, part)
	}
	if err == nil {
		err = os.Chmod(part, e.mode())
	}
	if err != nil {
		os.Remove(part) //nolint:errcheck // it is overwritten the next time
		return err
	}
	return os.Rename(part, file)
}

// Collect removes from the cache what no sandbox links to and nobody has asked for
// since then, and gives how many files that were. It may run beside Fetch.
func (f *Fetcher) Collect(since time.Time) (removed int, err error) {
	entries, err := os.ReadDir(f.cacheDir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("collect cache: %w", err)
	}
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // renamed meanwhile
		}
		stat, known := info.Sys().(*syscall.Stat_t)
		if !known || stat.Nlink > 1 || info.IsDir() || !info.ModTime().Before(since) {
			continue
		}
		if err := os.Remove(filepath.Join(f.cacheDir, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("collect cache: %w", err))
			continue
		}
		removed++
	}
	return removed, errors.Join(errs...)
}
