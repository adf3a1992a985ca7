package scheduler

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// A long run can move to another executor version while it runs, if its kind is a [jobs.Mover]. Its living attempts are
// told to hand over, again and again until they have ended; each ends at its next checkpoint, and its task waits. What
// has no attempt then and never had one waits, too; what is lost meanwhile begins again on the version that the run is
// on. When no attempt lives any more, the run is on the other version, and what waits goes on there, each task with what
// its newest attempt that handed over has left. Until then the move can be called off by moving back.

const (
	// handOverSince is the protocol version from which on executors hand over.
	handOverSince = 2
	// handOverEvery is the time between two requests to hand over.
	handOverEvery = 5 * time.Second
	// mostMoves is how many moves of a run are kept, the latest ones.
	mostMoves = 50
)

// handOver makes a run's attempts hand over.
type handOver struct {
	alarm
	run *run
}

func (r *run) moving() bool { return r.rec.MovingTo != "" }

// moveRun begins a move, or calls one off.
func (c *Core) moveRun(cmd MoveRun) (*proto.Run, *Error) {
	r := c.runs[cmd.Run]
	switch {
	case r == nil:
		return nil, errorf(NotFound, "there is no run %q", cmd.Run)
	case r.ended() || r.ending():
		return nil, errorf(Conflict, "run %q has ended, or is about to", cmd.Run)
	}
	v := c.versions[cmd.Version]
	switch {
	case cmd.Version == r.rec.ExecutorVersion:
		c.moveBack(r)
		return cloneRun(r.rec), nil
	case v == nil:
		return nil, c.unknownVersion(cmd.Version)
	case cmd.Version == r.rec.MovingTo:
		return cloneRun(r.rec), nil
	case r.moving():
		return nil, errorf(Conflict, "run %q moves to version %s already; move it back to %s first", cmd.Run, r.rec.MovingTo, r.rec.ExecutorVersion)
	}
	if err := c.mayMoveRun(r, v); err != nil {
		return nil, err
	}
	r.rec.MovingTo, r.rec.MovingBy = cmd.Version, cmd.By
	v.runs++
	c.touchVersion(v)
	c.hold(r.stages[r.lastPlanned()])
	c.saveRun(r)
	c.note(slog.LevelInfo, "run moves to another version", r.attrs(slog.String("to", cmd.Version), slog.String("by", cmd.By))...)
	c.goOn(r)
	return cloneRun(r.rec), nil
}

// mayMoveRun says why a run cannot go on with a version.
func (c *Core) mayMoveRun(r *run, v *version) *Error {
	mover, ok := c.kind(r).(jobs.Mover)
	switch {
	case !ok:
		return errorf(Conflict, "runs of kind %s finish on the version that they began with", r.rec.Kind)
	case len(r.stages) == 0:
		return errorf(Conflict, "run %q has not begun; it can move when it has", r.rec.ID)
	case !mover.Moves(r.spec, r.stages[r.lastPlanned()].name):
		return errorf(Conflict, "stage %s of run %q finishes on the version that it began with", r.stages[r.lastPlanned()].name, r.rec.ID)
	}
	for _, v := range []*version{c.versions[r.rec.ExecutorVersion], v} {
		if p := v.protocol(); p < handOverSince {
			return errorf(Conflict, "executor version %q speaks protocol %d; tasks are handed over from protocol %d on", v.rec.Version, p, handOverSince)
		}
	}
	for _, e := range c.executorsOf(r.owner) {
		if !e.rec.Dead && e.rec.Protocol < handOverSince {
			return errorf(Conflict, "executor %q was started with protocol %d; tasks are handed over from protocol %d on", e.rec.ID, e.rec.Protocol, handOverSince)
		}
	}
	if problems := c.lacking(v, r.spec); len(problems) > 0 {
		return &Error{Kind: Conflict, Message: fmt.Sprintf("run %q cannot go on with executor version %q", r.rec.ID, v.rec.Version), Problems: problems}
	}
	switch ck := c.checkFor(r.revision, v); {
	case ck == nil:
		return nil
	case ck.state == proto.CHECKS_FAILED:
		return &Error{Kind: Conflict, Message: fmt.Sprintf("the expressions of run %q did not pass the checks of executor version %q", r.rec.ID, v.rec.Version), Problems: ck.problems}
	default:
		return errorf(Unavailable, "executor version %q is checking the expressions of run %q; try again in a moment", v.rec.Version, r.rec.ID)
	}
}

// protocol is the version of the protocol that all executors of the version speak with this scheduler.
func (v *version) protocol() uint32 {
	least := uint32(protocolMax)
	for i := range v.rec.Artifacts {
		least = min(least, v.rec.Artifacts[i].Description.ProtocolMax)
	}
	return least
}

// moveBack calls a move off. What has handed over already, and what still does, goes on with the version that the run
// is on.
func (c *Core) moveBack(r *run) {
	if !r.moving() {
		return
	}
	c.note(slog.LevelInfo, "run stays on its version", r.attrs(slog.String("instead_of", r.rec.MovingTo))...)
	c.endMove(r)
	c.awaken(r)
}

// endMove forgets where a run was to move.
func (c *Core) endMove(r *run) {
	if !r.moving() {
		return
	}
	to := c.versions[r.rec.MovingTo]
	to.runs--
	c.touchVersion(to)
	r.rec.MovingTo, r.rec.MovingBy = "", ""
	c.saveRun(r)
}

// goOn moves a run on, or has what lives of it told to hand over.
func (c *Core) goOn(r *run) {
	if c.moveOn(r); r.moving() {
		c.askHandOver(r)
	}
}

// moveOn puts a run on the version to which it moves when nothing of it lives any more.
func (c *Core) moveOn(r *run) {
	if r.moving() && len(r.owner.load) == 0 {
		c.switchVersion(r)
		c.awaken(r)
	}
}

// switchVersion puts a run of which nothing lives on the version to which it moves. Its executors on the old one are not
// used any more, and end when they have lingered.
func (c *Core) switchVersion(r *run) {
	move := proto.Move{From: r.rec.ExecutorVersion, To: r.rec.MovingTo, At: c.now, By: r.rec.MovingBy}
	kept := r.rec.Moves[max(0, len(r.rec.Moves)+1-mostMoves):]
	r.rec.Moves = append(slices.Clip(kept), move)
	c.runBegan(c.versions[move.To]) // endMove takes back what the move has counted
	c.runLeft(c.versions[move.From])
	c.endMove(r)
	r.rec.ExecutorVersion, r.owner.version = move.To, move.To
	for _, agent := range sortedKeys(r.owner.executors) {
		c.retire(r.owner.executors[agent])
	}
	clear(r.owner.avoid)
	c.saveRun(r)
	c.note(slog.LevelInfo, "run has moved to another version", r.attrs(slog.String("from", move.From), slog.String("by", move.By))...)
}

// hold keeps back what is to begin on another version only: what never began, and what has handed over and not begun
// again since an earlier move was called off.
func (c *Core) hold(st *stage) {
	c.withdrawFresh(st)
	for _, t := range st.tasks {
		if t == nil || !t.held() || !t.queued && !t.delayed() {
			continue
		}
		c.withdraw(t)
		st.shape.queue.forget(t) // it may come back before its turn
		t.rec.NotBefore = nil
		c.saveTask(t)
	}
}

// awaken makes what has waited for a run's move launchable.
func (c *Core) awaken(r *run) {
	st := r.stages[r.lastPlanned()]
	for _, t := range st.tasks {
		if t != nil && t.rec.State == proto.TASK_PENDING && !t.queued && !t.delayed() {
			c.enqueue(t)
		}
	}
	c.enqueueFresh(st)
}

// askHandOver tells all of a run that lives to hand over, and has it told again after a while.
func (c *Core) askHandOver(r *run) {
	r.handOver.run = r
	c.arm(&r.handOver, c.now.Add(handOverEvery))
	if !c.mesos.up() {
		return
	}
	requests := map[*executor]*proto.Request{}
	for _, t := range r.stages[r.lastPlanned()].tasks {
		if t == nil || t.current == nil || t.current.rec().KillRequested != nil || t.current.rec().State == proto.TASK_UNREACHABLE {
			continue
		}
		e := t.current.executor
		if requests[e] == nil {
			requests[e] = &proto.Request{}
		}
		t.current.told = true
		requests[e].HandOver = append(requests[e].HandOver, t.current.rec().MesosID)
	}
	for _, e := range c.executorsOf(r.owner) {
		if request := requests[e]; request != nil && e.rec.Protocol >= handOverSince {
			c.call(SendMessage{AgentID: e.rec.AgentID, ExecutorID: e.rec.ID, Data: proto.Encode(request)})
		}
	}
}

func (h *handOver) fire(c *Core) { c.goOn(h.run) }

// handsOver looks at an attempt that says that it has handed over: nothing may that does not know how to go on.
func (c *Core) handsOver(t *task, o outcome) outcome {
	if o.state != proto.TASK_FINISHED || !o.result.HandedOver {
		return o
	}
	if r := t.run; r != nil && r.spec != nil {
		if mover, ok := c.kind(r).(jobs.Mover); ok && mover.Moves(r.spec, t.rec.Stage) {
			o.handedOver = true
			return o
		}
	}
	o.state, o.result = proto.TASK_FAILED, nil
	o.failure = &proto.Failure{Class: proto.CLASS_PASSING, Kind: "internal",
		Message: fmt.Sprintf("it has handed over, which tasks of stage %s cannot", t.rec.Stage)}
	return o
}

// takeOver keeps what the attempt that counted has handed over. The task waits for the others if the run moves, and
// begins again otherwise: the move was called off. That of an attempt that nobody has told, as far as this scheduler
// knows, uses up a free retry, so that one which always does it does not go on for ever.
func (c *Core) takeOver(t *task, a *attempt, left []byte) {
	t.rec.HandedOver = left
	switch {
	case t.run.ending():
		t.rec.State = proto.TASK_KILLED
	case t.run.moving():
		t.rec.State, t.rec.NotBefore = proto.TASK_PENDING, nil
	case a.told:
		c.tryAgain(t, 0)
	default:
		c.failAttempt(t, a, outcome{failure: &proto.Failure{Class: proto.CLASS_OURS, Kind: "internal",
			Message: "it has handed over although nobody had asked for it"}})
	}
}

// held says whether a pending task waits for its run to move.
func (t *task) held() bool {
	last := len(t.rec.Attempts) - 1
	return t.run != nil && t.run.moving() && last >= 0 && t.rec.Attempts[last].HandedOver
}

// waitingToMove explains what a run's move waits for.
func (c *Core) waitingToMove(r *run) Waiting {
	st := r.stages[r.lastPlanned()]
	w := Waiting{Stage: st.name, Tasks: st.shape.launched, Since: r.rec.Created}
	w.Reason = fmt.Sprintf("moves to executor version %s, and waits for %s to hand over", r.rec.MovingTo, count(w.Tasks, "task"))
	w.Reasons = []Turndown{{Reason: "moving", Text: fmt.Sprintf("moving: %s not handed over yet", areTasks(w.Tasks))}}
	return w
}
