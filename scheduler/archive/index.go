package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/storage"
)

const (
	folder        = "archive/"
	runsEnding    = ".runs.jsonl.gz"
	detailsEnding = ".details.jsonl.gz"

	mostFile     = 1 << 30  // bytes of a runs file, compressed; one that is larger is not ours
	mostMemory   = 64 << 20 // bytes of lines whose runs are kept in memory, beside those that are being looked at
	parallelRead = 8
)

// index knows which runs files there are and what is in them. Files never change, so that what was read once stays true
// as long as the file is listed with the same ETag.
type index struct {
	objects storage.Store
	log     *slog.Logger
	most    int64         // for size
	busy    chan struct{} // has room for one: who is in reads storage, the others wait, for they want the same

	mu     sync.Mutex
	listed time.Time          // when all days were listed
	byDay  map[string]*folded // by day
	files  map[fileKey]*file
	size   int64  // of files, in bytes of lines
	uses   uint64 // counts uses, for file.used
}

// folded is a day's folder.
type folded struct {
	listed time.Time
	files  []fileKey
}

// fileKey names one version of a runs file.
type fileKey struct{ key, etag string }

// file is what was read of a runs file.
type file struct {
	runs   []*Run
	broken error // and then there are none
	size   int64 // bytes of lines
	used   uint64
}

func newIndex(objects storage.Store, log *slog.Logger) *index {
	return &index{
		objects: objects, log: log, most: mostMemory, busy: make(chan struct{}, 1),
		byDay: make(map[string]*folded), files: make(map[fileKey]*file),
	}
}

// enter waits for the turn to read storage.
func (x *index) enter(ctx context.Context) error {
	select {
	case x.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (x *index) leave() { <-x.busy }

// forget makes the next reader list the days anew.
func (x *index) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.listed = time.Time{}
	for _, day := range x.byDay {
		day.listed = time.Time{}
	}
}

// days are the days that have runs, newest first, from a listing that is not older than age.
func (x *index) days(ctx context.Context, age time.Duration) ([]string, error) {
	if err := x.enter(ctx); err != nil {
		return nil, err
	}
	defer x.leave()
	x.mu.Lock()
	fresh := time.Since(x.listed) <= age
	x.mu.Unlock()
	if !fresh {
		now := time.Now()
		byDay, err := x.list(ctx, folder, now)
		if err != nil {
			return nil, err
		}
		x.mu.Lock()
		x.listed, x.byDay = now, byDay
		x.mu.Unlock()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for name, day := range x.byDay {
		if len(day.files) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out, nil
}

// list asks the storage for the runs files below prefix.
func (x *index) list(ctx context.Context, prefix string, now time.Time) (map[string]*folded, error) {
	byDay := make(map[string]*folded)
	for object, err := range x.objects.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		day, name, _ := strings.Cut(strings.TrimPrefix(object.Key, folder), "/")
		if _, err := time.Parse(time.DateOnly, day); err != nil || !strings.HasSuffix(name, runsEnding) || strings.Contains(name, "/") {
			continue // not ours
		}
		if byDay[day] == nil {
			byDay[day] = &folded{listed: now}
		}
		byDay[day].files = append(byDay[day].files, fileKey{object.Key, object.ETag})
	}
	return byDay, nil
}

// found is what there is of a day.
type found struct {
	runs   []*Run // a run may be there more than once
	broken []error
	reads  int // files that were not in memory
}

// runs reads a day, by a listing of it that is not older than age.
func (x *index) runs(ctx context.Context, day string, age time.Duration) (found, error) {
	if err := x.enter(ctx); err != nil {
		return found{}, err
	}
	defer x.leave()
	for try := 1; ; try++ {
		files, err := x.day(ctx, day, age)
		if err != nil {
			return found{}, err
		}
		out, err := x.read(ctx, files)
		if errors.Is(err, storage.ErrNotFound) && try < 5 {
			age = 0 // joined with others since it was listed
			continue
		}
		return out, err
	}
}

// day gives the runs files of a day.
func (x *index) day(ctx context.Context, day string, age time.Duration) ([]fileKey, error) {
	x.mu.Lock()
	known := x.byDay[day]
	fresh := time.Since(x.listed) <= age || known != nil && time.Since(known.listed) <= age
	x.mu.Unlock()
	if !fresh {
		now := time.Now()
		byDay, err := x.list(ctx, folder+day+"/", now)
		if err != nil {
			return nil, err
		}
		if known = byDay[day]; known == nil {
			known = &folded{listed: now}
		}
		x.mu.Lock()
		x.byDay[day] = known
		x.mu.Unlock()
	}
	if known == nil {
		return nil, nil
	}
	return known.files, nil
}

// read gives what is in the files, from memory or from storage.
func (x *index) read(ctx context.Context, keys []fileKey) (found, error) {
	var out found
	all := make([]*file, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelRead)
	for i, key := range keys {
		if all[i] = x.recall(key); all[i] != nil {
			continue
		}
		out.reads++
		group.Go(func() error {
			f, err := x.load(ctx, key)
			if err != nil {
				return err
			}
			all[i] = f
			x.remember(key, f)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return found{}, err
	}
	for _, f := range all {
		out.runs = append(out.runs, f.runs...)
		if f.broken != nil {
			out.broken = append(out.broken, f.broken)
		}
	}
	return out, nil
}

func (x *index) recall(key fileKey) *file {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.files[key]
	if f != nil {
		x.uses++
		f.used = x.uses
	}
	return f
}

// remember keeps a file, and forgets those that were used longest ago.
func (x *index) remember(key fileKey, f *file) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.files[key] != nil {
		return
	}
	x.uses++
	f.used = x.uses
	x.files[key] = f
	x.size += f.size
	if x.size <= x.most {
		return
	}
	oldest := slices.SortedFunc(maps.Keys(x.files), func(a, b fileKey) int { return int(x.files[a].used) - int(x.files[b].used) })
	for _, other := range oldest {
		if x.size <= x.most*3/4 { // some room, so that not each file costs a sort
			return
		}
		x.size -= x.files[other].size
		delete(x.files, other)
	}
}

// load reads a runs file.
func (x *index) load(ctx context.Context, key fileKey) (*file, error) {
	data, object, err := storage.ReadAll(ctx, x.objects, key.key, mostFile)
	if err != nil && !errors.Is(err, storage.ErrInvalid) {
		return nil, err
	}
	out := &file{size: 1 << 10}
	if err == nil {
		out.runs, out.size, err = readRuns(bytes.NewReader(data), strings.TrimSuffix(object.Key, runsEnding))
	}
	if err != nil {
		out.runs, out.broken = nil, fmt.Errorf("%w: %q: %w", ErrBroken, key.key, err)
		x.log.Error("a file of the archive is broken; the runs in it are not shown", "object", key.key, "error", err)
	}
	return out, nil
}

// readRuns reads a runs file to its end. size is the bytes of its lines.
func readRuns(in io.Reader, pair string) (runs []*Run, size int64, err error) {
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		return nil, 0, err
	}
	return readRunLines(unpacked, pair)
}

func readRunLines(in io.Reader, pair string) (runs []*Run, size int64, err error) {
	lines := json.NewDecoder(in)
	for {
		var line runLine
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return runs, lines.InputOffset(), nil
		}
		if err == nil {
			err = checkVersion(line.Version)
		}
		if err != nil {
			return nil, 0, err
		}
		run, err := readSummary(&line.Run)
		if err != nil {
			return nil, 0, err
		}
		run.pair, run.details = pair, line.Details
		runs = append(runs, run)
	}
}
