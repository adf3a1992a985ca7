package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func TestOpenRefuses(t *testing.T) {
	for _, config := range []file.Config{{}, {Root: "srv"}, {Root: "/srv", Prefix: "srv"}} {
		if _, err := file.Open(config); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%+v: got error %v, want ErrInvalid", config, err)
		}
	}
}

func TestKeysStayInside(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(outside, "secret"), "outside")
	writeFile(t, filepath.Join(root, "inside"), "inside")
	symlink(t, outside, filepath.Join(root, "folder"))
	symlink(t, filepath.Join(outside, "secret"), filepath.Join(root, "file"))
	symlink(t, "inside", filepath.Join(root, "alias"))
	s := open(t, file.Config{Root: root})
	for _, key := range []string{"../secret", "a/../../secret", "/inside", "inside/", "a//b", ".", "..", "./inside", ".tidemill/lock", ".tidemill", "folder/secret", "file"} {
		if _, _, err := s.Get(t.Context(), key, storage.Range{}); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("get %q: got error %v, want ErrInvalid", key, err)
		}
		if strings.HasSuffix(key, "file") {
			continue // writing replaces the link, which is inside
		}
		if _, err := storage.WriteAll(t.Context(), s, key, []byte("x"), storage.Always); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("put %q: got error %v, want ErrInvalid", key, err)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("delete %q: got error %v, want ErrInvalid", key, err)
		}
	}
	var keys []string
	for obj, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, obj.Key)
	}
	if want := []string{"alias", "inside"}; !slices.Equal(keys, want) {
		t.Errorf("list: got %q, want %q", keys, want)
	}
	if got, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(got) != "outside" {
		t.Errorf("got %q, %v outside", got, err)
	}
}

func TestPrefix(t *testing.T) {
	root := t.TempDir()
	prefix := root[1:] + "/"
	s := open(t, file.Config{Root: root, Prefix: prefix})
	if _, err := storage.WriteAll(t.Context(), s, prefix+"a/b", []byte("x"), storage.IfAbsent); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "a/b")); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, list := range []string{"", prefix, prefix + "a/", root[1:3]} {
		found := 0
		for obj, err := range s.List(t.Context(), list, "") {
			if err != nil || obj.Key != prefix+"a/b" {
				t.Errorf("list %q: got %+v, %v", list, obj, err)
			}
			found++
		}
		if found != 1 {
			t.Errorf("list %q: got %d objects, want 1", list, found)
		}
	}
	_, err := s.Stat(t.Context(), "etc/passwd")
	if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), root) {
		t.Errorf("outside: got error %v, want ErrInvalid that names the root", err)
	}
}

func TestFolderAndObjectOfOneName(t *testing.T) {
	s := open(t, file.Config{Root: t.TempDir()})
	if _, err := storage.WriteAll(t.Context(), s, "a/b", nil, storage.Always); err != nil {
		t.Fatal(err)
	}
	for _, cond := range []storage.Condition{storage.Always, storage.IfAbsent} {
		for _, key := range []string{"a", "a/b/c"} {
			if _, err := storage.WriteAll(t.Context(), s, key, nil, cond); !errors.Is(err, storage.ErrInvalid) {
				t.Errorf("put %q %s: got error %v, want ErrInvalid", key, cond, err)
			}
		}
	}
	if err := s.Delete(t.Context(), "a", "a/b/c"); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
}

func TestPipesAndFoldersAreNoObjects(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, file.Config{Root: root})
	for _, key := range []string{"pipe", "dir"} {
		if _, _, err := s.Get(t.Context(), key, storage.Range{}); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("get %q: got error %v, want ErrNotFound", key, err)
		}
	}
	for obj, err := range s.List(t.Context(), "", "") {
		t.Errorf("list: got %+v, %v", obj, err)
	}
}

func TestChangesByOthersAreSeen(t *testing.T) {
	root := t.TempDir()
	s := open(t, file.Config{Root: root})
	writeFile(t, filepath.Join(root, "k"), strings.Repeat("x", 1000))
	body, obj, err := s.Get(t.Context(), "k", storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	writeFile(t, filepath.Join(root, "k"), "shorter") // in place
	if _, err := body.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := body.Read(make([]byte, 1000)); !errors.Is(err, storage.ErrCondition) {
		t.Errorf("cut short in place: got error %v, want ErrCondition", err)
	}
	if _, err := storage.WriteAll(t.Context(), s, "k", nil, storage.IfMatch(obj.ETag)); !errors.Is(err, storage.ErrCondition) {
		t.Errorf("got error %v, want ErrCondition", err)
	}
}

// Bodies that are being read stay the version that they began with.
func TestReadersKeepTheirVersion(t *testing.T) {
	s := open(t, file.Config{Root: t.TempDir()})
	if _, err := storage.WriteAll(t.Context(), s, "k", []byte("old version"), storage.Always); err != nil {
		t.Fatal(err)
	}
	body, _, err := s.Get(t.Context(), "k", storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storage.WriteAll(t.Context(), s, "k", []byte("new version"), storage.Always); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(body); err != nil || got.String() != "old version" {
		t.Errorf("got %q, %v", got.String(), err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
}

const (
	child      = "TIDEMILL_TEST_STORE" // the root, for a process of TestProcessesTakeTurns
	processes  = 4
	increments = 25
)

// Processes that count up in one object by IfMatch lose no step.
func TestProcessesTakeTurns(t *testing.T) {
	if root := os.Getenv(child); root != "" {
		countUp(t, root)
		return
	}
	root := t.TempDir()
	s := open(t, file.Config{Root: root})
	if _, err := storage.WriteAll(t.Context(), s, "counter", []byte("0"), storage.IfAbsent); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for range processes {
		running.Go(func() {
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestProcessesTakeTurns$", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), child+"="+root)
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
	running.Wait()
	got, _, err := storage.ReadAll(t.Context(), s, "counter", 100)
	if want := fmt.Sprint(processes * increments); err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if left := drafts(t, root); len(left) > 0 {
		t.Errorf("got drafts %q", left)
	}
}

func countUp(t *testing.T, root string) {
	t.Helper()
	s := open(t, file.Config{Root: root})
	for done := 0; done < increments; {
		data, obj, err := storage.ReadAll(t.Context(), s, "counter", 100)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscan(string(data), &n); err != nil {
			t.Fatal(err)
		}
		_, err = storage.WriteAll(t.Context(), s, "counter", fmt.Append(nil, n+1), storage.IfMatch(obj.ETag))
		switch {
		case err == nil:
			done++
		case !errors.Is(err, storage.ErrCondition):
			t.Fatal(err)
		}
	}
}

// A process that was stopped while it held the lock blocks writers until their
// contexts end, and readers not at all.
func TestHeldLock(t *testing.T) {
	root := t.TempDir()
	s := open(t, file.Config{Root: root})
	if _, err := storage.WriteAll(t.Context(), s, "k", []byte("x"), storage.Always); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(filepath.Join(root, ".tidemill", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := storage.WriteAll(ctx, s, "k", []byte("y"), storage.Always); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put: got error %v, want context.DeadlineExceeded", err)
	}
	if got, _, err := storage.ReadAll(t.Context(), s, "k", 10); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	if left := drafts(t, root); len(left) > 0 {
		t.Errorf("got drafts %q", left)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}
