package mesos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/scheduler"
)

// trip is one call as its sender saw it.
type trip struct{ begun, ended int } // in the order of all begins and ends

// drive hands envelopes to traffic, each of which takes its delay, and returns their trips and the most that were under
// way at one time.
func drive(t *testing.T, limit int, lanes []lane, delays []time.Duration) (trips []trip, most int, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		clock, underWay := 0, 0
		trips = make([]trip, len(lanes))
		traffic := newTraffic(limit)
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			traffic.run(ctx, func(e envelope) {
				var n int
				if _, err := fmt.Sscan(e.name, &n); err != nil {
					t.Error(err)
				}
				mu.Lock()
				clock++
				underWay++
				most = max(most, underWay)
				trips[n].begun = clock
				mu.Unlock()
				time.Sleep(delays[n])
				mu.Lock()
				clock++
				underWay--
				trips[n].ended = clock
				mu.Unlock()
			})
		}()
		for i, l := range lanes {
			traffic.add(envelope{name: fmt.Sprint(i), lane: l})
			if i%7 == 0 {
				synctest.Wait() // some come together, some do not
			}
		}
		for finished := false; !finished; time.Sleep(time.Millisecond) {
			mu.Lock()
			finished = !slices.ContainsFunc(trips, func(t trip) bool { return t.ended == 0 })
			mu.Unlock()
		}
		took = time.Since(begin)
		cancel()
		<-done
	})
	return trips, most, took
}

// Whatever is sent: calls of one lane go one after the other, a call without a lane goes alone, and no more are under way
// than allowed.
func TestTrafficKeepsOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(r, "limit")
		lanes := rapid.SliceOfN(rapid.SampledFrom([]lane{alone, "a", "a", "b", "b", "c", "d", "e"}), 1, 40).Draw(r, "lanes")
		delays := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 5), func(n int) time.Duration { return time.Duration(n) * time.Millisecond }),
			len(lanes), len(lanes)).Draw(r, "delays")
		trips, most, _ := drive(t, limit, lanes, delays)
		if most > limit {
			r.Fatalf("%d calls were under way at one time, the limit is %d", most, limit)
		}
		for j := range lanes {
			for i := range j {
				together := lanes[i] != lanes[j] && lanes[i] != alone && lanes[j] != alone
				if !together && trips[i].ended > trips[j].begun {
					r.Fatalf("call %d (%q) was sent before %d (%q) was answered", j, lanes[j], i, lanes[i])
				}
			}
		}
	})
}

func TestTrafficRunsAbreast(t *testing.T) {
	const calls = 320
	lanes, delays := make([]lane, calls), make([]time.Duration, calls)
	for i := range lanes {
		lanes[i], delays[i] = agentLane(fmt.Sprint(i)), 10*time.Millisecond
	}
	_, most, took := drive(t, 32, lanes, delays)
	if most != 32 || took > 150*time.Millisecond {
		t.Errorf("%d calls of 10 ms took %v with %d abreast, want 100 ms with 32", calls, took, most)
	}
}

// More lanes than are remembered cost a pause, not memory.
func TestTrafficForgetsLanes(t *testing.T) {
	lanes, delays := make([]lane, 3*maxLanes), make([]time.Duration, 3*maxLanes)
	for i := range lanes {
		lanes[i] = offerLane([]string{fmt.Sprint(i)})
	}
	if trips, _, _ := drive(t, 32, lanes, delays); len(trips) != len(lanes) {
		t.Errorf("got %d trips", len(trips))
	}
}

func TestLanes(t *testing.T) {
	for name, test := range map[string]struct {
		a, b     scheduler.Call
		together bool
	}{
		"launches on two agents":             {scheduler.Accept{AgentID: "a"}, scheduler.Accept{AgentID: "b"}, true},
		"launches on one agent":              {scheduler.Accept{AgentID: "a"}, scheduler.Accept{AgentID: "a"}, false},
		"a launch and its kill":              {scheduler.Accept{AgentID: "a"}, scheduler.Kill{AgentID: "a"}, false},
		"a launch and a kill of who knows":   {scheduler.Accept{AgentID: "a"}, scheduler.Kill{}, false},
		"a launch and a reconciliation":      {scheduler.Accept{AgentID: "a"}, scheduler.Reconcile{}, false},
		"a launch and REVIVE":                {scheduler.Accept{AgentID: "a"}, scheduler.Revive{}, false},
		"DECLINE and REVIVE":                 {scheduler.Decline{OfferIDs: []string{"o"}}, scheduler.Revive{}, false},
		"SUPPRESS and REVIVE":                {scheduler.Suppress{}, scheduler.Revive{}, false},
		"a launch and DECLINE":               {scheduler.Accept{AgentID: "a"}, scheduler.Decline{OfferIDs: []string{"a"}}, true},
		"two inverse offers":                 {scheduler.AcceptInverse{OfferIDs: []string{"i"}}, scheduler.DeclineInverse{OfferIDs: []string{"j"}}, true},
		"acknowledgements of one agent":      {scheduler.Acknowledge{AgentID: "a"}, scheduler.Acknowledge{AgentID: "a"}, false},
		"acknowledgements of two agents":     {scheduler.Acknowledge{AgentID: "a"}, scheduler.Acknowledge{AgentID: "b"}, true},
		"acknowledgements of unknown agents": {scheduler.Acknowledge{}, scheduler.Acknowledge{AgentID: "b"}, false},
	} {
		a, b := laneOf(test.a), laneOf(test.b)
		if got := a != b && a != alone && b != alone; got != test.together {
			t.Errorf("%s: together: got %v, want %v (lanes %q and %q)", name, got, test.together, a, b)
		}
	}
}
