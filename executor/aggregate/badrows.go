package aggregate

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/storage"
)

// badName is what the bad rows of a split are called in the quarantine.
func badName(split int) string { return fmt.Sprintf("part-%05d.jsonl.zst", split) }

// storeBadRows uploads what a map task has kept, for whoever commits, and returns how many rows it left out.
func (t *stage) storeBadRows(ctx context.Context, split int) (count int64, err error) {
	path, size, err := t.badRows.Finish()
	if err != nil || path == "" {
		return t.badRows.Count(), err
	}
	return t.badRows.Count(), lake.Upload(ctx, t.output.Work, t.workURI("bad", mapName(split, t.Data.Attempt)).Key, path, size)
}

// quarantine opens the place for bad rows of this run.
func (t *stage) quarantine(ctx context.Context) (storage.Store, storage.URI, error) {
	place := t.section.Input.BadRows.Quarantine
	store, uri, err := lake.Open(ctx, t.Work, place, t.section.Output.Connection, pointerInput+"/bad_rows/quarantine")
	return store, uri.Join(t.Data.Run), err
}

// keepBadRows puts the bad rows of the attempts that count into the quarantine, before the result is published. It may be
// repeated.
func (t *stage) keepBadRows(ctx context.Context, total int64, attempts []uint32) error {
	t.leftOut = total
	if total == 0 || t.section.Input.BadRows.Quarantine == "" {
		return nil
	}
	store, place, err := t.quarantine(ctx)
	if err != nil {
		return err
	}
	winners := map[string]int{}
	for split, attempt := range attempts {
		winners[t.workURI("bad", mapName(split, attempt)).Key] = split
	}
	prefix := strings.TrimSuffix(t.workURI("bad", "x").Key, "x")
	for object, err := range t.output.Work.List(ctx, prefix, "") {
		if err != nil {
			return fmt.Errorf("keep bad rows: %w", err)
		}
		split, ok := winners[object.Key]
		if !ok {
			continue
		}
		if err := t.copyBadRows(ctx, object, store, place.Join(badName(split))); err != nil {
			return fmt.Errorf("keep bad rows: %w", err)
		}
	}
	return nil
}

func (t *stage) copyBadRows(ctx context.Context, from storage.Object, store storage.Store, to storage.URI) error {
	if to.Scheme == t.output.WorkURI.Scheme && to.Bucket == t.output.WorkURI.Bucket {
		return store.Copy(ctx, from.Key, to.Key)
	}
	path := filepath.Join(t.Dir, filepath.Base(to.Key))
	reader := storage.NewReader(ctx, t.output.Work, from, storage.Range{}, source.ReadAhead(t.Memory))
	err := save(path, reader)
	closing(reader, &err)
	if err != nil {
		return err
	}
	return lake.Upload(ctx, store, to.Key, path, from.Size)
}

// keepOwnBadRows puts the bad rows of the only task into the quarantine.
func (t *stage) keepOwnBadRows(ctx context.Context) error {
	t.leftOut = t.badRows.Count()
	path, size, err := t.badRows.Finish()
	if err != nil || path == "" {
		return err
	}
	store, place, err := t.quarantine(ctx)
	if err != nil {
		return err
	}
	return lake.Upload(ctx, store, place.Join(badName(0)).Key, path, size)
}
