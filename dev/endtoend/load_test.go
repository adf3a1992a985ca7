//go:build endtoend

package endtoend

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/result"
	"github.com/tidemill/tidemill/storage"
)

// load starts runs all the time, each client one after the other, through whatever scheduler answers. Each client has a
// job of its own, so that a later run does not replace a result before it was looked at.
type load struct {
	g      *group
	probe  string // a job that no client uses
	want   *result.Table
	stop   context.CancelFunc
	ending context.Context
	done   sync.WaitGroup

	mu       sync.Mutex
	accepted []accepted
	problems []error
}

// accepted is a run that a scheduler said it would do.
type accepted struct{ job, key, id string }

// runWithin bounds one run over all that can go wrong meanwhile.
const runWithin = 60 * time.Second

// startLoad begins with one run without faults, whose result all others must have.
func startLoad(g *group, clients int) *load {
	g.t.Helper()
	l := &load{g: g, probe: "requests-probe"}
	l.ending, l.stop = context.WithCancel(context.Background())
	g.t.Cleanup(l.stop)
	leader := g.via(g.awaitLeader(30 * time.Second))
	for n := range clients {
		leader.putJob(example(g.t, "requests-by-status", jobOf(n)))
	}
	leader.putJob(example(g.t, "requests-by-status", l.probe))
	clean := leader.await(leader.startRun(jobOf(0), "clean").ID, time.Minute)
	if clean.State != "succeeded" {
		g.t.Fatalf("without a fault: %s: %+v", clean.State, clean.Error)
	}
	l.accepted = []accepted{{jobOf(0), "clean", clean.ID}}
	l.want = g.result(clean.Output.Manifest)
	checkRequests(g.t, l.want, expectRequests(g.t))
	for n := range clients {
		r := rand.New(rand.NewPCG(*seed, uint64(1000+n)))
		l.done.Go(func() {
			for i := 0; l.ending.Err() == nil; i++ {
				l.run(r, jobOf(n), fmt.Sprintf("run-%d", i))
			}
		})
	}
	return l
}

func jobOf(client int) string { return fmt.Sprintf("requests-%d", client) }

// run starts one run and watches it to its end.
func (l *load) run(r *rand.Rand, job, key string) {
	ctx, cancel := context.WithTimeout(context.Background(), runWithin)
	defer cancel()
	id, err := l.start(ctx, r, job, key)
	switch {
	case errors.Is(err, context.Canceled):
		return // the load ends, and nobody has accepted it
	case err != nil:
		l.problem(fmt.Errorf("start %s %s: %w", job, key, err))
		return
	}
	l.accept(accepted{job, key, id})
	run, err := l.await(ctx, r, id)
	if err != nil {
		l.problem(fmt.Errorf("run %s of %s: %w", id, job, err))
		return
	}
	if err := l.check(ctx, run); err != nil {
		l.problem(fmt.Errorf("run %s of %s: %w", id, job, err))
	}
}

// start asks until a scheduler takes the run. What is asked for again after an answer got lost has the same key.
func (l *load) start(ctx context.Context, r *rand.Rand, job, key string) (string, error) {
	var err error
	for ctx.Err() == nil {
		var run wire.Run
		var status int
		status, err = l.any(r).call(http.MethodPost, "/v1/jobs/"+job+"/runs", nil, &run, "Idempotency-Key", key)
		switch {
		case err == nil && status < 300:
			return run.ID, nil
		case err == nil && status < 500:
			return "", fmt.Errorf("refused with %d", status)
		}
		if pause(l.ending) != nil {
			return l.last(ctx, r, job, key)
		}
	}
	return "", fmt.Errorf("nobody took it: %w", err)
}

// last finds out whether a run was accepted whose answer got lost, when no more are wanted.
func (l *load) last(ctx context.Context, r *rand.Rand, job, key string) (string, error) {
	for ctx.Err() == nil {
		var run wire.Run
		status, err := l.any(r).call(http.MethodPost, "/v1/jobs/"+job+"/runs", nil, &run, "Idempotency-Key", key)
		if err == nil && status < 300 {
			return run.ID, nil
		}
		_ = pause(ctx)
	}
	return "", fmt.Errorf("nobody took it: %w", ctx.Err())
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// any is a scheduler by chance, mostly one that can answer.
func (l *load) any(r *rand.Rand) *cluster {
	for range 3 {
		if m := l.g.members[r.IntN(len(l.g.members))]; !m.offline.Load() {
			return l.g.via(m)
		}
	}
	return l.g.via(l.g.members[r.IntN(len(l.g.members))])
}

func (l *load) await(ctx context.Context, r *rand.Rand, id string) (run wire.Run, err error) {
	status := 0
	for ctx.Err() == nil {
		run = wire.Run{}
		status, err = l.any(r).call(http.MethodGet, "/v1/runs/"+id, nil, &run)
		if err == nil && status == http.StatusOK && run.Ended != nil {
			return run, nil
		}
		_ = pause(ctx)
	}
	return run, fmt.Errorf("it has not ended within %s: %s; last answer %d, %v", runWithin, run.State, status, err)
}

// check reads what a run made visible: the rows that all runs have, behind the one manifest that it has.
func (l *load) check(ctx context.Context, run wire.Run) error {
	if run.State != "succeeded" {
		return fmt.Errorf("it %s: %+v", run.State, run.Error)
	}
	u, err := storage.ParseURI(run.Output.Manifest)
	if err != nil {
		return err
	}
	s, err := l.g.objects.Open(ctx, "s3", u)
	if err != nil {
		return err
	}
	var manifests []string
	for object, err := range s.List(ctx, run.Job+"/", "") {
		if err != nil {
			return err
		}
		if strings.Contains(object.Key, run.ID) && strings.Contains(object.Key, "manifest") {
			manifests = append(manifests, object.Key)
		}
	}
	if !slices.Equal(manifests, []string{u.Key}) {
		return fmt.Errorf("it has the manifests %v, and names %s", manifests, u.Key)
	}
	got, err := result.Read(ctx, s, run.Output.Manifest)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(got.Rows, l.want.Rows, slices.Equal) {
		return fmt.Errorf("it has %d rows that are not the %d of the others", len(got.Rows), len(l.want.Rows))
	}
	return nil
}

func (l *load) accept(a accepted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, a)
}

func (l *load) problem(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, err)
}

// runs are those that were accepted so far.
func (l *load) runs() []accepted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.accepted)
}

// failed says whether something went wrong with a run so far.
func (l *load) failed(t *testing.T) bool {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, err := range l.problems {
		t.Error(err)
	}
	l.problems = nil
	return t.Failed()
}

// end lets the runs that are under way end, and asks once more for each: none is forgotten, however old it is, and each
// key still stands for its run.
func (l *load) end(c *cluster) {
	c.t.Helper()
	l.stop()
	l.done.Wait()
	l.failed(c.t)
	ids := map[string]bool{}
	for _, a := range l.runs() {
		if ids[a.id] {
			c.t.Errorf("run %s was given twice", a.id)
		}
		ids[a.id] = true
		if again := c.startRun(a.job, a.key); again.ID != a.id {
			c.t.Errorf("key %s of %s stands for run %s, then %s", a.key, a.job, a.id, again.ID)
		}
		if run := c.await(a.id, runWithin); run.State != "succeeded" {
			c.t.Errorf("run %s %s: %+v", a.id, run.State, run.Error)
		}
	}
	c.t.Logf("%d runs", len(ids))
}
