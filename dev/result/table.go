package result

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tidemill/tidemill/storage"
)

// Table is a result. Values are as people write them: numbers in decimal, dates as 2013-01-31, times in UTC as
// 2015-05-17T10:00:00Z, missing values as Null.
type Table struct {
	Columns []string
	Rows    [][]string // in the order of the files
}

// Null stands for a missing value.
const Null = "NULL"

// manifest is the part of a run's manifest that readers need.
type manifest struct {
	Entries []struct {
		URL       string             `json:"url"`
		Partition map[string]*string `json:"partition"`
		Meta      struct {
			ContentLength int64 `json:"content_length"`
		} `json:"meta"`
	} `json:"entries"`
	Run    string `json:"run"`
	Rows   int64  `json:"rows"`
	Schema []struct {
		Name string `json:"name"`
	} `json:"schema"`
}

// columns are the result's, in order.
func (m *manifest) columns() []string {
	var names []string
	for _, c := range m.Schema {
		names = append(names, c.Name)
	}
	return names
}

// Read fetches the manifest and all files that it names from store. It blocks until everything is read. An error names
// the object; a file whose size or a table whose number of rows is not what the manifest says is an error.
func Read(ctx context.Context, store storage.Store, manifestURI string) (*Table, error) {
	data, err := fetch(ctx, store, manifestURI)
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read manifest %q: %w", manifestURI, err)
	}
	table := &Table{}
	for _, entry := range m.Entries {
		data, err := fetch(ctx, store, entry.URL)
		if err != nil {
			return nil, err
		}
		if int64(len(data)) != entry.Meta.ContentLength {
			return nil, fmt.Errorf("read %q: it has %d bytes, its manifest says %d", entry.URL, len(data), entry.Meta.ContentLength)
		}
		if err := table.add(entry.URL, data, m.columns(), entry.Partition); err != nil {
			return nil, fmt.Errorf("read %q: %w", entry.URL, err)
		}
	}
	if int64(len(table.Rows)) != m.Rows {
		return nil, fmt.Errorf("read %q: its files have %d rows, it says %d", manifestURI, len(table.Rows), m.Rows)
	}
	return table, nil
}

func fetch(ctx context.Context, store storage.Store, uri string) ([]byte, error) {
	u, err := storage.ParseURI(uri)
	if err != nil {
		return nil, err
	}
	body, _, err := store.Get(ctx, u.Key, storage.Range{})
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", uri, err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", uri, err)
	}
	return data, nil
}

// add appends a file's rows. schema is the result's columns, of which the file has all but those of partition.
func (t *Table) add(name string, data []byte, schema []string, partition map[string]*string) error {
	plain, err := decompress(name, data)
	if err != nil {
		return err
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	var columns []string
	var rows [][]string
	switch {
	case strings.HasSuffix(name, ".parquet"):
		columns, rows, err = readParquet(data)
	case strings.HasSuffix(name, ".csv"):
		rows, err = csv.NewReader(bytes.NewReader(plain)).ReadAll()
		if err == nil && len(rows) > 0 {
			columns, rows = rows[0], rows[1:]
		}
	case strings.HasSuffix(name, ".jsonl"):
		columns = slices.DeleteFunc(slices.Clone(schema), func(c string) bool { _, folder := partition[c]; return folder })
		rows, err = readLines(plain, columns)
	default:
		err = fmt.Errorf("unknown kind of file")
	}
	if err != nil {
		return err
	}
	if len(partition) > 0 {
		rows, err = inFolder(columns, rows, schema, partition)
		if err != nil {
			return err
		}
		columns = schema
	}
	if t.Columns != nil && strings.Join(t.Columns, ",") != strings.Join(columns, ",") {
		return fmt.Errorf("it has columns %v, the file before it %v", columns, t.Columns)
	}
	t.Columns = columns
	t.Rows = append(t.Rows, rows...)
	return nil
}

// inFolder adds the columns that are not in the file, in the place that the schema gives them.
func inFolder(columns []string, rows [][]string, schema []string, partition map[string]*string) ([][]string, error) {
	if len(schema) != len(columns)+len(partition) {
		return nil, fmt.Errorf("it has columns %v, its folder %v, the result %v", columns, partition, schema)
	}
	whole := make([][]string, len(rows))
	for i, row := range rows {
		for _, name := range schema {
			value, text := partition[name], Null
			if value != nil {
				text = *value
			}
			if k := slices.Index(columns, name); k >= 0 {
				text = row[k]
			}
			whole[i] = append(whole[i], text)
		}
	}
	return whole, nil
}

// readLines reads JSON lines: texts as they are, everything else as JSON.
func readLines(data []byte, columns []string) (rows [][]string, err error) {
	for line := range bytes.Lines(data) {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(line, &object); err != nil {
			return nil, err
		}
		row := make([]string, len(columns))
		for i, name := range columns {
			var text string
			switch value := object[name]; {
			case value == nil || string(value) == "null":
				row[i] = Null
			case json.Unmarshal(value, &text) == nil:
				row[i] = text
			default:
				row[i] = string(value)
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func decompress(name string, data []byte) ([]byte, error) {
	switch {
	case strings.HasSuffix(name, ".gz"):
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	case strings.HasSuffix(name, ".zst"):
		r, err := zstd.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	return data, nil
}
