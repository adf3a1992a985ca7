package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// simRoles are the roles of the simulation. Some schedulers are configured to know only the first.
var simRoles = []string{"tidemill", "data/batch"}

// simulation is one world: schedulers of which one leads, their store, a Mesos cluster, and people who want things. It
// runs in one goroutine under a clock of its own; all that is random in it comes from its seed.
type simulation struct {
	seed   uint64
	rng    *rand.Rand
	now    time.Time
	steps  int
	faults bool
	calmed time.Time // when faults ended
	cfg    Config
	twins  bool
	mutant *mutant

	store      *simStore
	master     *simMaster
	accidents  []int           // those that can happen, by the numbers of accident
	failures   int             // per cent of the work steps of tasks
	classes    []proto.Class   // of these failures
	deaths     int             // per cent of the work steps of tasks: their executor dies
	hangs      int             // per cent of the tasks
	crashes    int             // per mille of the moments at which a scheduler may end, or its store fail
	planned    bool            // the long task has been asked to go, if there is one
	leader     *simScheduler   // nil while nobody leads
	old        []*simScheduler // led before and run on
	introduced map[string]bool // executors on which something was launched
	silent     map[string]time.Time
	stored     map[uint32]*proto.Rollout  // by number, as they were stored last
	seconds    map[string]map[uint32]bool // second attempts that were ever launched, by task

	simClients

	tracing bool
	trace   []string
}

func newSimulation(seed uint64, m *mutant, tracing bool) *simulation {
	s := &simulation{
		seed:       seed,
		rng:        rand.New(rand.NewPCG(seed, 1)),
		now:        time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		faults:     true,
		cfg:        testConfig(),
		twins:      seed%8 == 0,
		mutant:     m,
		store:      newSimStore(),
		introduced: map[string]bool{},
		silent:     map[string]time.Time{},
		stored:     map[uint32]*proto.Rollout{},
		seconds:    map[string]map[uint32]bool{},
		simClients: newSimClients(),
		tracing:    tracing,
	}
	s.cfg.Kinds = jobs.Kinds{simKind{}}
	s.cfg.Roles = simRoles
	s.cfg.FreeRetries = 3
	s.cfg.StallAfter, s.cfg.LaunchTimeout, s.cfg.UnreachableWait = 15*time.Second, 40*time.Second, 20*time.Second
	s.cfg.Refuse = 5 * time.Minute
	s.master = newSimMaster(s)
	// Each world has sorrows of its own: where everything goes wrong a little, nothing goes wrong for long.
	for n := range accidentKinds {
		if n >= firstMending || s.rng.IntN(2) == 0 {
			s.accidents = append(s.accidents, n)
		}
	}
	s.failures = []int{0, 4, 8, 60}[s.rng.IntN(4)]
	s.classes = [][]proto.Class{
		{proto.CLASS_OURS, proto.CLASS_PASSING, proto.CLASS_PASSING, proto.CLASS_FINAL},
		{proto.CLASS_OURS},
		{proto.CLASS_PASSING},
	}[s.rng.IntN(3)]
	s.deaths = []int{0, 0, 2, 30}[s.rng.IntN(4)]
	s.crashes = []int{0, 2, 5, 10}[s.rng.IntN(4)]
	s.hangs = []int{0, 5, 10, 50}[s.rng.IntN(4)]
	if m != nil {
		s.twins = m.breaks == deterministic
		s.store.unfenced = m.unfenced
	}
	return s
}

// run plays the whole simulation and returns the invariant that broke, if one did.
func (s *simulation) run() (broken *breach) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *breach:
			broken = r
		default:
			if !s.tracing {
				broken = &breach{unharmed, fmt.Sprint(r), s.steps}
				return
			}
			panic(r) // with its stack
		}
	}()
	for i := range 1 + s.rng.IntN(3) {
		s.master.addAgent(fmt.Sprintf("host-%d", i+1))
	}
	s.leader = s.start()
	s.furnish()
	for range simSteps {
		s.steps++
		s.random()
	}
	s.settle()
	s.finish()
	s.checkEnd()
	return nil
}

// simSteps is how many things happen while faults may.
const simSteps = 550

func (s *simulation) tracef(format string, args ...any) {
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%5d ", s.steps)+fmt.Sprintf(format, args...))
	}
}

func (s *simulation) traceTurn(turn *simTurn) {
	if !s.tracing {
		return
	}
	for _, change := range turn.changes {
		s.trace = append(s.trace, "          store "+(&script{now: s.now}).describeChange(change))
	}
	for _, call := range turn.calls {
		s.trace = append(s.trace, "          call "+describeCall(call))
	}
	for _, reply := range turn.replies {
		s.trace = append(s.trace, "          reply "+describeReply(reply))
	}
}

func (s *simulation) chance(percent int) bool { return s.rng.IntN(100) < percent }

func (s *simulation) crash() bool { return s.faults && s.rng.IntN(1000) < s.crashes }

// fault is a chance that is none in good times.
func (s *simulation) fault(percent int) bool { return s.faults && s.chance(percent) }

// random lets one thing happen.
func (s *simulation) random() {
	s.pass(time.Duration(s.rng.ExpFloat64() * float64(200*time.Millisecond)))
	m := s.master
	switch n := s.rng.IntN(100); {
	case s.leader == nil:
		if n < 40 {
			s.leader = s.start()
		}
	case s.leader.stream == 0 && n < 30:
		s.leader.subscribe()
	case n < 28:
		s.leader.advance()
	case n < 50:
		s.leader.deliver()
	case n < 58:
		m.offer()
	case n < 82:
		s.work(5)
	case n < 88:
		s.api()
	case n < 91:
		s.pass(time.Duration(s.rng.IntN(20)) * time.Second)
	case n < 95:
		if len(s.old) > 0 {
			s.oldOne()
		}
	case n < 98:
		s.accident()
	}
	m.sweep()
}

// oldOne lets one that leads no more go on.
func (s *simulation) oldOne() {
	old := s.old[s.rng.IntN(len(s.old))]
	switch n := s.rng.IntN(10); {
	case n < 5:
		old.advance()
	case n < 8:
		old.deliver()
	case n < 9 && !old.down && old.turn == nil:
		s.tracef("scheduler %d hears that it leads no more", old.epoch)
		old.take([]Event{SteppedDown{}})
		old.turn = nil
	case s.mutant != nil && s.mutant.comesBack && old.stream != s.master.stream:
		old.subscribe()
	}
}

// end ends a process: nothing of what it had in mind is done.
func (s *simulation) end(sch *simScheduler) {
	if s.master.subscriber == sch {
		s.master.subscriber = nil
		s.master.voidOffers()
	}
	if s.leader == sch {
		s.leader = nil
	}
	s.old = slices.DeleteFunc(s.old, func(other *simScheduler) bool { return other == sch })
}

// pass lets time pass: each second, executors speak and the scheduler's clock ticks.
func (s *simulation) pass(d time.Duration) {
	for d > 0 {
		step := min(d, time.Second)
		d -= step
		before := s.now
		s.now = s.now.Add(step)
		if s.now.Unix() == before.Unix() {
			continue
		}
		s.everySecond()
	}
}

func (s *simulation) everySecond() {
	m := s.master
	for _, a := range m.agents {
		for _, e := range a.executorOrder {
			if len(e.tasks) > 0 {
				m.progress(e)
			} else if e.alive && !e.stopped && s.now.Sub(e.idle) > s.cfg.Linger {
				m.die(e, "") // it has lingered long enough
			}
		}
		m.askBack(a)
		if w := a.window; w != nil && s.now.After(w.start) {
			s.checkLeft(a)
			s.tracef("maintenance of %s begins", a.id)
			m.lose(a, "TASK_GONE", "REASON_AGENT_REMOVED")
			m.addAgent(a.host)
		}
	}
	if l := s.leader; l != nil && !s.now.Before(l.paused) && s.now.Sub(l.ticked) >= time.Second {
		if l.turn == nil {
			l.take([]Event{Tick{}})
		}
		if s.rng.IntN(4) > 0 {
			l.advance()
		}
	}
}

// work lets tasks and their agents' updates move on.
func (s *simulation) work(times int) {
	m := s.master
	for ; times > 0 && len(m.taskOrder) > 0; times-- {
		t := m.taskOrder[s.rng.IntN(len(m.taskOrder))]
		m.work(t)
		m.sendUpdate(t)
	}
}

// accidentKinds are the cases of accident; from firstMending on they mend something.
const (
	accidentKinds = 40
	firstMending  = 33
)

// accident breaks something, or mends it.
func (s *simulation) accident() {
	m := s.master
	a := m.agents[s.rng.IntN(len(m.agents))]
	var e *simExecutor
	if n := len(a.executorOrder); n > 0 {
		e = a.executorOrder[s.rng.IntN(n)]
	}
	n := s.accidents[s.rng.IntN(len(s.accidents))]
	s.tracef("accident %d with %s", n, a.id)
	switch {
	case n < 3:
		s.end(s.leader)
	case n < 6:
		s.takeOver()
	case n < 8:
		m.disconnect()
	case n < 9:
		m.failover()
	case n < 10:
		s.leader.clock = time.Duration(s.rng.IntN(2400)-1200) * time.Second
	case n < 11:
		s.leader.paused = s.now.Add(time.Duration(s.rng.IntN(60)) * time.Second)
	case n < 14 && e != nil:
		m.die(e, "REASON_EXECUTOR_TERMINATED")
	case n < 15 && e != nil:
		m.die(e, memoryKill)
	case n < 18 && e != nil:
		e.stopped = !e.stopped
	case n < 21:
		m.cut(a)
	case n < 24:
		m.giveUp(a)
	case n < 26:
		m.rescind(a)
	case n < 27:
		s.replace(a)
	case n < 29:
		s.maintain(a)
	case n < 30:
		m.drain(a)
	case n < 32:
		s.babble(a)
	case n < 33 && s.rng.IntN(3) == 0:
		s.forget()
	default:
		s.mend(a)
	}
}

// forget is what happens when somebody has removed the framework from Mesos: its schedulers end, and an operator gives
// up the ID before the next one begins.
func (s *simulation) forget() {
	s.master.remove()
	s.end(s.leader)
	for len(s.old) > 0 {
		s.end(s.old[0])
	}
	s.faults = false // the operator tries until it is done
	s.leader = s.start()
	s.leader.take([]Event{Command{Body: ForgetFramework{}}})
	s.leader.finishTurn()
	s.faults = true
}

// babble is what no well Mesos would send, or only a newer one.
func (s *simulation) babble(a *simAgent) {
	s.master.send(Message{AgentID: a.id, ExecutorID: "executor-1", Data: []byte("no message")})
	s.master.send(Update{MesosID: "stranger", AgentID: a.id, State: "TASK_RUNNING", Source: fromExecutor, UUID: []byte("uuid-0")})
	s.master.send(Failure{AgentID: "nowhere", ExecutorID: "executor-1"})
	s.master.send(Rescind{OfferID: "none"})
	s.master.send(RescindInverse{OfferID: "none"})
	for _, t := range s.master.tasksOf(a) {
		s.master.send(Update{MesosID: t.id, AgentID: a.id, State: "TASK_PONDERING", Reason: "REASON_FROM_THE_FUTURE", Source: "SOURCE_MASTER"})
	}
}

// takeOver makes another process lead while the one that did runs on.
func (s *simulation) takeOver() {
	s.leader.gated = s.rng.IntN(2) == 0
	s.old = append(s.old, s.leader)
	s.leader = s.start()
}

// replace takes an agent away for ever; its host comes back as another agent.
func (s *simulation) replace(a *simAgent) {
	if a.link == linkGone {
		return
	}
	if s.rng.IntN(2) == 0 {
		s.master.lose(a, "TASK_UNREACHABLE", "REASON_AGENT_REMOVED")
	} else {
		s.master.lose(a, "TASK_GONE_BY_OPERATOR", "REASON_AGENT_REMOVED_BY_OPERATOR")
	}
	s.master.addAgent(a.host)
}

// maintain plans maintenance, or calls it off.
func (s *simulation) maintain(a *simAgent) {
	switch {
	case a.link != linkUp:
	case a.window != nil:
		s.master.callOff(a)
	default:
		start := s.now.Add(time.Duration(10+s.rng.IntN(800)) * time.Second)
		s.master.announce(a, start, []time.Duration{0, time.Minute, time.Hour}[s.rng.IntN(3)])
	}
}

// mend ends what is wrong with an agent.
func (s *simulation) mend(a *simAgent) {
	s.master.comeBack(a)
	if a.link == linkUp {
		a.draining = false
	}
	for _, e := range a.executorOrder {
		e.stopped = false
	}
}

// leastNotice is how long before maintenance the scheduler is left in peace, so that it can do what it has agreed to.
const leastNotice = 3 * time.Minute

// settle ends all faults: from here on everything must come to an end.
func (s *simulation) settle() {
	s.tracef("faults end")
	s.faults, s.calmed = false, s.now
	for len(s.old) > 0 {
		s.end(s.old[0])
	}
	m := s.master
	for _, a := range m.agents {
		s.mend(a)
		if w := a.window; w != nil && w.start.Before(s.now.Add(leastNotice)) {
			m.callOff(a)
		}
	}
	big := m.addAgent("host-big")
	big.total = jobs.Resources{CPUs: 16, Memory: 16 << 30, Disk: 1 << 40}
	if s.leader == nil {
		s.leader = s.start()
	}
	s.leader.paused, s.leader.clock = time.Time{}, 0
	// What can never be launched waits for offers, too, and must not stand in the way of the rest.
	s.command(PutJob{Spec: []byte(`{"name": "giant", "kind": "sim", "resources": {"cpus": 64}, "sim": {"stages": [1]}}`)})
	s.command(StartRun{Job: "giant"})
	if s.planned = s.rng.IntN(3) > 0; !s.planned {
		s.command(PutJob{Spec: []byte(`{"name": "long", "kind": "sim", "resources": {"cpus": 0.5, "memory": "256MiB"}, "sim": {"stages": [1]}}`)})
		s.command(StartRun{Job: long})
	}
}

// long is a job of which one task is in the way of maintenance: it takes longer than there is time, and must be moved.
const long = "long"

// plan announces maintenance where the long task runs, as soon as it does.
func (s *simulation) plan() {
	for _, t := range s.master.taskOrder {
		if t.data.Job == long && t.state == "TASK_RUNNING" && t.executor.agent.window == nil {
			t.ready = s.now.Add(time.Hour)
			s.master.announce(t.executor.agent, s.now.Add(leastNotice), 0)
			s.planned = true
			return
		}
	}
}

// simPatience is how long everything may take to end when nothing fails any more.
const simPatience = 3 * time.Hour

// finish waits for the end of every run and of every task, and then for that of the executors.
func (s *simulation) finish() {
	deadline := s.now.Add(simPatience)
	quiet := 0
	for quiet < 40 || slices.ContainsFunc(s.master.agents, func(a *simAgent) bool { return a.window != nil }) {
		what := s.unfinished()
		switch {
		case what == "":
			quiet++
		case what == "giant":
			quiet = 0
			s.deleted["giant"] = true
			s.command(DeleteJob{Name: "giant"})
		default:
			quiet = 0
		}
		if s.now.After(deadline) {
			which := runsEnd
			if run := s.unfinishedRun(); run == "" || run == "giant" {
				which = aliveUnknown
			}
			s.breach(which, "this does not end: %s", what)
		}
		s.calm()
	}
}

// calm is a second without accidents.
func (s *simulation) calm() {
	s.steps++
	m := s.master
	s.now = s.now.Add(time.Second)
	l := s.leader
	if l.stream == 0 {
		l.subscribe()
	}
	s.everySecond()
	if !s.planned {
		s.plan()
	}
	for _, t := range slices.Clone(m.taskOrder) {
		m.work(t)
		m.sendUpdate(t)
	}
	m.sweep()
	m.offer()
	for range 4 {
		for len(l.inbox) > 0 || l.turn != nil {
			l.advance()
		}
		for len(l.ordered)+len(l.acks) > 0 {
			l.deliver()
		}
	}
	s.checkCalm(l)
}

// unfinished names something that has not ended, if anything has not: "giant" if only that is left.
func (s *simulation) unfinished() string {
	if run := s.unfinishedRun(); run != "" && run != "giant" {
		return run
	}
	if task, alive := s.livingTask(); alive {
		return "task " + task
	}
	return s.unfinishedRun()
}

func (s *simulation) unfinishedRun() string {
	first := ""
	earlier := func(id string) bool { return first == "" || id < first }
	for id, rec := range s.store.tasks {
		if rec.Stage == jobs.StageCheck && earlier(id) {
			first = id
		}
	}
	if first != "" {
		return "check " + first
	}
	giant := ""
	for id, rec := range s.store.runs {
		switch {
		case jobs.Terminal(rec.State) && rec.CleanUp != proto.CLEAN_UP_PENDING:
		case rec.Job == "giant":
			giant = rec.Job
		case earlier(id):
			first = id
		}
	}
	if first != "" {
		return "run " + first + " " + describeRun(s.store.runs[first])
	}
	return giant
}

// livingTask names a task that an executor works on, if there is one.
func (s *simulation) livingTask() (string, bool) {
	for _, t := range s.master.taskOrder {
		if t.executor.agent.link != linkGone && t.executor.alive && !final(t.state) {
			return t.id + " " + t.state, true
		}
	}
	return "", false
}
