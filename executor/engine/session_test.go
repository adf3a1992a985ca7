package engine_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/executor/engine"
)

func open(t *testing.T) *engine.Session {
	t.Helper()
	s, err := engine.Open(t.Context(), engine.Config{Dir: t.TempDir(), Memory: 64 << 20, Disk: 1 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSessionIsLocked(t *testing.T) {
	s := open(t)
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"SELECT * FROM read_csv('" + secret + "')",
		"SELECT * FROM '" + secret + "'",
		"SELECT content FROM read_text('" + secret + "')",
		"COPY (SELECT 1) TO '" + secret + ".out'",
		"ATTACH '" + secret + ".db'",
		"SET memory_limit='10GB'",
		"SET enable_external_access=true",
		"RESET lock_configuration",
		"INSTALL httpfs",
		"LOAD httpfs",
		"SELECT getenv('HOME')",
	} {
		if err := s.Query(t.Context(), sql, func([]driver.Value) error { return nil }); err == nil {
			t.Errorf("%s: want an error", sql)
		} else if strings.Contains(err.Error(), "LINE") {
			t.Errorf("%s: untidy message %q", sql, err)
		}
	}
}

func TestSessionRunsInUTC(t *testing.T) {
	got, err := open(t).Strings(t.Context(), "SELECT CAST(TIMESTAMPTZ '2015-05-17T10:05:03+02:00' AS VARCHAR)")
	if err != nil || len(got) != 1 || got[0] != "2015-05-17 08:05:03+00" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCancelInterrupts(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := s.Exec(ctx, "CREATE TEMP TABLE t AS SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) % 7 = 3")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
}

func TestAppendAndQuery(t *testing.T) {
	s := open(t)
	if err := s.Exec(t.Context(), "CREATE TEMP TABLE t (a BIGINT, b BLOB)"); err != nil {
		t.Fatal(err)
	}
	err := s.Append(t.Context(), "t", func(add func(...driver.Value) error) error {
		return errors.Join(add(int64(1), []byte("x\x00y")), add(int64(2), nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Int(t.Context(), "SELECT count(*) FROM t WHERE a = 1 AND octet_length(b) = 3 OR a = 2 AND b IS NULL")
	if n != 2 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestReasons(t *testing.T) {
	s := open(t)
	for _, test := range []struct {
		sql     string
		reason  engine.Reason
		message string
	}{
		{"SELECT 1 +", engine.Syntax, "syntax error at end of input"},
		{"SELECT nope FROM (SELECT 1 AS none)", engine.Binding, `Referenced column "nope" not found in FROM clause!`},
		{"SELECT CAST(x AS BIGINT) FROM (VALUES ('y')) v(x)", engine.Data, "Could not convert string 'y' to INT64 when casting from source column x"},
		{"SELECT error('went ' || 'wrong')", engine.Data, "went wrong"},
		{"SELECT sum(x) FROM (VALUES (CAST(9e37 AS DECIMAL(38,0))), (CAST(9e37 AS DECIMAL(38,0)))) v(x)", engine.Data, "Overflow in HUGEINT addition"},
		{"CREATE TEMP TABLE t AS SELECT range AS a, hash(range) AS b FROM range(30000000)", engine.Memory, "failed to offload"},
	} {
		err := s.Query(t.Context(), test.sql, func([]driver.Value) error { return nil })
		var said *engine.Error
		if !errors.As(err, &said) {
			t.Errorf("%s: got %v", test.sql, err)
			continue
		}
		if said.Reason != test.reason || !strings.HasPrefix(said.Message, test.message) || strings.Contains(said.Message, "PRAGMA") {
			t.Errorf("%s: got %d %q", test.sql, said.Reason, said.Message)
		}
	}
}
