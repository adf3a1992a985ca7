package lake

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/result"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// Attempt names this attempt among all of the run's: the directory of what it writes.
func Attempt(data *proto.TaskData) string {
	return fmt.Sprintf("%s.%d.%d", data.Stage, data.Index, data.Attempt)
}

// Entry is the manifest's entry of a result file that this attempt has written below its folder. partitionBy names the
// columns of its values.
func Entry(out *commit.Output, data *proto.TaskData, f result.File, partitionBy []string) commit.Entry {
	e := commit.Entry{
		URL: out.FileURI(data.Run, Attempt(data), f.Name).String(), Mandatory: true,
		Meta: commit.Meta{ContentLength: f.Bytes, RecordCount: &f.Rows},
	}
	if len(f.Values) > 0 {
		e.Partition = map[string]*string{}
		for i, name := range partitionBy {
			e.Partition[name] = f.Values[i]
		}
	}
	return e
}

// Publish makes the files that m names the run's result. pointer is that of the output in the spec.
func Publish(ctx context.Context, out *commit.Output, m *commit.Manifest, pointer string) (*proto.Output, error) {
	published, err := out.Publish(ctx, m)
	switch {
	case err == nil:
		return published, nil
	case errors.Is(err, commit.ErrCancelled):
		return nil, TooLate(err)
	}
	return nil, task.Unsettled(Refused(err, pointer)) // it may be the result all the same
}

// Published is the run's result if an earlier attempt of a task that commits has published one and its answer was lost:
// what that attempt read may be gone since. It is nil if there is something to do.
func Published(ctx context.Context, out *commit.Output, data *proto.TaskData, pointer string) (*proto.Output, error) {
	if data.Attempt < 2 {
		return nil, nil
	}
	published, err := out.Published(ctx, data.Run)
	if err != nil {
		return nil, Placed(Refused(TooLate(err), pointer), out, pointer)
	}
	return published, nil
}

// Refused makes an error that says that the mode does not let the result be a final one; others stay as they are.
func Refused(err error, pointer string) error {
	if !errors.Is(err, commit.ErrExists) && !errors.Is(err, commit.ErrIncompatible) {
		return err
	}
	failure := &task.Failure{Class: proto.CLASS_FINAL, Kind: "conflict", Pointer: pointer + "/mode", Message: err.Error(), Err: err}
	failure.Unsettled = true // another attempt may have looked before that result was there
	return failure
}

// TooLate makes an error that says that the commit point was closed a final one; others stay as they are.
func TooLate(err error) error {
	if !errors.Is(err, commit.ErrCancelled) {
		return err
	}
	return &task.Failure{Class: proto.CLASS_FINAL, Kind: "conflict", Message: commit.ErrCancelled.Error(), Err: err}
}

// Clean does stage clean: it closes the run's commit point, or finds that the run has succeeded.
func Clean(ctx context.Context, out *commit.Output, data *proto.TaskData) ([]byte, error) {
	var in proto.CleanInput
	if err := DecodeInput(data, &in); err != nil {
		return nil, err
	}
	published, err := out.Cancel(ctx, data.Run, Attempt(data), data.RunCreated.UTC())
	if err != nil {
		return nil, err
	}
	return proto.Encode(&proto.CleanOutput{Committed: published}), nil
}

// DecodeInput reads the stage's own message.
func DecodeInput(data *proto.TaskData, m proto.Unmarshaler) error {
	if err := proto.Decode(data.Input, m); err != nil {
		return task.Final("", "read input of stage %q: %w", data.Stage, err)
	}
	return nil
}

// Upload puts a file of the scratch directory into a store.
func Upload(ctx context.Context, store storage.Store, key, path string, size int64) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if _, err = store.Put(ctx, key, file, size, storage.Always); err != nil {
		err = fmt.Errorf("upload: %w", err)
	}
	return errors.Join(err, file.Close())
}
