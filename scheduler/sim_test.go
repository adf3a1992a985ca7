package scheduler

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

var (
	simSeed = flag.Uint64("sim.seed", 0, "run only this seed of the simulation")
	soak    = flag.Bool("soak", false, "let the simulation go on for 20 minutes")
)

// TestSimulation runs the core against simMesos, one seed after the other, and holds it to what must always be true.
// A failure prints the seed, which -sim.seed repeats.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed)
		return
	}
	lasts := 6 * time.Second
	if *soak {
		lasts = 20 * time.Minute
	}
	end, seed := time.Now().Add(lasts), uint64(time.Now().UnixNano())%1e9
	n := 0
	for ; time.Now().Before(end) && !t.Failed(); n++ {
		simulate(t, seed)
		seed++
	}
	t.Logf("%d seeds up to %d", n, seed-1)
}

// sim is one simulation.
type sim struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	cfg   Config
	mesos *simMesos
	core  *Core
	twin  *Core // stepped with the same inputs: must do the same
	store map[Key][]byte
	now   time.Time
	step  int
	runs  []string
	spec  int
	seen  map[string]float64 // progress by run
	trace []string
}

func simulate(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &sim{t: t, seed: seed, rng: rng, cfg: testConfig(), store: map[Key][]byte{}, seen: map[string]float64{},
		now:   time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		mesos: &simMesos{rng: rng, faults: true, tasks: map[string]*simTask{}, offers: map[string]*simOffer{}, commits: map[string]string{}, executors: map[string]string{}},
	}
	s.cfg.FreeRetries = 5
	defer func() {
		if r := recover(); r != nil {
			s.fail("panic: %v", r)
			panic(r)
		}
	}()
	for range 1 + rng.IntN(3) {
		s.mesos.addAgent()
	}
	s.restart()
	for _, version := range []string{"1.5.0", "1.6.0"} {
		s.command(RegisterVersion{Artifact: parseArtifact(args{words: []string{version}})})
	}
	s.command(SetChannel{Name: "stable", Version: "1.5.0"})
	for s.step < 600 && !t.Failed() {
		s.random()
	}
	s.recover()
	s.finish()
}

func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	from := max(0, len(s.trace)-60)
	for _, line := range s.trace[from:] {
		s.t.Log(line)
	}
	s.t.Errorf("seed %d, step %d: %s\nrepeat with: go test ./scheduler -run TestSimulation -sim.seed=%d", s.seed, s.step, fmt.Sprintf(format, args...), s.seed)
}

// restart builds the core anew from what is stored, as after a crash.
func (s *sim) restart() {
	s.mesos.disconnect()
	for _, core := range []**Core{&s.core, &s.twin} {
		c, err := New(s.cfg, records(s.store))
		if err != nil {
			s.fail("restart: %v", err)
			s.t.FailNow()
		}
		*core = c
	}
	clear(s.seen)
}

// random lets one thing happen.
func (s *sim) random() {
	s.now = s.now.Add(time.Duration(s.rng.ExpFloat64() * float64(500*time.Millisecond)))
	m := s.mesos
	switch n := s.rng.IntN(100); {
	case !m.subscribed && n < 50:
		m.subscribed, m.suppressed = true, m.suppressed && s.rng.IntN(2) == 0
		s.feed(Subscribed{FrameworkID: "fw", Master: "http://master"})
	case n < 30 && len(m.events) > 0:
		// Mostly in order; updates, messages and failures may overtake one another.
		i := 0
		if s.rng.IntN(4) == 0 {
			i = s.rng.IntN(len(m.events))
		}
		event := m.events[i]
		m.events = slices.Delete(m.events, i, i+1)
		s.feed(event)
	case n < 45:
		m.offerAll()
	case n < 75:
		s.work()
	case n < 82:
		s.feed(Tick{})
	case n < 92:
		s.api()
	case m.faults:
		s.accident()
	}
}

// work lets a task, an agent's updates or an executor's messages move on.
func (s *sim) work() {
	m := s.mesos
	if len(m.taskOrder) == 0 {
		return
	}
	for range 4 {
		t := m.taskOrder[s.rng.IntN(len(m.taskOrder))]
		m.step(t)
		m.sendUpdate(t)
		m.progress(t.executor)
		if s.rng.IntN(20) == 0 && m.idle(t.executor) {
			m.die(t.executor, "REASON_EXECUTOR_TERMINATED") // it lingered long enough
		}
	}
}

func (s *sim) accident() {
	m := s.mesos
	agent := m.agents[s.rng.IntN(len(m.agents))]
	var executor *simExecutor
	if ids := sortedKeys(agent.executors); len(ids) > 0 {
		executor = agent.executors[ids[s.rng.IntN(len(ids))]]
	}
	switch n := s.rng.IntN(12); {
	case n < 2:
		s.trace = append(s.trace, "the scheduler is killed")
		s.restart()
	case n < 3:
		m.disconnect()
		s.feed(Disconnected{Reason: "closed"})
	case n < 4 && executor != nil:
		m.die(executor, "REASON_EXECUTOR_TERMINATED")
	case n < 5 && executor != nil:
		m.die(executor, memoryKill)
	case n < 7 && executor != nil:
		executor.stopped = !executor.stopped
	case n < 9:
		m.partition(agent)
	case n < 10:
		m.dropOffers(agent)
	case n < 11:
		m.lose(agent)
		m.addAgent()
	default:
		for _, a := range m.agents {
			m.heal(a)
		}
	}
}

// api sends a command.
func (s *sim) api() {
	switch n := s.rng.IntN(10); {
	case n < 4 && len(s.runs) < 8:
		s.spec++
		name := "job-" + strconv.Itoa(s.rng.IntN(3))
		stages := [][]string{{"[1]"}, {"[1, 3, 1]"}, {"[2, 1]"}, {"[1, 0, 4, 1]"}}[s.rng.IntN(4)][0]
		spec := fmt.Sprintf(`{"name": %q, "kind": "work", "parallelism": %d, "retries": {"max": 2, "backoff": "1s"}, "timeout": "2m",
			"resources": {"cpus": 0.5, "memory": "%dMiB"}, "work": {"stages": %s, "check": ["x%d"]}}`,
			name, 1+s.rng.IntN(3), 256*(1+s.rng.IntN(3)), stages, s.rng.IntN(4))
		s.command(PutJob{Spec: []byte(spec)})
		s.command(StartRun{Job: name})
	case n < 5 && len(s.runs) > 0:
		s.command(CancelRun{Run: s.runs[s.rng.IntN(len(s.runs))]})
	case n < 6:
		s.command(SetChannel{Name: "stable", Version: []string{"1.5.0", "1.6.0"}[s.rng.IntN(2)]})
	case n < 7 && s.rng.IntN(4) == 0:
		s.command(DeleteJob{Name: "job-" + strconv.Itoa(s.rng.IntN(3))})
	case n < 8:
		s.command(DeleteVersion{Version: []string{"1.5.0", "1.6.0"}[s.rng.IntN(2)]})
	case n < 9 && s.rng.IntN(2) == 0:
		s.command(ArchiveRuns{Runs: s.runs})
	case n < 9:
		for _, version := range []string{"1.5.0", "1.6.0"} {
			s.command(RegisterVersion{Artifact: parseArtifact(args{words: []string{version}})})
		}
	}
}

func (s *sim) command(body CommandBody) { s.feed(Command{Ticket: uint64(s.step), Body: body}) }

// feed steps the core, stores what it says and lets its calls go out; a crash may come between any two of these.
func (s *sim) feed(event Event) {
	s.step++
	in := Input{Now: s.now, Random: s.rng.Uint64(), Event: event}
	acts := s.core.Step(in)
	s.trace = append(s.trace, fmt.Sprintf("%4d %s %T%+v", s.step, s.now.Format("15:04:05.000"), event, brief(event)))
	for _, change := range acts.Store {
		s.trace = append(s.trace, "       store "+(&script{now: s.now}).describeChange(change))
	}
	for _, call := range acts.Calls {
		s.trace = append(s.trace, "       call "+describeCall(call))
	}
	if again := s.twin.Step(in); !reflect.DeepEqual(acts, again) {
		s.fail("the same input led to other actions:\n%+v\n%+v", acts, again)
	}
	if s.mesos.fault(1) {
		s.trace = append(s.trace, "       killed before anything was stored")
		s.restart()
		return
	}
	for _, change := range acts.Store {
		if change.Value == nil {
			delete(s.store, change.Key)
		} else {
			s.store[change.Key] = change.Value
		}
	}
	for _, reply := range acts.Replies {
		if started, ok := reply.Value.(StartRunResult); ok {
			s.runs = append(s.runs, started.Run.ID)
		}
	}
	var failed []CallFailed
	for _, call := range acts.Calls {
		if s.mesos.fault(1) {
			s.trace = append(s.trace, "       killed between two calls")
			s.restart()
			return
		}
		s.checkCall(call)
		if f := s.mesos.call(call); f != nil {
			failed = append(failed, *f)
		}
	}
	for _, f := range failed {
		s.mesos.events = append(s.mesos.events, f)
	}
	s.check()
}

// brief makes events short enough for a trace.
func brief(event Event) any {
	switch e := event.(type) {
	case Update:
		return fmt.Sprintf(" %s %s %s %s", e.MesosID, e.State, e.Reason, e.Source)
	case Message:
		return " " + e.ExecutorID
	case Command:
		return fmt.Sprintf(" %+v", e.Body)
	}
	return event
}

// checkCall: what is launched has been stored.
func (s *sim) checkCall(call Call) {
	accept, ok := call.(Accept)
	if !ok {
		return
	}
	for _, l := range accept.Launches {
		id, n, err := jobs.ParseMesosTaskID(l.MesosID)
		if err != nil {
			s.fail("launch of %q: %v", l.MesosID, err)
			continue
		}
		value, stored := s.store[Key{KindTask, id}]
		if !stored || len(mustDecode(value, &proto.Task{}).Attempts) < int(n) {
			s.fail("launch of %s is not stored", l.MesosID)
		}
		executor, _, _ := strings.Cut(string(l.ExecutorInfo), " ")
		if value := s.store[Key{KindExecutor, executor}]; value == nil || mustDecode(value, &proto.Executor{}).Dead {
			s.fail("launch of %s on executor %s, which is not stored or dead", l.MesosID, executor)
		}
	}
}

// check holds the state to what must always be true.
func (s *sim) check() {
	for _, broken := range s.mesos.broken {
		s.fail("%s", broken)
	}
	s.mesos.broken = nil
	c := s.core
	if c.mesos.up() && c.demand.flow.known && c.demand.flow.suppressed && c.demand.wanting > 0 {
		s.fail("offers are suppressed although %d shapes want some", c.demand.wanting)
	}
	if s.step%5 != 0 {
		return
	}
	view := c.View()
	for id := range view.Runs {
		if _, stored := s.store[Key{KindRun, id}]; !stored {
			s.fail("run %s is shown, but not stored", id)
		}
	}
	for key, value := range s.store {
		switch key.Kind {
		case KindTask:
			s.checkTask(mustDecode(value, &proto.Task{}))
		case KindRun:
			rec := mustDecode(value, &proto.Run{})
			s.checkRun(rec)
			if shown := view.Runs[rec.ID]; shown == nil || !reflect.DeepEqual(shown.Run, rec) {
				s.fail("run %s is shown as %+v, but stored as %+v", rec.ID, shown, rec)
			} else {
				if shown.Progress < s.seen[rec.ID] || shown.Progress > 1 {
					s.fail("progress of run %s went from %v to %v", rec.ID, s.seen[rec.ID], shown.Progress)
				}
				s.seen[rec.ID] = shown.Progress
			}
		}
	}
}

// checkTask: at most one attempt lives and at most one counts.
func (s *sim) checkTask(rec *proto.Task) {
	live, counted := 0, 0
	for _, a := range rec.Attempts {
		switch a.State {
		case proto.TASK_LAUNCHING, proto.TASK_STARTING, proto.TASK_RUNNING, proto.TASK_UNREACHABLE:
			live += btoi(!a.GivenUp)
		case proto.TASK_FINISHED:
			counted += btoi(!a.GivenUp)
		}
	}
	if live+counted > 1 || (counted == 1) != (rec.State == proto.TASK_FINISHED) {
		s.fail("task %s is %s with %d attempts that live and %d that count", rec.ID, rec.State, live, counted)
	}
}

// checkRun: the state of a run says what the commit point holds.
func (s *sim) checkRun(rec *proto.Run) {
	held := s.mesos.commits[rec.ID]
	committed := held != "" && held != "-"
	switch {
	case rec.State == proto.RUN_SUCCEEDED && (!committed || rec.Output == nil || rec.Error != nil):
		s.fail("run %s succeeded, but its commit point holds %q", rec.ID, held)
	case (rec.State == proto.RUN_FAILED || rec.State == proto.RUN_CANCELLED) && committed && rec.CleanUp != proto.CLEAN_UP_GIVEN_UP:
		s.fail("run %s is %s, but its commit point holds %q", rec.ID, rec.State, held)
	}
}

// recover ends all faults: from here on everything must come to an end.
func (s *sim) recover() {
	s.trace = append(s.trace, "faults end")
	m := s.mesos
	m.faults = false
	for _, a := range m.agents {
		m.heal(a)
		for _, e := range a.executors {
			e.stopped = false
		}
	}
	m.agents = append(m.agents, &simAgent{id: "big", total: jobs.Resources{CPUs: 16, Memory: 16 << 30, Disk: 1 << 40}, reachable: true, executors: map[string]*simExecutor{}})
	// What can never be launched waits for offers, too, and must not stand in the way of the rest.
	s.command(PutJob{Spec: []byte(`{"name": "giant", "kind": "work", "resources": {"cpus": 64}, "work": {"stages": [1]}}`)})
	s.command(StartRun{Job: "giant"})
}

// finish waits for the end of every run, and then for the end of every task.
func (s *sim) finish() {
	deadline := s.now.Add(3 * time.Hour)
	for n := 0; !s.t.Failed() && (n < 10 || s.unfinished() != ""); n++ {
		if n > 9 && s.unfinished() == "giant" {
			s.command(DeleteJob{Name: "giant"})
		}
		if s.now.After(deadline) {
			s.fail("this does not end: %s", s.unfinished())
			return
		}
		s.calm()
	}
	if n := len(s.mesos.offers); n > 0 {
		s.fail("%d offers were never answered", n)
	}
	if !s.t.Failed() && (!s.core.demand.flow.suppressed || !s.mesos.suppressed) {
		s.fail("nothing waits, but offers are not suppressed")
	}
}

// calm is a moment without accidents.
func (s *sim) calm() {
	m := s.mesos
	s.now = s.now.Add(time.Duration(s.rng.ExpFloat64() * float64(time.Second)))
	if !m.subscribed {
		m.subscribed = true
		s.feed(Subscribed{FrameworkID: "fw", Master: "http://master"})
	}
	for _, t := range m.taskOrder {
		if !final(t.state) || len(t.updates) > 0 {
			m.step(t)
			m.sendUpdate(t)
			m.progress(t.executor)
		}
	}
	m.offerAll()
	for len(m.events) > 0 {
		event := m.events[0]
		m.events = m.events[1:]
		s.feed(event)
	}
	s.feed(Tick{})
}

// unfinished names something that has not ended, if anything has not: "giant" if only that is left.
func (s *sim) unfinished() string {
	giant := ""
	for _, key := range sortedRecordKeys(s.store) {
		if key.Kind == KindTask {
			if rec := mustDecode(s.store[key], &proto.Task{}); rec.Stage == jobs.StageCheck {
				return "check " + key.ID
			}
		}
		if key.Kind != KindRun {
			continue
		}
		switch rec := mustDecode(s.store[key], &proto.Run{}); {
		case jobs.Terminal(rec.State) && rec.CleanUp != proto.CLEAN_UP_PENDING:
		case rec.Job == "giant":
			giant = rec.Job
		default:
			return "run " + key.ID + " " + describeRun(rec)
		}
	}
	for _, t := range s.mesos.taskOrder {
		if !t.executor.agent.gone && t.executor.alive && !final(t.state) {
			return "task " + t.id + " " + t.state
		}
	}
	return giant
}

func sortedRecordKeys(store map[Key][]byte) []Key {
	var all []Key
	for key := range store {
		all = append(all, key)
	}
	slices.SortFunc(all, func(a, b Key) int {
		if a.Kind != b.Kind {
			return len(a.Kind) - len(b.Kind)
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}
