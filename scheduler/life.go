package scheduler

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

const (
	answerWait     = 30 * time.Second // for Mesos to say what became of a task that is silent
	timeoutMargin  = 10 * time.Second // beyond timeout and grace, within which the executor ends an attempt itself
	killSpacing    = time.Second      // between two kills of an attempt that was given up and goes on speaking
	killEveryMost  = time.Minute      // between two kills of one that does not
	killsPatience  = 3                // repeats of KILL after which an attempt that must end is given up
	oursFirst      = time.Second      // back-off after a failure that is ours, doubling
	oursMost       = time.Minute
	backoffGrowth  = 10 // a back-off grows to so many times the spec's
	cleanRetries   = 10 // of a clean-up task, whatever the spec says: it settles what the run's result is
	checkRetries   = 3
	lateForgiven   = 3 // launches in a row that came too late for their offers and cost nothing; then something else is wrong
	checkBackoff   = time.Second
	stalledMessage = "its executor has been silent for %s"
)

// due is when something must be done about an attempt if nothing is heard of it; zero: never, or not while disconnected.
func (a *attempt) due(c *Core) time.Time {
	if a.over() || a.task.dropped || !c.mesos.up() {
		return time.Time{}
	}
	rec, since := a.rec(), c.mesos.since
	switch {
	case !a.ending.IsZero():
		return later(a.ending, since).Add(c.cfg.LaunchTimeout)
	case rec.KillRequested != nil && a.unheard:
		return time.Time{}
	case rec.KillRequested != nil:
		next := a.killed.Add(a.killEvery(c))
		if a.live() {
			next = earlier(next, a.patience(c))
		}
		return next
	case rec.GivenUp:
		return time.Time{}
	case rec.State == proto.TASK_UNREACHABLE:
		return later(a.heard, since).Add(c.cfg.UnreachableWait)
	case rec.State == proto.TASK_LAUNCHING && !a.stale.IsZero():
		return later(a.stale, since).Add(answerWait)
	case rec.State == proto.TASK_LAUNCHING:
		return later(a.heard, since).Add(c.cfg.LaunchTimeout)
	default:
		return earlier(a.stallsAt(c), a.timesOutAt(c))
	}
}

func (a *attempt) stallsAt(c *Core) time.Time {
	return later(later(a.heard, a.executor.heard), c.mesos.since).Add(c.cfg.StallAfter)
}

// timesOutAt is when the core ends an attempt whose executor should have ended it; zero if the job has no timeout.
func (a *attempt) timesOutAt(c *Core) time.Time {
	timeout := a.task.shape.timeout()
	if running := a.rec().Running; timeout > 0 && running != nil {
		return running.Add(timeout + c.cfg.KillGrace + timeoutMargin)
	}
	return time.Time{}
}

// patience is until when an attempt may take to end that was told to.
func (a *attempt) patience(c *Core) time.Time {
	return later(*a.rec().KillRequested, c.mesos.since).Add(c.cfg.KillGrace + killsPatience*c.cfg.KillRepeat)
}

func (a *attempt) killEvery(c *Core) time.Duration {
	if a.live() {
		return c.cfg.KillRepeat
	}
	return min(c.cfg.KillRepeat<<min(a.kills, 10), max(killEveryMost, c.cfg.KillRepeat))
}

func (a *attempt) rearm(c *Core) {
	if at := a.due(c); !at.IsZero() {
		c.arm(a, at)
	}
}

// fire does what is due about an attempt.
func (a *attempt) fire(c *Core) {
	if at := a.due(c); at.IsZero() || c.now.Before(at) {
		a.rearm(c)
		return
	}
	rec := a.rec()
	switch {
	case !a.ending.IsZero():
		c.giveUp(a, "Mesos says that it ended, but how got lost")
	case rec.KillRequested != nil:
		if a.live() && !c.now.Before(a.patience(c)) {
			c.giveUp(a, "it did not end although it was told to")
		}
		if c.now.Sub(a.killed) >= a.killEvery(c) {
			c.sendKill(a, "repeat")
		}
	case rec.State == proto.TASK_UNREACHABLE:
		c.giveUpOn(a, fmt.Sprintf("its agent has been unreachable for %s", c.cfg.UnreachableWait))
	case rec.State == proto.TASK_LAUNCHING && a.stale.IsZero():
		a.stale = c.now
		c.ask(a)
	case rec.State == proto.TASK_LAUNCHING:
		c.buried(a.executor)
		c.giveUpOn(a, fmt.Sprintf("nothing was heard of it for %s after its launch", c.now.Sub(rec.Launched).Round(time.Second)))
		c.requestKill(a, "lost")
	case !c.now.Before(a.stallsAt(c)):
		c.buried(a.executor)
		c.giveUpOn(a, fmt.Sprintf(stalledMessage, c.cfg.StallAfter))
		c.requestKill(a, "stalled")
	default:
		rec.Failure = &proto.Failure{Class: proto.CLASS_PASSING, Kind: "timeout",
			Message: fmt.Sprintf("it ran longer than the timeout of %s", a.task.shape.timeout()), Pointer: "/timeout"}
		c.requestKill(a, "timeout")
	}
	a.rearm(c)
}

// giveUp takes an attempt for lost that has not ended as far as Mesos knows. Whoever fenced its writes made that safe.
func (c *Core) giveUp(a *attempt, why string) { c.conclude(a, lost(why)) }

// giveUpOn is giveUp for something that speaks against the agent, too.
func (c *Core) giveUpOn(a *attempt, why string) {
	o := lost(why)
	o.suspect = true
	c.conclude(a, o)
}

func lost(why string) outcome {
	return outcome{
		state:   proto.TASK_LOST,
		givenUp: true,
		failure: &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost", Message: why},
	}
}

// requestKill tells an attempt to end, and goes on telling it until it has.
func (c *Core) requestKill(a *attempt, why string) {
	if a.over() {
		return
	}
	if rec := a.rec(); rec.KillRequested == nil {
		now := c.now
		rec.KillRequested = &now
		c.saveTask(a.task)
	}
	c.sendKill(a, why)
	a.rearm(c)
}

func (c *Core) sendKill(a *attempt, why string) {
	if !c.mesos.up() {
		return // told after the next subscription
	}
	a.killed = c.now
	a.kills++
	c.call(Kill{MesosID: a.rec().MesosID, AgentID: a.rec().AgentID})
	c.count(MetricKills, 1, why)
}

// conclude records how an attempt ended or that it is given up, and does what follows for its task.
func (c *Core) conclude(a *attempt, o outcome) {
	t, rec, live := a.task, a.rec(), a.live()
	o = c.handsOver(t, o)
	if (live || a.superseded()) && rec.Failure != nil && o.state != proto.TASK_FINISHED {
		o.failure = rec.Failure // the core ended it, and knows why
	}
	counts := o.state == proto.TASK_FINISHED && !o.handedOver && !t.ended()
	now := c.now
	a.ending = time.Time{}
	rec.State, rec.Ended, rec.Failure, rec.Reason, rec.Settled = o.state, &now, o.failure, o.reason, o.settled
	rec.HandedOver = o.handedOver
	switch {
	case o.state == proto.TASK_LOST:
		rec.GivenUp = o.givenUp
	case counts:
		rec.GivenUp = false
	}
	if o.result != nil {
		rec.LogURI = o.result.LogURI
	}
	if live {
		c.unwish(t)
		t.leaves(a)
		c.release(a)
		c.vacate(t.shape)
	}
	if a.over() {
		c.detach(a)
	}
	if o.died {
		c.buried(a.executor)
	}
	if o.state == proto.TASK_FINISHED && !o.handedOver {
		t.took(rec, counts)
	}
	c.judge(a, o, live)
	c.countSecond(a, live, counts)
	c.saveTask(t)
	c.observeEnd(a, o, live)
	switch {
	case counts:
		c.finishTask(t, o.result)
	case live && t.current != nil:
		c.goesOn(t, o)
	case live && o.handedOver:
		c.takeOver(t, a, o.result.Output)
	case live:
		c.failAttempt(t, a, o)
	}
	if t.run != nil {
		c.moveOn(t.run)
		c.tryEnd(t.run)
	}
}

// observeEnd tells metrics and the log of an attempt's end. The loss of one that does not live has been told before.
func (c *Core) observeEnd(a *attempt, o outcome, live bool) {
	rec, t := a.rec(), a.task
	if live && rec.Running != nil {
		c.count(MetricTaskSeconds, rec.Ended.Sub(*rec.Running).Seconds())
	}
	if o.failure == nil {
		if o.result != nil {
			c.count(MetricRows, float64(max(o.result.Counters.Rows, 0)), t.owner.job(), a.version())
			c.count(MetricBytes, float64(max(o.result.Counters.Bytes, 0)), t.owner.job(), a.version())
		}
		return
	}
	if !live {
		return
	}
	c.count(MetricFailures, 1, jobs.ClassName(o.failure.Class), o.failure.Kind)
	level := slog.LevelWarn
	if t.nothingToClean(o.failure) {
		level = slog.LevelInfo
	}
	c.note(level, "attempt did not finish", t.attrs(
		slog.Int("attempt", int(rec.Number)), slog.String("agent", rec.AgentID), slog.String("version", a.version()),
		slog.String("class", jobs.ClassName(o.failure.Class)), slog.String("kind", o.failure.Kind),
		slog.String("reason", rec.Reason), slog.String("message", o.failure.Message))...)
}

// finishTask takes the result of one attempt as the task's. Others that still live are superseded.
func (c *Core) finishTask(t *task, result *proto.TaskResult) {
	c.unwish(t)
	c.supersedeAll(t)
	if t.queued || t.delayed() {
		c.withdraw(t)
	}
	t.rec.State, t.rec.NotBefore = proto.TASK_FINISHED, nil
	t.rec.Output, t.rec.Counters = result.Output, result.Counters
	c.saveTask(t)
	switch {
	case t.check != nil:
		c.checkFinished(t)
	case t.isClean():
		c.cleanFinished(t)
	default:
		c.taskFinished(t)
	}
}

// failAttempt decides what becomes of a task whose only attempt that counted did not finish.
func (c *Core) failAttempt(t *task, a *attempt, o outcome) {
	if t.run != nil && t.run.ending() && !t.isClean() {
		t.rec.State = proto.TASK_KILLED
		if o.state == proto.TASK_FAILED {
			t.rec.State = proto.TASK_FAILED
		}
		return
	}
	failure := t.blame(a, o)
	var wait time.Duration
	var again bool
	switch failure.Class {
	case proto.CLASS_OURS:
		uncharged := o.uncharged && t.lateInARow() <= lateForgiven
		if !uncharged {
			t.rec.Free++
		}
		again = int(t.rec.Free) <= c.cfg.FreeRetries
		if !uncharged && (!o.unborn || t.rec.Free > 1) {
			wait = c.jitter(grow(oursFirst, int(t.rec.Free), oursMost))
		}
		if !again {
			failure.Message = fmt.Sprintf("%d attempts were lost through no fault of the job; of the last one: %s", t.rec.Free, failure.Message)
		}
	case proto.CLASS_PASSING:
		most, backoff := t.retries()
		t.rec.Charged++
		again = int(t.rec.Charged) <= most
		wait = c.jitter(grow(backoff, int(t.rec.Charged), backoffGrowth*backoff))
		if !again && t.rec.Charged > 1 {
			failure.Message = fmt.Sprintf("%s (failed %d times)", failure.Message, t.rec.Charged)
		}
	}
	if again {
		c.tryAgain(t, wait)
		return
	}
	c.failTask(t, &failure)
}

// blame says whose the failure of an attempt is. An executor's death is ours at first; from the third one on a task it is
// taken for the task's own doing.
func (t *task) blame(a *attempt, o outcome) proto.Failure {
	failure := *o.failure
	if !deaths[o.reason] {
		return failure
	}
	t.rec.ExecutorDeaths++
	if t.rec.ExecutorDeaths > deathsForgiven && failure.Class == proto.CLASS_OURS {
		failure.Class = proto.CLASS_PASSING
		failure.Message = fmt.Sprintf("%s (executor death number %d on this task)", failure.Message, t.rec.ExecutorDeaths)
		recorded := failure
		a.rec().Failure = &recorded
	}
	return failure
}

// lateInARow is how many of the newest attempts never began.
func (t *task) lateInARow() int {
	n := 0
	for i := len(t.attempts) - 1; i >= 0 && t.attempts[i].unborn(); i-- {
		n++
	}
	return n
}

// took notes how long an attempt took that finished, and whether its result is the task's.
func (t *task) took(rec *proto.Attempt, counts bool) {
	if rec.Ended == nil {
		return
	}
	took := rec.Ended.Sub(rec.Launched)
	t.shape.longest = max(t.shape.longest, took)
	if counts && t.stage != nil && !t.run.ended() {
		t.stage.took = append(t.stage.took, took)
	}
}

// grow doubles first with each of n repeats, up to most.
func grow(first time.Duration, n int, most time.Duration) time.Duration {
	return min(first<<min(n-1, 16), most)
}

// retries are how often a task may fail for the job's sake, and the first back-off.
func (t *task) retries() (most int, backoff time.Duration) {
	switch {
	case t.check != nil:
		return checkRetries, checkBackoff
	case t.isClean():
		return cleanRetries, max(t.run.spec.Retries.Backoff, oursFirst)
	default:
		return t.run.spec.Retries.Max, t.run.spec.Retries.Backoff
	}
}

// tryAgain puts a task back, at once or after a wait.
func (c *Core) tryAgain(t *task, wait time.Duration) {
	t.rec.State, t.rec.NotBefore = proto.TASK_PENDING, nil
	if wait > 0 {
		until := c.now.Add(wait)
		t.rec.NotBefore = &until
	}
	c.saveTask(t)
	if wait > 0 {
		c.delay(t, *t.rec.NotBefore)
		return
	}
	c.enqueue(t)
}

// failTask ends a task that will not be tried again, and what depends on it.
func (c *Core) failTask(t *task, failure *proto.Failure) {
	t.rec.State = proto.TASK_FAILED
	c.saveTask(t)
	switch {
	case t.check != nil:
		c.checkUndecided(t, failure)
	case t.isClean():
		c.cleanFailed(t, failure)
	default:
		c.failRun(t.run, &proto.RunError{
			Kind:     failure.Kind,
			Message:  failure.Message,
			Task:     t.rec.ID,
			Pointer:  failure.Pointer,
			Problems: failure.Problems,
		})
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
