package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// benchCore has 100,000 pending tasks of five shapes.
func benchCore(b *testing.B) (*Core, time.Time) {
	b.Helper()
	c, err := New(testConfig(), nil)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	step := func(event Event) {
		now = now.Add(100 * time.Millisecond)
		acts := c.Step(Input{Now: now, Random: uint64(now.UnixNano()), Event: event})
		for _, reply := range acts.Replies {
			if reply.Err != nil {
				b.Fatal(reply.Err)
			}
		}
	}
	step(Command{Body: RegisterVersion{Artifact: parseArtifact(args{words: []string{"1.5.0"}})}})
	step(Command{Body: SetChannel{Name: "stable", Version: "1.5.0"}})
	step(Subscribed{FrameworkID: "fw", Master: "http://master"})
	for i := range 5 {
		spec := fmt.Sprintf(`{"name": "job-%d", "kind": "work", "parallelism": 1000, "resources": {"cpus": %d, "memory": "512MiB"}, "work": {"stages": [20000]}}`, i, i+1)
		step(Command{Body: PutJob{Spec: []byte(spec)}})
		step(Command{Body: StartRun{Job: fmt.Sprintf("job-%d", i)}})
	}
	if c.demand.pending != 100_000 || len(c.demand.shapes) != 5 {
		b.Fatalf("%d tasks of %d shapes wait", c.demand.pending, len(c.demand.shapes))
	}
	return c, now
}

func benchOffers(cpus float64) Offers {
	var offers Offers
	for i := range 1000 {
		offers.Offers = append(offers.Offers, Offer{
			ID: fmt.Sprintf("offer-%d", i), AgentID: fmt.Sprintf("agent-%04d", i), CPUs: cpus, Memory: 8 << 30, Disk: 100 << 30,
			Attributes: map[string]string{"hostname": fmt.Sprintf("host-%d", i)},
		})
	}
	return offers
}

// BenchmarkOffersThatDoNotFit is the search alone: 1,000 offers that are too small for any of 100,000 tasks.
func BenchmarkOffersThatDoNotFit(b *testing.B) {
	c, now := benchCore(b)
	offers := benchOffers(0.5)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		if acts := c.Step(Input{Now: now, Event: offers}); len(acts.Calls) != 1 {
			b.Fatalf("%d calls", len(acts.Calls))
		}
	}
}

// BenchmarkOffersThatAreUsed launches as much as goes onto 1,000 offers: 4,000 tasks or so in one step.
func BenchmarkOffersThatAreUsed(b *testing.B) {
	offers := benchOffers(8)
	b.ReportAllocs()
	launched := 0
	for b.Loop() {
		b.StopTimer()
		c, now := benchCore(b)
		b.StartTimer()
		acts := c.Step(Input{Now: now.Add(time.Second), Event: offers})
		launched = 0
		for _, call := range acts.Calls {
			if accept, ok := call.(Accept); ok {
				launched += len(accept.Launches)
			}
		}
	}
	b.ReportMetric(float64(launched), "launches/op")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(launched), "µs/launch")
}

// BenchmarkUpdate is one status update and the View after it, with 100,000 tasks around.
func BenchmarkUpdate(b *testing.B) {
	c, now := benchCore(b)
	acts := c.Step(Input{Now: now, Event: benchOffers(8)})
	var ids []string
	for _, call := range acts.Calls {
		if accept, ok := call.(Accept); ok {
			ids = append(ids, accept.Launches[0].MesosID)
		}
	}
	c.View()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		state := []string{"TASK_RUNNING", "TASK_UNREACHABLE"}[i/len(ids)%2]
		c.Step(Input{Now: now, Event: Update{MesosID: ids[i%len(ids)], State: state, Source: fromExecutor, UUID: []byte("uuid")}})
		i++
	}
}

// BenchmarkView is a View after the progress of one task of a run of 20,000.
func BenchmarkView(b *testing.B) {
	c, now := benchCore(b)
	acts := c.Step(Input{Now: now, Event: benchOffers(8)})
	launch := acts.Calls[0].(Accept).Launches[0]
	message := Message{ExecutorID: "x", Data: proto.Encode(&proto.Progress{Tasks: []proto.TaskProgress{{MesosID: launch.MesosID, Fraction: 0.5}}})}
	c.View()
	b.ReportAllocs()
	for b.Loop() {
		c.Step(Input{Now: now, Event: message})
		c.View()
	}
}
