//go:build endtoend

package endtoend

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// operate runs a command to its end, and returns its exit code and all that it said. No secret may be in there.
func (g *group) operate(env []string, args ...string) (code int, said string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(bin, "tidemill"), args...)
	command.Env = append(os.Environ(), env...)
	command.Dir = g.dir
	out, err := command.CombinedOutput()
	if ctx.Err() != nil {
		g.t.Fatalf("tidemill %v does not end: %s", args, out)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	if strings.Contains(string(out), "hush") {
		g.t.Errorf("tidemill %v shows a secret: %s", args, out)
	}
	return command.ProcessState.ExitCode(), string(out)
}

// want is operate for what must end with that code and say all of the words.
func (g *group) want(code int, env []string, args []string, words ...string) {
	g.t.Helper()
	got, said := g.operate(env, args...)
	missing := slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(said, w) })
	if got != code || missing {
		g.t.Fatalf("tidemill %v: exit code %d, want %d and %q:\n%s", args, got, code, words, said)
	}
}

// TestOperatorCommands takes a group through what operators do to it: backup, restore, giving the framework up, teardown,
// and settings that are wrong.
func TestOperatorCommands(t *testing.T) {
	g := newGroup(t, 2, 1, 1)
	leader := g.awaitLeader(takeover)
	c := g.via(leader)
	c.putJob(example(t, "requests-by-status", "requests-by-status"))
	c.putJob(example(t, "flights-by-carrier", "flights-by-carrier"))
	first := c.await(c.startRun("requests-by-status", "first").ID, time.Minute)

	at := func(password, path, secret string) []string {
		return environment(g.ensemble.Address(), password, path, secret)
	}
	here, restored, file := at(storePassword, "/tidemill", mesosSecret), at(storePassword, "/restored", mesosSecret), []string(nil)
	with := func(verb ...string) []string {
		return append(verb, append(g.shared(g.urls[0]), "--data-dir", filepath.Join(g.dir, "operator"))...)
	}

	t.Run("backup", func(t *testing.T) {
		g := g.in(t)
		backup := filepath.Join(g.dir, "backup.jsonl.gz")
		g.want(0, here, with("store", "export", "--output", backup))
		for name, store := range map[string][]string{"ZooKeeper": restored, "file": file} {
			g.want(0, store, with("store", "import", "--input", backup), "records, exported")
			g.want(1, store, with("store", "import", "--input", backup), "not empty")
			again := filepath.Join(g.dir, "again.jsonl.gz")
			g.want(0, store, with("store", "export", "--output", again))
			if got, want := records(t, again), records(t, backup); !bytes.Equal(got, want) {
				t.Errorf("%s holds\n%s\nnot\n%s", name, got, want)
			}
		}
	})
	t.Run("not while a scheduler leads", func(t *testing.T) {
		g := g.in(t)
		for _, verb := range [][]string{{"store", "import", "--input", filepath.Join(g.dir, "backup.jsonl.gz"), "--replace"},
			{"teardown", "--yes-kill-everything"}} {
			g.want(1, here, with(verb...), "a scheduler leads this store", leader.url)
		}
		g.want(0, here, with("framework", "show"), "0 runs and 0 attempts have not ended")
	})

	// From here on a task hangs, and no scheduler runs.
	c.startRun("flights-by-carrier", "hangs")
	hanging := g.hang()
	for _, m := range g.members {
		m.offline.Store(true)
		m.stop()
	}
	serve := append(with("serve"), "--listen", freeAddress(t), "--executor-connections-file", g.connectionsFile())

	t.Run("wrong settings", func(t *testing.T) {
		g := g.in(t)
		g.want(3, at(storePassword, "/tidemill", "wrong-hush"), serve, "the master refuses the subscription", "--mesos-secret-file")
		g.want(3, at("wrong-hush", "/tidemill", mesosSecret), serve, "ZooKeeper")
		g.want(3, here, append(serve, "--mesos-user", "somebody-else"), "--mesos-user", "somebody-else")
	})
	t.Run("teardown", func(t *testing.T) {
		g := g.in(t)
		g.want(0, here, with("framework", "show"), "1 run and 1 attempt have not ended", "flights-by-carrier-")
		g.want(0, here, with("framework", "forget"), "nothing was changed")
		g.want(0, here, with("teardown", "--yes-kill-everything"), "flights-by-carrier-", "torn down, and forgotten")
		begun := time.Now()
		g.eventually(20*time.Second, "what hangs is killed", func() (bool, error) {
			for _, pid := range hanging {
				if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
					return false, fmt.Errorf("process %d: %v", pid, err)
				}
			}
			return true, nil
		})
		t.Logf("what hangs was killed after %s", time.Since(begun).Round(time.Millisecond))
		g.want(1, here, with("framework", "show"), "the store knows of no framework")
	})
	t.Run("restore", func(t *testing.T) {
		g := g.in(t)
		g.want(3, restored, serve, "removed", "tidemill framework forget") // the backup still has the framework's ID
		g.want(0, restored, with("framework", "forget", "--yes-orphan-tasks"), "is forgotten")
		m := g.members[0]
		m.env = environment(m.zk.Address(), storePassword, "/restored", mesosSecret)
		m.launch(false)
		m.offline.Store(false)
		c := g.via(g.awaitLeader(30 * time.Second))
		if known := c.startRun("requests-by-status", "first"); known.ID != first.ID || known.State != "succeeded" {
			t.Errorf("the run of the backup: got %s, %s, want %s", known.ID, known.State, first.ID)
		}
		again := c.await(c.startRun("requests-by-status", "again").ID, time.Minute)
		if again.State != "succeeded" {
			t.Fatalf("a run on the restored store: %s: %+v", again.State, again.Error)
		}
		sameRows(t, "restored", c.result(again.Output.Manifest), c.result(first.Output.Manifest))
	})
}

// hang stops the tasks that run, so that they neither end nor answer.
func (g *group) hang() (pids []int) {
	g.t.Helper()
	g.eventually(30*time.Second, "a task runs", func() (bool, error) {
		tasks, err := below(g.dir, isTask)
		for _, p := range tasks {
			if syscall.Kill(p.pid, syscall.SIGSTOP) == nil {
				pids = append(pids, p.pid)
			}
		}
		return len(pids) > 0, err
	})
	return pids
}

// records are an export's lines without the first and the last, which say when it was made.
func records(t *testing.T, export string) []byte {
	t.Helper()
	f, err := os.Open(export)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) < 4 {
		t.Fatalf("the export is %s", data)
	}
	return bytes.Join(lines[1:len(lines)-1], nil)
}
