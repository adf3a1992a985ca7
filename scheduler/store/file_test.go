package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/tidemill/tidemill/dev/zookeeper/zookeepertest"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
	"github.com/tidemill/tidemill/scheduler/store/storetest"
)

// committerFile names, in the environment, the store into which this test binary commits until it is killed.
const committerFile = "TIDEMILL_TEST_COMMITTER"

func TestMain(m *testing.M) {
	if path := os.Getenv(committerFile); path != "" {
		if err := commitForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(zookeepertest.Main(m))
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		path := filepath.Join(t.TempDir(), "new", "tidemill.db")
		return storetest.Place{Open: func() (store.Store, error) { return store.Open(path) }}
	})
}

func TestOpenRefuses(t *testing.T) {
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	database := func(bucket, key, value string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucket([]byte(bucket))
				if err != nil {
					return err
				}
				return b.Put([]byte(key), []byte(value))
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		prepare func(*testing.T, string)
		want    error
	}{
		"text":              {write("not a database, but longer than one page's header"), store.ErrFormat},
		"a few bytes":       {write("x"), store.ErrFormat},
		"another program's": {database("accounts", "a", "1"), store.ErrFormat},
		"a newer format":    {database("meta", "format", "tidemill-2"), store.ErrFormat},
		"empty file":        {write(""), nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tidemill.db")
			test.prepare(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(path)
			if !errors.Is(err, test.want) {
				t.Fatalf("open: got %v, want %v", err, test.want)
			}
			if test.want == nil {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(after) != string(before) {
				t.Error("a refused file was changed")
			}
		})
	}
}

func TestOnlyTheOwnerReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tidemill.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode: got %o, want 600", got)
	}
}

// commitForEver writes commit n as five records and then says n. Every commit leaves exactly five records of equal
// content, so that half a commit would show.
func commitForEver(path string) error {
	s, err := store.Open(path)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		value := []byte(strings.Repeat(strconv.Itoa(n)+" ", 1+n%700))
		changes := []scheduler.Change{{Key: scheduler.Key{Kind: scheduler.KindJob, ID: "n"}, Value: []byte(strconv.Itoa(n))}}
		for i := range 5 {
			changes = append(changes,
				scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: fmt.Sprintf("%d-%d", n, i)}, Value: value},
				scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: fmt.Sprintf("%d-%d", n-1, i)}})
		}
		if err := s.Commit(context.Background(), changes); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

func TestKilledWhileCommitting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tidemill.db")
	for round := range 8 {
		acknowledged := killAfter(t, path, 1+round*37)
		checkCommitted(t, path, acknowledged)
		// Begin anew, so that the next child counts from one again.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter lets a child process commit until it has said so at least that often, kills it and returns the last
// commit that it acknowledged.
func killAfter(t *testing.T, path string, commits int) int {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), committerFile+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(30*time.Second, func() { kill(t, child) })
	defer limit.Stop()
	last := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			break // a line cut short: not acknowledged
		}
		if last = n; n == commits {
			kill(t, child) // and read on: what it said before it died counts
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("child ended by itself: %v", err)
	}
	if last < commits {
		t.Fatalf("child acknowledged %d commits, want at least %d", last, commits)
	}
	return last
}

func kill(t *testing.T, child *exec.Cmd) {
	if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill child: %v", err)
	}
}

func checkCommitted(t *testing.T, path string, acknowledged int) {
	t.Helper()
	s, err := store.Open(path)
	if err != nil {
		t.Fatalf("open after kill: %v", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	records, err := s.Load(context.Background())
	if err != nil {
		t.Fatalf("load after kill: %v", err)
	}
	values := map[string]string{}
	for _, r := range records {
		values[r.Key.ID] = string(r.Value)
	}
	n, err := strconv.Atoi(values["n"])
	if err != nil || n < acknowledged {
		t.Fatalf("stored commit: got %q, acknowledged %d", values["n"], acknowledged)
	}
	if len(values) != 6 {
		t.Fatalf("records of commit %d: got %d, want 6", n, len(values))
	}
	want := strings.Repeat(strconv.Itoa(n)+" ", 1+n%700)
	for i := range 5 {
		if got := values[fmt.Sprintf("%d-%d", n, i)]; got != want {
			t.Errorf("record %d of commit %d: got %d bytes, want %d", i, n, len(got), len(want))
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	s, err := store.Open(filepath.Join(b.TempDir(), "tidemill.db"))
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 700)
	for i := range b.N {
		change := scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: strconv.Itoa(i % 10000)}, Value: value}
		if err := s.Commit(context.Background(), []scheduler.Change{change}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCommitMany is one commit of many new records, whose keys come in no order.
func BenchmarkCommitMany(b *testing.B) {
	s, err := store.Open(filepath.Join(b.TempDir(), "tidemill.db"))
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 700)
	changes := make([]scheduler.Change, 50_000)
	round := 0
	for b.Loop() {
		round++
		for i := range changes {
			id := fmt.Sprintf("%d-%05d", round, i*7919%len(changes))
			changes[i] = scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: id}, Value: value}
		}
		if err := s.Commit(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
