package artifacts

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

const (
	collectFirst = 5 * time.Minute // after the term has begun, when there is more to do at once
	collectEvery = time.Hour

	// youngest is how old a file without a version must be to be collected: an upload has long been registered by then,
	// or will never be. The storage's clock and this machine's may differ by some of it.
	youngest = time.Hour
	// refreshAfter is how old a file may be for another upload of it to find it there. An older one is written again, so
	// that it is young for the collector of another process, which knows nothing of the upload.
	refreshAfter = youngest / 2
)

// Collector removes files that no executor version names: of uploads whose registration was refused while nobody could
// clean up, and of versions that the scheduler has forgotten by rule. All fields are needed.
type Collector struct {
	Store *Store
	// View is the newest picture of the records. It does not block.
	View func() *scheduler.View
	// Leads says whether this process may act on what View shows: whether the term in which it does has not ended.
	Leads func() bool
	Log   *slog.Logger
}

// Run works until ctx ends. Only the leader runs it: others see versions too late. That a former leader does for a moment
// is harmless, but for what Leads has not told it yet; a file that was deleted so is registered again by the same bytes.
func (c *Collector) Run(ctx context.Context) {
	timer := time.NewTimer(collectFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := c.pass(ctx, time.Now()); err != nil && ctx.Err() == nil {
			c.Log.Warn("executor files without a version are not collected; it will be tried again", "error", err)
		}
		timer.Reset(collectEvery)
	}
}

// pass looks at all files once.
func (c *Collector) pass(ctx context.Context, now time.Time) error {
	for object, err := range c.Store.objects.List(ctx, folder, "") {
		if err != nil {
			return fmt.Errorf("list artefacts: %w", err)
		}
		sum := strings.TrimPrefix(object.Key, folder)
		if !validSum.MatchString(sum) || !old(object, now) || named(c.View(), sum) {
			continue // not ours, or needed
		}
		if err := c.collect(ctx, sum, now); err != nil {
			return err
		}
	}
	return nil
}

// collect deletes one file if it still is to go: time has passed since it was listed.
func (c *Collector) collect(ctx context.Context, sum string, now time.Time) error {
	return c.Store.holds.remove(sum, func() error {
		object, err := c.Store.objects.Stat(ctx, folder+sum)
		switch {
		case isGone(err):
			return nil
		case err != nil:
			return fmt.Errorf("look at artefact %s: %w", sum, err)
		case !old(object, now) || named(c.View(), sum) || !c.Leads():
			return nil
		}
		if err := c.Store.objects.Delete(ctx, folder+sum); err != nil {
			return fmt.Errorf("delete artefact %s: %w", sum, err)
		}
		c.Log.Info("executor file without a version collected", "sha256", sum, "bytes", object.Size, "modified", object.Modified.UTC())
		return nil
	})
}

func old(object storage.Object, now time.Time) bool { return now.Sub(object.Modified) > youngest }

// named says whether a version has that file.
func named(view *scheduler.View, sum string) bool {
	for _, version := range view.Versions {
		for i := range version.Version.Artifacts {
			if version.Version.Artifacts[i].SHA256 == sum {
				return true
			}
		}
	}
	return false
}
