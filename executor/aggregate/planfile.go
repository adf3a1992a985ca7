package aggregate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/storage"
)

// plan is what all later tasks of a run go by: an object in the work area.
type plan struct {
	Run        string        `json:"run"`
	Files      []input.File  `json:"files"`
	Splits     []input.Split `json:"splits"`
	Partitions int           `json:"partitions"`
	Names      []string      `json:"names,omitempty"` // of CSV columns: those of headers that were looked at, or of the fields of files without
	Columns    []column      `json:"columns"`         // that expressions use

	PartitionNames []string    `json:"partition_names,omitempty"` // see input.Set
	Folders        [][]*string `json:"folders,omitempty"`
	Keys           []string    `json:"keys"`           // types of the group keys
	Args           []string    `json:"args"`           // types of the measures' different arguments
	Time           string      `json:"time,omitempty"` // type of when a row happened, with windows
	Increment      *increment  `json:"increment,omitempty"`
}

// set is the files of the plan.
func (p *plan) set(store storage.Store, base storage.URI) *input.Set {
	return &input.Set{Pointer: pointerInput, Store: store, Base: base, Files: p.Files, Partitions: p.PartitionNames, Folders: p.Folders}
}

type column = source.Column

// mostPlan bounds what is read of a plan: a million files.
const mostPlan = 512 << 20

func parsePlan(data []byte, run string) (*plan, error) {
	p := &plan{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("parse plan: %w", err)
	}
	if p.Run != run {
		return nil, fmt.Errorf("parse plan: it is of run %q, not %q", p.Run, run)
	}
	if p.Partitions < 1 || len(p.Splits) < 1 {
		return nil, fmt.Errorf("parse plan: it has %d partitions and %d splits", p.Partitions, len(p.Splits))
	}
	for i, split := range p.Splits {
		for _, s := range split {
			if s.File < 0 || s.File >= len(p.Files) || s.Offset < 0 || s.Length < 0 || s.Group < 0 || s.Groups < 0 || s.Offset > p.Files[s.File].Size || s.Length > p.Files[s.File].Size-s.Offset {
				return nil, fmt.Errorf("parse plan: split %d is not a part of the input", i)
			}
		}
	}
	return p, nil
}

// writePlan stores the plan under a name of this attempt's own.
func (t *stage) writePlan(ctx context.Context, p *plan) (uri string, err error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode plan: %w", err)
	}
	at := t.workURI(fmt.Sprintf("plan-%d.json", t.Data.Attempt))
	if _, err := storage.WriteAll(ctx, t.output.Work, at.Key, data, storage.Always); err != nil {
		return "", fmt.Errorf("write plan: %w", err)
	}
	return at.String(), nil
}

func (t *stage) readPlan(ctx context.Context, uri string) (*plan, error) {
	at, err := storage.ParseURI(uri)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	data, _, err := storage.ReadAll(ctx, t.output.Work, at.Key, mostPlan)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	return parsePlan(data, t.Data.Run)
}
