package source

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// BadRows counts the rows that a task leaves out, and keeps them if the spec has a quarantine. A task has one for each
// input.
type BadRows struct {
	spec    aggregate.BadRows
	pointer string // of the input
	unit    string // what rows are counted in, for people
	path    string // of the scratch file that they are kept in

	mu    sync.Mutex // guards what follows
	count int64
	file  *os.File
	lines *zstd.Encoder
}

// NewBadRows returns one that has none of the rows of the input at pointer in the spec. They are kept in a file at path.
func NewBadRows(in *aggregate.Input, pointer, path string) *BadRows {
	b := &BadRows{spec: in.BadRows, pointer: pointer, unit: "line", path: path}
	if in.Format == "parquet" {
		b.unit = "row"
	}
	return b
}

// Count is how many there were so far.
func (b *BadRows) Count() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// badRow is a row as it is kept.
type badRow struct {
	File   string `json:"file"`
	Row    int64  `json:"row"` // the line of text, or the row of Parquet, from 1 on
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

// mostText is how much of a row is kept, in bytes.
const mostText = 1 << 20

// add takes a row. The error is a *task.Failure if there is one too many.
func (b *BadRows) add(row badRow) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spec == (aggregate.BadRows{}) {
		return task.Final("", "%s, %s %d: %s", row.File, b.unit, row.Row, row.Reason)
	}
	if b.count++; b.count > b.spec.Max {
		return tooMany(b.pointer, b.spec.Max, fmt.Sprintf("; %s, %s %d: %s", row.File, b.unit, row.Row, row.Reason))
	}
	if b.spec.Quarantine == "" {
		return nil
	}
	row.Text = strings.ToValidUTF8(row.Text[:min(len(row.Text), mostText)], "\uFFFD")
	line, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("keep bad row: %w", err)
	}
	if b.file == nil {
		if b.file, err = os.Create(b.path); err == nil {
			b.lines, err = zstd.NewWriter(b.file, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		}
	}
	if err == nil {
		_, err = b.lines.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep bad row: %w", err)
	}
	return nil
}

func tooMany(pointer string, most int64, detail string) error {
	return task.Final(pointer+"/bad_rows/max", "more than %d rows are bad%s", most, detail)
}

// Bearable is a final failure if the tasks of a run have together left out too many rows.
func (b *BadRows) Bearable(total int64) error {
	if total > b.spec.Max {
		return tooMany(b.pointer, b.spec.Max, fmt.Sprintf(": %d are", total))
	}
	return nil
}

// Finish ends the file of rows that are kept. It is empty if there are none.
func (b *BadRows) Finish() (path string, size int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return "", 0, nil
	}
	defer closing(b.file, &err)
	if err := b.lines.Close(); err != nil {
		return "", 0, fmt.Errorf("keep bad rows: %w", err)
	}
	info, err := b.file.Stat()
	if err != nil {
		return "", 0, fmt.Errorf("keep bad rows: %w", err)
	}
	return b.path, info.Size(), nil
}
