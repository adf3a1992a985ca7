package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// TestMoves: whatever happens while runs move between versions, every attempt is of the version that its run is on when
// it is launched and goes on with what the newest one before it has handed over; only attempts that live, of runs that
// move, are told to hand over, and never an executor of protocol 1; moves follow one another; and a core that is made of
// the records at any moment goes on in the same way. In the end every run comes to its end.
func TestMoves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMoves(rt)
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			m.random()
			m.compare()
		}
		m.finish()
	})
}

// moves is a core whose runs move, with what its executors know.
type moves struct {
	*reload
	left map[string]string // by task: what its newest attempt that counted has handed over
}

// moveVersions are registered, with the protocol that each speaks.
var moveVersions = []struct {
	name     string
	protocol int
}{{"2.0.0", 2}, {"2.1.0", 2}, {"2.2.0", 2}, {"2.3.0-old", 1}}

func newMoves(t *rapid.T) *moves {
	m := &moves{reload: newReload(t), left: map[string]string{}}
	for _, v := range moveVersions {
		_, a := parseArgs(fmt.Sprintf("register %s kinds=flow max=%d", v.name, v.protocol))
		if m.do(RegisterVersion{Artifact: parseArtifact(a)}) == nil {
			t.Fatalf("version %s is refused", v.name)
		}
	}
	return m
}

func (m *moves) version() string { return moveVersions[m.pick("version", len(moveVersions))].name }

func (m *moves) random() {
	switch what := m.pick("what", 20); {
	case what < 2:
		m.start()
	case what < 6:
		m.offer()
	case what < 13 && len(m.alive) > 0:
		m.update()
	case what < 16 && len(m.runs) > 0:
		m.act(Command{Body: MoveRun{Run: m.runs[m.pick("run", len(m.runs))], Version: m.version(), By: "anna"}})
	case what < 17 && len(m.runs) > 0:
		m.act(Command{Body: CancelRun{Run: m.runs[m.pick("run", len(m.runs))]}})
	case what < 18:
		m.again()
	default:
		m.pass(time.Duration(m.pick("seconds", 30)) * time.Second)
	}
}

func (m *moves) start() {
	job := fmt.Sprint("flow-", m.pick("job", 2))
	m.act(Command{Body: PutJob{Spec: fmt.Appendf(nil, `{"name": %q, "kind": "flow", "executor": {"version": %q}, "parallelism": %d,
		"retries": {"max": 50, "backoff": "1s"}, "resources": {"cpus": 0.5, "memory": "256MiB"}, "flow": {"stages": %s}}`,
		job, m.version(), 1+m.pick("parallelism", 3), []string{"[1]", "[3]", "[5]", "[3, 2, 1]"}[m.pick("stages", 4)])}})
	acts := m.act(Command{Body: StartRun{Job: job}})
	if result, ok := acts.Replies[0].Value.(StartRunResult); ok {
		m.runs = append(m.runs, result.Run.ID)
	}
}

// again makes another scheduler take over.
func (m *moves) again() {
	core, err := New(testConfig(), records(m.store))
	if err != nil {
		m.t.Fatalf("load: %v", err)
	}
	m.core = core
	m.act(Subscribed{FrameworkID: "fw", Master: "http://master"})
}

func (m *moves) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		m.now = m.now.Add(time.Second)
		m.act(Tick{})
		for _, id := range sortedKeys(m.core.executors) {
			m.act(Message{AgentID: m.core.executors[id].rec.AgentID, ExecutorID: id, Data: proto.Encode(&proto.Progress{})})
		}
	}
}

func (m *moves) offer() {
	o := Offer{ID: fmt.Sprint("o", m.n), AgentID: fmt.Sprint("a", m.pick("agent", 3)), Role: "tidemill",
		CPUs: float64(1 + m.pick("cpus", 4)), Memory: 8 << 30, Disk: 64 << 30}
	for _, id := range sortedKeys(m.core.executors) {
		if m.core.executors[id].rec.AgentID == o.AgentID {
			o.Executors = append(o.Executors, id)
		}
	}
	m.act(Offers{[]Offer{o}})
}

// update lets an attempt run, hand over, finish, fail or get lost. Only those of protocol 2 hand over, perhaps unasked.
func (m *moves) update() {
	at := m.pick("task", len(m.alive))
	state := []string{"RUNNING", "HANDED_OVER", "HANDED_OVER", "FINISHED", "FAILED", "DROPPED", "GONE"}[m.pick("state", 7)]
	m.tell(at, state)
}

func (m *moves) tell(at int, state string) {
	ref := m.alive[at]
	u := Update{MesosID: ref.MesosID, AgentID: ref.AgentID, Source: fromExecutor, UUID: []byte("u"), State: "TASK_" + state}
	result := &proto.TaskResult{Output: []byte("x")}
	a := m.core.attempts[ref.MesosID]
	switch {
	case strings.Contains(ref.MesosID, "."+jobs.StageClean+"."):
		result.Output = nil
		u.State = "TASK_FINISHED"
	case state == "HANDED_OVER":
		u.State = "TASK_FINISHED"
		if a != nil && a.executor != nil && a.executor.rec.Protocol >= handOverSince {
			result.HandedOver, result.Output = true, []byte("left by "+ref.MesosID)
		}
	case state == "DROPPED" && a != nil && a.rec().State != proto.TASK_LAUNCHING:
		u.State = "TASK_GONE" // Mesos would not say the other of one that has begun
	case state == "FAILED":
		result.Failure = &proto.Failure{Class: proto.CLASS_PASSING, Kind: "internal", Message: "made to fail"}
	}
	u.Data = proto.Encode(result)
	if u.State != "TASK_RUNNING" {
		m.alive = slices.Delete(m.alive, at, at+1)
	}
	if result.HandedOver && a.live() && (flowKind{}).Moves(a.task.run.spec, a.task.rec.Stage) {
		m.left[a.task.rec.ID] = string(result.Output)
	}
	m.act(u)
}

// act is a step, and what must be true of it.
func (m *moves) act(event Event) Actions {
	before := m.leaving()
	acts := m.step(event)
	for _, call := range acts.Calls {
		switch call := call.(type) {
		case Accept:
			for i := range call.Launches {
				m.checkLaunch(&call.Launches[i])
			}
		case SendMessage:
			m.checkTold(call, before)
		}
	}
	for id, a := range m.core.attempts {
		if r := a.task.run; r != nil && a.live() && a.rec().Version != r.rec.ExecutorVersion {
			m.t.Fatalf("%s lives on %s while its run is on %s", id, a.rec().Version, r.rec.ExecutorVersion)
		}
	}
	for id, r := range m.core.runs {
		version := ""
		for _, move := range r.rec.Moves {
			if version != "" && move.From != version || move.From == move.To || move.By != "anna" {
				m.t.Fatalf("run %s has moves %+v", id, r.rec.Moves)
			}
			version = move.To
		}
		if version != "" && version != r.rec.ExecutorVersion {
			m.t.Fatalf("run %s is on %s after moves %+v", id, r.rec.ExecutorVersion, r.rec.Moves)
		}
		if r.moving() && (r.ended() || r.ending() || len(r.owner.load) == 0) {
			m.t.Fatalf("run %s moves to %s although it is %s and %d agents have something of it", id, r.rec.MovingTo, describeRun(r.rec), len(r.owner.load))
		}
	}
	return acts
}

func (m *moves) checkLaunch(l *Launch) {
	data := mustDecode(l.Data, &proto.TaskData{})
	a := m.core.attempts[l.MesosID]
	run, e := a.task.run.rec, a.executor.rec
	if e.Version != run.ExecutorVersion || a.rec().Version != e.Version || data.Protocol != e.Protocol {
		m.t.Fatalf("%s is launched on %s with protocol %d while its run is on %s", l.MesosID, e.ID, data.Protocol, run.ExecutorVersion)
	}
	if want := m.left[a.task.rec.ID]; string(data.HandedOver) != want {
		m.t.Fatalf("%s goes on with %q, want %q", l.MesosID, data.HandedOver, want)
	}
	if data.Protocol < handOverSince && len(data.HandedOver) > 0 {
		m.t.Fatalf("%s gets something that protocol %d does not have", l.MesosID, data.Protocol)
	}
}

// leaving are the attempts that live, of runs that move.
func (m *moves) leaving() map[string]bool {
	all := map[string]bool{}
	for id, a := range m.core.attempts {
		if r := a.task.run; r != nil && r.moving() && a.live() {
			all[id] = true
		}
	}
	return all
}

// checkTold: more than one thing may have happened in the step, so that what was to leave before it may be told, too.
func (m *moves) checkTold(call SendMessage, before map[string]bool) {
	e := m.core.executors[call.ExecutorID]
	if e == nil || e.rec.Protocol < handOverSince || e.rec.AgentID != call.AgentID {
		m.t.Fatalf("%s is sent a message", call.ExecutorID)
	}
	after := m.leaving()
	for _, id := range mustDecode(call.Data, &proto.Request{}).HandOver {
		if a := m.core.attempts[id]; a == nil || a.executor != e || !before[id] && !after[id] {
			m.t.Fatalf("%s is told to hand over", id)
		}
	}
}

// finish lets everything that is launched finish, until nothing is left to be done.
func (m *moves) finish() {
	for range 2000 {
		if !slices.ContainsFunc(sortedKeys(m.core.runs), func(id string) bool { return !m.core.runs[id].settled() }) {
			return
		}
		for len(m.alive) > 0 {
			m.tell(0, "FINISHED")
		}
		m.pass(time.Second)
		for agent := range 3 {
			m.act(Offers{[]Offer{{ID: fmt.Sprint("o", m.n), AgentID: fmt.Sprint("a", agent), Role: "tidemill", CPUs: 16, Memory: 64 << 30, Disk: 1 << 40}}})
		}
	}
	for id, r := range m.core.runs {
		if !r.settled() {
			m.t.Errorf("run %s does not end: %s", id, describeRun(r.rec))
		}
	}
}
