package aggregate

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
)

const pointerBadRows = "/aggregate/input/bad_rows/max"

// badRows counts the rows that a task leaves out, and keeps them if the spec has a quarantine. A task has one.
type badRows struct {
	spec aggregate.BadRows
	unit string // what rows are counted in, for people
	path string // of the scratch file that they are kept in

	mu    sync.Mutex // guards what follows
	count int64
	file  *os.File
	lines *zstd.Encoder
}

// badRow is a row as it is kept.
type badRow struct {
	File   string `json:"file"`
	Row    int64  `json:"row"` // the line of text, or the row of Parquet, from 1 on
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

// mostText is how much of a row is kept, in bytes.
const mostText = 1 << 20

// add takes a row. The error is a *task.Failure if there is one too many.
func (b *badRows) add(row badRow) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spec == (aggregate.BadRows{}) {
		return task.Final("", "%s, %s %d: %s", row.File, b.unit, row.Row, row.Reason)
	}
	if b.count++; b.count > b.spec.Max {
		return tooMany(b.spec.Max, fmt.Sprintf("; %s, %s %d: %s", row.File, b.unit, row.Row, row.Reason))
	}
	if b.spec.Quarantine == "" {
		return nil
	}
	row.Text = strings.ToValidUTF8(row.Text[:min(len(row.Text), mostText)], "\uFFFD")
	line, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("keep bad row: %w", err)
	}
	if b.file == nil {
		if b.file, err = os.Create(b.path); err == nil {
			b.lines, err = zstd.NewWriter(b.file, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		}
	}
	if err == nil {
		_, err = b.lines.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep bad row: %w", err)
	}
	return nil
}

func tooMany(most int64, detail string) error {
	return task.Final(pointerBadRows, "more than %d rows are bad%s", most, detail)
}

// finish ends the file of rows that are kept. It is empty if there are none.
func (b *badRows) finish() (path string, size int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return "", 0, nil
	}
	defer closing(b.file, &err)
	if err := b.lines.Close(); err != nil {
		return "", 0, fmt.Errorf("keep bad rows: %w", err)
	}
	info, err := b.file.Stat()
	if err != nil {
		return "", 0, fmt.Errorf("keep bad rows: %w", err)
	}
	return b.path, info.Size(), nil
}

// badName is what the bad rows of a split are called in the quarantine.
func badName(split int) string { return fmt.Sprintf("part-%05d.jsonl.zst", split) }

// storeBadRows uploads what a map task has kept, for whoever commits, and returns how many rows it left out.
func (t *stage) storeBadRows(ctx context.Context, split int) (count int64, err error) {
	path, size, err := t.badRows.finish()
	if err != nil || path == "" {
		return t.badRows.count, err
	}
	return t.badRows.count, upload(ctx, t.output.Work, t.workURI("bad", mapName(split, t.Data.Attempt)).Key, path, size)
}

// quarantine opens the place for bad rows of this run.
func (t *stage) quarantine(ctx context.Context) (storage.Store, storage.URI, error) {
	place := t.section.Input.BadRows.Quarantine
	store, uri, err := t.open(ctx, place, t.section.Output.Connection, "/aggregate/input/bad_rows/quarantine")
	return store, uri.Join(t.Data.Run), err
}

// bearable is a final failure if the tasks of a run have together left out too many rows.
func (t *stage) bearable(total int64) error {
	if most := t.section.Input.BadRows.Max; total > most {
		return tooMany(most, fmt.Sprintf(": %d are", total))
	}
	return nil
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
	reader := storage.NewReader(ctx, t.output.Work, from, storage.Range{}, t.readAhead())
	err := save(path, reader)
	closing(reader, &err)
	if err != nil {
		return err
	}
	return upload(ctx, store, to.Key, path, from.Size)
}

// keepOwnBadRows puts the bad rows of the only task into the quarantine.
func (t *stage) keepOwnBadRows(ctx context.Context) error {
	t.leftOut = t.badRows.count
	path, size, err := t.badRows.finish()
	if err != nil || path == "" {
		return err
	}
	store, place, err := t.quarantine(ctx)
	if err != nil {
		return err
	}
	return upload(ctx, store, place.Join(badName(0)).Key, path, size)
}
