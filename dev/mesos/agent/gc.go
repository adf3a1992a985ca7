package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/dev/mesos/internal/process"
)

// gcInterval is the longest time between two looks for sandboxes that are to go.
const gcInterval = time.Minute

// collectGarbage removes sandboxes and cached files that nobody needs any more, until
// the agent stops. It begins with what earlier agents left in the work directory.
func (a *Agent) collectGarbage() {
	ticker := time.NewTicker(min(a.cfg.GCDelay, gcInterval))
	defer ticker.Stop()
	for {
		a.collect(time.Now())
		select {
		case <-a.ctx.Done():
			return
		case <-a.sandboxEnded:
		case <-ticker.C:
		}
	}
}

// endSandbox notes when a container ended: that is its sandbox's time of change, which
// later agents find too.
func (a *Agent) endSandbox(e *executor) {
	now := time.Now()
	if err := os.Chtimes(e.sandbox, now, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("end of sandbox was not noted", "executor", e.id(), "error", err)
	}
	select {
	case a.sandboxEnded <- struct{}{}:
	default: // it will look anyway
	}
}

// endedSandbox is the directory of a container that is over.
type endedSandbox struct {
	path  string
	ended time.Time
}

// collect removes what is due at a time.
func (a *Agent) collect(now time.Time) {
	due := now.Add(-a.cfg.GCDelay)
	garbage := garbageOf(a.endedSandboxes(), due, a.cfg.MaxEndedSandboxes)
	removed := 0
	if len(garbage) > 0 {
		inUse := process.Values("MESOS_SANDBOX")
		for _, sandbox := range garbage {
			if inUse[sandbox.path] {
				continue
			}
			if err := a.removeSandbox(sandbox.path); err != nil {
				a.log.Warn("sandbox was not removed", "sandbox", sandbox.path, "error", err)
				continue
			}
			removed++
		}
	}
	uncached, err := a.fetcher.Collect(due)
	if err != nil {
		a.log.Warn("cached files were not removed", "error", err)
	}
	if removed+uncached > 0 {
		a.log.Info("garbage was collected", "sandboxes", removed, "cached_files", uncached)
	}
}

// garbageOf picks those that ended before they are due, and those beyond the newest
// most.
func garbageOf(ended []endedSandbox, due time.Time, most int) []endedSandbox {
	slices.SortFunc(ended, func(x, y endedSandbox) int {
		if later := y.ended.Compare(x.ended); later != 0 {
			return later
		}
		return strings.Compare(x.path, y.path)
	})
	for i, sandbox := range ended {
		if i >= most || sandbox.ended.Before(due) {
			return ended[i:]
		}
	}
	return nil
}

// endedSandboxes finds all sandboxes in the work directory, of this agent and of
// earlier ones, but those whose executor lives or has pending updates.
func (a *Agent) endedSandboxes() []endedSandbox {
	top := filepath.Join(a.cfg.WorkDir, "slaves")
	runs, err := fs.Glob(os.DirFS(top), "*/frameworks/*/executors/*/runs/*")
	if err != nil {
		a.log.Warn("sandboxes were not found", "error", err)
		return nil
	}
	var ended []endedSandbox
	// First the directories, then the executors: a container is known before it has a
	// sandbox, and is never begun again.
	for _, run := range runs {
		path := filepath.Join(top, filepath.FromSlash(run))
		if info, err := os.Lstat(path); err == nil && info.IsDir() { // "latest" is a link
			ended = append(ended, endedSandbox{path: path, ended: info.ModTime()})
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	needed := map[string]bool{}
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			needed[e.sandbox] = true
		}
	}
	return slices.DeleteFunc(ended, func(s endedSandbox) bool { return needed[s.path] })
}

// removeSandbox removes a sandbox with what stands beside it, and the directories
// above that nothing is left in.
func (a *Agent) removeSandbox(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove sandbox: %w", err)
	}
	a.layout.Lock()
	defer a.layout.Unlock()
	runs := filepath.Dir(path)
	beside := []string{path + ".status"}
	latest := filepath.Join(runs, "latest")
	if _, err := os.Stat(latest); errors.Is(err, fs.ErrNotExist) {
		beside = append(beside, latest) // it led to what is gone now
	}
	for _, file := range beside {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove sandbox: %w", err)
		}
	}
	// slaves/<agent>/frameworks/<framework>/executors/<executor>/runs
	for dir, levels := runs, 6; levels > 0 && os.Remove(dir) == nil; levels-- {
		dir = filepath.Dir(dir)
	}
	return nil
}
