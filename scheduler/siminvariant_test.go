package scheduler

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// invariant is something that must always be true. TestMutations breaks the code for each of them.
type invariant string

const (
	intentStored  invariant = "what is launched is stored before"
	countedOnce   invariant = "one attempt of a task counts, and really did the work"
	offersKept    invariant = "an offer is used once, while it lasts, for its agent and role, and no more than it has"
	offersBack    invariant = "no offer is kept that nothing uses"
	runsEnd       invariant = "every accepted run ends, in the right state"
	aliveUnknown  invariant = "nothing stays alive that the store does not account for"
	oldLeader     invariant = "who leads no more changes nothing"
	ackStored     invariant = "an update is acknowledged when its consequences are stored"
	neverSilenced invariant = "offers are never suppressed for a role in which something waits"
	recordsSayAll invariant = "what is loaded from the records is what lived"
	endsBefore    invariant = "nothing is launched that would run into announced maintenance"
	askedBack     invariant = "inverse offers are answered"
	identities    invariant = "an ID stands for one thing"
	deterministic invariant = "the same inputs lead to the same actions"
	keepsVersion  invariant = "a run goes to the version that its channel's share says, and stays there"
	talliedOnce   invariant = "a rollout counts each run that has ended once"
	stepsOnce     invariant = "a rollout takes each step once, and a channel moves when it is promoted"
	unharmed      invariant = "the core does not panic"
)

// breach is a broken invariant.
type breach struct {
	invariant invariant
	text      string
	step      int
}

func (b *breach) String() string { return fmt.Sprintf("%s: %s (step %d)", b.invariant, b.text, b.step) }

// breach ends the simulation.
func (s *simulation) breach(which invariant, format string, args ...any) {
	panic(&breach{which, fmt.Sprintf(format, args...), s.steps})
}

// checkSilence: a core that has been told that it leads no more does nothing but refuse commands.
func (s *simulation) checkSilence(sch *simScheduler, event Event, acts *Actions) {
	if _, told := event.(SteppedDown); told {
		sch.down = true
		return
	}
	if !sch.down {
		return
	}
	if len(acts.Store) > 0 || len(acts.Calls) > 0 {
		s.breach(oldLeader, "scheduler %d stepped down, and then stores %d records and makes %d calls", sch.epoch, len(acts.Store), len(acts.Calls))
	}
	for _, reply := range acts.Replies {
		if reply.Err == nil {
			s.breach(oldLeader, "scheduler %d stepped down, and then carries out a command", sch.epoch)
		}
	}
}

// checkDecided looks at what the core says when it says it: at what it knows then.
func (s *simulation) checkDecided(sch *simScheduler, event Event, acts *Actions) {
	if u, ok := event.(Update); ok && speaks(u.State) && sch.core.attempts[u.MesosID] == nil && !sch.down {
		s.checkKilled(u, acts)
	}
	for _, call := range acts.Calls {
		switch call := call.(type) {
		case Accept:
			for i := range call.Launches {
				s.checkMaintenance(sch, call, &call.Launches[i])
			}
			s.checkOffers(sch, call)
		case Decline:
			for _, id := range call.OfferIDs {
				delete(sch.offers, id)
			}
		case AcceptInverse:
			s.checkAnswer(sch, call.OfferIDs)
		case DeclineInverse:
			s.checkAnswer(sch, call.OfferIDs)
		case Suppress:
			for _, role := range call.Roles {
				sch.suppressed[role] = true
			}
		case Revive:
			for _, role := range call.Roles {
				delete(sch.suppressed, role)
			}
		}
	}
	s.checkFlow(sch)
	s.checkSeconds(sch, acts)
	for _, id := range sortedKeys(sch.asked) {
		if asked := sch.asked[id]; sch.ticks-asked.ticks > answerTicks {
			s.breach(askedBack, "%s for %s has waited for %d ticks for its answer", id, asked.offer.AgentID, sch.ticks-asked.ticks)
		}
	}
}

// checkKilled: a task that nobody knows is killed as soon as it speaks.
func (s *simulation) checkKilled(u Update, acts *Actions) {
	for _, call := range acts.Calls {
		if kill, ok := call.(Kill); ok && kill.MesosID == u.MesosID {
			return
		}
	}
	s.breach(aliveUnknown, "%s is %s, nobody knows it, and it is not killed", u.MesosID, u.State)
}

// answerTicks is how often the clock may tick until an inverse offer is answered.
const answerTicks = 10

func (s *simulation) checkAnswer(sch *simScheduler, ids []string) {
	for _, id := range ids {
		if _, ok := sch.asked[id]; !ok {
			s.breach(askedBack, "%s is answered although it was answered before, taken back or never made", id)
		}
		delete(sch.asked, id)
	}
}

// checkSent looks at a call when it leaves the process.
func (s *simulation) checkSent(sch *simScheduler, call Call) {
	if sch.refused {
		s.breach(oldLeader, "scheduler %d sends %s after its commit was refused", sch.epoch, describeCall(call))
	}
	switch call := call.(type) {
	case Accept:
		for i := range call.Launches {
			s.checkIntent(sch, call.AgentID, &call.Launches[i])
		}
	case Acknowledge:
		s.checkAcknowledged(call)
	}
}

// checkIntent: the attempt and its executor are stored as they are launched. What is over since, in the same commit, may
// be gone again.
func (s *simulation) checkIntent(sch *simScheduler, agent string, l *Launch) {
	task, number, err := jobs.ParseMesosTaskID(l.MesosID)
	if err != nil {
		s.breach(identities, "launch of %q: %v", l.MesosID, err)
	}
	a := s.store.attempt(task, number)
	if a == nil && sch.committed.intends(task, number) {
		return
	}
	if a == nil || a.MesosID != l.MesosID || a.AgentID != agent {
		s.breach(intentStored, "launch of %s on %s, but the attempt is stored as %+v", l.MesosID, agent, a)
	}
	e := s.store.executors[a.ExecutorID]
	if e == nil || !bytes.Equal(e.Info, l.ExecutorInfo) || e.AgentID != agent {
		s.breach(intentStored, "launch of %s on executor %s, which is not stored as it is started", l.MesosID, a.ExecutorID)
	}
}

// checkOffers: the offers of an ACCEPT are the process's to use, of one agent and role, and large enough for tasks and
// for executors on which nothing was launched before.
func (s *simulation) checkOffers(sch *simScheduler, call Accept) {
	var has, needs jobs.Resources
	role := ""
	for _, id := range call.OfferIDs {
		o, ok := sch.offers[id]
		if !ok {
			s.breach(offersKept, "offer %s is used although it was used before, taken back or never made", id)
		}
		delete(sch.offers, id)
		if o.AgentID != call.AgentID || role != "" && o.Role != role {
			s.breach(offersKept, "offer %s is of agent %s and role %s, but used on %s with role %s", id, o.AgentID, o.Role, call.AgentID, role)
		}
		role = o.Role
		has = jobs.Resources{CPUs: has.CPUs + o.CPUs, Memory: has.Memory + o.Memory, Disk: has.Disk + o.Disk}
	}
	for i := range call.Launches {
		l := &call.Launches[i]
		if l.Role != role {
			s.breach(offersKept, "%s of role %s is launched on an offer of role %s", l.MesosID, l.Role, role)
		}
		needs = plus(needs, l.Resources)
		if id, _, _ := strings.Cut(string(l.ExecutorInfo), " "); !s.introduced[id] {
			s.introduced[id] = true
			needs = plus(needs, jobs.Resources{CPUs: s.cfg.ExecutorCPUs, Memory: s.cfg.ExecutorMemory})
		}
	}
	if what := lacks(has, needs); what != "" {
		s.breach(offersKept, "offers %v have %+v, but %+v of them is used: not enough %s", call.OfferIDs, has, needs, what)
	}
}

func plus(a, b jobs.Resources) jobs.Resources {
	return jobs.Resources{CPUs: a.CPUs + b.CPUs, Memory: a.Memory + b.Memory, Disk: a.Disk + b.Disk}
}

// checkMaintenance: what is launched has a timeout that ends before the window that the process knows of.
func (s *simulation) checkMaintenance(sch *simScheduler, call Accept, l *Launch) {
	begins := sch.windowOf(call)
	if begins == nil {
		return
	}
	timeout := mustDecode(l.Data, &proto.TaskData{}).Timeout
	if end := sch.now().Add(timeout); end.After(*begins) {
		s.breach(endsBefore, "%s may run until %s on %s, where maintenance begins at %s", l.MesosID, end, call.AgentID, begins)
	}
}

// windowOf is when maintenance begins where an ACCEPT launches tasks, as far as the process has been told. By its clock
// it may be over.
func (sch *simScheduler) windowOf(call Accept) *time.Time {
	coming := func(start time.Time, takes time.Duration) bool {
		return takes == 0 || sch.now().Before(start.Add(takes))
	}
	for _, id := range call.OfferIDs {
		if o := sch.offers[id]; o.Unavailable != nil && coming(*o.Unavailable, o.UnavailableFor) {
			return o.Unavailable
		}
	}
	if o, ok := sch.windows[call.AgentID]; ok && coming(o.Start, o.Duration) {
		return &o.Start
	}
	return nil
}

// checkLeft: when the maintenance of an agent begins that the scheduler has agreed to, nothing of it runs there. Its
// clock must have been right, and nothing have failed for a while.
func (s *simulation) checkLeft(a *simAgent) {
	if s.faults || !a.window.granted || s.leader.core.skew != 0 {
		return
	}
	for _, e := range a.executorOrder {
		for _, t := range e.tasks {
			s.breach(endsBefore, "%s is %s on %s when its maintenance begins, to which the scheduler has agreed", t.id, t.state, a.id)
		}
	}
}

// checkAcknowledged: what the acknowledged update says is in the store.
func (s *simulation) checkAcknowledged(call Acknowledge) {
	task, number, err := jobs.ParseMesosTaskID(call.MesosID)
	a, t := s.store.attempt(task, number), s.master.tasks[call.MesosID]
	if err != nil || a == nil || t == nil || len(t.updates) == 0 || !bytes.Equal(t.updates[0].UUID, call.UUID) {
		return // nobody waits for it, or it is of a task that is not known any more
	}
	if a.GivenUp && !final(t.updates[0].State) {
		return
	}
	switch update := t.updates[0]; update.State {
	case "TASK_STARTING":
		if a.State == proto.TASK_LAUNCHING {
			s.breach(ackStored, "%s %s is acknowledged, but stored as launching", t.id, update.State)
		}
	case "TASK_RUNNING":
		if a.State == proto.TASK_LAUNCHING || a.State == proto.TASK_STARTING {
			s.breach(ackStored, "%s %s is acknowledged, but stored as %s", t.id, update.State, jobs.TaskStateName(a.State))
		}
	default:
		if !jobs.TaskTerminal(a.State) && !(a.State == proto.TASK_LOST && !a.GivenUp) {
			s.breach(ackStored, "%s %s is acknowledged, but stored as %s", t.id, update.State, jobs.TaskStateName(a.State))
		}
		if rec := s.store.tasks[task]; a.State == proto.TASK_FINISHED && rec.State != proto.TASK_FINISHED && rec.State != proto.TASK_KILLED && rec.State != proto.TASK_FAILED {
			s.breach(ackStored, "%s has finished and is acknowledged, but its task is stored as %s", t.id, jobs.TaskStateName(rec.State))
		}
	}
}

// checkEffect: a call that Mesos carries out comes from who leads, or from who led until another one has subscribed.
func (s *simulation) checkEffect(sch *simScheduler, call Call) {
	if !sch.leads() && s.leader != nil && s.master.stream == s.leader.stream {
		s.breach(oldLeader, "scheduler %d does %s although scheduler %d has subscribed", sch.epoch, describeCall(call), s.leader.epoch)
	}
}

// checkStored looks at what a commit has changed.
func (s *simulation) checkStored(sch *simScheduler, changes []Change) {
	if !sch.leads() {
		s.breach(oldLeader, "scheduler %d has stored %d changes although scheduler %d leads", sch.epoch, len(changes), s.store.epoch)
	}
	for _, change := range changes {
		if change.Value == nil {
			continue
		}
		switch change.Key.Kind {
		case KindTask:
			if rec := s.store.tasks[change.Key.ID]; rec != nil {
				s.checkTask(rec)
			}
		case KindRollout:
			s.checkRolloutStored(mustDecode(change.Value, &proto.Rollout{}))
		case KindRun:
			if rec := s.store.runs[change.Key.ID]; rec != nil {
				s.checkRun(rec)
			}
		}
	}
}

// checkTask: at most one attempt lives, or two if one is a second attempt, or one counts; and that has done the work.
func (s *simulation) checkTask(rec *proto.Task) {
	live, counted, second := 0, 0, 0
	var winner *proto.Attempt
	for i := range rec.Attempts {
		switch a := &rec.Attempts[i]; {
		case lives(a):
			live++
			second = btoi(live > 1 && a.Second != "")
		case a.State == proto.TASK_FINISHED && !a.GivenUp:
			counted++
			winner = a
		}
	}
	if live+counted > 1+second || counted > 0 && live > 0 || (counted == 1) != (rec.State == proto.TASK_FINISHED) {
		s.breach(countedOnce, "task %s is %s with %d attempts that live and %d that count", rec.ID, jobs.TaskStateName(rec.State), live, counted)
	}
	if winner == nil {
		return
	}
	t := s.master.tasks[winner.MesosID]
	switch {
	case t == nil || !t.finished:
		s.breach(countedOnce, "task %s is finished by attempt %d, which never did the work", rec.ID, winner.Number)
	case rec.Stage == jobs.StageCheck || rec.Stage == jobs.StageClean:
	case string(t.data.Input) == simCommit:
		if held := s.master.commits[rec.Run]; string(rec.Output) != held {
			s.breach(countedOnce, "task %s has output %q, but the commit point holds %q", rec.ID, rec.Output, held)
		}
	case string(rec.Output) != winner.MesosID:
		s.breach(countedOnce, "task %s was finished by %s, but has output %q", rec.ID, winner.MesosID, rec.Output)
	}
}

// checkRun: stages follow one another when all of their tasks have finished, and the run's state says what its commit
// point holds.
func (s *simulation) checkRun(rec *proto.Run) {
	for i := range rec.Stages {
		st := &rec.Stages[i]
		if st.Name != jobs.StageClean && i > 0 && !rec.Stages[i-1].Done {
			s.breach(countedOnce, "stage %s of run %s has begun before the one before is done", st.Name, rec.ID)
		}
		for n := range int(st.Tasks) {
			if t := s.store.tasks[jobs.TaskID(rec.ID, st.Name, n)]; st.Done && t != nil && t.State != proto.TASK_FINISHED && st.Name != jobs.StageClean {
				s.breach(countedOnce, "stage %s of run %s is done, but task %s is %s", st.Name, rec.ID, t.ID, jobs.TaskStateName(t.State))
			}
		}
	}
	held := s.master.commits[rec.ID]
	committed := held != "" && held != simTombstone
	switch {
	case rec.State == proto.RUN_SUCCEEDED && (!committed || rec.Output == nil || rec.Output.URI != simOutput(held).URI || rec.Error != nil):
		s.breach(runsEnd, "run %s succeeded with output %v and error %v, but its commit point holds %q", rec.ID, rec.Output, rec.Error, held)
	case (rec.State == proto.RUN_FAILED || rec.State == proto.RUN_CANCELLED) && committed && rec.CleanUp != proto.CLEAN_UP_GIVEN_UP:
		s.breach(runsEnd, "run %s is %s, but its commit point holds %q", rec.ID, jobs.RunStateName(rec.State), held)
	case rec.State == proto.RUN_CANCELLED && (!s.cancelled[rec.ID] && !s.deleted[rec.Job]):
		s.breach(runsEnd, "run %s is cancelled, but nobody asked for that", rec.ID)
	case rec.State == proto.RUN_FAILED && rec.Error == nil:
		s.breach(runsEnd, "run %s failed without an error", rec.ID)
	}
}

// checkAfter looks at the core when what it decided is stored.
func (s *simulation) checkAfter(sch *simScheduler) {
	if s.rng.IntN(250) == 0 && sch.leads() {
		s.checkLoaded(sch)
	}
}

// checkLoaded: a core that is made from the records has nothing to change, and shows what the living one shows, apart
// from what that has only heard.
func (s *simulation) checkLoaded(sch *simScheduler) {
	loaded := s.load(s.store.records())
	acts := loaded.Step(Input{Now: sch.core.now, Event: Tick{}})
	for _, change := range acts.Store {
		s.breach(recordsSayAll, "a new start changes %s", (&script{now: sch.core.now}).describeChange(change))
	}
	got, want := shown(loaded.View()), shown(sch.core.View())
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			s.breach(recordsSayAll, "not loaded is %s", want[i].text())
		case i >= len(want):
			s.breach(recordsSayAll, "loaded is %s, which was not there", got[i].text())
		case got[i].line != want[i].line || !bytes.Equal(encoded(got[i].record), encoded(want[i].record)):
			a, b := got[i].text(), want[i].text()
			s.breach(recordsSayAll, "loaded is %.60s…\n  with %s\n  not  %s", b, from(a, b), from(b, a))
		}
	}
}

// from is the part of a where it begins to differ from b.
func from(a, b string) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	return a[max(0, at-20):min(len(a), at+200)]
}

// entry is something that a view shows: a line, or a record.
type entry struct {
	line   string
	record proto.Marshaler
}

func (e entry) text() string { return e.line + fmt.Sprint(e.record) }

func encoded(record proto.Marshaler) []byte {
	if record == nil {
		return nil
	}
	return proto.Encode(record)
}

// shown is what a view says that must be the same after a restart.
func shown(v *View) []entry {
	lines := []entry{{line: fmt.Sprintf("framework %q, %d tasks launched, %d pending", v.Framework, v.Queue.Launched, v.Queue.Pending)}}
	for _, name := range sortedKeys(v.Jobs) {
		j := v.Jobs[name]
		lines = append(lines, entry{record: j.Job})
		for _, rev := range j.Revisions {
			lines = append(lines, entry{record: rev})
		}
	}
	for _, name := range sortedKeys(v.Versions) {
		version := v.Versions[name]
		lines = append(lines, entry{fmt.Sprintf("%d runs and %d tasks for %v, ", version.Runs, version.Tasks, version.Channels), version.Version})
	}
	for _, name := range sortedKeys(v.Channels) {
		lines = append(lines, entry{record: v.Channels[name]})
	}
	for _, name := range sortedKeys(v.Rollouts) {
		r := v.Rollouts[name]
		lines = append(lines, entry{fmt.Sprintf("waits for %s until %s, ", r.Waiting, r.Until), r.Rollout})
		for _, earlier := range r.Earlier {
			lines = append(lines, entry{record: earlier})
		}
		for _, t := range r.Tallies {
			lines = append(lines, entry{record: t})
		}
	}
	for _, id := range sortedKeys(v.Runs) {
		r := v.Runs[id]
		lines = append(lines, entry{fmt.Sprintf("revision %d, settled %v, ", r.Revision.Number, r.Settled), r.Run})
		for t := range r.Tasks() {
			lines = append(lines, entry{record: t.Task})
		}
	}
	return lines
}

// checkEnd looks at everything when all has come to its end.
func (s *simulation) checkEnd() {
	s.checkTallies()
	if n := len(s.master.offers); n > 0 {
		s.breach(offersBack, "%d offers were never answered", n)
	}
	for _, a := range s.master.agents {
		if a.link == linkGone {
			continue
		}
		for _, e := range a.executorOrder {
			if e.alive {
				s.breach(aliveUnknown, "executor %s is alive on %s at the end", e.id, a.id)
			}
		}
	}
	for _, id := range s.accepted {
		rec := s.store.runs[id]
		if rec == nil {
			rec = s.store.forgotten[id]
		}
		switch {
		case rec == nil:
			s.breach(runsEnd, "run %s was accepted, but is not stored", id)
		case !jobs.Terminal(rec.State):
			s.breach(runsEnd, "run %s is %s at the end", id, jobs.RunStateName(rec.State))
		}
	}
}
