package parquet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/storage"
)

// near is how many bytes between two chunks are rather fetched than asked around, in bytes.
const near = 64 << 10

// Fetch writes the kept columns of some groups to a new file at path, which is a Parquet file of them alone, with holes.
// At least one column must be kept; without groups the file has no rows and nothing is fetched. Ranges are fetched
// ahead.Parallel at a time, of ahead.Chunk bytes at most, through small buffers. read counts the bytes that came. After an
// error there may be a file.
func (f *Footer) Fetch(ctx context.Context, store storage.Store, object storage.Object, groups []int, keep []bool, path string, ahead storage.ReadAhead, read *atomic.Int64) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteString(magic); err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	ranges := f.ranges(groups, keep)
	end := int64(len(magic))
	if len(ranges) > 0 {
		end = ranges[len(ranges)-1].end
	}
	if _, err := file.WriteAt(f.rewrite(groups, keep), end); err != nil {
		return fmt.Errorf("write scratch file: %w", err)
	}
	if f.whole != nil {
		for _, r := range ranges {
			if _, err := file.WriteAt(f.whole[r.begin:r.end], r.begin); err != nil {
				return fmt.Errorf("write scratch file: %w", err)
			}
		}
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cmp.Or(ahead.Parallel, storage.DefaultReadAhead.Parallel))
	most := cmp.Or(ahead.Chunk, storage.DefaultReadAhead.Chunk)
	for _, r := range ranges {
		for at := r.begin; at < r.end && ctx.Err() == nil; at += most {
			part := span{at, min(at+most, r.end)}
			group.Go(func() error { return fetch(ctx, store, object, part, file, read) })
		}
	}
	return group.Wait()
}

// span is a range of bytes.
type span struct{ begin, end int64 }

// ranges are the bytes of the kept columns of some groups, in order. Those that are near one another are one.
func (f *Footer) ranges(groups []int, keep []bool) []span {
	var all []span
	for _, g := range groups {
		for i, column := range f.Columns {
			if !keep[i] {
				continue
			}
			for _, c := range f.Groups[g].of(column) {
				if c.length > 0 {
					all = append(all, span{c.offset, c.offset + c.length})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	var joined []span
	for _, s := range all {
		if last := len(joined) - 1; last >= 0 && s.begin-joined[last].end <= near {
			joined[last].end = max(joined[last].end, s.end)
		} else {
			joined = append(joined, s)
		}
	}
	return joined
}

func fetch(ctx context.Context, store storage.Store, object storage.Object, s span, file *os.File, read *atomic.Int64) error {
	body, _, err := store.Get(ctx, object.Key, storage.Range{Offset: s.begin, Length: s.end - s.begin, ETag: object.ETag})
	if err != nil {
		return err
	}
	n, err := copyAll(file, s.begin, body, read)
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if err == nil && n != s.end-s.begin {
		err = cutShort(io.ErrUnexpectedEOF, object.Key, s.begin)
	}
	return err
}

// copyAll writes what body has to file at an offset.
func copyAll(file *os.File, at int64, body io.Reader, read *atomic.Int64) (total int64, err error) {
	buffer := make([]byte, 256<<10)
	for {
		n, err := body.Read(buffer)
		if n > 0 {
			read.Add(int64(n))
			if _, err := file.WriteAt(buffer[:n], at+total); err != nil {
				return total, fmt.Errorf("write scratch file: %w", err)
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
