package aggregate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/executor/aggregate/engine"
	"github.com/tidemill/tidemill/executor/aggregate/input"
	"github.com/tidemill/tidemill/jobs/aggregate"
)

// The longest rows, in bytes.
const (
	widestCSV  = 2_000_000
	widestJSON = 16 << 20
)

// source is the input as a relation of the engine.
type source struct {
	*stage
	rows    *input.Rows
	columns []column
}

func newRows(set *input.Set, section *aggregate.Section) *input.Rows {
	in := section.Input
	rows := &input.Rows{Set: set, Widest: widestJSON}
	if in.Format == "csv" {
		rows.Widest = widestCSV
		rows.Dialect = input.Dialect{CSV: true, Delimiter: in.Delimiter[0]}
		if in.Quote != "" {
			rows.Dialect.Quote, rows.Dialect.Escape = in.Quote[0], in.Quote[0]
		}
		if in.Escape != "" {
			rows.Dialect.Escape = in.Escape[0]
		}
	}
	return rows
}

// readNatively says that the engine converts a column's values while it reads: those of JSON that have an inside. All
// others come as text, and we convert them: see guarded.
func (s *source) readNatively(c column) bool {
	return !s.rows.Dialect.CSV && (isNested(c.Type) || c.Type == "JSON")
}

// reader is the table function that reads the rows at path: as text, but for nested values of JSON.
func (s *source) reader(path string) string {
	var columns []string
	for _, c := range s.columns {
		switch {
		case s.readNatively(c):
			columns = append(columns, engine.Literal(c.Name)+": "+engine.Literal(c.Type))
		case s.rows.Dialect.CSV || c.Type != "": // CSV has all its columns, used or not
			columns = append(columns, engine.Literal(c.Name)+": 'VARCHAR'")
		}
	}
	if len(columns) == 0 {
		columns = []string{"'': 'VARCHAR'"} // rows are counted, and nothing else
	}
	list := "{" + strings.Join(columns, ", ") + "}"
	if !s.rows.Dialect.CSV {
		return fmt.Sprintf("read_json(%s, format='newline_delimited', auto_detect=false, hive_partitioning=false, maximum_object_size=%d, columns=%s)",
			engine.Literal(path), widestJSON, list)
	}
	in := s.section.Input
	nulls := append(slices.Clone(in.NullValues), "")
	return fmt.Sprintf("read_csv(%s, auto_detect=false, hive_partitioning=false, header=false, delim=%s, quote=%s, escape=%s, nullstr=%s, allow_quoted_nulls=false, "+
		`new_line='\n', `+ // else the engine goes by the first line break, which may stand in quotes
		"max_line_size=%d, buffer_size=%d, columns=%s)",
		engine.Literal(path), engine.Literal(in.Delimiter), engine.Literal(in.Quote), engine.Literal(in.Escape), engine.Literals(nulls),
		widestCSV, s.bufferSize(), list)
}

// bufferSize is how much CSV the engine holds at a time: little if it has little.
func (s *source) bufferSize() int64 { return min(max(s.Memory/16, 2*widestCSV), 32<<20) }

// relation is the used columns at path with their types, as a query.
func (s *source) relation(path string) string {
	var items []string
	for _, c := range s.columns {
		if c.Type != "" {
			items = append(items, s.guarded(c)+" AS "+engine.Name(c.Name))
		}
	}
	if len(items) == 0 {
		items = []string{"true AS present"}
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + s.reader(path)
}

// bad marks the message of a value that does not fit its column's type: the mark, the column, the mark, the value.
const bad = "\x01"

// guarded converts a column from text. The engine's own conversion would round 2.5 to 3 in a column of integers.
func (s *source) guarded(c column) string {
	name := engine.Name(c.Name)
	if c.Type == "VARCHAR" || s.readNatively(c) {
		return name
	}
	refuse := fmt.Sprintf("CAST(error(chr(1) || %s || chr(1) || left(%s, 200)) AS %s)", engine.Literal(c.Name), name, c.Type)
	convert := fmt.Sprintf("coalesce(TRY_CAST(%[1]s AS %[2]s), CASE WHEN %[1]s IS NOT NULL THEN %[3]s END)", name, c.Type, refuse)
	if !isInteger(c.Type) {
		return convert
	}
	// Short values are the most, and the length costs nothing.
	return fmt.Sprintf("CASE WHEN strlen(%[1]s) > 1 AND (contains(%[1]s, '.') AND NOT ends_with(rtrim(%[1]s, '0'), '.') "+
		"OR strlen(%[1]s) > 3 AND (contains(%[1]s, 'e-') OR contains(%[1]s, 'E-'))) THEN %[2]s ELSE %[3]s END", name, refuse, convert)
}

// run executes a statement that reads a split through the relation it is given. The split's rows go through a named
// pipe, as they are downloaded; what is wrong with them is a *task.Failure that says where.
func (s *source) run(ctx context.Context, session *engine.Session, split input.Split, counts *input.Counts, statement func(relation string) string) error {
	pipe := filepath.Join(s.Dir, "rows")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	fed := make(chan error, 1)
	go func() {
		err := s.feed(ctx, pipe, split, counts)
		if err != nil {
			cancel(err) // what was read is not all: the engine need not go on
		}
		fed <- err
	}()
	err := session.Exec(ctx, statement(s.relation(pipe)))
	cancel(errEnded)
	release(pipe)
	err = errors.Join(firstOf(ctx, <-fed, err), os.Remove(pipe))
	if err == nil {
		return nil
	}
	return s.failure(context.WithoutCancel(ctx), err, split)
}

// errEnded is why a feeder stops when the engine's statement is over.
var errEnded = errors.New("the engine has all that it needs")

// firstOf tells which of two errors caused the other: trouble with data or storage ends the engine's statement, and a
// statement that ends early, also because it needs no rows, breaks the pipe.
func firstOf(ctx context.Context, feed, statement error) error {
	late := errors.Is(feed, syscall.EPIPE) || errors.Is(feed, context.Canceled) && context.Cause(ctx) == errEnded
	if feed == nil || late {
		return statement
	}
	return feed
}

const pipeSize = 1 << 20

func (s *source) feed(ctx context.Context, pipe string, split input.Split, counts *input.Counts) (err error) {
	file, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits until the engine opens its end, or release does
	if err != nil {
		return fmt.Errorf("open pipe: %w", err)
	}
	defer closing(file, &err)
	// More than the usual 64 KiB saves switches; where the system allows no more, it works all the same.
	if raw, rawErr := file.SyscallConn(); rawErr == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
	return s.rows.Feed(ctx, split, file, counts)
}

// release lets go of a feeder that still waits for the engine to open the pipe.
func release(pipe string) {
	if fd, err := syscall.Open(pipe, syscall.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
		_ = syscall.Close(fd)
	}
}
