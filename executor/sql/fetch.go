package sql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/source"
	"github.com/tidemill/tidemill/executor/task"
)

// fetch brings what is needed of all tables into the scratch directory.
func (q *query) fetch(ctx context.Context) (*lake.Watch, error) {
	var total, parquet int64
	for _, t := range q.tables {
		total += t.bytes()
		if t.source.Input.Format == "parquet" {
			parquet += t.bytes()
		}
	}
	if q.Data.Disk > 0 && parquet > q.Data.Disk {
		return nil, q.tooLarge(parquet)
	}
	watch := lake.NewWatch(q.Report, "loading", total, found, loaded)
	defer watch.Stop()
	for _, t := range q.tables {
		var err error
		switch {
		case len(t.kept.Files) == 0 || len(t.split) == 0 && t.source.Input.Format == "parquet":
		case t.source.Input.Format == "parquet":
			t.parquet, err = t.source.Keep(ctx, t.kept, t.used(), t.split, &watch.Counts)
		default:
			err = q.convert(ctx, t, &watch.Counts, total)
		}
		if err != nil {
			return nil, q.gone(t, err)
		}
	}
	return watch, nil
}

// tooLarge says that the tables do not fit on the disk, and how much would be needed.
func (q *query) tooLarge(needed int64) error {
	var sizes []string
	for _, t := range q.tables {
		sizes = append(sizes, fmt.Sprintf("%s %s", t.name, mebibytes(t.bytes())))
	}
	failure := task.Final("/resources/disk", "what the statement needs of the tables takes about %s of disk, and the task has %s: ask for more, name fewer columns, or choose rows by columns that folders or row groups are divided by (to be read, as stored: %s)",
		mebibytes(needed), mebibytes(q.Data.Disk), strings.Join(sizes, ", "))
	return failure
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20)) }

// used are the columns that are read.
func (t *table) used() []source.Column {
	var columns []source.Column
	for _, c := range t.columns {
		if c.Type != "" && t.source.Uses(c.Name) {
			columns = append(columns, c)
		}
	}
	return columns
}

// rowGroup is how many rows of a scratch file are in memory before they are written.
const rowGroup = 20_480

// convert makes Parquet files of text, one for each batch.
func (q *query) convert(ctx context.Context, t *table, counts *input.Counts, total int64) error {
	rows := t.source.Rows(t.kept, t.used(), t.names)
	return rows.Each(ctx, t.split, counts, func(ctx context.Context, number int, relation string) error {
		path := filepath.Join(q.Dir, fmt.Sprintf("table-%d-%d.parquet", t.number, number))
		if len(t.files) == number {
			t.files = append(t.files, path) // else it is written again
		}
		err := q.session.Exec(ctx, fmt.Sprintf("COPY (SELECT %s FROM (%s)) TO %s (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE %d)",
			t.scratchColumns(), relation, engine.Literal(path), rowGroup))
		if err != nil {
			return err
		}
		if q.Data.Disk == 0 {
			return nil
		}
		left, err := q.diskLeft()
		if err == nil && left < 0 {
			share := float64(max(counts.Bytes.Load(), 1)) / float64(max(total, 1))
			err = q.tooLarge(int64(float64(q.Data.Disk-left) / min(share, 1)))
		}
		return err
	})
}

// scratchColumns are the used columns as scratch files keep them.
func (t *table) scratchColumns() string {
	var values []string
	for _, c := range t.used() {
		name := engine.Name(c.Name)
		if c.Type == "HUGEINT" || c.Type == "UHUGEINT" {
			name = "CAST(" + name + " AS VARCHAR) AS " + name
		}
		values = append(values, name)
	}
	if len(values) == 0 {
		return "true AS present"
	}
	return strings.Join(values, ", ")
}

// diskLeft is how much of the task's disk the scratch directory leaves, in bytes.
func (q *query) diskLeft() (int64, error) {
	left := q.Data.Disk
	err := filepath.WalkDir(q.Dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		left -= onDisk(info)
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		err = nil // a file that was removed meanwhile
	}
	if err != nil {
		return 0, fmt.Errorf("measure scratch directory: %w", err)
	}
	return left, nil
}

// relation is the table as a query, over its files in the scratch directory.
func (t *table) relation() string {
	var relations []string
	switch {
	case t.parquet != nil:
		relations = t.parquet.Relations()
	case len(t.files) > 0:
		relations = []string{"FROM read_parquet(" + engine.Literals(t.files) + ", hive_partitioning=false)"}
	default:
		var values []string
		for _, c := range t.used() {
			values = append(values, "CAST(NULL AS "+c.Type+") AS "+engine.Name(c.Name))
		}
		if len(values) == 0 {
			values = []string{"true AS present"}
		}
		relations = []string{"SELECT " + strings.Join(values, ", ") + " WHERE false"}
	}
	var values []string
	for _, c := range t.used() {
		value, kind := t.restored(c)
		if len(t.files) > 0 && (kind == "HUGEINT" || kind == "UHUGEINT") {
			value = "CAST(" + value + " AS " + kind + ")"
		}
		values = append(values, value+" AS "+engine.Name(c.Name))
	}
	if len(values) == 0 {
		values = []string{"present"}
	}
	return "SELECT " + strings.Join(values, ", ") + " FROM (" + strings.Join(relations, " UNION ALL ") + ")"
}
