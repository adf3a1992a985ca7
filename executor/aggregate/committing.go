package aggregate

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/result"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// runCommit publishes the files of several reduce tasks, which it copies to one prefix of its own.
func (t *stage) runCommit(ctx context.Context) (_ []byte, err error) {
	var in proto.AggregateCommitInput
	if err := lake.DecodeInput(t.Data, &in); err != nil {
		return nil, err
	}
	p, session, sh, err := t.prepare(ctx, in.PlanURI)
	if err != nil {
		return nil, err
	}
	defer closing(session, &err)
	t.report("copying", 0)
	var gathered *files
	if sh.limit > 0 {
		gathered, err = t.mergeFirst(ctx, session, sh, in.Files)
	} else {
		gathered, err = t.gather(ctx, in.Files)
	}
	if err != nil {
		return nil, err
	}
	if gathered.state, err = t.gatherState(ctx, p, in.Files); err != nil {
		return nil, err
	}
	t.report("committing", 0.9)
	if err := t.keepBadRows(ctx, in.BadRows, in.MapAttempts); err != nil {
		return nil, err
	}
	out, err := t.publishFiles(ctx, sh, gathered)
	if err != nil {
		return nil, err
	}
	t.report("done", 1)
	return proto.Encode(&proto.AggregateCommitOutput{Committed: out}), nil
}

// How many files are copied at a time: within a store it does the work; between two, files pass through the scratch directory.
const (
	copying = 16
	passing = 2
)

// gather copies the files of all reduce tasks below this attempt's folder, numbered anew in each folder.
func (t *stage) gather(ctx context.Context, reduced []proto.AggregateFile) (*files, error) {
	var from []storage.URI
	gathered := &files{}
	next := map[string]int{}
	for i, task := range reduced {
		folder := t.reduceURI(i, task.Attempt)
		list, err := t.readList(ctx, folder)
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			if f.Rows == 0 && (i > 0 || rows(reduced) > 0) {
				continue // it is only there in case that all the others have none either
			}
			from = append(from, folder.Join(f.Name))
			in := path.Dir(f.Name)
			f.Name = path.Join(in, result.FileName(t.section.Output, next[in]))
			next[in]++
			gathered.add(f)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(copying)
	if !t.shared() {
		group.SetLimit(passing)
	}
	for i, f := range gathered.list {
		t.report("copying", 0.9*float64(i)/float64(len(gathered.list)))
		group.Go(func() error {
			return t.move(ctx, from[i], t.output.FileURI(t.Data.Run, t.attempt(), f.Name), i, f.Bytes)
		})
	}
	return gathered, group.Wait()
}

func rows(reduced []proto.AggregateFile) (sum int64) {
	for _, f := range reduced {
		sum += f.Rows
	}
	return sum
}

// shared says that output and work area are in one store.
func (t *stage) shared() bool {
	return t.output.URI.Scheme == t.output.WorkURI.Scheme && t.output.URI.Bucket == t.output.WorkURI.Bucket
}

// move copies a file from the work area to the output: within the store if they share one.
func (t *stage) move(ctx context.Context, from, to storage.URI, number int, size int64) error {
	if t.shared() {
		if err := t.store.Copy(ctx, from.Key, to.Key); err != nil {
			return fmt.Errorf("copy result: %w", err)
		}
		return nil
	}
	path := filepath.Join(t.Dir, fmt.Sprintf("copy-%d", number))
	if err := t.download(ctx, storage.Object{Key: from.Key, Size: size}, path); err != nil {
		return fmt.Errorf("copy result: %w", err)
	}
	return cmp.Or(lake.Upload(ctx, t.store, to.Key, path, size), os.Remove(path))
}

// download writes an object of the work area to a scratch file.
func (t *stage) download(ctx context.Context, object storage.Object, path string) error {
	reader := storage.NewReader(ctx, t.output.Work, object, storage.Range{}, source.ReadAhead(t.Memory))
	return cmp.Or(save(path, reader), reader.Close())
}
