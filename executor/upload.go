package executor

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

const (
	maxLog        = 4 << 20         // bytes of each log file's end
	uploadTimeout = 5 * time.Second // at most; the task's last update waits for it
)

// uploader copies logs that must outlive the sandbox to the work area of their run.
type uploader struct {
	file  string // of the connections
	kinds jobs.Kinds

	mu  sync.Mutex
	set *connections.Set // kept, since a client that is known is faster; nil after a failure
}

// upload copies the end of the task's standard output and error, and gives the prefix below which they lie: <prefix>/stdout
// and <prefix>/stderr. It is empty for tasks without a work area. It gives up when ctx ends, or after uploadTimeout.
func (u *uploader) upload(ctx context.Context, a *attempt) (string, error) {
	if a.data.Stage == jobs.StageCheck {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	prefix, err := u.copy(ctx, a)
	if err != nil {
		u.forget()
	}
	return prefix, err
}

func (u *uploader) copy(ctx context.Context, a *attempt) (string, error) {
	spec, problems := jobs.Decode(a.data.Spec, u.kinds)
	if len(problems) > 0 {
		return "", fmt.Errorf("find work area: %s: %s", problems[0].Pointer, problems[0].Detail)
	}
	work, connection := spec.Section.Work()
	base, err := storage.ParseURI(work)
	if err != nil {
		return "", fmt.Errorf("find work area: %w", err)
	}
	prefix := base.Join(a.data.Run, "logs", a.id)
	set, err := u.connections()
	if err != nil {
		return "", err
	}
	store, err := set.Open(ctx, connection, prefix)
	if err != nil {
		return "", err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range []string{"stdout", "stderr"} {
		group.Go(func() error {
			return copyEnd(ctx, store, prefix.Join(name).Key, filepath.Join(a.directory, name))
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	return prefix.String(), nil
}

// copyEnd writes the last bytes of a file to an object.
func copyEnd(ctx context.Context, store storage.Store, key, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("upload log: %w", err)
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("upload log: %w", err)
	}
	size := min(info.Size(), maxLog)
	if _, err := store.Put(ctx, key, io.NewSectionReader(f, info.Size()-size, size), size, storage.Always); err != nil {
		return fmt.Errorf("upload log: %w", err)
	}
	return nil
}

func (u *uploader) connections() (*connections.Set, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.set == nil {
		set, err := connections.Load(u.file)
		if err != nil {
			return nil, err
		}
		u.set = set
	}
	return u.set, nil
}

// forget makes the next upload read the connections anew: keys may have been changed. The set stays open, another upload may
// use it.
func (u *uploader) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.set = nil
}

// close drops what is pooled.
func (u *uploader) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.set != nil {
		u.set.Close()
	}
}
