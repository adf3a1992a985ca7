package reread

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that the test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func join(files []File) (string, error) {
	var all []string
	for _, f := range files {
		if strings.Contains(string(f.Data), "bad") {
			return "", errors.New(f.Path + " is bad")
		}
		all = append(all, string(f.Data))
	}
	return strings.Join(all, "+"), nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestValueFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	write(t, b, "2")
	at := &clock{time.Unix(1000, 0)}
	var logged bytes.Buffer
	made := 0
	v, err := open([]string{a, b}, func(files []File) (string, error) { made++; return join(files) }, slog.New(slog.NewTextHandler(&logged, nil)), at.now)
	if err != nil {
		t.Fatal(err)
	}
	want := func(step, text string, fails bool, lines, makes int) {
		t.Helper()
		if got := v.Get(); got != text {
			t.Errorf("%s: got %q, want %q", step, got, text)
		}
		if err := v.Err(); (err != nil) != fails {
			t.Errorf("%s: got error %v", step, err)
		}
		if n := strings.Count(logged.String(), "\n"); n != lines {
			t.Errorf("%s: got %d log lines, want %d:\n%s", step, n, lines, &logged)
		}
		if made != makes {
			t.Errorf("%s: made %d times, want %d", step, made, makes)
		}
	}
	second := func() { at.t = at.t.Add(every) }

	want("first", "1+2", false, 0, 1)
	write(t, a, "3")
	want("at once", "1+2", false, 0, 1)
	second()
	want("seen once", "1+2", false, 0, 1)
	second()
	want("seen twice", "3+2", false, 1, 2)
	second()
	want("unchanged", "3+2", false, 1, 2)
	write(t, b, "bad")
	second()
	want("broken, seen once", "3+2", false, 1, 2)
	second()
	want("broken", "3+2", true, 2, 3)
	second()
	want("still broken", "3+2", true, 2, 3)
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	second()
	want("gone", "3+2", true, 3, 3)
	second()
	want("still gone", "3+2", true, 3, 3)
	write(t, b, "2")
	second()
	want("back, seen once", "3+2", true, 3, 3)
	second()
	want("back", "3+2", false, 4, 4)
	if err := os.Chmod(b, 0o644); err != nil {
		t.Fatal(err)
	}
	second()
	want("another mode", "3+2", false, 4, 4)
	second()
	want("another mode, seen twice", "3+2", false, 5, 5)
	write(t, b, strings.Repeat("x", maxFile+1))
	second()
	want("too large", "3+2", true, 6, 5)
}

// Half of a file is good content that says something else.
func TestHalfAFileIsNotUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "old")
	at := &clock{time.Unix(1000, 0)}
	v, err := open([]string{path}, join, nil, at.now)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text string        // written before the look; empty: nothing is
		age  time.Duration // of the file at the look; negative: its clock is ahead
		want string
	}{
		{"ne", -time.Hour, "old"},
		{"new, all", -time.Hour, "old"},
		{"", -time.Hour, "new, all"}, // two looks find it
		{"ha", every / 2, "new, all"},
		{"half", every / 2, "new, all"},
		{"new, all", every / 2, "new, all"}, // as it was
		{"half", every / 2, "new, all"},     // what was seen before that does not count
		{"", every / 2, "half"},
		{"at rest", every, "at rest"}, // nobody asked for long: the first look uses it
	} {
		at.t = at.t.Add(every)
		if step.text != "" {
			write(t, path, step.text)
		}
		if err := os.Chtimes(path, time.Time{}, at.t.Add(-step.age)); err != nil {
			t.Fatal(err)
		}
		if got := v.Get(); got != step.want {
			t.Errorf("%q written %s ago: got %q, want %q", step.text, step.age, got, step.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	write(t, bad, "bad")
	for _, path := range []string{filepath.Join(dir, "none"), dir, bad} {
		if _, err := Open([]string{path}, join, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestPrivate(t *testing.T) {
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o640: true, 0o400: true, 0o644: false, 0o602: false, 0o777: false} {
		if err := (File{Path: "tokens.yaml", Mode: mode}).Private(); (err == nil) != good {
			t.Errorf("%04o: got %v", mode, err)
		}
	}
}

func TestManyAsk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "1")
	v, err := Open([]string{path}, join, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if got := v.Get(); got != "1" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	all.Wait()
}
