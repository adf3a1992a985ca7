package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	largeKept    = 24 * time.Hour // that an object stays which nothing points at
	collectFirst = time.Hour      // after the beginning of a term, which has other things to do
	collectEvery = 24 * time.Hour
)

// Run collects once a day until ctx ends. Only a leader runs it. A failure is logged; the next day is as good.
func (l *Large) Run(ctx context.Context, log *slog.Logger) {
	timer := time.NewTimer(collectFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		removed, err := l.Collect(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("large records that nothing points at were not removed", "error", err)
		case removed > 0:
			log.Info("large records that nothing points at were removed", "objects", removed)
		}
		timer.Reset(collectEvery)
	}
}

// Collect removes the objects that nothing points at and that are more than a day old, and says how many. It blocks, and
// may run beside Commit if Load of the store below may: what is found old is looked for in the records afterwards, and
// as no name is ever used again, what nothing points at then nothing ever will.
func (l *Large) Collect(ctx context.Context) (removed int, err error) {
	old := make(map[string]bool)
	before := time.Now().Add(-largeKept)
	for object, err := range l.objects.List(ctx, largeFolder, "") {
		if err != nil {
			return 0, fmt.Errorf("list large records: %w", err)
		}
		if object.Modified.Before(before) {
			old[object.Key] = true
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	records, err := l.inner.Load(ctx)
	if err != nil {
		return 0, err
	}
	for _, record := range records {
		p, is, err := readPointer(record.Value)
		if err != nil {
			return 0, fmt.Errorf("read record %s %q: %w", record.Key.Kind, record.Key.ID, err)
		}
		if is {
			delete(old, p.Object)
		}
	}
	keys := make([]string, 0, len(old))
	for key := range old {
		keys = append(keys, key)
	}
	if err := l.objects.Delete(ctx, keys...); err != nil {
		return 0, fmt.Errorf("remove large records: %w", err)
	}
	return len(keys), nil
}
