package agent

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestGarbageOf(t *testing.T) {
	now := time.Unix(1000, 0)
	ended := func(ages ...int) (list []endedSandbox) {
		for _, age := range ages {
			list = append(list, endedSandbox{ended: now.Add(-time.Duration(age) * time.Second)})
		}
		return list
	}
	tests := []struct {
		name  string
		ended []endedSandbox
		most  int
		want  []endedSandbox
	}{
		{"nothing", nil, 2, nil},
		{"all are young and few", ended(1, 60), 2, nil},
		{"old ones", ended(61, 1, 70), 9, ended(61, 70)},
		{"too many", ended(3, 1, 2), 2, ended(3)},
		{"both", ended(90, 1, 80, 2), 1, ended(2, 80, 90)},
	}
	for _, test := range tests {
		if got := garbageOf(test.ended, now.Add(-time.Minute), test.most); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// idleAgent is one that is made and not run.
func idleAgent(t *testing.T, dir string) *Agent {
	t.Helper()
	a, err := New(Config{
		Master: "http://127.0.0.1:1", WorkDir: dir, MaxEndedSandboxes: 1,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.listener.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// makeRun makes a sandbox with all that stands around it, as if it had ended at a time.
func makeRun(t *testing.T, dir, agent, framework, executor, container string, ended time.Time) string {
	t.Helper()
	run := filepath.Join(dir, "slaves", agent, "frameworks", framework, "executors", executor, "runs", container)
	if err := os.MkdirAll(filepath.Join(run, "inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	latest := filepath.Join(filepath.Dir(run), "latest")
	if err := os.RemoveAll(latest); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(run, latest); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(run, "stdout"), run + ".status"} {
		if err := os.WriteFile(file, []byte("0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(run, ended, ended); err != nil {
		t.Fatal(err)
	}
	return run
}

func TestCollectLeavesWhatIsNeeded(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	long, before, lately := now.Add(-24*time.Hour), now.Add(-2*time.Minute), now.Add(-time.Minute)

	a := idleAgent(t, dir)
	newest := makeRun(t, dir, "S1", "f", "twice", "new", lately)
	makeRun(t, dir, "S1", "f", "twice", "old", before)      // one too many; "latest" is its own
	makeRun(t, dir, "S0", "gone", "e", "earlier", long)     // of an earlier agent
	living := makeRun(t, dir, "S1", "f", "e", "busy", long) // with a process that was forgotten
	pending := makeRun(t, dir, "S1", "f", "p", "unacknowledged", long)
	e := &executor{sandbox: pending, phase: terminated}
	a.frameworks["f"] = &framework{executors: map[string]*executor{"p": e}}

	sleep := exec.Command("sleep", "300")
	sleep.Env = []string{"MESOS_SANDBOX=" + living}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		sleep.Process.Kill() //nolint:errcheck // it may have ended
		sleep.Wait()         //nolint:errcheck // it was killed
	}
	defer end()

	runs := func() string {
		a.mu.Lock()
		defer a.mu.Unlock()
		found, err := filepath.Glob(filepath.Join(dir, "slaves/*/frameworks/*/executors/*/runs/*"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			found[i] = filepath.Base(filepath.Dir(filepath.Dir(found[i]))) + "/" + filepath.Base(found[i])
		}
		return strings.Join(found, " ")
	}
	a.collect(now)
	want := "e/busy e/busy.status e/latest p/latest p/unacknowledged p/unacknowledged.status twice/new twice/new.status"
	if got := runs(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "slaves", "S0")); !os.IsNotExist(err) {
		t.Errorf("the earlier agent's directory is there: %v", err)
	}

	// The process ends, and the update is acknowledged: that sandbox is the newest now.
	end()
	delete(a.frameworks["f"].executors, "p")
	a.endSandbox(e)
	a.collect(time.Now())
	if got, want := runs(), "p/latest p/unacknowledged p/unacknowledged.status"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := os.Stat(newest); !os.IsNotExist(err) {
		t.Errorf("the second newest is there: %v", err)
	}
	a.collect(time.Now().Add(2 * a.cfg.GCDelay))
	if entries, err := os.ReadDir(filepath.Join(dir, "slaves")); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
