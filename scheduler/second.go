package scheduler

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// A task whose attempt lags far behind its siblings (laggard.go says when) gets a second attempt on another agent. Both
// live, and take part in everything: each is stored before it is launched, asked about, killed when the run ends. The
// first to finish counts; the other is given up and killed, and uses up no retry. If one of them ends in another way,
// the other is the task's only attempt from then on, and nothing is charged either: the spec's retries are for tasks of
// which nothing lives any more. Only a failure for good ends the task.
//
// What is to get a second attempt is not stored: it follows from what is, and from the progress that executors tell.

// laggardEvery is the time between two looks at a stage.
const laggardEvery = time.Second

// wish is a task that is to get a second attempt.
type wish struct {
	task *task
	why  string
}

// mayRepeat says whether tasks of a stage may get second attempts now.
func (c *Core) mayRepeat(st *stage) bool {
	r := st.run
	if !c.cfg.SecondAttempts || r.ended() || r.ending() || r.moving() || r.spec == nil || st.finished == len(st.tasks) {
		return false
	}
	repeater, ok := c.kind(r).(jobs.Repeater)
	if !ok || st.name == jobs.StageClean || !repeater.Repeats(r.spec, st.name) {
		return false
	}
	mover, moves := c.kind(r).(jobs.Mover)
	return !moves || !mover.Moves(r.spec, st.name) // who has handed over cannot be told from who goes on
}

// watchPace sees to it that a stage is looked at as soon as it has half of its tasks behind it, and from then on.
func (c *Core) watchPace(st *stage) {
	if len(st.tasks) >= laggardLeast && 2*st.finished >= len(st.tasks) && c.mayRepeat(st) {
		c.arm(st, c.now.Add(laggardEvery))
	}
}

// fire looks for laggards.
func (st *stage) fire(c *Core) {
	if c.mesos.up() && c.mayRepeat(st) {
		c.wishFor(st, laggards(c.paceOf(st)))
	}
	c.watchPace(st)
}

func (c *Core) paceOf(st *stage) pace {
	slices.Sort(st.took)
	p := pace{tasks: len(st.tasks), took: st.took}
	for _, e := range st.run.owner.all {
		for _, a := range e.attempts {
			switch t := a.task; {
			case t.stage != st || !a.live() || a != t.current:
			case t.second != nil:
				p.beside++
			case a.rec().KillRequested == nil:
				p.alone = append(p.alone, c.runnerOf(a))
			}
		}
	}
	return p
}

func (c *Core) runnerOf(a *attempt) runner {
	rec := a.rec()
	r := runner{
		task:     int(a.task.rec.Index),
		attempt:  rec.Number,
		age:      c.now.Sub(rec.Launched),
		listened: c.now.Sub(later(rec.Launched, c.mesos.since)),
	}
	if rec.Running != nil {
		r.works = c.now.Sub(*rec.Running)
	}
	if a.progress != nil {
		r.fraction = a.progress.Fraction
	}
	for i := range a.task.rec.Attempts {
		r.seconds += btoi(a.task.rec.Attempts[i].Second != "")
	}
	return r
}

// wishFor makes these tasks, and no others of the stage, wait for a second attempt.
func (c *Core) wishFor(st *stage, slow []laggard) {
	s := st.shape
	if len(slow) == 0 && len(s.wishes) == 0 {
		return
	}
	if len(s.wishes) == 0 && s.queue.len() == 0 {
		s.tried = trial{since: c.now}
	}
	before := s.roomBeside()
	s.wishes = nil
	for _, l := range slow {
		s.wishes = append(s.wishes, wish{st.tasks[l.task], l.why})
	}
	c.wished(s, before)
}

// unwish withdraws the wish for a second attempt of a task, if there is one.
func (c *Core) unwish(t *task) {
	s := t.shape
	at := slices.IndexFunc(s.wishes, func(w wish) bool { return w.task == t })
	if at < 0 {
		return
	}
	before := s.roomBeside()
	s.wishes = slices.Delete(s.wishes, at, at+1)
	c.wished(s, before)
}

// unwishAll withdraws all wishes of a stage.
func (c *Core) unwishAll(st *stage) { c.wishFor(st, nil) }

// wished follows a change of a shape's wishes. before is what s.roomBeside was.
func (c *Core) wished(s *shape, before int) {
	c.demand.update(s, s.pending())
	if s.roomBeside() > before {
		s.owner.share.grown = true
	}
	c.touchShape(s)
}

// roomBeside is how many second attempts may be launched now: tasks that wait for their only one come first.
func (s *shape) roomBeside() int {
	return max(0, min(len(s.wishes), s.limit-s.launched-s.queue.len()))
}

// placeSeconds launches second attempts, each on another agent than the first.
func (c *Core) placeSeconds(s *shape, fits *candidates) {
	for _, w := range slices.Clone(s.wishes) {
		if s.roomBeside() == 0 || len(*fits) == 0 || c.launches >= mostLaunches {
			return
		}
		i := fits.bestBut(w.task.current.rec().AgentID)
		if i < 0 {
			continue
		}
		c.launchSecond(s, w, (*fits)[i])
		fits.took(i)
	}
}

func (c *Core) launchSecond(s *shape, w wish, k *candidate) {
	t := w.task
	c.unwish(t)
	a := c.launchOn(s, t, k, w.why)
	c.count(MetricSeconds, 1, "launched")
	c.note(slog.LevelInfo, "second attempt of a task that lags behind", t.attrs(slog.Int("attempt", int(a.rec().Number)),
		slog.String("agent", a.rec().AgentID), slog.String("why", w.why))...)
}

// joins makes an attempt one of those of its task that live.
func (t *task) joins(a *attempt) {
	if t.current == nil {
		t.current = a
		return
	}
	t.second = a
}

// leaves takes an attempt that does not live any more off its task. What is left is the task's only one.
func (t *task) leaves(a *attempt) {
	if t.current == a {
		t.current = t.second
	}
	t.second = nil
}

// alive yields the attempts that live, none, one or two.
func (t *task) alive() []*attempt {
	switch {
	case t.current == nil:
		return nil
	case t.second == nil:
		return []*attempt{t.current}
	}
	return []*attempt{t.current, t.second}
}

// furthest is the attempt, of those that live, that has done more; nil if none lives.
func (t *task) furthest() *attempt {
	a := t.current
	if b := t.second; b != nil && (a.progress == nil || b.progress != nil && b.progress.Fraction > a.progress.Fraction) {
		return b
	}
	return a
}

// follow makes the task's state that of the attempt that has come further, of those that live.
func (t *task) follow() {
	rank := func(s proto.TaskState) int {
		return slices.Index([]proto.TaskState{proto.TASK_UNREACHABLE, proto.TASK_LAUNCHING, proto.TASK_STARTING, proto.TASK_RUNNING}, s)
	}
	for i, a := range t.alive() {
		if state := a.rec().State; i == 0 || rank(state) > rank(t.rec.State) {
			t.rec.State = state
		}
	}
}

// supersededMessage is what an attempt's record says that was not the first to end.
const supersededMessage = "another attempt of its task ended first"

// supersede gives up an attempt that lives although its task has ended, and kills it.
func (c *Core) supersede(a *attempt) {
	t, rec := a.task, a.rec()
	rec.GivenUp = true
	rec.Failure = &proto.Failure{Class: proto.CLASS_OURS, Kind: "killed", Message: supersededMessage}
	t.leaves(a)
	c.release(a)
	c.vacate(t.shape)
	c.requestKill(a, "superseded")
	if rec.Second != "" {
		c.count(MetricSeconds, 1, "lost")
	}
}

// superseded says whether a was given up because another attempt had ended its task.
func (a *attempt) superseded() bool {
	rec := a.rec()
	return rec.GivenUp && rec.State != proto.TASK_LOST && rec.Failure != nil
}

// goesOn follows the end of one of two attempts that lived, which was not the task's: the other goes on alone, unless
// the task can never finish.
func (c *Core) goesOn(t *task, o outcome) {
	if o.failure == nil || o.failure.Class != proto.CLASS_FINAL || t.run.ending() {
		t.follow()
		c.saveTask(t)
		return
	}
	c.supersedeAll(t)
	failure := *o.failure
	c.failTask(t, &failure)
}

// supersedeAll gives up all attempts that live of a task that has ended.
func (c *Core) supersedeAll(t *task) {
	for _, a := range t.alive() {
		c.supersede(a)
	}
}

// countSecond counts what became of a second attempt.
func (c *Core) countSecond(a *attempt, live, counts bool) {
	switch {
	case a.rec().Second == "":
	case counts:
		c.count(MetricSeconds, 1, "won")
	case live:
		c.count(MetricSeconds, 1, "failed")
	}
}

// waitingBeside explains why the second attempts of a shape wait.
func (c *Core) waitingBeside(s *shape) Waiting {
	slowest := s.wishes[0]
	w := Waiting{Stage: s.stage, Tasks: len(s.wishes), Resources: s.resources, Since: s.tried.since, Offers: s.tried.offers, TurnedDown: s.tried.numbers()}
	w.Reason = fmt.Sprintf("%s to get a second attempt on another agent, because of its pace: of task %s, %s",
		isOrAre(len(s.wishes)), slowest.task.rec.ID, slowest.why)
	w.Reasons = []Turndown{{Reason: secondAttempt, Text: secondAttempt + ": " + slowest.why}}
	if s.roomBeside() == 0 {
		w.Reasons = append(w.Reasons, Turndown{Reason: "parallelism", Text: fmt.Sprintf("parallelism: %d of %d run", s.launched, s.limit)})
	}
	return w
}

// secondAttempt is the reason for which a task that runs waits for an offer.
const secondAttempt = "second attempt"

func isOrAre(n int) string {
	if n == 1 {
		return "1 task is"
	}
	return fmt.Sprintf("%d tasks are", n)
}
