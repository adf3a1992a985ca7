package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/scheduler/zookeeper"
)

// commitLarge stores a commit that is too large for one request: its parts first, then the one write that decides it,
// then the records. Whoever leads next finishes what was decided, and removes the parts of what was not.
func (l *Leader) commitLarge(ctx context.Context, next fence, ring zookeeper.Op, all []step) error {
	whole := encodeJournal(all)
	next.Journal = &journal{Name: journalName(next), SHA256: sumOf(whole)}
	parts := slices.Collect(slices.Chunk(whole, maxNode))
	if next.Journal.Parts = len(parts); len(parts) > maxParts {
		return fmt.Errorf("%w: %d bytes at once, at most %d", ErrTooLarge, len(whole), maxParts*maxNode)
	}
	const ahead = 4 // parts in flight: a MiB
	for first := 0; first < len(parts); first += ahead {
		err := each(ctx, min(ahead, len(parts)-first), func(ctx context.Context, n int) error {
			return l.writePart(ctx, partPath(next.Journal.Name, first+n), parts[first+n])
		})
		if err != nil {
			return err
		}
	}
	if err := l.write(ctx, next, nil, ring); err != nil {
		return err
	}
	if err := l.carryOut(ctx, all); err != nil {
		return err
	}
	return l.sweepJournal(ctx)
}

// writePart makes a part. It may be repeated.
func (l *Leader) writePart(ctx context.Context, path string, data []byte) error {
	for {
		err := l.session.Multi(ctx, zookeeper.Check(fencePath, l.version), zookeeper.Create(path, data))
		switch {
		case errors.Is(err, zookeeper.ErrUnsettled) && ctx.Err() == nil:
			continue
		case errors.Is(err, zookeeper.ErrBadVersion):
			return ErrFenced
		case errors.Is(err, zookeeper.ErrNodeExists): // made by an attempt whose answer was lost
			return nil
		}
		return err
	}
}

// finish carries out what the leader before had decided.
func (l *Leader) finish(ctx context.Context) error {
	l.log.Info("finishing what the leader before had decided to store", "commit", l.fence.Commit)
	all, err := l.readJournal(ctx)
	if err != nil {
		return err
	}
	names, err := listRecords(ctx, l.session)
	if err != nil {
		return err
	}
	l.know(names)
	return l.carryOut(ctx, all)
}

// readJournal reads the parts of what is decided.
func (l *Leader) readJournal(ctx context.Context) ([]step, error) {
	j := l.fence.Journal
	parts := make([][]byte, j.Parts)
	err := each(ctx, j.Parts, func(ctx context.Context, n int) (err error) {
		parts[n], _, err = l.session.Get(ctx, partPath(j.Name, n))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	whole := bytes.Join(parts, nil)
	if sumOf(whole) != j.SHA256 {
		return nil, fmt.Errorf("read journal: %w: its sum is not that of what was decided", errNode)
	}
	all, err := decodeJournal(whole)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return all, nil
}

// carryOut writes the records of what is decided, as many requests as it takes, and notes with the last that it is done.
// It may be repeated from the beginning.
func (l *Leader) carryOut(ctx context.Context, all []step) error {
	for first := 0; first < len(all); {
		var ops []zookeeper.Op
		size, last := requestReserve, first
		for ; last < len(all); last++ {
			one := l.ops(all[last : last+1])
			more := l.size(one)
			if size+more > maxRequest {
				break
			}
			ops, size = append(ops, one...), size+more
		}
		next := l.fence
		next.Journal = nil
		if last < len(all) {
			progress := *l.fence.Journal
			progress.Applied = last
			next.Journal = &progress
		}
		if err := l.write(ctx, next, all[first:last], ops...); err != nil {
			return err
		}
		first = last
	}
	return nil
}

// sweepJournal removes parts that nothing needs any more.
func (l *Leader) sweepJournal(ctx context.Context) error {
	children, err := l.session.Children(ctx, journalPath)
	if err != nil {
		return err
	}
	return each(ctx, len(children), func(ctx context.Context, n int) error {
		for {
			err := l.session.Multi(ctx, zookeeper.Check(fencePath, l.version),
				zookeeper.Delete(journalPath+"/"+children[n], zookeeper.AnyVersion))
			switch {
			case errors.Is(err, zookeeper.ErrUnsettled) && ctx.Err() == nil:
				continue
			case errors.Is(err, zookeeper.ErrBadVersion):
				return ErrFenced
			case errors.Is(err, zookeeper.ErrNoNode): // removed by an attempt whose answer was lost
				return nil
			}
			return err
		}
	})
}
