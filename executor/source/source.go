package source

import (
	"context"
	"log/slog"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
)

// Config is an input of a spec, and what reads it.
type Config struct {
	Input   aggregate.Input
	Pointer string // of Input in the spec, such as /aggregate/input
	Session *engine.Session
	Dir     string // for scratch files; the session may read there
	Prefix  string // of the names of scratch files, if there are several sources in Dir
	Memory  int64  // bytes that the engine may use
	Disk    int64  // bytes of scratch files and spilled data; 0: as much as there is
	Log     *slog.Logger
	Report  func(phase string, fraction float64) // how far looking at the input is; the fraction is small
	BadRows *BadRows
	Footers Footers

	// Uses says whether a column is used: only these are read.
	Uses func(column string) bool
	// Names are all that may be names of used columns.
	Names []string
	// Where must be true for rows that matter, so that others need not be read; nil: all matter. Those that are read
	// may be others nevertheless.
	Where *expression.Expression
}

// Source reads an input. It is used by one goroutine.
type Source struct {
	Config
	parquet *parquetFiles // what was seen of them; nil for other formats, and before
}

// New returns a source that has read nothing.
func New(config Config) *Source { return &Source{Config: config} }

// Column is a column of the input.
type Column struct {
	Name      string `json:"name"`
	Type      string `json:"type,omitempty"`      // the engine's; empty: it is not used
	Partition bool   `json:"partition,omitempty"` // it is in the names of folders, not in the files
}

// Rows gives the rows of an input to the engine, however they are stored: what computes knows of no files.
type Rows interface {
	// Each calls consume for one batch of a split's rows after another, in their order, numbered from 0: at least once,
	// perhaps with no rows. relation is a query that gives the used columns under their names and with the given types;
	// it may be run once, until consume returns. Each counts what it reads, ends when ctx does, and returns an error of consume
	// as it is, unless it knows better what the engine means by it: then it is a *task.Failure. After an error of the engine
	// about data consume may be called again with the same number and another relation: it must have left nothing behind.
	Each(ctx context.Context, split input.Split, counts *input.Counts, consume func(ctx context.Context, number int, relation string) error) error
}

// Look finds the columns of the files: those that are used have a type. names are those of CSV columns, as Rows wants
// them. segments are the row groups of Parquet that may matter; other formats have none.
func (t *Source) Look(ctx context.Context, set *input.Set) (columns []Column, names []string, segments []input.Segment, err error) {
	if t.Input.Format == "parquet" {
		columns, segments, err = t.planParquet(ctx, set)
		return columns, nil, segments, err
	}
	columns, names, err = t.newTextSource(set, nil, nil).findColumns(ctx)
	return columns, names, nil, err
}

// Lines says that every line break in the files ends a row.
func (t *Source) Lines() bool {
	return t.Input.Format != "csv" || !t.Input.QuotedNewlines || t.Input.Quote == ""
}

// Rows opens files of which Look has found columns and names, in this task or another.
func (t *Source) Rows(set *input.Set, columns []Column, names []string) Rows {
	if t.Input.Format == "parquet" {
		return t.newParquetSource(set, columns)
	}
	return t.newTextSource(set, columns, names)
}

// readAhead keeps a small share of the task's memory for what is fetched ahead.
func (t *Source) readAhead() storage.ReadAhead { return ReadAhead(t.Memory) }

// ReadAhead is how much is fetched ahead by a task whose engine may use so much memory, in bytes.
func ReadAhead(memory int64) storage.ReadAhead {
	return storage.ReadAhead{Chunk: min(max(memory/64, 256<<10), 8<<20), Parallel: 4}
}

// at is the pointer to a part of the input in the spec.
func (t *Source) at(field string) string { return t.Pointer + "/" + field }
