package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/storage"
)

const (
	smallPair = 8 << 20  // bytes of details up to which a pair is joined with others
	largePair = 32 << 20 // bytes of details at which joining begins another pair; it is made in memory
	dayMargin = time.Hour
)

// Compact joins the small pairs of days that have been over for an hour. It blocks long, and may be repeated, broken off
// at any point, and done by two at one time. Pairs that are broken stay as they are. It says how many pairs have gone.
func (a *Archive) Compact(ctx context.Context) (joined int, err error) {
	days, err := a.index.days(ctx, 0)
	if err != nil {
		return 0, fmt.Errorf("compact the archive: %w", err)
	}
	today := dayOf(time.Now().Add(-dayMargin))
	var failed error
	for _, day := range days {
		if day >= today {
			continue
		}
		n, err := a.compactDay(ctx, day)
		joined += n
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("compact %s of the archive: %w", day, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return joined, failed
}

func (a *Archive) compactDay(ctx context.Context, day string) (joined int, err error) {
	files, err := a.index.day(ctx, day, listingAge)
	if err != nil {
		return 0, err
	}
	if len(files) < 2 {
		return 0, nil
	}
	var small []fileKey
	for _, f := range files {
		details, err := a.objects.Stat(ctx, strings.TrimSuffix(f.key, runsEnding)+detailsEnding)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			continue // going, by someone else's doing
		case err != nil:
			return 0, err
		case details.Size <= a.smallPair:
			small = append(small, f)
		}
	}
	for len(small) > 1 {
		taken, err := a.join(ctx, day, small)
		if err != nil {
			return joined, err
		}
		if taken > 1 {
			joined += taken
		}
		small = small[taken:]
	}
	return joined, nil
}

// join makes one pair of the first of those that are given, and says how many it took.
func (a *Archive) join(ctx context.Context, day string, files []fileKey) (taken int, err error) {
	p, seen := newPair(), make(map[string]bool)
	var old []string
	for _, f := range files {
		if int64(p.details.Len()) >= a.largePair {
			break
		}
		taken++
		content, err := a.index.load(ctx, f)
		if err == nil {
			err = content.broken
		}
		if err == nil {
			err = a.append(ctx, p, seen, f, content.runs)
		}
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, ErrBroken) {
			continue // joined by someone else meanwhile; or better left as it is
		}
		if err != nil {
			return 0, err
		}
		old = append(old, strings.TrimSuffix(f.key, runsEnding))
	}
	if len(old) < 2 {
		return taken, nil
	}
	slices.SortFunc(p.lines, func(x, y runLine) int { return strings.Compare(x.Run.ID, y.Run.ID) })
	defer a.index.forget()
	if err := a.store(ctx, day, p); err != nil {
		return 0, err
	}
	return taken, a.remove(ctx, old)
}

// append copies a pair into p, without the runs that are there already.
func (a *Archive) append(ctx context.Context, p *pair, seen map[string]bool, f fileKey, runs []*Run) error {
	key := strings.TrimSuffix(f.key, runsEnding) + detailsEnding
	details, _, err := storage.ReadAll(ctx, a.objects, key, a.smallPair)
	if err != nil {
		return err
	}
	for _, run := range runs {
		for _, at := range slices.Concat([]span{run.details.Revision}, run.details.Tasks) {
			if end := at.Offset + at.Length; at.Offset < 0 || at.Length < 0 || end < at.Offset || end > int64(len(details)) {
				return fmt.Errorf("%w: %q ends before run %s", ErrBroken, key, run.Record.ID)
			}
		}
	}
	for _, run := range runs {
		if seen[run.Record.ID] {
			continue
		}
		seen[run.Record.ID] = true
		moved := runLine{Version: lineVersion, Run: writeSummary(run)}
		moved.Details.Revision = p.copy(details, run.details.Revision)
		for _, at := range run.details.Tasks {
			moved.Details.Tasks = append(moved.Details.Tasks, p.copy(details, at))
		}
		p.lines = append(p.lines, moved)
	}
	return nil
}

// copy appends a member as it is.
func (p *pair) copy(details []byte, at span) span {
	moved := span{Offset: int64(p.details.Len()), Length: at.Length, First: at.First}
	p.details.Write(details[at.Offset : at.Offset+at.Length])
	return moved
}

// remove takes pairs away. The runs file goes first: what can be seen is complete.
func (a *Archive) remove(ctx context.Context, pairs []string) error {
	for _, ending := range []string{runsEnding, detailsEnding} {
		var keys []string
		for _, key := range pairs {
			keys = append(keys, key+ending)
		}
		if err := a.objects.Delete(ctx, keys...); err != nil {
			return fmt.Errorf("remove %d pairs that were joined: %w", len(pairs), err)
		}
	}
	return nil
}
