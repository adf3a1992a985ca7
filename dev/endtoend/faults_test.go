//go:build endtoend

package endtoend

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/dev/result"
)

// victim is something that a test kills, and how it comes back.
type victim struct {
	name string
	// find returns a function that kills one, or nil while there is none.
	find func(c *cluster, r *rand.Rand) (kill func())
}

var victims = []victim{
	{"scheduler", func(c *cluster, _ *rand.Rand) func() {
		return func() {
			c.scheduler.kill()
			c.scheduler.launch(false)
			c.awaitScheduler()
		}
	}},
	{"agent", func(c *cluster, r *rand.Rand) func() {
		a := c.agents[r.IntN(len(c.agents))]
		return func() {
			a.kill()
			a.launch(true)
		}
	}},
	{"executor", func(c *cluster, r *rand.Rand) func() { return c.processKiller(r, isExecutor) }},
	{"task", func(c *cluster, r *rand.Rand) func() { return c.processKiller(r, isTask) }},
}

func (c *cluster) processKiller(r *rand.Rand, match func([]string) bool) func() {
	all, err := below(c.dir, match)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(all) == 0 {
		return nil
	}
	pid := all[r.IntN(len(all))].pid
	return func() { syscall.Kill(pid, syscall.SIGKILL) } //nolint:errcheck // it may have ended by itself
}

// TestKillAnything kills each sort of process at moments spread over a run. Every run succeeds with the same rows.
func TestKillAnything(t *testing.T) {
	c := newCluster(t, options{schedulerFlags: []string{"--executor-linger", "2s"}})
	want := expectFlights(t)
	c.putJob(example(t, "flights-by-carrier", "flights-by-carrier"))

	begun := time.Now()
	clean := c.await(c.startRun("flights-by-carrier", "clean").ID, time.Minute)
	usual := time.Since(begun)
	if clean.State != "succeeded" {
		t.Fatalf("without a fault: %s: %+v", clean.State, clean.Error)
	}
	rows := c.result(clean.Output.Manifest)
	checkFlights(t, rows, want)

	moments := 10
	if *soak {
		moments = 100
	}
	for n, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			c := c.in(t)
			r := rand.New(rand.NewPCG(*seed, uint64(n)))
			for i := range moments {
				at := time.Duration((float64(i) + r.Float64()) / float64(moments) * float64(usual))
				c.killDuringRun(v, r, fmt.Sprintf("%s-%d", v.name, i), at, rows)
			}
		})
	}
}

// killDuringRun starts a run, kills a victim after at, and compares the result.
func (c *cluster) killDuringRun(v victim, r *rand.Rand, key string, at time.Duration, want *result.Table) {
	c.t.Helper()
	run := c.startRun("flights-by-carrier", key)
	timer := time.NewTimer(at) // the moment of the fault is what is random here; nothing is waited for
	<-timer.C
	if kill := v.find(c, r); kill != nil {
		kill()
	} else {
		c.t.Logf("%s: after %s there was none to kill", key, at)
	}
	again := c.startRun("flights-by-carrier", key)
	if again.ID != run.ID {
		c.t.Fatalf("%s: the same key started run %s, then %s", key, run.ID, again.ID)
	}
	ended := c.await(run.ID, 90*time.Second)
	if ended.State != "succeeded" {
		c.t.Fatalf("%s killed after %s: run %s %s: %+v", v.name, at, run.ID, ended.State, ended.Error)
	}
	sameRows(c.t, key, c.result(ended.Output.Manifest), want)
	if latest := c.latest("s3://results/flights-by-carrier/"); latest != ended.Output.Manifest {
		c.t.Errorf("%s: _latest.json names %q, the run %q", key, latest, ended.Output.Manifest)
	}
}

// sameRows compares results of the same input: all values, and the order, are the same. Estimates are included because
// HLL is deterministic, quantiles because no group has more than 187 values: a KLL sketch with k = 200 still holds them all.
func sameRows(t *testing.T, what string, got, want *result.Table) {
	t.Helper()
	if len(got.Rows) != len(want.Rows) {
		t.Fatalf("%s: %d rows, want %d", what, len(got.Rows), len(want.Rows))
	}
	for i := range want.Rows {
		for j := range want.Rows[i] {
			if got.Rows[i][j] != want.Rows[i][j] {
				t.Fatalf("%s: row %d: %v, want %v", what, i, got.Rows[i], want.Rows[i])
			}
		}
	}
}

// TestStoppedExecutorWakesUpLate stops an executor with its tasks until its replacement has finished, then lets it go on.
func TestStoppedExecutorWakesUpLate(t *testing.T) {
	c := newCluster(t, options{schedulerFlags: []string{"--scheduling-stall-after", "5s", "--executor-linger", "2s"}})
	c.putJob(example(t, "flights-by-carrier", "flights-by-carrier"))
	clean := c.await(c.startRun("flights-by-carrier", "clean").ID, time.Minute)
	if clean.State != "succeeded" {
		t.Fatalf("without a fault: %s: %+v", clean.State, clean.Error)
	}
	want := c.result(clean.Output.Manifest)

	run := c.startRun("flights-by-carrier", "stopped")
	var stopped []found
	c.eventually(30*time.Second, "a task of the run runs", func() (bool, error) {
		tasks, err := below(c.dir, isTask)
		if err != nil || len(tasks) == 0 {
			return false, err
		}
		executors, err := below(c.dir, isExecutor)
		if err != nil {
			return false, err
		}
		for _, e := range executors {
			if children := childrenOf(t, e.pid, tasks); len(children) > 0 {
				stopped = append([]found{e}, children...)
				return true, nil
			}
		}
		return false, nil
	})
	for _, p := range stopped {
		if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
			t.Logf("stop %d: %v", p.pid, err)
		}
	}
	ended := c.await(run.ID, 90*time.Second)
	for _, p := range stopped {
		if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil {
			t.Logf("wake %d: %v", p.pid, err)
		}
	}
	if ended.State != "succeeded" {
		t.Fatalf("run %s %s: %+v", run.ID, ended.State, ended.Error)
	}
	sameRows(t, "before the late one is gone", c.result(ended.Output.Manifest), want)
	c.eventually(60*time.Second, "the late executor and its tasks are gone", func() (bool, error) {
		left, err := below(c.dir, func([]string) bool { return true })
		for _, p := range left {
			for _, s := range stopped {
				if p.pid == s.pid {
					return false, fmt.Errorf("%v lives", p)
				}
			}
		}
		return err == nil, err
	})
	sameRows(t, "after the late one is gone", c.result(ended.Output.Manifest), want)
	if latest := c.latest("s3://results/flights-by-carrier/"); latest != ended.Output.Manifest {
		t.Errorf("_latest.json names %q, the run %q", latest, ended.Output.Manifest)
	}
}
