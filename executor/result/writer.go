package result

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/executor/engine"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/storage"
)

// Config says what a [Writer] writes, and where.
type Config struct {
	Session *engine.Session
	Memory  int64 // of the session, in bytes
	Output  aggregate.Output
	Pointer string // of the output in the spec, such as /aggregate/output
	Dir     string // for scratch files; the session may write there
	Store   storage.Store
	Folder  storage.URI // in Store; of nobody else's
}

// File is one stored result file.
type File struct {
	Name   string    `json:"name"`             // below the folder
	Values []*string `json:"values,omitempty"` // of the columns of partition_by, as text; nil: missing
	Rows   int64     `json:"rows"`
	Bytes  int64     `json:"bytes"`
}

// Writer writes result files. It is used by one goroutine.
type Writer struct {
	Config
	columns []column       // of all queries
	next    map[string]int // by folder: the number of its next file
	files   []File
	uploads errgroup.Group
}

const (
	// parallel is how many small files are stored at a time.
	parallel = 8
	// small files are stored in the background.
	small = 4 << 20
	// mostPartitions of one task's result bounds what is held of them.
	mostPartitions = 100_000
	// sampled rows show how well a result compresses.
	sampled = 65_536
	// tolerance is how much larger than asked for a file may be.
	tolerance = 1.5
)

// NewWriter returns a writer that has written nothing.
func NewWriter(config Config) *Writer {
	w := &Writer{Config: config, next: map[string]int{}}
	w.uploads.SetLimit(parallel)
	return w
}

// The tables that hold a query's rows while they are written.
const (
	table   = "result_rows"
	ordered = "result_ordered"
)

// Write writes a query's rows in their order, and stores them or begins to. All queries of a writer have the same columns.
// most is about how many rows there can be. Engine errors come as they are; what is wrong with the spec is a
// *task.Failure. After an error the writer is only good for Finish.
func (w *Writer) Write(ctx context.Context, query string, most int64) error {
	columns, err := describe(ctx, w.Session, query)
	if err != nil {
		return err
	}
	if w.columns != nil && !slices.Equal(w.columns, columns) {
		return fmt.Errorf("write result: its columns are %v, those before were %v", columns, w.columns)
	}
	w.columns = columns
	if len(w.Output.PartitionBy) > 0 {
		return w.writePartitions(ctx, query)
	}
	var guess int64
	for _, c := range columns {
		guess += c.guess()
	}
	if most > w.Output.FileSize/max(guess, 1) {
		return w.writeTable(ctx, query)
	}
	fits, err := w.file(ctx, span{}, "("+query+")", float64(guess), int64(tolerance*float64(w.Output.FileSize)))
	if err == nil && !fits {
		return w.writeTable(ctx, query)
	}
	return err
}

// writeTable writes more than one file may hold.
func (w *Writer) writeTable(ctx context.Context, query string) error {
	if err := w.Session.Exec(ctx, "CREATE TEMP TABLE "+table+" AS "+query); err != nil {
		return err
	}
	rows, err := w.Session.Int(ctx, "SELECT count(*) FROM "+table)
	if err != nil {
		return err
	}
	s := &scale{}
	if s.width, err = width(ctx, w.Session, w.kept(), table); err != nil {
		return err
	}
	if err := w.span(ctx, s, span{rows: rows}); err != nil {
		return err
	}
	return w.Session.Exec(ctx, "DROP TABLE "+table)
}

// kept are the columns that files have.
func (w *Writer) kept() []column {
	return slices.DeleteFunc(slices.Clone(w.columns), func(c column) bool { return slices.Contains(w.Output.PartitionBy, c.name) })
}

// span is consecutive rows of the table that belong in one folder.
type span struct {
	folder      string // empty: none; else it ends in a slash
	values      []*string
	first, rows int64
}

// scale is how large rows are.
type scale struct {
	width float64 // bytes of a row before compression
	ratio float64 // bytes in a file for one of these; 0: unknown
}

// writePartitions sorts the rows by partition first, and writes one after another.
func (w *Writer) writePartitions(ctx context.Context, query string) error {
	keys := make([]string, len(w.Output.PartitionBy))
	for i, name := range w.Output.PartitionBy {
		keys[i] = engine.Name(name)
	}
	list := strings.Join(keys, ", ")
	err := w.Session.Exec(ctx, fmt.Sprintf("CREATE TEMP TABLE %[1]s AS %[2]s; CREATE TEMP TABLE %[3]s AS SELECT * FROM %[1]s ORDER BY %[4]s, rowid; DROP TABLE %[1]s",
		ordered, query, table, list))
	if err != nil {
		return err
	}
	spans, err := w.spans(ctx, keys)
	if err != nil {
		return err
	}
	s := &scale{}
	if s.width, err = width(ctx, w.Session, w.kept(), table); err != nil {
		return err
	}
	for _, span := range spans {
		if err := w.span(ctx, s, span); err != nil {
			return err
		}
	}
	return w.Session.Exec(ctx, "DROP TABLE "+table)
}

// spans finds the partitions of the sorted table.
func (w *Writer) spans(ctx context.Context, keys []string) ([]span, error) {
	var texts []string
	for _, key := range keys {
		texts = append(texts, "CAST("+key+" AS VARCHAR)")
	}
	var spans []span
	query := fmt.Sprintf("SELECT %s, min(rowid) AS first, count(*), max(rowid) FROM %s GROUP BY %s ORDER BY first LIMIT %d",
		strings.Join(texts, ", "), table, strings.Join(keys, ", "), mostPartitions+1)
	var at int64
	err := w.Session.Query(ctx, query, func(row []driver.Value) error {
		s := span{values: make([]*string, len(keys))}
		for i := range keys {
			if text, ok := row[i].(string); ok {
				s.values[i] = &text
			} else if row[i] != nil {
				return fmt.Errorf("read partitions: got %T", row[i])
			}
			name := Folder(w.Output.PartitionBy[i], s.values[i])
			if len(name) > longestName {
				return w.tooLong(name)
			}
			s.folder += name + "/"
		}
		var last int64
		for i, to := range []*int64{&s.first, &s.rows, &last} {
			var ok bool
			if *to, ok = row[len(keys)+i].(int64); !ok {
				return fmt.Errorf("read partitions: got %T", row[len(keys)+i])
			}
		}
		if s.first != at || last-s.first+1 != s.rows {
			return fmt.Errorf("read partitions: the rows of %q are not together", s.folder)
		}
		at = last + 1
		spans = append(spans, s)
		return nil
	})
	if err == nil && len(spans) > mostPartitions {
		err = task.Final(w.Pointer+"/partition_by", "the result has more than %d partitions", mostPartitions)
	}
	return spans, err
}

func (w *Writer) tooLong(name string) error {
	const shown = 80
	return task.Final(w.Pointer+"/partition_by", "the folder %s… would have a name of %d bytes, at most %d are possible", strings.ToValidUTF8(name[:shown], ""), len(name), longestName)
}

// span writes one span in as many files as it needs, of about equal size.
func (w *Writer) span(ctx context.Context, s *scale, part span) error {
	bytes := func(rows int64) float64 { return float64(rows) * s.width * s.ratio }
	if s.ratio == 0 && float64(part.rows)*s.width > float64(w.Output.FileSize) {
		if err := w.sample(ctx, s, part); err != nil {
			return err
		}
	}
	files := min(max(int64(math.Round(bytes(part.rows)/float64(w.Output.FileSize))), 1), max(part.rows, 1))
	for i := range files {
		from, to := part.first+i*part.rows/files, part.first+(i+1)*part.rows/files
		relation := fmt.Sprintf("(SELECT * FROM %s WHERE rowid >= %d AND rowid < %d)", table, from, to)
		if _, err := w.file(ctx, part, relation, s.width, 0); err != nil {
			return err
		}
	}
	return nil
}

// sample finds out how well the rows of a span compress.
func (w *Writer) sample(ctx context.Context, s *scale, part span) error {
	path := filepath.Join(w.Dir, "result-sample")
	relation := fmt.Sprintf("(SELECT * FROM %s WHERE rowid >= %d AND rowid < %d)", table, part.first, part.first+min(part.rows, sampled))
	rows, size, err := w.copy(ctx, path, relation, s.width)
	if err != nil {
		return err
	}
	s.ratio = float64(size) / (float64(max(rows, 1)) * s.width)
	return os.Remove(path)
}

// copy has the engine write a relation to path.
func (w *Writer) copy(ctx context.Context, path, relation string, width float64) (rows, size int64, err error) {
	var columns []string
	for _, c := range w.kept() {
		columns = append(columns, c.written(w.Output.Format))
	}
	query := fmt.Sprintf("COPY (SELECT %s FROM %s) TO %s (%s)", strings.Join(columns, ", "), relation, engine.Literal(path), w.options(width))
	if rows, err = w.Session.Int(ctx, query); err != nil {
		return 0, 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, fmt.Errorf("look at result: %w", err)
	}
	return rows, info.Size(), nil
}

// Bounds of a row group, in rows: the engine's vector, and its own choice.
const (
	fewestRows = 2048
	mostRows   = 122_880
)

func (w *Writer) options(width float64) string {
	compression := strings.Replace(w.Output.Compression, "none", "uncompressed", 1)
	switch w.Output.Format {
	case "csv":
		return "FORMAT csv, HEADER true, COMPRESSION " + compression
	case "jsonl":
		return "FORMAT json, COMPRESSION " + compression
	}
	// What a row group holds is in memory until it is written.
	size := min(w.Output.RowGroupSize, max(w.Memory/8, 1<<20))
	rows := min(max(int64(float64(size)/max(width, 1))/fewestRows*fewestRows, fewestRows), w.mostRows())
	return fmt.Sprintf("FORMAT parquet, COMPRESSION %s, ROW_GROUP_SIZE %d", compression, rows)
}

// mostRows lets row groups that were asked for larger than usual hold more rows than usual.
func (w *Writer) mostRows() int64 {
	const usual = 64 << 20
	return max(mostRows, int64(float64(mostRows)*float64(w.Output.RowGroupSize)/usual))
}

// file writes a relation as the next file of a span's folder and stores it. A file larger than limit, if that is not 0, is
// thrown away: fits is false. One without rows is, too, but fits.
func (w *Writer) file(ctx context.Context, part span, relation string, width float64, limit int64) (fits bool, err error) {
	path := filepath.Join(w.Dir, fmt.Sprintf("result-%d", len(w.files)))
	rows, size, err := w.copy(ctx, path, relation, width)
	if err != nil {
		return false, err
	}
	if fits = limit == 0 || size <= limit; !fits || rows == 0 {
		return fits, os.Remove(path)
	}
	name := part.folder + FileName(w.Output, w.next[part.folder])
	w.next[part.folder]++
	return true, w.store(ctx, File{Name: name, Values: part.values, Rows: rows, Bytes: size}, path)
}

// store begins to store a file, or does so if it is large, and removes it.
func (w *Writer) store(ctx context.Context, f File, path string) error {
	key := w.Folder.Join(f.Name).Key
	if err := storage.CheckKey(key); err != nil {
		return task.Final(w.Pointer+"/partition_by", "name result file: %w", err)
	}
	w.files = append(w.files, f)
	if f.Bytes > small {
		return upload(ctx, w.Store, key, path, f.Bytes)
	}
	w.uploads.Go(func() error { return upload(ctx, w.Store, key, path, f.Bytes) })
	return nil
}

func upload(ctx context.Context, store storage.Store, key, path string, size int64) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store result: %w", err)
	}
	_, err = store.Put(ctx, key, file, size, storage.Always)
	if err = errors.Join(err, file.Close(), os.Remove(path)); err != nil {
		return fmt.Errorf("store result: %w", err)
	}
	return nil
}

// Finish waits until all is stored, and returns the files in the order in which they were written. If there are no rows
// and no partitions, one file without rows says at least what the columns are, if the caller wants that.
func (w *Writer) Finish(ctx context.Context, empty bool) ([]File, error) {
	if err := w.uploads.Wait(); err != nil {
		return nil, err
	}
	if empty && len(w.files) == 0 && len(w.Output.PartitionBy) == 0 && len(w.columns) > 0 {
		if err := w.writeEmpty(ctx); err != nil {
			return nil, err
		}
	}
	return w.files, w.uploads.Wait()
}

func (w *Writer) writeEmpty(ctx context.Context) error {
	var columns []string
	for _, c := range w.columns {
		columns = append(columns, "CAST(NULL AS "+c.kind+") AS "+engine.Name(c.name))
	}
	path := filepath.Join(w.Dir, "result-empty")
	_, size, err := w.copy(ctx, path, "(SELECT "+strings.Join(columns, ", ")+" WHERE false)", 1)
	if err != nil {
		return err
	}
	return w.store(ctx, File{Name: FileName(w.Output, 0), Bytes: size}, path)
}

// FileName is the name of a folder's file by number.
func FileName(out aggregate.Output, number int) string {
	name := fmt.Sprintf("part-%05d.%s", number, out.Format)
	if out.Format == "parquet" {
		return name // it is compressed inside
	}
	switch out.Compression {
	case "gzip":
		name += ".gz"
	case "zstd":
		name += ".zst"
	}
	return name
}
