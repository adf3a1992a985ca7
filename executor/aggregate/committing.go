package aggregate

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// runCommit publishes the files of several reduce tasks, which it copies to one prefix of its own.
func (t *stage) runCommit(ctx context.Context) (_ []byte, err error) {
	var in proto.AggregateCommitInput
	if err := decodeInput(t.Work, &in); err != nil {
		return nil, err
	}
	_, session, sh, err := t.prepare(ctx, in.PlanURI)
	if err != nil {
		return nil, err
	}
	closing(session, &err)
	if err != nil {
		return nil, err
	}
	t.report("copying", 0)
	entries := make([]commit.Entry, len(in.Files))
	var rows int64
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, f := range in.Files {
		to := t.output.FileURI(t.Data.Run, t.attempt(), resultName(t.section.Output, i))
		entries[i] = entry(to, f.Bytes)
		rows += f.Rows
		group.Go(func() error { return t.move(groupCtx, t.reduceURI(i, f.Attempt), to, f.Bytes) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	t.report("committing", 0.9)
	out, err := t.publish(ctx, sh, entries, rows)
	if err != nil {
		return nil, err
	}
	t.report("done", 1)
	return proto.Encode(&proto.AggregateCommitOutput{Committed: out}), nil
}

// move copies a file from the work area to the output: within the store if they share one.
func (t *stage) move(ctx context.Context, from, to storage.URI, size int64) error {
	if from.Scheme == to.Scheme && from.Bucket == to.Bucket {
		if err := t.store.Copy(ctx, from.Key, to.Key); err != nil {
			return fmt.Errorf("copy result: %w", err)
		}
		return nil
	}
	reader := storage.NewReader(ctx, t.output.Work, storage.Object{Key: from.Key, Size: size}, storage.Range{}, t.readAhead())
	path := filepath.Join(t.Dir, filepath.Base(to.Key))
	err := save(path, reader)
	if err = cmp.Or(err, reader.Close()); err != nil {
		return fmt.Errorf("copy result: %w", err)
	}
	return upload(ctx, t.store, to.Key, path, size)
}

// runClean closes the run's commit point, or finds that the run has succeeded.
func (t *stage) runClean(ctx context.Context) ([]byte, error) {
	var in proto.CleanInput
	if err := decodeInput(t.Work, &in); err != nil {
		return nil, err
	}
	out, err := t.output.Cancel(ctx, t.Data.Run, t.attempt(), t.Data.RunCreated.UTC())
	if err != nil {
		return nil, err
	}
	return proto.Encode(&proto.CleanOutput{Committed: out}), nil
}
