package executor

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// An agent that loses acknowledgements, refuses updates, breaks connections and repeats events hears the whole story
// of every task all the same, in order and once.
func TestStorm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	calm := false
	r := start(t, nil)
	r.mu.Lock()
	r.onUpdate = func(int, mesos.TaskStatus) reaction {
		if calm {
			return acknowledge
		}
		return []reaction{acknowledge, acknowledge, acknowledge, ignore, refuse, abort}[random.IntN(6)]
	}
	r.mu.Unlock()

	const tasks = 24
	scripts := []string{"output done", "sleep 20ms\noutput done", "exit 3", "final /x bad"}
	events := rand.New(rand.NewPCG(seed, 1))
	var launched []string
	for i := range tasks {
		id := fmt.Sprintf("t%d", i)
		r.launch(id, r.task(scripts[i%len(scripts)]))
		launched = append(launched, id)
		switch again := launched[events.IntN(len(launched))]; events.IntN(6) {
		case 0:
			r.breakStream()
		case 1:
			r.launch(again, r.task("output twice"))
		case 2:
			r.kill(again, time.Second)
		}
	}
	r.mu.Lock()
	calm = true
	r.mu.Unlock()
	r.breakStream()
	for i, id := range launched {
		r.launch(id, r.task(scripts[i%len(scripts)])) // the first may have got lost with a broken subscription
	}
	for _, id := range launched {
		r.await(id+" to end", func() bool {
			states := r.states(id)
			return len(states) > 0 && slices.Contains([]string{"FINISHED", "FAILED", "KILLED"}, states[len(states)-1])
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range launched {
		checkStory(t, id, r.states(id))
	}
	if entries, err := os.ReadDir(r.sandbox + "/tasks"); err != nil || len(entries) > tasks {
		t.Errorf("got %d task folders, %v", len(entries), err)
	}
}

// checkStory wants a subsequence of the states in order, the last of which is terminal. Updates that were handed over with
// a broken subscription count as first seen then, so they are in order, too.
func checkStory(t *testing.T, id string, states []string) {
	t.Helper()
	rank := map[string]int{"STARTING": 1, "RUNNING": 2, "KILLING": 3, "FINISHED": 4, "FAILED": 4, "KILLED": 4}
	last := 0
	for _, state := range states {
		if rank[state] <= last {
			t.Errorf("%s: got states %v out of order", id, states)
		}
		last = max(last, rank[state])
	}
	if last != 4 {
		t.Errorf("%s: got states %v without an end", id, states)
	}
}
