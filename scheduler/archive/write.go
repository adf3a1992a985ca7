package archive

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// chunk is how many tasks of a run share a gzip member.
const chunk = 1000

// Write puts ended runs into the archive. When it returns nil they are durable and can be read by every instance. It
// blocks, and may be repeated: readers see each run once. After an error some may be in the archive.
func (a *Archive) Write(ctx context.Context, runs []*scheduler.RunView) error {
	byDay := make(map[string]*pair)
	for _, run := range slices.SortedFunc(slices.Values(runs), func(x, y *scheduler.RunView) int { return cmp.Compare(x.Run.ID, y.Run.ID) }) {
		_, created, err := jobs.ParseRunID(run.Run.ID)
		if err != nil {
			return fmt.Errorf("archive a run: %w", err)
		}
		day := dayOf(created)
		if byDay[day] == nil {
			byDay[day] = newPair()
		}
		if err := byDay[day].add(run); err != nil {
			return fmt.Errorf("archive run %s: %w", run.Run.ID, err)
		}
	}
	defer a.index.forget()
	for day, p := range byDay {
		if err := a.store(ctx, day, p); err != nil {
			return fmt.Errorf("archive %d runs of %s: %w", len(p.lines), day, err)
		}
	}
	return nil
}

// store writes a pair, the details first. Its name is never used again: whoever removes a pair late, because it was joined
// with others, cannot hit another one.
func (a *Archive) store(ctx context.Context, day string, p *pair) error {
	runs, err := p.finish()
	if err != nil {
		return err
	}
	key := folder + day + "/" + time.Now().UTC().Format("20060102T150405Z-") + strings.ToLower(rand.Text()[:10])
	if _, err := storage.WriteAll(ctx, a.objects, key+detailsEnding, p.details.Bytes(), storage.IfAbsent); err != nil {
		return err
	}
	_, err = storage.WriteAll(ctx, a.objects, key+runsEnding, runs, storage.IfAbsent)
	return err
}

// pair is a runs file and its details file in the making.
type pair struct {
	lines   []runLine
	details bytes.Buffer
	packer  *gzip.Writer
}

func newPair() *pair { return &pair{packer: gzip.NewWriter(nil)} }

// add appends a run.
func (p *pair) add(view *scheduler.RunView) error {
	line := runLine{Version: lineVersion, Run: writeSummary(summarize(view))}
	revision := view.Revision
	if revision == nil {
		revision = &proto.Revision{Job: view.Run.Job, Number: view.Run.Revision, Kind: view.Run.Kind}
	}
	var err error
	line.Details.Revision, err = p.member(func(out *json.Encoder) error {
		return out.Encode(detailLine{Version: lineVersion, Run: view.Run.ID, Revision: writeRevision(revision)})
	})
	if err != nil {
		return err
	}
	if line.Details.Tasks, err = p.tasks(view); err != nil {
		return err
	}
	p.lines = append(p.lines, line)
	return nil
}

// tasks appends the lines of the tasks that were launched.
func (p *pair) tasks(view *scheduler.RunView) (spans []span, err error) {
	var lines []detailLine
	first, position := 0, 0
	flush := func() error {
		if len(lines) == 0 {
			return nil
		}
		at, err := p.member(func(out *json.Encoder) error {
			for _, line := range lines {
				if err := out.Encode(line); err != nil {
					return err
				}
			}
			return nil
		})
		at.First = first
		spans, lines = append(spans, at), lines[:0]
		return err
	}
	for _, stage := range view.Stages {
		for _, task := range stage.Tasks {
			if task != nil {
				if len(lines) == 0 {
					first = position
				}
				lines = append(lines, detailLine{Version: lineVersion, Run: view.Run.ID, Task: writeTask(task.Task)})
			}
			position++
			if len(lines) == chunk {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
	}
	err = flush()
	return spans, err
}

// member writes lines as one gzip member of the details.
func (p *pair) member(write func(*json.Encoder) error) (span, error) {
	begin := int64(p.details.Len())
	p.packer.Reset(&p.details)
	err := errors.Join(write(newEncoder(p.packer)), p.packer.Close())
	return span{Offset: begin, Length: int64(p.details.Len()) - begin}, err
}

// finish gives the bytes of the runs file.
func (p *pair) finish() ([]byte, error) {
	var out bytes.Buffer
	p.packer.Reset(&out)
	lines := newEncoder(p.packer)
	for _, line := range p.lines {
		if err := lines.Encode(line); err != nil {
			return nil, err
		}
	}
	err := p.packer.Close()
	return out.Bytes(), err
}

// summarize adds up what a run's tasks did.
func summarize(view *scheduler.RunView) *Run {
	out := &Run{Record: view.Run, Progress: view.Progress}
	for _, recorded := range view.Run.Stages {
		stage := Stage{Name: recorded.Name}
		if seen := view.Stage(recorded.Name); seen != nil {
			stage.Created, stage.Figures = seen.Created, view.Figures(seen)
		}
		out.Stages = append(out.Stages, stage)
	}
	return out
}

func newEncoder(w io.Writer) *json.Encoder {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out
}
