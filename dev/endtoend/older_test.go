//go:build endtoend

package endtoend

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/build"
	"github.com/tidemill/tidemill/dev/result"
	"github.com/tidemill/tidemill/proto/describe"
)

// older is the version of the kept executor: the last one that speaks protocol 1 only.
const older = "0.1.0"

// buildOlder builds the kept executor from its sources and returns the file. The modules that it needs are those of the
// checkout, as long as their versions are the same: then only its own packages are compiled.
func buildOlder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sources := filepath.Join(dir, "sources")
	if err := unpack(filepath.Join("testdata", "executor-"+older+".tar.gz"), sources); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	file := filepath.Join(dir, "tidemill-executor-"+older)
	took, err := build.Executor(ctx, sources, file, older)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("executor %s was built in %s", older, took.Round(time.Millisecond))
	return file
}

// unpack writes the files of an archive of dev/snapshot into a directory.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", archive, err)
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", archive, err)
		}
		if !filepath.IsLocal(header.Name) || header.Typeflag != tar.TypeReg {
			return fmt.Errorf("read %s: it has %q", archive, header.Name)
		}
		data, err := io.ReadAll(files)
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", header.Name, archive, err)
		}
		name := filepath.Join(dir, header.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
}

// TestOlderExecutor runs an executor of the protocol version before under today's scheduler, beside today's executor.
func TestOlderExecutor(t *testing.T) {
	file := buildOlder(t)
	c := newCluster(t, options{agents: 1, schedulerFlags: []string{"--executor-linger", "2s"}})
	c.registerFile(older, file)
	for name, version := range map[string]string{"flights-older": older, "flights-newer": versions[0]} {
		c.putJob(replaceOnce(t, example(t, "flights-by-carrier", name), `{"channel": "stable"}`, `{"version": "`+version+`"}`))
	}
	var want *result.Table
	t.Run("side by side", func(t *testing.T) { want = besideOlder(c.in(t)) })
	if want == nil {
		t.FailNow()
	}
	t.Run("executor killed", func(t *testing.T) { killOlder(c.in(t), want) })
	t.Run("run cancelled", func(t *testing.T) { cancelOlder(c.in(t)) })
	t.Run("features", func(t *testing.T) { lackOlder(c.in(t)) })
}

// lackOlder pins jobs to versions that name few features or none: what an executor of protocol 1 can do counts as known.
func lackOlder(c *cluster) {
	c.t.Helper()
	const few = "0.1.1"
	const elf = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00" // begins a file for x86-64
	file := filepath.Join(c.dir, "few-features")
	content := elf + describe.BlockMarker + `{"os":"linux","arch":"amd64","protocol":{"min":1,"max":1},"kinds":["aggregate"],` +
		`"features":["aggregate.group_by","aggregate.input.format.csv","aggregate.measures.count"]};` + describe.VersionMarker + few + ";"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.registerFile(few, file)
	spec := replaceOnce(c.t, example(c.t, "flights-by-carrier", "flights-few"), `{"channel": "stable"}`, `{"version": "`+few+`"}`)
	var problem wire.Error
	status, err := c.call(http.MethodPost, "/v1/jobs?dry_run=true", strings.NewReader(spec), &problem, "Content-Type", "application/json")
	if err != nil || status != http.StatusUnprocessableEntity {
		c.t.Fatalf("status %d, %v, want 422: %+v", status, err, problem)
	}
	want := "executor " + few + " has no aggregate.measures.approx_quantile; "
	if !slices.ContainsFunc(problem.Errors, func(p wire.Problem) bool {
		return p.Pointer == "/aggregate/measures/p95_delay/approx_quantile" && strings.HasPrefix(p.Detail, want) && strings.HasSuffix(p.Detail, " has")
	}) {
		c.t.Errorf("want %q, got %+v", want, problem)
	}
	spec = replaceOnce(c.t, spec, `{"version": "`+few+`"}`, `{"version": "`+older+`"}`)
	if status, err := c.call(http.MethodPost, "/v1/jobs?dry_run=true", strings.NewReader(spec), nil, "Content-Type", "application/json"); err != nil || status >= 300 {
		c.t.Errorf("on %s: status %d, %v", older, status, err)
	}
}

// besideOlder runs the same aggregation on both at the same time and agent, and returns the result.
func besideOlder(c *cluster) *result.Table {
	c.t.Helper()
	runs := []wire.Run{c.startRun("flights-older", "a"), c.startRun("flights-newer", "a")}
	for i, version := range []string{older, versions[0]} {
		runs[i] = c.await(runs[i].ID, time.Minute)
		if runs[i].State != "succeeded" || runs[i].ExecutorVersion != version {
			c.t.Fatalf("run on %s: %s on %s: %+v", version, runs[i].State, runs[i].ExecutorVersion, runs[i].Error)
		}
	}
	first, second := c.attempts(runs[0].ID), c.attempts(runs[1].ID)
	for _, a := range first {
		if !strings.Contains(a.Executor, "_"+older+"_") {
			c.t.Errorf("an attempt of the run on %s had executor %s", older, a.Executor)
		}
	}
	if !overlap(first, second) {
		c.t.Errorf("no two attempts of the runs ran at the same time on one agent: %+v, %+v", first, second)
	}
	got := c.result(runs[0].Output.Manifest)
	checkFlights(c.t, got, expectFlights(c.t))
	sameRows(c.t, "on "+older, got, c.result(runs[1].Output.Manifest))
	return got
}

// killOlder kills an older executor amid a run: its tasks get new attempts, of the same version.
func killOlder(c *cluster, want *result.Table) {
	c.t.Helper()
	run := c.startRun("flights-older", "killed")
	executor := c.awaitExecutor(run.ID)
	if err := syscall.Kill(executor.pid, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	ended := c.await(run.ID, time.Minute)
	if ended.State != "succeeded" || ended.ExecutorVersion != older {
		c.t.Fatalf("%s on %s: %+v", ended.State, ended.ExecutorVersion, ended.Error)
	}
	again := false
	for _, a := range c.attempts(run.ID) {
		again = again || a.Number > 1
		if !strings.Contains(a.Executor, "_"+older+"_") {
			c.t.Errorf("an attempt had executor %s", a.Executor)
		}
	}
	if !again {
		c.t.Error("no task had a second attempt")
	}
	sameRows(c.t, "after the kill", c.result(ended.Output.Manifest), want)
}

// cancelOlder cancels a run on the older executor: its tasks end, and it makes nothing visible.
func cancelOlder(c *cluster) {
	c.t.Helper()
	before := c.latest("s3://results/flights-older/")
	run := c.startRun("flights-older", "cancelled")
	c.awaitExecutor(run.ID)
	c.must(http.MethodPost, "/v1/runs/"+run.ID+"/cancel", nil, nil)
	if ended := c.await(run.ID, time.Minute); ended.State != "cancelled" || ended.Output != nil {
		c.t.Fatalf("%s with output %+v: %+v", ended.State, ended.Output, ended.Error)
	}
	c.eventually(30*time.Second, "all attempts to end", func() (bool, error) { // the clean-up goes on after the run
		return !slices.ContainsFunc(c.attempts(run.ID), func(a wire.Attempt) bool { return a.Ended == nil }), nil
	})
	if latest := c.latest("s3://results/flights-older/"); latest != before {
		c.t.Errorf("_latest.json names %q, before it named %q", latest, before)
	}
}

// awaitExecutor waits until an executor of the run has a task process, and returns that executor.
func (c *cluster) awaitExecutor(run string) (executor found) {
	c.t.Helper()
	c.eventually(30*time.Second, "a task of the run runs", func() (bool, error) {
		tasks, err := below(c.dir, func(args []string) bool { return isTask(args) && strings.HasPrefix(args[2], run+".") })
		if err != nil || len(tasks) == 0 {
			return false, err
		}
		executors, err := below(c.dir, isExecutor)
		if err != nil {
			return false, err
		}
		for _, e := range executors {
			if len(childrenOf(c.t, e.pid, tasks)) > 0 {
				executor = e
				return true, nil
			}
		}
		return false, nil
	})
	return executor
}

// attempts lists all attempts of a run's tasks.
func (c *cluster) attempts(run string) (all []wire.Attempt) {
	c.t.Helper()
	var tasks wire.List[wire.Task]
	c.must(http.MethodGet, "/v1/runs/"+run+"/tasks", nil, &tasks)
	for _, task := range tasks.Items {
		all = append(all, task.Attempts...)
	}
	return all
}

// overlap says whether an attempt of each list ran at the same time on the same agent.
func overlap(some, others []wire.Attempt) bool {
	for _, a := range some {
		for _, b := range others {
			if a.Running != nil && a.Ended != nil && b.Running != nil && b.Ended != nil && a.Agent == b.Agent &&
				a.Running.Before(*b.Ended) && b.Running.Before(*a.Ended) {
				return true
			}
		}
	}
	return false
}
