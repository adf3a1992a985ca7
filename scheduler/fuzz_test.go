package scheduler

import (
	"maps"
	"testing"
	"time"
)

// storedRun is a store in which a run is in the middle of its second stage.
func storedRun(t *testing.T) *script {
	s := newScript(t)
	s.setup(`"work": {"stages": [1, 2], "check": ["x"]}`)
	for _, b := range []block{
		{command: "offers", input: "a1 cpus=4 mem=4GiB disk=10GiB\n"},
		{command: "update c1.check.0.1 FINISHED"},
		{command: "offers", input: "a1 cpus=4 mem=4GiB disk=10GiB\n"},
		{command: "update r1.plan.0.1 FINISHED output=x"},
		{command: "offers", input: "a1 cpus=1.1 mem=4GiB disk=10GiB\n"},
		{command: "update r1.map.0.1 RUNNING"},
		{command: "start flights"},
	} {
		s.run(b)
	}
	return s
}

// FuzzRecord replaces one record by anything: New refuses it, or what it makes of it works.
func FuzzRecord(f *testing.F) {
	s := storedRun(&testing.T{})
	keys := sortedRecordKeys(s.store)
	for i, key := range keys {
		f.Add(uint8(i), s.store[key])
	}
	f.Fuzz(func(t *testing.T, which uint8, value []byte) {
		store := maps.Clone(s.store)
		store[keys[int(which)%len(keys)]] = value
		core, err := New(s.cfg, records(store))
		if err != nil {
			return
		}
		now := s.now
		for i, event := range []Event{
			Subscribed{FrameworkID: "fw", Master: "http://master"},
			Offers{[]Offer{{ID: "o1", AgentID: "a1", CPUs: 8, Memory: 8 << 30, Disk: 8 << 30}}},
			Update{MesosID: s.long("r1") + ".map.0.1", State: "TASK_FINISHED", Source: fromExecutor},
			Update{MesosID: s.long("r1") + ".map.1.1", State: "TASK_FAILED", Source: fromExecutor},
			Command{Body: CancelRun{Run: s.long("r1")}},
			Command{Body: DeleteJob{Name: "flights"}},
			Tick{},
		} {
			now = now.Add(time.Minute)
			core.Step(Input{Now: now, Random: uint64(i), Event: event})
			core.View()
		}
	})
}

// FuzzUpdate feeds anything that an executor could send.
func FuzzUpdate(f *testing.F) {
	f.Add("TASK_RUNNING", "", fromExecutor, []byte{}, true)
	f.Add("TASK_FINISHED", "", fromExecutor, []byte{0x12, 1, 'x'}, true)
	f.Add("TASK_FAILED", memoryKill, "SOURCE_AGENT", []byte{0xff}, false)
	f.Add("TASK_UNREACHABLE", "REASON_AGENT_REMOVED", "SOURCE_MASTER", []byte{}, false)
	base := storedRun(&testing.T{})
	f.Fuzz(func(t *testing.T, state, reason, source string, data []byte, known bool) {
		core, err := New(base.cfg, records(base.store))
		if err != nil {
			t.Fatal(err)
		}
		id := "nobody.knows.0.1"
		if known {
			id = base.long("r1") + ".map.0.1"
		}
		now := base.now
		step := func(event Event) {
			now = now.Add(10 * time.Second)
			core.Step(Input{Now: now, Event: event})
		}
		step(Subscribed{FrameworkID: "fw", Master: "http://master"})
		step(Update{MesosID: id, State: state, Reason: reason, Source: source, Data: data, UUID: []byte("uuid")})
		step(Message{AgentID: "a1", ExecutorID: base.long("r1") + "_1.5.0_1", Data: data})
		step(Update{MesosID: id, State: "TASK_FAILED", Source: fromExecutor})
		step(Tick{})
		core.View()
	})
}
