package engine

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"
)

// Config bounds a session.
type Config struct {
	Dir     string // the only directory it may touch; must exist, is not removed
	Memory  int64  // bytes for the engine
	Disk    int64  // bytes of spilled data; 0: as much as there is
	Threads int    // at least 1
}

// Session is one connection to one database that nobody else sees.
type Session struct {
	connector *duckdb.Connector
	conn      driver.Conn
	functions []*functionHandle
}

// Open starts an engine and locks it. It takes some 10 ms.
func Open(ctx context.Context, config Config) (*Session, error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", clean(err))
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to engine: %w", clean(err)), connector.Close())
	}
	s := &Session{connector: connector, conn: conn}
	if err := s.lock(ctx, config); err != nil {
		return nil, errors.Join(fmt.Errorf("configure engine: %w", err), s.Close())
	}
	return s, nil
}

func (s *Session) lock(ctx context.Context, config Config) error {
	settings := []string{
		fmt.Sprintf("threads=%d", max(config.Threads, 1)),
		fmt.Sprintf("memory_limit='%dB'", max(config.Memory, 16<<20)),
		"temp_directory=" + Literal(filepath.Join(config.Dir, "spill")),
		"allowed_directories=[" + Literal(config.Dir+"/") + "]",
		"autoinstall_known_extensions=false",
		"autoload_known_extensions=false",
		"allow_community_extensions=false",
		"TimeZone='UTC'",
		"partitioned_write_max_open_files=256", // each file of a partitioned write is written at one go
		"preserve_insertion_order=true",        // pages and sorted results rely on it
		"enable_external_file_cache=false",     // scratch files are read once, and another may have the same name soon
		"enable_external_access=false",
		"lock_configuration=true",
	}
	if config.Disk > 0 {
		settings = append([]string{fmt.Sprintf("max_temp_directory_size='%dB'", config.Disk)}, settings...)
	}
	return s.Exec(ctx, "SET "+strings.Join(settings, "; SET "))
}

// Close ends the session and frees its memory.
func (s *Session) Close() error {
	err := errors.Join(s.conn.Close(), s.connector.Close())
	for _, f := range s.functions {
		f.free()
	}
	return err
}

// Exec runs statements that give no rows. Cancelling ctx interrupts them.
func (s *Session) Exec(ctx context.Context, sql string) error {
	_, err := s.conn.(driver.ExecerContext).ExecContext(ctx, sql, nil)
	return because(ctx, err)
}

// Query runs one statement and calls row for each of its rows. The slice is used again; its elements may be kept. The
// whole result is in memory before the first call, outside the engine's bounds: ask for little, or for pages.
func (s *Session) Query(ctx context.Context, sql string, row func(values []driver.Value) error) (err error) {
	rows, err := s.conn.(driver.QueryerContext).QueryContext(ctx, sql, nil)
	if err != nil {
		return because(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]driver.Value, len(rows.Columns()))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := rows.Next(values); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return clean(err)
		}
		if err := row(values); err != nil {
			return err
		}
	}
}

// Strings returns the first column of a query's rows, which must be text.
func (s *Session) Strings(ctx context.Context, sql string) ([]string, error) {
	var all []string
	err := s.Query(ctx, sql, func(values []driver.Value) error {
		text, ok := values[0].(string)
		if !ok {
			return fmt.Errorf("read %T where text was asked for", values[0])
		}
		all = append(all, text)
		return nil
	})
	return all, err
}

// Int returns the only value of a query, which must be a whole number.
func (s *Session) Int(ctx context.Context, sql string) (n int64, err error) {
	err = s.Query(ctx, sql, func(values []driver.Value) error {
		var ok bool
		if n, ok = values[0].(int64); !ok {
			return fmt.Errorf("read %T where BIGINT was asked for", values[0])
		}
		return nil
	})
	return n, err
}

// Append adds rows to a table: fill calls add for each of them, with one value a column.
func (s *Session) Append(ctx context.Context, table string, fill func(add func(values ...driver.Value) error) error) error {
	appender, err := duckdb.NewAppender(s.conn, "temp", "", table)
	if err != nil {
		return fmt.Errorf("append to table %q: %w", table, clean(err))
	}
	add := func(values ...driver.Value) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return appender.AppendRow(values...)
	}
	err = errors.Join(fill(add), appender.Close())
	return because(ctx, err)
}

// Literal is text as an SQL string.
func Literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Literals is texts as an SQL list of strings.
func Literals(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = Literal(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Name is a name as an SQL identifier.
func Name(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
