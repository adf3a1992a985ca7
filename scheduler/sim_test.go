package scheduler

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "play only this seed of the simulation, and print what happens")
	simSeeds = flag.Int("sim.seeds", 200, "how many new seeds of the simulation to play")
)

// TestSimulation plays the core with simulated clusters, stores and clients under faults, each with a new seed, and
// holds it to the invariants of siminvariant_test.go. A seed that fails is printed with what led to it, and how to
// repeat it.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		replay(t, *simSeed)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // many small worlds
	first := uint64(time.Now().UnixNano())%1e12 + 1
	begin := time.Now()
	var played, failed atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				n := played.Add(1)
				if n > int64(*simSeeds) || failed.Load() > 0 {
					return
				}
				seed := first + uint64(n)
				if broken := newSimulation(seed, nil, false).run(); broken != nil {
					failed.Add(1)
					replay(t, seed)
				}
			}
		})
	}
	group.Wait()
	n := min(played.Load(), int64(*simSeeds))
	t.Logf("%d seeds from %d, %.0f a second", n, first+1, float64(n)/time.Since(begin).Seconds())
}

// replay plays one seed once more and tells what happens.
func replay(t *testing.T, seed uint64) {
	s := newSimulation(seed, nil, true)
	broken := s.run()
	if broken == nil {
		t.Logf("%s\nseed %d: nothing breaks in %d steps", strings.Join(s.trace, "\n"), seed, s.steps)
		return
	}
	shown := s.trace
	if *simSeed == 0 {
		shown = s.last()
	}
	t.Errorf("seed %d breaks an invariant: %s\n%s\nseed %d breaks an invariant: %s\nrepeat with the whole trace: go test ./scheduler -run 'TestSimulation$' -v -args -sim.seed=%d",
		seed, broken, strings.Join(shown, "\n"), seed, broken, seed)
}

// last is the end of the trace.
func (s *simulation) last() []string { return s.trace[max(0, len(s.trace)-60):] }

// TestSimulationRepeats: a seed says all that happens.
func TestSimulationRepeats(t *testing.T) {
	for seed := range uint64(5) {
		var traces [2][]string
		for i := range traces {
			s := newSimulation(seed+1, nil, true)
			if broken := s.run(); broken != nil {
				s.trace = append(s.trace, broken.String())
			}
			traces[i] = s.trace
		}
		if slices.Equal(traces[0], traces[1]) {
			continue
		}
		for i := range min(len(traces[0]), len(traces[1])) {
			if traces[0][i] != traces[1][i] {
				t.Fatalf("seed %d goes two ways from line %d on:\n%s\n%s", seed+1, i, traces[0][i], traces[1][i])
			}
		}
		t.Fatalf("seed %d: %s", seed+1, fmt.Sprintf("%d lines, then %d", len(traces[0]), len(traces[1])))
	}
}

// TestSimulationReaches: what the invariants are about does happen, so that they mean something.
func TestSimulationReaches(t *testing.T) {
	missing := map[string]bool{}
	for _, what := range []string{
		// what fails
		"is killed before it stores", "is killed before it answers", "is killed before its call", "fails", "gets lost",
		"a commit of scheduler", "is refused", "hears that it leads no more", "another one has subscribed", "refused with 400",
		"arrives: true", "arrives: false", "refused with 403", "reply forgot fw-1",
		// what agents and masters say
		"TASK_UNREACHABLE REASON_AGENT_REMOVED", "REASON_AGENT_REREGISTERED", "REASON_AGENT_DRAINING", "REASON_AGENT_RESTARTED",
		"TASK_GONE_BY_OPERATOR", "TASK_GONE REASON_AGENT_REMOVED", "TASK_DROPPED " + invalidOffers, memoryKill,
		"REASON_EXECUTOR_TERMINATED", "TASK_UNKNOWN " + reconciliation, "scheduler.Failure", "maintenance of",
		// what the core makes of it
		"given-up", "its executor has been silent", "its agent has been unreachable", "nothing was heard of it",
		"it did not end although it was told to", "through no fault of the job", "executor death number", "(failed 2 times)",
		": succeeded", ": failed", ": cancelled", "clean-up=given_up", "repeat=true", "-run job", "call kill stranger",
		// second attempts
		"launching on agent-2 second", "second given-up kill-requested", supersededMessage,
		// rollouts
		"started step", "taken_back 1", "promoted 1", "aborted 1", "paused 1", "paused resumed",
		"it is not sound", "cannot be read", `"role": "data/batch"`,
	} {
		missing[what] = true
	}
	for seed := uint64(1); seed <= 1000 && len(missing) > 0; seed++ {
		s := newSimulation(seed, nil, true)
		s.run()
		all := strings.Join(s.trace, "\n")
		for what := range missing {
			if strings.Contains(all, what) {
				delete(missing, what)
			}
		}
	}
	for _, what := range sortedKeys(missing) {
		t.Errorf("%q never happens", what)
	}
}
