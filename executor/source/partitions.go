package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/expression"
	"github.com/tidemill/tidemill/executor/input"
	"github.com/tidemill/tidemill/executor/lake"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
)

// Columns in the names of folders such as month=7/: their types, and which folders need not be read.

// Folders are the columns that folders stand for, with their types: the declared ones, or what all values are.
func (t *Source) Folders(set *input.Set) []Column {
	var columns []Column
	for i, name := range set.Partitions {
		c := Column{Name: name, Type: partitionType(set.Folders, i), Partition: true}
		for _, declared := range t.Input.Columns {
			if strings.EqualFold(declared.Name, name) {
				c.Type = declared.Type
			}
		}
		columns = append(columns, c)
	}
	return columns
}

func partitionType(folders [][]*string, i int) string {
	whole, date, some := true, true, false
	for _, values := range folders {
		if values[i] == nil {
			continue
		}
		some = true
		n, err := strconv.ParseInt(*values[i], 10, 64)
		whole = whole && err == nil && strconv.FormatInt(n, 10) == *values[i]
		day, err := time.Parse(time.DateOnly, *values[i])
		date = date && err == nil && day.Year() > 0
	}
	switch {
	case some && whole:
		return "BIGINT"
	case some && date:
		return "DATE"
	}
	return "VARCHAR"
}

// Prune leaves out the files of folders in which no row can pass the filter: a condition on partition columns alone, of
// those that AND joins, does not hold there. A value that does not fit its column's declared type is a final failure.
func (t *Source) Prune(ctx context.Context, set *input.Set, columns []Column) (_ *input.Set, err error) {
	if len(columns) == 0 {
		return set, nil
	}
	if err := loadFolders(ctx, t.Session, set, columns); err != nil {
		return nil, lake.Failure("look at folders", err)
	}
	defer func() {
		err = errors.Join(err, lake.Failure("look at folders", t.Session.Exec(ctx, "DROP TABLE folders")))
	}()
	if err := t.checkFolders(ctx, set, columns); err != nil {
		return nil, err
	}
	if t.Where == nil {
		return set, nil
	}
	terms, err := t.Where.Terms(ctx, t.Session)
	if err != nil {
		return nil, err
	}
	var values engine.List
	for i, c := range columns {
		values.Add("CAST(v%d AS %s) AS %s", i, c.Type, engine.Name(c.Name))
	}
	without := map[int]bool{}
	for _, term := range terms {
		if !within(term, columns) {
			continue
		}
		query := fmt.Sprintf("SELECT n FROM (SELECT n, %s FROM folders) AS input WHERE %s IS NOT TRUE", values, term.SQL())
		err := t.Session.Query(ctx, query, func(row []driver.Value) error {
			n, ok := row[0].(int64)
			if !ok {
				return fmt.Errorf("look at folders: got %T", row[0])
			}
			without[int(n)] = true
			return nil
		})
		var said *engine.Error
		if errors.As(err, &said) && (said.Reason == engine.Data || said.Reason == engine.Binding) {
			continue // it shows when the expression is bound, or the rows are read
		}
		if err != nil {
			return nil, lake.Failure("look at folders", err)
		}
	}
	if len(without) == 0 {
		return set, nil
	}
	rest := set.Without(without)
	t.Log.Info("left out folders that the filter excludes", "folders", len(without), "of", len(set.Folders), "files", len(rest.Files), "of_files", len(set.Files))
	return rest, nil
}

// within says whether an expression uses partition columns, and no others.
func within(e *expression.Expression, columns []Column) bool {
	for _, name := range e.Columns {
		if Find(columns, name) < 0 {
			return false
		}
	}
	return len(e.Columns) > 0
}

// loadFolders makes a table of the values of all folders, as text.
func loadFolders(ctx context.Context, session *engine.Session, set *input.Set, columns []Column) error {
	table := engine.Numbered("v", len(columns))
	for i := range table {
		table[i] += " VARCHAR"
	}
	if err := session.Exec(ctx, "CREATE TEMP TABLE folders (n BIGINT, "+table.String()+")"); err != nil {
		return err
	}
	return session.Append(ctx, "folders", func(add func(values ...driver.Value) error) error {
		for n, values := range set.Folders {
			row := []driver.Value{int64(n)}
			for _, value := range values {
				if value == nil {
					row = append(row, nil)
				} else {
					row = append(row, *value)
				}
			}
			if err := add(row...); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkFolders makes sure that all values fit their columns.
func (t *Source) checkFolders(ctx context.Context, set *input.Set, columns []Column) error {
	for i, c := range columns {
		if c.Type == "VARCHAR" {
			continue
		}
		folder := int64(-1)
		err := t.Session.Query(ctx, fmt.Sprintf("SELECT n FROM folders WHERE %s ORDER BY n LIMIT 1", misfit(c, fmt.Sprintf("v%d", i))), func(row []driver.Value) (err error) {
			folder, _ = row[0].(int64)
			return nil
		})
		if err != nil {
			return lake.Failure("look at folders", err)
		}
		if folder >= 0 {
			file := slices.IndexFunc(set.Files, func(f input.File) bool { return f.Folder == int(folder) })
			return task.Final(jobs.JoinPointer(t.at("columns"), c.Name), "%s: the folder's %s, %q, is not %s", set.URI(file), c.Name, *set.Folders[folder][i], c.Type)
		}
	}
	return nil
}
