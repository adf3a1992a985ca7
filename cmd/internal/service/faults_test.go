package service

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/mesos/hook"
)

// TestLostMessages: whatever gets lost between scheduler and master, once or a few times, the run succeeds.
func TestLostMessages(t *testing.T) {
	for name, test := range map[string]struct {
		point  hook.Point
		kind   string
		times  int
		action hook.Action
	}{
		"SUBSCRIBE refused":              {hook.SchedulerCall, "SUBSCRIBE", 2, hook.Action{Refuse: 503}},
		"SUBSCRIBED lost, stream ended":  {hook.SchedulerEvent, "SUBSCRIBED", 1, hook.Action{Disconnect: true}},
		"REVIVE refused":                 {hook.SchedulerCall, "REVIVE", 1, hook.Action{Refuse: 500}},
		"REVIVE unanswered":              {hook.SchedulerCall, "REVIVE", 1, hook.Action{Disconnect: true}},
		"ACCEPT refused":                 {hook.SchedulerCall, "ACCEPT", 1, hook.Action{Refuse: 400}},
		"ACCEPT not taken":               {hook.SchedulerCall, "ACCEPT", 1, hook.Action{Refuse: 503}},
		"ACCEPT unanswered":              {hook.SchedulerCall, "ACCEPT", 1, hook.Action{Disconnect: true}},
		"ACCEPT lost":                    {hook.SchedulerCall, "ACCEPT", 1, hook.Action{Drop: true}},
		"ACKNOWLEDGE unanswered":         {hook.SchedulerCall, "ACKNOWLEDGE", 3, hook.Action{Disconnect: true}},
		"ACKNOWLEDGE lost":               {hook.SchedulerCall, "ACKNOWLEDGE", 3, hook.Action{Drop: true}},
		"offers lost with the stream":    {hook.SchedulerEvent, "OFFERS", 2, hook.Action{Disconnect: true}},
		"an update lost with the stream": {hook.SchedulerEvent, "UPDATE", 2, hook.Action{Disconnect: true}},
		"an update lost":                 {hook.SchedulerEvent, "UPDATE", 3, hook.Action{Drop: true}},
		"every update twice":             {hook.SchedulerEvent, "UPDATE", 1000, hook.Action{Repeat: 1}},
		"progress lost with the stream":  {hook.SchedulerEvent, "MESSAGE", 1, hook.Action{Disconnect: true}},
		"offers late":                    {hook.SchedulerEvent, "OFFERS", 2, hook.Action{Delay: 200 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			left := test.times
			l := newLab(t, func(m hook.Message) hook.Action {
				mu.Lock()
				defer mu.Unlock()
				if m.Point != test.point || m.Type != test.kind || left == 0 {
					return hook.Action{}
				}
				left--
				return test.action
			})
			l.cfg.Scheduling.LaunchTimeout = time.Second
			gate := filepath.Join(l.dir, "gate")
			url, _ := l.run()
			c := l.client(url)
			l.register(c)
			run := l.submit(c, gate)
			if test.kind != "MESSAGE" {
				open(t, gate)
			}
			l.until(c, run.ID, "the fault", func(wire.Run) bool {
				mu.Lock()
				defer mu.Unlock()
				return left < test.times
			})
			if test.kind == "MESSAGE" {
				open(t, gate)
			}
			ended := l.until(c, run.ID, "the run's end", func(r wire.Run) bool { return r.State == "succeeded" })
			if ended.Output == nil || ended.Output.Rows != 42 {
				t.Errorf("output: got %+v", ended.Output)
			}
		})
	}
}

// open lets the map tasks end.
func open(t *testing.T, gate string) {
	t.Helper()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
