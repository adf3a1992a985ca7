package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// writer makes the test binary a process that writes until it is killed, and says what it has written.
const writer = "TIDEMILL_AUDIT_TEST_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(writer); path != "" {
		if err := writeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func writeUntilKilled(path string) error {
	l, err := Open(path)
	if err != nil {
		return err
	}
	l.maxSize = 4096
	for i := range 1_000_000 {
		if err := l.Write(numbered(i)); err != nil {
			return err
		}
		if _, err := fmt.Println(i); err != nil {
			return err
		}
	}
	return errors.New("nobody killed it")
}

func numbered(i int) Entry {
	return Entry{Time: time.Unix(int64(i), 0).UTC(), Event: Asked, Request: strconv.Itoa(i), Actor: "ci", Address: "127.0.0.1", Action: "set-channel", Target: map[string]string{"name": "stable"}}
}

// requests are the requests of all lines in all files, oldest first; every line must be whole.
func requests(t *testing.T, l *Log) (all []string) {
	t.Helper()
	files, err := l.kept()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, l.path) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var e Entry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Errorf("%s: %v in %q", path, err, line)
			}
			all = append(all, e.Request)
		}
	}
	return all
}

func openAt(t *testing.T, path string) *Log {
	t.Helper()
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := openAt(t, path)
	e := Entry{
		Time: time.Date(2026, 11, 23, 22, 30, 0, 0, time.UTC), Event: Answered, Request: "r1", Actor: "ci", Address: "10.0.0.7", ForwardedBy: "http://b:8080", ForwardedFor: "10.0.0.9",
		Action: "set-channel", Target: map[string]string{"name": "stable\n<x>"}, Facts: map[string]any{"version": "1.5.0"}, Status: 200,
	}
	if err := l.Write(e); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-11-23T22:30:00Z","event":"answered","request":"r1","actor":"ci","address":"10.0.0.7","forwarded_by":"http://b:8080","forwarded_for":"10.0.0.9",` +
		`"action":"set-channel","target":{"name":"stable\n<x>"},"facts":{"version":"1.5.0"},"status":200}` + "\n"
	if string(text) != want {
		t.Errorf("got  %swant %s", text, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}

func TestRotation(t *testing.T) {
	l := openAt(t, filepath.Join(t.TempDir(), "audit.log"))
	l.maxSize = 1000
	at := time.Date(2026, 11, 23, 22, 30, 0, 0, time.UTC)
	l.now = func() time.Time { return at } // all files are put aside at one moment
	const lines = 200
	for i := range lines {
		if err := l.Write(numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := l.kept()
	if err != nil || len(kept) != maxKept {
		t.Fatalf("got %d files, %v", len(kept), err)
	}
	if base := filepath.Base(kept[0]); !strings.HasPrefix(base, "audit.log.20261123T2230") {
		t.Errorf("got %s", base)
	}
	all := requests(t, l)
	for i, request := range all {
		if want := strconv.Itoa(lines - len(all) + i); request != want {
			t.Fatalf("line %d of %d: got request %s, want %s", i, len(all), request, want)
		}
	}
	if len(all) < 16*5 {
		t.Errorf("%d lines are left", len(all))
	}
}

// Somebody else moves the file away, or removes it: what is written next is in a new one.
func TestMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := openAt(t, path)
	for i, change := range []func() error{
		func() error { return nil },
		func() error { return os.Rename(path, path+".1") },
		func() error { return os.Remove(path) },
		func() error {
			return errors.Join(os.Rename(path, path+".2"), os.WriteFile(path, []byte("half a li"), 0o600))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := l.Write(numbered(i)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), fmt.Sprintf("\"request\":\"%d\"", i)) {
			t.Errorf("step %d: got %q, %v", i, text, err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(text), "half a li\n{") {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil {
		t.Error("a directory: got no error")
	}
	if _, err := Open(filepath.Join(dir, "none", "audit.log")); err == nil {
		t.Error("no directory: got no error")
	}
	// A log whose place has gone fails, and goes on when it is there again.
	place := filepath.Join(dir, "place")
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	l := openAt(t, filepath.Join(place, "audit.log"))
	if err := os.Rename(place, place+"-gone"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Write(numbered(1)); err == nil {
			t.Error("got no error")
		}
	}
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(numbered(2)); err != nil {
		t.Error(err)
	}
	if got := requests(t, l); len(got) != 1 || got[0] != "2" {
		t.Errorf("got %v", got)
	}
}

// shortWriter takes part of the first line, as a full disk does.
type shortWriter struct {
	bytes.Buffer
	failed bool
}

func (w *shortWriter) Write(p []byte) (int, error) {
	if w.failed {
		return w.Buffer.Write(p)
	}
	w.failed = true
	n, _ := w.Buffer.Write(p[:10])
	return n, errors.New("no space left on device")
}

func TestTornLine(t *testing.T) {
	var out shortWriter
	l := To(&out)
	if err := l.Write(numbered(1)); err == nil {
		t.Error("got no error")
	}
	if err := l.Write(numbered(2)); err != nil {
		t.Error(err)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 3 || !json.Valid([]byte(lines[1])) {
		t.Errorf("got %q", lines)
	}
}

func TestManyWrite(t *testing.T) {
	l := openAt(t, filepath.Join(t.TempDir(), "audit.log"))
	l.maxSize = 10_000
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				if err := l.Write(numbered(100*i + j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, request := range requests(t, l) {
		seen[request] = true
	}
	if len(seen) != 400 {
		t.Errorf("got %d lines", len(seen))
	}
}

// What Write has returned from is in the log, whenever its process is killed; the next process goes on behind it.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for round := range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), writer+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		last, lines := -1, bufio.NewScanner(out)
		for lines.Scan() {
			if last, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if last == 50+10*round {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || last < 50 {
			t.Fatalf("the writer ended by itself after %d: %v", last, err)
		}
		l := openAt(t, path)
		if err := l.Write(Entry{Request: "end"}); err != nil {
			t.Fatal(err)
		}
		all := requests(t, l)
		if want := strconv.Itoa(last); all[len(all)-1] != "end" || all[len(all)-2] != want && all[len(all)-3] != want {
			t.Errorf("round %d: %s was written; the log ends with %v", round, want, all[len(all)-3:])
		}
	}
}
