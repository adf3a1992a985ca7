package scheduler

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// bench is a core with much to do.
type bench struct {
	tb    testing.TB
	core  *Core
	now   time.Time
	store map[Key][]byte // nil: not kept
	n     uint64

	executors map[string][]string // by agent
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	c, err := New(testConfig(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	b := &bench{tb: tb, core: c, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), executors: map[string][]string{}}
	b.step(Command{Body: RegisterVersion{Artifact: parseArtifact(args{words: []string{"1.5.0"}})}})
	b.step(Command{Body: SetChannel{Name: "stable", Version: "1.5.0"}})
	b.step(Subscribed{FrameworkID: "fw", Master: "http://master"})
	return b
}

func (b *bench) step(event Event) Actions {
	b.tb.Helper()
	b.n++
	b.now = b.now.Add(time.Microsecond)
	acts := b.core.Step(Input{Now: b.now, Random: b.n * 0x9e3779b97f4a7c15, Event: event})
	for _, reply := range acts.Replies {
		if reply.Err != nil {
			b.tb.Fatal(reply.Err)
		}
	}
	if b.store != nil {
		for _, change := range acts.Store {
			if b.store[change.Key] = change.Value; change.Value == nil {
				delete(b.store, change.Key)
			}
		}
	}
	return acts
}

// runs starts a run for each of some shapes, of that many tasks with inputs of 100 bytes.
func (b *bench) runs(shapes, tasks int) {
	b.tb.Helper()
	for i := range shapes {
		spec := fmt.Sprintf(`{"name": "job-%d", "kind": "work", "parallelism": 1000, "resources": {"cpus": %g, "memory": "%dMiB"}, "work": {"stages": [%d], "input": 100}}`,
			i, 0.5+0.05*float64(i%20), 128+8*(i%20), tasks)
		b.step(Command{Body: PutJob{Spec: []byte(spec)}})
		b.step(Command{Body: StartRun{Job: fmt.Sprintf("job-%d", i)}})
	}
	if c := b.core; c.demand.pending() != shapes*tasks || len(c.demand.shapes) != shapes {
		b.tb.Fatalf("%d tasks of %d shapes wait", c.demand.pending(), len(c.demand.shapes))
	}
}

// pending is a core with 100,000 pending tasks of 20 shapes.
func pending(tb testing.TB) *bench {
	b := newBench(tb)
	b.runs(20, 5000)
	return b
}

func benchOffers(agents int, cpus float64) Offers {
	var offers Offers
	for i := range agents {
		offers.Offers = append(offers.Offers, Offer{
			ID: fmt.Sprintf("offer-%d", i), AgentID: fmt.Sprintf("agent-%05d", i), Role: "tidemill", CPUs: cpus, Memory: 256 << 30, Disk: 1000 << 30,
			Attributes: map[string]string{"hostname": fmt.Sprintf("host-%d", i)},
		})
	}
	return offers
}

// launched are the Mesos IDs and agents of what a step launches.
func launched(acts Actions) []TaskRef {
	var all []TaskRef
	for _, call := range acts.Calls {
		if accept, ok := call.(Accept); ok {
			for i := range accept.Launches {
				all = append(all, TaskRef{accept.Launches[i].MesosID, accept.AgentID})
			}
		}
	}
	return all
}

// TestMemoryOfPendingTasks holds a pending task to less than 512 bytes, its input of 100 bytes included.
func TestMemoryOfPendingTasks(t *testing.T) {
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	measure := func(tasks int) int64 {
		before := heap()
		b := newBench(t)
		b.runs(20, tasks)
		view := b.core.View()
		used := heap() - before
		runtime.KeepAlive(view)
		runtime.KeepAlive(b)
		return used
	}
	measure(1) // what is made once
	runs := measure(1)
	each := float64(measure(5000)-runs) / (20 * 4999)
	t.Logf("%.0f bytes a pending task, %d KiB for 20 runs without", each, runs>>10)
	if each >= 512 {
		t.Errorf("a pending task takes %.0f bytes, want less than 512", each)
	}
}

// BenchmarkOffersThatDoNotFit is the search alone: 100,000 tasks of 20 shapes, for all of which each offer is too small.
func BenchmarkOffersThatDoNotFit(b *testing.B) {
	for _, agents := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("offers=%d", agents), func(b *testing.B) {
			w := pending(b)
			offers := benchOffers(agents, 0.5)
			b.ReportAllocs()
			for b.Loop() {
				if acts := w.step(offers); len(acts.Calls) == 0 || len(launched(acts)) > 0 {
					b.Fatalf("%d calls", len(acts.Calls))
				}
			}
		})
	}
}

// BenchmarkDecisions launches 100,000 tasks of 20 shapes on 1,000 agents, 20,000 at one time: each run may have 1,000.
// Only the steps that launch are timed, not those that hear of the ends in between.
func BenchmarkDecisions(b *testing.B) {
	b.ReportAllocs()
	n, cpu := 0, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		w := pending(b)
		for n0 := n; n-n0 < 100_000; {
			offers := benchOffers(1000, 128)
			for i := range offers.Offers {
				o := &offers.Offers[i]
				o.Executors = w.executors[o.AgentID]
			}
			runtime.GC()
			before := cpuTime(b)
			b.StartTimer()
			acts := w.step(offers)
			b.StopTimer()
			cpu += cpuTime(b) - before
			refs := launched(acts)
			if n += len(refs); len(refs) == 0 {
				b.Fatal("nothing was launched")
			}
			w.finish(refs)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(n)/cpu.Seconds(), "decisions/cpu-s")
}

// cpuTime is what this process has used of all cores, collecting garbage included: on a busy machine it says more than
// a clock.
func cpuTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// finish lets tasks end well.
func (b *bench) finish(refs []TaskRef) {
	result := proto.Encode(&proto.TaskResult{Output: []byte("x")})
	for _, ref := range refs {
		e := b.core.attempts[ref.MesosID].executor.rec.ID
		if !slices.Contains(b.executors[ref.AgentID], e) {
			b.executors[ref.AgentID] = append(b.executors[ref.AgentID], e)
		}
		b.step(Update{MesosID: ref.MesosID, AgentID: ref.AgentID, State: "TASK_FINISHED", Source: fromExecutor, UUID: []byte("uuid"), Data: result})
	}
}

// BenchmarkUpdate is one status update, with 100,000 tasks around.
func BenchmarkUpdate(b *testing.B) {
	w := pending(b)
	refs := launched(w.step(benchOffers(1000, 8)))
	w.core.View()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		state := []string{"TASK_RUNNING", "TASK_UNREACHABLE"}[i/len(refs)%2]
		w.step(Update{MesosID: refs[i%len(refs)].MesosID, AgentID: refs[i%len(refs)].AgentID, State: state, Source: fromExecutor, UUID: []byte("uuid")})
		i++
	}
}

// BenchmarkView is a View after a small change: the progress of one task, and the end of one with the launch of another.
func BenchmarkView(b *testing.B) {
	w := pending(b)
	refs := launched(w.step(benchOffers(1000, 8)))
	w.core.View()
	b.Run("after=progress", func(b *testing.B) {
		message := Message{ExecutorID: "x", Data: proto.Encode(&proto.Progress{Tasks: []proto.TaskProgress{{MesosID: refs[0].MesosID, Fraction: 0.5}}})}
		b.ReportAllocs()
		for b.Loop() {
			w.step(message)
			w.core.View()
		}
	})
	b.Run("after=update", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			state := []string{"TASK_RUNNING", "TASK_UNREACHABLE"}[i/len(refs)%2]
			w.step(Update{MesosID: refs[i%len(refs)].MesosID, AgentID: refs[i%len(refs)].AgentID, State: state, Source: fromExecutor, UUID: []byte("uuid")})
			w.core.View()
			i++
		}
	})
	b.Run("after=launch", func(b *testing.B) {
		offers := benchOffers(1, 3)
		b.ReportAllocs()
		for b.Loop() {
			w.step(offers)
			w.core.View()
		}
	})
}

// BenchmarkViewOfWideRun is a View after the progress of one task of a stage of 100,000.
func BenchmarkViewOfWideRun(b *testing.B) {
	w := newBench(b)
	w.runs(1, 100_000)
	refs := launched(w.step(benchOffers(1000, 8)))
	w.core.View()
	message := Message{ExecutorID: "x", Data: proto.Encode(&proto.Progress{Tasks: []proto.TaskProgress{{MesosID: refs[0].MesosID, Fraction: 0.5}}})}
	b.ReportAllocs()
	for b.Loop() {
		w.step(message)
		w.core.View()
	}
}

// BenchmarkReconcile is a new subscription with many running tasks, from SUBSCRIBED to the last answer.
func BenchmarkReconcile(b *testing.B) {
	for _, tasks := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("running=%d", tasks), func(b *testing.B) {
			w := newBench(b)
			w.runs(tasks/1000, 1000)
			var refs []TaskRef
			for more := true; more; {
				now := launched(w.step(benchOffers(1000, 1000)))
				refs, more = append(refs, now...), len(now) > 0
			}
			if len(refs) != tasks {
				b.Fatalf("%d tasks run", len(refs))
			}
			for _, ref := range refs {
				w.step(Update{MesosID: ref.MesosID, AgentID: ref.AgentID, State: "TASK_RUNNING", Source: fromExecutor, UUID: []byte("uuid")})
			}
			b.ReportAllocs()
			for b.Loop() {
				answered := 0
				for _, call := range w.step(Subscribed{FrameworkID: "fw", Master: "http://master"}).Calls {
					if asked, ok := call.(Reconcile); ok {
						for _, ref := range asked.Tasks {
							w.step(Update{MesosID: ref.MesosID, AgentID: ref.AgentID, State: "TASK_RUNNING", Source: "SOURCE_MASTER", Reason: reconciliation})
							answered++
						}
					}
				}
				w.core.View()
				if answered != tasks {
					b.Fatalf("%d tasks were asked about", answered)
				}
			}
		})
	}
}

// BenchmarkLoad is the start of a core from the records of many running tasks, with its first step.
func BenchmarkLoad(b *testing.B) {
	w := newBench(b)
	w.store = map[Key][]byte{}
	w.step(Command{Body: RegisterVersion{Artifact: parseArtifact(args{words: []string{"1.5.1"}})}})
	w.step(Command{Body: SetChannel{Name: "stable", Version: "1.5.1"}})
	w.runs(100, 1000)
	for len(launched(w.step(benchOffers(1000, 1000)))) > 0 {
	}
	all := records(w.store)
	b.ReportAllocs()
	for b.Loop() {
		c, err := New(testConfig(), all)
		if err != nil {
			b.Fatal(err)
		}
		c.Step(Input{Now: w.now, Event: Tick{}})
		if c.demand.launched() != 100_000 {
			b.Fatalf("%d tasks run", c.demand.launched())
		}
	}
}

// BenchmarkChannel starts and ends runs of jobs that follow one channel, while a rollout compares both versions of all of
// them; each round with a View.
func BenchmarkChannel(b *testing.B) {
	for _, jobs := range []int{10, 10_000} {
		b.Run(fmt.Sprint(jobs, "-jobs"), func(b *testing.B) {
			s := newScript(&testing.T{})
			s.run(block{command: "register 1.5.0"})
			s.run(block{command: "register 1.6.0"})
			s.run(block{command: "channel stable 1.5.0"})
			s.run(block{command: "subscribe"})
			names := make([]string, 0, jobs)
			for i := range jobs {
				name := fmt.Sprint("job-", i)
				s.command1(b, PutJob{Spec: fmt.Appendf(nil, `{"name": %q, "kind": "work", "work": {"stages": [1]}}`, name)})
				names = append(names, name)
			}
			s.run(block{command: "channel stable 1.6.0 steps=50,100 interval=1h runs=1000000"})
			for _, name := range names { // each job has a tally
				s.endOne(b, name)
				s.core.View()
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				s.endOne(b, names[n%jobs])
				s.core.View()
			}
		})
	}
}

// command1 does a command that must succeed.
func (s *script) command1(b *testing.B, body CommandBody) any {
	acts := s.core.Step(Input{Now: s.now, Random: s.steps, Event: Command{Body: body}})
	s.steps++
	if err := acts.Replies[0].Err; err != nil {
		b.Fatal(err)
	}
	return acts.Replies[0].Value
}

// endOne starts a run, lets it succeed and forgets it.
func (s *script) endOne(b *testing.B, job string) {
	run := s.command1(b, StartRun{Job: job}).(StartRunResult).Run
	s.now = s.now.Add(time.Millisecond)
	s.steps++
	s.core.Step(Input{Now: s.now, Random: s.steps, Event: Offers{[]Offer{{ID: fmt.Sprint("o", s.steps), AgentID: "a", Host: "a", Role: "tidemill", CPUs: 8, Memory: 8 << 30, Disk: 8 << 30}}}})
	id := run.ID + ".plan.0.1"
	s.core.Step(Input{Now: s.now, Random: s.steps, Event: Update{MesosID: id, AgentID: "a", State: "TASK_FINISHED", Source: fromExecutor, UUID: []byte("u"), Data: proto.Encode(&proto.TaskResult{})}})
	if forgotten := s.command1(b, ArchiveRuns{Runs: []string{run.ID}}).([]string); len(forgotten) != 1 {
		b.Fatalf("run %s has not ended", run.ID)
	}
}
