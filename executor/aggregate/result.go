package aggregate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidemill/tidemill/executor/commit"
	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/result"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage"
)

// Pointers into the spec.
const (
	pointerInput  = "/aggregate/input"
	pointerOutput = "/aggregate/output"
)

// newWriter writes result files below folder.
func (t *stage) newWriter(session *engine.Session, store storage.Store, folder storage.URI) *result.Writer {
	return result.NewWriter(result.Config{
		Session: session, Memory: t.Memory, Output: t.section.Output, Pointer: pointerOutput, Dir: t.Dir, Store: store, Folder: folder,
	})
}

// writeResult has the finished rows written by w.
func (t *stage) writeResult(ctx context.Context, session *engine.Session, sh *shape, w *result.Writer) error {
	most, err := session.Int(ctx, "SELECT count(*) FROM partial")
	if err == nil {
		err = w.Write(ctx, sh.finish(), most)
	}
	return lake.Failure("write result", err)
}

// files are result files below one folder, and their sums.
type files struct {
	list        []result.File
	rows, bytes int64
	state       *commit.State // of an incremental run
}

// finish waits for what w has written. There is a file even if there are no rows, if the caller wants that.
func finish(ctx context.Context, w *result.Writer, empty bool) (*files, error) {
	list, err := w.Finish(ctx, empty)
	if err != nil {
		return nil, lake.Failure("write result", err)
	}
	f := &files{}
	for _, one := range list {
		f.add(one)
	}
	return f, nil
}

func (f *files) add(one result.File) {
	f.list = append(f.list, one)
	f.rows += one.Rows
	f.bytes += one.Bytes
}

// The only task that writes a result writes its files where they are published, in two steps: writer and publishFiles.

func (t *stage) finalWriter(session *engine.Session) *result.Writer {
	return t.newWriter(session, t.store, t.output.FileURI(t.Data.Run, t.attempt(), ""))
}

// publishFiles makes the files that were stored below this attempt's folder the run's result.
func (t *stage) publishFiles(ctx context.Context, sh *shape, f *files) (*proto.Output, error) {
	entries := make([]commit.Entry, len(f.list))
	for i, one := range f.list {
		entries[i] = lake.Entry(t.output, t.Data, one, t.section.Output.PartitionBy)
	}
	m := t.manifest(sh, entries, f.rows)
	m.State = f.state
	return t.publish(ctx, m)
}

// schema is the result's columns.
func (t *stage) schema(sh *shape) []commit.Column {
	var columns []commit.Column
	all, _ := sh.columns()
	for _, c := range all {
		columns = append(columns, commit.Column{Name: c.name, Type: c.kind})
	}
	return columns
}

// manifest is what the run is about to publish.
func (t *stage) manifest(sh *shape, entries []commit.Entry, rows int64) *commit.Manifest {
	out := t.section.Output
	m := &commit.Manifest{
		Entries: entries, Run: t.Data.Run, Attempt: t.attempt(), Created: t.Data.RunCreated.UTC(), Rows: rows,
		Format: out.Format, Schema: t.schema(sh), PartitionBy: out.PartitionBy, BadRows: t.leftOut,
	}
	if out.Mode != aggregate.Replace {
		m.Mode = commit.Mode(out.Mode)
	}
	return m
}

// checkMode fails early if the result that is there keeps this run's from being published.
func (t *stage) checkMode(ctx context.Context, sh *shape) error {
	if t.section.Output.Mode == aggregate.Replace {
		return nil
	}
	return lake.Refused(t.output.Check(ctx, t.manifest(sh, nil, 0)), pointerOutput)
}

// publish makes the files that this attempt has stored the run's result.
func (t *stage) publish(ctx context.Context, m *commit.Manifest) (*proto.Output, error) {
	return lake.Publish(ctx, t.output, m, pointerOutput)
}

// Several reduce tasks write to the work area, each with a list of its files; the commit task copies them.

// reduceURI is the folder of one reduce task among several.
func (t *stage) reduceURI(index int, attempt uint32) storage.URI {
	return t.workURI("reduce", mapName(index, attempt))
}

const listName = "_files.json"

// mostList bounds what is read of a list of files, in bytes.
const mostList = 256 << 20

func (t *stage) writeList(ctx context.Context, folder storage.URI, f *files) error {
	data, err := json.Marshal(f.list)
	if err != nil {
		return fmt.Errorf("encode list of result files: %w", err)
	}
	if _, err := storage.WriteAll(ctx, t.output.Work, folder.Join(listName).Key, data, storage.Always); err != nil {
		return fmt.Errorf("write list of result files: %w", err)
	}
	return nil
}

func (t *stage) readList(ctx context.Context, folder storage.URI) ([]result.File, error) {
	data, _, err := storage.ReadAll(ctx, t.output.Work, folder.Join(listName).Key, mostList)
	if err != nil {
		return nil, fmt.Errorf("read list of result files: %w", err)
	}
	var list []result.File
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read list of result files: %w", err)
	}
	for _, f := range list {
		if len(f.Values) != len(t.section.Output.PartitionBy) || f.Rows < 0 || f.Bytes < 0 {
			return nil, fmt.Errorf("read list of result files: %q has %d values of partition columns, want %d", f.Name, len(f.Values), len(t.section.Output.PartitionBy))
		}
	}
	return list, nil
}
