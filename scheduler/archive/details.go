package archive

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// Revision reads the revision that a run executed, with its spec. It blocks until the storage has answered. Errors:
// ErrNotFound when the run has been removed from the archive since it was read; ErrBroken; those of storage.Store.
func (a *Archive) Revision(ctx context.Context, run *Run) (*proto.Revision, error) {
	var out *proto.Revision
	err := a.member(ctx, run, func(d *detailsSpan) span { return d.Revision }, func(line *detailLine) error {
		if line.Revision != nil {
			out = readRevision(line.Revision)
		}
		return nil
	})
	if err == nil && out == nil {
		err = fmt.Errorf("%w: %q has no revision of run %s", ErrBroken, run.pair+detailsEnding, run.Record.ID)
	}
	return out, err
}

// Tasks yields the tasks of a run by stage and index, those that were never launched too, from the one at position from
// on. It reads a thousand at a time, and blocks meanwhile. An error ends the sequence and is its last element; they are
// those of Revision.
func (a *Archive) Tasks(ctx context.Context, run *Run, from int) iter.Seq2[*scheduler.TaskView, error] {
	return func(yield func(*scheduler.TaskView, error) bool) {
		view := run.View()
		chunks := run.details.Tasks
		// The chunk in which from is, or the one after it.
		next := max(0, sort.Search(len(chunks), func(i int) bool { return chunks[i].First > from })-1)
		position := 0
		for _, stage := range view.Stages {
			for index := range stage.Tasks {
				if next < len(chunks) && position >= max(from, chunks[next].First) {
					if err := a.chunk(ctx, run, next, view); err != nil {
						yield(nil, err)
						return
					}
					next++
				}
				if position >= from && !yield(view.Task(stage.Name, index), nil) {
					return
				}
				if position >= from {
					stage.Tasks[index] = nil // whoever wanted it has it
				}
				position++
			}
		}
	}
}

// chunk puts the tasks of one member into their places.
func (a *Archive) chunk(ctx context.Context, run *Run, number int, view *scheduler.RunView) error {
	at := func(d *detailsSpan) span {
		if number >= len(d.Tasks) {
			return span{}
		}
		return d.Tasks[number]
	}
	return a.member(ctx, run, at, func(line *detailLine) error {
		if line.Task == nil {
			return nil
		}
		task, err := readTask(line.Run, line.Task)
		if err != nil {
			return err
		}
		stage := view.Stage(task.Stage)
		if stage == nil || int(task.Index) >= len(stage.Tasks) {
			return fmt.Errorf("task %s is not of its run", task.ID)
		}
		stage.Tasks[task.Index] = &scheduler.TaskView{Task: task}
		return nil
	})
}

// member reads the lines of one member of a run's details. A pair that has gone was joined with others: the run is looked
// up again then.
func (a *Archive) member(ctx context.Context, run *Run, at func(*detailsSpan) span, take func(*detailLine) error) error {
	for try := 1; ; try++ {
		err := a.readMember(ctx, run, at(&run.details), take)
		if !errors.Is(err, storage.ErrNotFound) || try == 5 {
			return err
		}
		moved, err := a.find(ctx, run.Record.ID, 0)
		if err != nil {
			return err
		}
		run = moved
	}
}

func (a *Archive) readMember(ctx context.Context, run *Run, at span, take func(*detailLine) error) error {
	key := run.pair + detailsEnding
	body, _, err := a.objects.Get(ctx, key, storage.Range{Offset: at.Offset, Length: at.Length})
	if err != nil {
		if errors.Is(err, storage.ErrInvalid) {
			err = fmt.Errorf("%w: %q: %w", ErrBroken, key, err)
		}
		return fmt.Errorf("read run %s from the archive: %w", run.Record.ID, err)
	}
	source := &source{reader: body}
	err = errors.Join(readDetails(source, run.Record.ID, take), body.Close())
	switch {
	case source.failed != nil: // the storage, not what it holds
		return fmt.Errorf("read run %s from the archive: %w", run.Record.ID, source.failed)
	case err != nil:
		return fmt.Errorf("read run %s from the archive: %w: %q at byte %d: %w", run.Record.ID, ErrBroken, key, at.Offset, err)
	}
	return nil
}

// readDetails reads lines of a details file to their end.
func readDetails(in io.Reader, run string, take func(*detailLine) error) error {
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	return readDetailLines(unpacked, run, take)
}

func readDetailLines(in io.Reader, run string, take func(*detailLine) error) error {
	lines := json.NewDecoder(in)
	for {
		var line detailLine
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = checkVersion(line.Version)
		}
		if err == nil && line.Run != run {
			err = fmt.Errorf("there is a line of run %q", line.Run)
		}
		if err == nil {
			err = take(&line)
		}
		if err != nil {
			return err
		}
	}
}

// source remembers that reading failed, so that a broken connection is not taken for a broken file.
type source struct {
	reader io.Reader
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.reader.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}
