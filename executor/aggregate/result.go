package aggregate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// file is a result file on disk.
type file struct {
	path        string
	rows, bytes int64
}

// resultName is a result file's name, by number.
func resultName(out aggregate.Output, number int) string {
	name := fmt.Sprintf("part-%05d.%s", number, out.Format)
	if out.Format == "csv" {
		switch out.Compression {
		case "gzip":
			name += ".gz"
		case "zstd":
			name += ".zst"
		}
	}
	return name
}

// writeResult has the engine write the result's rows.
func (t *stage) writeResult(ctx context.Context, session *engine.Session, sh *shape) (*file, error) {
	out := t.section.Output
	f := &file{path: filepath.Join(t.Dir, "result")}
	options := "FORMAT parquet, COMPRESSION " + out.Compression
	switch {
	case out.Format == "csv":
		options = "FORMAT csv, HEADER true, COMPRESSION " + out.Compression
	case out.Compression == "none":
		options = "FORMAT parquet, COMPRESSION uncompressed"
	}
	if err := session.Exec(ctx, fmt.Sprintf("COPY (%s) TO %s (%s)", sh.finish(), engine.Literal(f.path), options)); err != nil {
		return nil, engineFailure("write result", err)
	}
	var err error
	if f.rows, err = session.Int(ctx, "SELECT count(*) FROM partial"); err != nil {
		return nil, engineFailure("count result", err)
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("look at result: %w", err)
	}
	f.bytes = info.Size()
	return f, nil
}

// upload puts a file of the scratch directory into a store.
func upload(ctx context.Context, store storage.Store, key, path string, size int64) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	defer closing(file, &err)
	if _, err = store.Put(ctx, key, file, size, storage.Always); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return nil
}

// publishFile uploads the only result file and publishes it.
func (t *stage) publishFile(ctx context.Context, sh *shape, f *file) (*proto.Output, error) {
	uri := t.output.FileURI(t.Data.Run, t.attempt(), resultName(t.section.Output, 0))
	if err := upload(ctx, t.store, uri.Key, f.path, f.bytes); err != nil {
		return nil, err
	}
	return t.publish(ctx, sh, []commit.Entry{entry(uri, f.bytes)}, f.rows)
}

func entry(uri storage.URI, size int64) commit.Entry {
	return commit.Entry{URL: uri.String(), Mandatory: true, Meta: commit.Meta{ContentLength: size}}
}

// publish makes the files that this attempt has uploaded the run's result.
func (t *stage) publish(ctx context.Context, sh *shape, entries []commit.Entry, rows int64) (*proto.Output, error) {
	m := &commit.Manifest{Entries: entries, Run: t.Data.Run, Attempt: t.attempt(), Created: t.Data.RunCreated.UTC(), Rows: rows}
	for _, key := range sh.keys {
		m.Schema = append(m.Schema, commit.Column{Name: key.name, Type: stored(key.kind)})
	}
	for _, measure := range sh.measures {
		m.Schema = append(m.Schema, commit.Column{Name: measure.Name, Type: sh.resultType(measure)})
	}
	out, err := t.output.Publish(ctx, m)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, commit.ErrCancelled):
		return nil, tooLate(err)
	}
	return nil, task.Unsettled(err) // m may be the result all the same
}

// tooLate makes an error that says that the commit point was closed a final one; others stay as they are.
func tooLate(err error) error {
	if !errors.Is(err, commit.ErrCancelled) {
		return err
	}
	return &task.Failure{Class: proto.CLASS_FINAL, Kind: "conflict", Message: commit.ErrCancelled.Error(), Err: err}
}
