package executor

import (
	"bytes"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
)

// ledger is what the agent has been told and what it has acknowledged. It makes no calls and reads no clock.
type ledger struct {
	tasks   map[string]*entry // by Mesos task ID; never removed, since an ID is never used twice
	order   []string          // of the launches whose first update is not acknowledged
	pending []*pending        // updates that are not acknowledged, in order of time
}

// entry is one task.
type entry struct {
	info  *mesos.TaskInfo // nil when an update of it was acknowledged: the agent will not forget the task any more
	ended bool            // has a terminal update
}

// pending is an update that is not acknowledged.
type pending struct {
	status mesos.TaskStatus
	sent   time.Time // zero: not since it was added or since it last failed
	held   time.Time // not to be sent before, after it failed
}

func newLedger() *ledger { return &ledger{tasks: map[string]*entry{}} }

// launch adds a task. It is false for one that is known: a LAUNCH may come twice, and after a KILL.
func (l *ledger) launch(info mesos.TaskInfo) bool {
	id := info.TaskID.Value
	if l.known(id) {
		return false
	}
	l.tasks[id] = &entry{info: &info}
	l.order = append(l.order, id)
	return true
}

func (l *ledger) known(id string) bool { return l.tasks[id] != nil }

// forbid makes a task known that was never launched, so that it never will be.
func (l *ledger) forbid(id string) { l.tasks[id] = &entry{} }

// add takes an update on. It is false, and nothing is added, for a task that is not known or that has ended.
func (l *ledger) add(status mesos.TaskStatus) bool {
	task := l.tasks[status.TaskID.Value]
	if task == nil || task.ended {
		return false
	}
	task.ended = terminal(*status.State)
	l.pending = append(l.pending, &pending{status: status})
	return true
}

// acknowledge drops an update. It is false for one that is not there (any more).
func (l *ledger) acknowledge(id string, uuid []byte) bool {
	for i, p := range l.pending {
		if p.status.TaskID.Value != id || !bytes.Equal(p.status.UUID, uuid) {
			continue
		}
		l.pending = append(l.pending[:i:i], l.pending[i+1:]...)
		if task := l.tasks[id]; task.info != nil {
			task.info = nil
			l.drop(id)
		}
		return true
	}
	return false
}

func (l *ledger) drop(id string) {
	for i, other := range l.order {
		if other == id {
			l.order = append(l.order[:i:i], l.order[i+1:]...)
			return
		}
	}
}

// unacknowledged is what a SUBSCRIBE carries.
func (l *ledger) unacknowledged() (tasks []mesos.TaskInfo, updates []mesosexec.Call_Update) {
	for _, id := range l.order {
		tasks = append(tasks, *l.tasks[id].info)
	}
	for _, p := range l.pending {
		updates = append(updates, mesosexec.Call_Update{Status: p.status})
	}
	return tasks, updates
}

// subscribed notes that those updates went out with a SUBSCRIBE.
func (l *ledger) subscribed(updates []mesosexec.Call_Update, now time.Time) {
	for _, u := range updates {
		if p := l.find(u.Status.UUID); p != nil {
			p.sent, p.held = now, time.Time{}
		}
	}
}

// next is the update to send now: the oldest that was not sent, or was sent a while ago without an answer. One that is
// held back holds up later ones of its task, and no other's. Nil: none.
func (l *ledger) next(now time.Time, again time.Duration) *mesos.TaskStatus {
	held := map[string]bool{}
	for _, p := range l.pending {
		id := p.status.TaskID.Value
		switch {
		case held[id]:
		case p.held.After(now):
			held[id] = true
		case p.sent.IsZero() || now.Sub(p.sent) >= again:
			return &p.status
		}
	}
	return nil
}

// sent notes that the update was sent.
func (l *ledger) sent(uuid []byte, now time.Time) {
	if p := l.find(uuid); p != nil {
		p.sent = now
	}
}

// failed notes that sending the update failed, and until when it is held back.
func (l *ledger) failed(uuid []byte, until time.Time) {
	if p := l.find(uuid); p != nil {
		p.sent, p.held = time.Time{}, until
	}
}

func (l *ledger) find(uuid []byte) *pending {
	for _, p := range l.pending {
		if bytes.Equal(p.status.UUID, uuid) {
			return p
		}
	}
	return nil
}

// settled is true when the agent has acknowledged everything.
func (l *ledger) settled() bool { return len(l.pending) == 0 }

// terminal says whether a task ends with that state.
func terminal(s mesos.TaskState) bool {
	switch s {
	case mesos.TASK_FINISHED, mesos.TASK_FAILED, mesos.TASK_KILLED, mesos.TASK_ERROR:
		return true
	}
	return false
}
