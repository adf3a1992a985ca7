package scheduler

import (
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	secondApart invariant = "two attempts of a task that live are on two agents"
	secondFew   invariant = "second attempts are few, and beside attempts that lag"
	secondFree  invariant = "an attempt that lives when another one ends its task uses up no retry"
)

// checkSeconds looks at what a step does with tasks of which two attempts live.
func (s *simulation) checkSeconds(sch *simScheduler, acts *Actions) {
	for _, change := range acts.Store {
		rec := taskChange(change)
		if rec == nil {
			continue
		}
		before := sch.said[rec.ID]
		sch.said[rec.ID] = rec
		if before == nil {
			continue // it is new, or this process has only loaded it
		}
		for i := range rec.Attempts {
			switch a := &rec.Attempts[i]; {
			case i >= len(before.Attempts) && a.Second != "":
				s.checkSecond(sch, rec, i)
			case i < len(before.Attempts) && isSuperseded(a) && !isSuperseded(&before.Attempts[i]) && used(rec) != used(before):
				s.breach(secondFree, "attempt %d of %s was superseded, and the task has used %d retries instead of %d", a.Number, rec.ID, used(rec), used(before))
			}
		}
	}
}

func used(rec *proto.Task) uint32 { return rec.Charged + rec.Free }

func isSuperseded(a *proto.Attempt) bool {
	return a.Failure != nil && a.Failure.Message == supersededMessage
}

func lives(a *proto.Attempt) bool {
	switch a.State {
	case proto.TASK_LAUNCHING, proto.TASK_STARTING, proto.TASK_RUNNING, proto.TASK_UNREACHABLE:
		return !a.GivenUp
	}
	return false
}

// checkSecond looks at a second attempt when it is launched.
func (s *simulation) checkSecond(sch *simScheduler, rec *proto.Task, i int) {
	a := &rec.Attempts[i]
	first := slices.IndexFunc(rec.Attempts[:i], func(other proto.Attempt) bool { return lives(&other) })
	if first < 0 {
		s.breach(secondFew, "%s is a second attempt, but no other one lives", a.MesosID)
	}
	if other := &rec.Attempts[first]; other.AgentID == a.AgentID {
		s.breach(secondApart, "attempts %d and %d of %s are both on %s", other.Number, a.Number, rec.ID, a.AgentID)
	} else if age := a.Launched.Sub(other.Launched); age < 10*time.Second {
		s.breach(secondFew, "%s is launched beside an attempt that is only %s old", a.MesosID, age)
	}
	if s.seconds[rec.ID] == nil {
		s.seconds[rec.ID] = map[uint32]bool{}
	}
	s.seconds[rec.ID][a.Number] = true
	if n := len(s.seconds[rec.ID]); n > 2 {
		s.breach(secondFew, "%s is the second attempt number %d of its task", a.MesosID, n)
	}
	finished, beside := 0, 0
	for _, t := range sch.core.attempts[a.MesosID].task.stage.tasks {
		if t != nil {
			finished += btoi(t.rec.State == proto.TASK_FINISHED)
			beside += btoi(t.second != nil)
		}
	}
	if of := int(rec.Of); of < 4 || 2*finished < of || beside > max(1, of/10) {
		s.breach(secondFew, "%s is launched when %d of %d tasks have finished and %d have a second attempt", a.MesosID, finished, of, beside)
	}
}

// secondMutants break what holds for second attempts.
func secondMutants() []mutant {
	eachTask := func(acts *Actions, change func(*proto.Task) bool) {
		for i := range acts.Store {
			if rec := taskChange(acts.Store[i]); rec != nil && change(rec) {
				acts.Store[i].Value = proto.Encode(rec)
			}
		}
	}
	// wishes makes the first task of each stage that runs and that may be chosen get a second attempt.
	wishes := func(choose func(*task) bool) func(*simScheduler, Event) Event {
		return func(sch *simScheduler, event Event) Event {
			if _, offers := event.(Offers); !offers || !sch.core.resumed {
				return event
			}
			for _, id := range sortedKeys(sch.core.runs) {
				r := sch.core.runs[id]
				for _, st := range r.stages {
					at := slices.IndexFunc(st.tasks, func(t *task) bool {
						return t != nil && t.current != nil && t.second == nil && !r.ending() && choose(t)
					})
					if at >= 0 {
						sch.core.wishFor(st, []laggard{{at, "made to"}})
					}
				}
			}
			return event
		}
	}
	return []mutant{
		{name: "a second attempt goes to the agent of the first", breaks: secondApart, actions: func(_ *simScheduler, acts *Actions) {
			eachTask(acts, func(rec *proto.Task) bool {
				last := len(rec.Attempts) - 1
				if last < 1 || rec.Attempts[last].Second == "" || !lives(&rec.Attempts[last]) {
					return false
				}
				for i := range rec.Attempts[:last] {
					if lives(&rec.Attempts[i]) {
						rec.Attempts[last].AgentID = rec.Attempts[i].AgentID
					}
				}
				return true
			})
		}},
		{name: "whoever runs gets a second attempt", breaks: secondFew, event: wishes(func(t *task) bool { return t.stage.name != "stage3" })},
		{name: "nobody counts second attempts", breaks: secondFew, event: wishes(func(t *task) bool {
			return len(t.stage.tasks) >= laggardLeast && 2*t.stage.finished >= len(t.stage.tasks) && t.current.rec().Running != nil && t.current.heard.Sub(t.current.rec().Launched) > laggardAge
		})},
		{name: "who was not first uses up a retry", breaks: secondFree, actions: func(_ *simScheduler, acts *Actions) {
			eachTask(acts, func(rec *proto.Task) bool {
				if !slices.ContainsFunc(rec.Attempts, func(a proto.Attempt) bool { return isSuperseded(&a) }) {
					return false
				}
				rec.Free++
				return true
			})
		}},
		{name: "who was not first still counts", breaks: countedOnce, actions: func(_ *simScheduler, acts *Actions) {
			eachTask(acts, func(rec *proto.Task) bool {
				for i := range rec.Attempts {
					if a := &rec.Attempts[i]; isSuperseded(a) {
						a.GivenUp = false
						return true
					}
				}
				return false
			})
		}},
	}
}
