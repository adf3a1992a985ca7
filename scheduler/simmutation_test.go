package scheduler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// mutant is a way to break the code on purpose. Nil hooks change nothing.
type mutant struct {
	name   string
	breaks invariant

	event        func(*simScheduler, Event) Event // what the core gets instead of an event
	actions      func(*simScheduler, *Actions)    // changes what the core says
	sendsFirst   func(Call) bool                  // calls that are sent before anything is stored
	answersFirst bool                             // commands are answered before anything is stored
	unfenced     bool                             // the store lets everybody write
	goesOn       bool                             // a refused commit stops nobody
	comesBack    bool                             // who leads no more subscribes again
}

// TestMutations breaks the code once for each invariant, and more often, and sees that the simulation finds that, and
// what.
func TestMutations(t *testing.T) {
	const most = 400 // seeds
	for _, m := range mutants() {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(most) {
				broken := newSimulation(seed+1, &m, false).run()
				if broken == nil {
					continue
				}
				t.Logf("found with seed %d: %s", seed+1, broken)
				if broken.invariant != m.breaks {
					s := newSimulation(seed+1, &m, true)
					t.Errorf("want a breach of %q, got %s\n%s", m.breaks, s.run(), strings.Join(s.last(), "\n"))
				}
				return
			}
			t.Errorf("not found with %d seeds", most)
		})
	}
}

func isAccept(call Call) bool { _, ok := call.(Accept); return ok }

func isAcknowledge(call Call) bool { _, ok := call.(Acknowledge); return ok }

// without takes calls out of what the core says.
func without(drop func(*simScheduler, Call) bool) func(*simScheduler, *Actions) {
	return func(sch *simScheduler, acts *Actions) {
		acts.Calls = slices.DeleteFunc(acts.Calls, func(call Call) bool { return drop(sch, call) })
	}
}

// unstored takes changes out of what is stored.
func unstored(drop func(Change) bool) func(*simScheduler, *Actions) {
	return func(_ *simScheduler, acts *Actions) {
		acts.Store = slices.DeleteFunc(acts.Store, drop)
	}
}

// taskChange decodes the task of a change; nil if it is none.
func taskChange(change Change) *proto.Task {
	if change.Key.Kind != KindTask || change.Value == nil {
		return nil
	}
	return mustDecode(change.Value, &proto.Task{})
}

func mutants() []mutant {
	return slices.Concat(storeMutants(), offerMutants(), taskMutants(), leaderMutants(), coreMutants(), rolloutMutants(), secondMutants())
}

func storeMutants() []mutant {
	return []mutant{
		{name: "launches are not stored", breaks: intentStored, actions: unstored(func(change Change) bool {
			rec := taskChange(change)
			return rec != nil && rec.State == proto.TASK_LAUNCHING
		})},
		{name: "executors are not stored", breaks: intentStored, actions: unstored(func(change Change) bool {
			return change.Key.Kind == KindExecutor && change.Value != nil
		})},
		{name: "launches are sent before they are stored", breaks: intentStored, sendsFirst: isAccept},
		{name: "updates are acknowledged before they are stored", breaks: ackStored, sendsFirst: isAcknowledge},
		{name: "ends are acknowledged and not stored", breaks: ackStored, actions: unstored(func(change Change) bool {
			rec := taskChange(change)
			return rec != nil && slices.ContainsFunc(rec.Attempts, func(a proto.Attempt) bool { return a.State == proto.TASK_FAILED })
		})},
		{name: "a channel is not stored", breaks: recordsSayAll, actions: unstored(func(change Change) bool {
			return change.Key.Kind == KindChannel
		})},
		{name: "commands are answered before they are stored", breaks: runsEnd, answersFirst: true},
		{name: "failures are told as successes", breaks: runsEnd, actions: func(_ *simScheduler, acts *Actions) {
			for i, change := range acts.Store {
				if change.Key.Kind != KindRun || change.Value == nil {
					continue
				}
				if rec := mustDecode(change.Value, &proto.Run{}); rec.State == proto.RUN_FAILED {
					rec.State = proto.RUN_SUCCEEDED
					acts.Store[i].Value = proto.Encode(rec)
				}
			}
		}},
	}
}

func offerMutants() []mutant {
	return []mutant{
		{name: "offers are used twice", breaks: offersKept, event: func(sch *simScheduler, event Event) Event {
			// It forgets that it has used those of the last time.
			if offers, ok := event.(Offers); ok {
				offers.Offers = append(slices.Clone(offers.Offers), sch.earlier...)
				sch.earlier = slices.Clone(offers.Offers)
				return offers
			}
			return event
		}},
		{name: "rescinds are not heard", breaks: offersKept, event: func(sch *simScheduler, event Event) Event {
			// Offers are held until the next tick, so that they can be taken back.
			switch e := event.(type) {
			case Offers:
				sch.earlier = append(sch.earlier, e.Offers...)
				return Rescind{}
			case Rescind:
				return Rescind{}
			case Subscribed, Disconnected:
				sch.earlier = nil
			case Tick:
				held := sch.earlier
				sch.earlier = nil
				return Offers{held}
			}
			return event
		}},
		{name: "offers seem larger than they are", breaks: offersKept, event: func(_ *simScheduler, event Event) Event {
			offers, ok := event.(Offers)
			if !ok {
				return event
			}
			larger := slices.Clone(offers.Offers)
			for i := range larger {
				larger[i].CPUs *= 2
				larger[i].Memory *= 2
			}
			return Offers{larger}
		}},
		{name: "roles are mixed", breaks: offersKept, event: func(sch *simScheduler, event Event) Event {
			offers, ok := event.(Offers)
			if !ok {
				return event
			}
			mixed := slices.Clone(offers.Offers)
			for i := range mixed {
				mixed[i].Role = simRoles[sch.s.rng.IntN(len(simRoles))]
			}
			return Offers{mixed}
		}},
		{name: "all roles are suppressed together", breaks: neverSilenced, actions: func(_ *simScheduler, acts *Actions) {
			for i, call := range acts.Calls {
				if _, suppress := call.(Suppress); suppress {
					acts.Calls[i] = Suppress{Roles: simRoles}
				}
			}
		}},
		{name: "offers are not declined", breaks: offersBack, actions: without(func(_ *simScheduler, call Call) bool {
			_, decline := call.(Decline)
			return decline
		})},
		{name: "roles are not revived", breaks: neverSilenced, actions: without(func(_ *simScheduler, call Call) bool {
			_, revive := call.(Revive)
			return revive
		})},
		{name: "inverse offers are not answered", breaks: askedBack, actions: without(func(_ *simScheduler, call Call) bool {
			_, accept := call.(AcceptInverse)
			_, decline := call.(DeclineInverse)
			return accept || decline
		})},
		{name: "inverse offers are not heard", breaks: askedBack, event: func(_ *simScheduler, event Event) Event {
			if _, asked := event.(InverseOffers); asked {
				return Tick{}
			}
			return event
		}},
		{name: "maintenance is not heard of", breaks: endsBefore, event: func(sch *simScheduler, event Event) Event {
			switch e := event.(type) {
			case Offers:
				deaf := slices.Clone(e.Offers)
				for i := range deaf {
					deaf[i].Unavailable = nil
				}
				return Offers{deaf}
			case InverseOffers:
				sch.asked = map[string]simAsked{}
				return Tick{}
			}
			return event
		}},
		{name: "nothing is moved before maintenance", breaks: endsBefore, actions: without(func(sch *simScheduler, call Call) bool {
			kill, ok := call.(Kill)
			a := sch.core.attempts[kill.MesosID]
			return ok && a != nil && a.rec().Failure != nil && a.rec().Failure.Kind == "drained"
		})},
	}
}

func taskMutants() []mutant {
	return []mutant{
		{name: "a late end counts, too", breaks: countedOnce, event: func(sch *simScheduler, event Event) Event {
			u, ok := event.(Update)
			if !ok || u.State != "TASK_FINISHED" {
				return event
			}
			if a := sch.core.attempts[u.MesosID]; a != nil && a.rec().GivenUp && a.task.rec.State == proto.TASK_FINISHED {
				a.task.rec.State = proto.TASK_RUNNING // it forgets that there is a result
			}
			return event
		}},
		{name: "lost attempts count as finished", breaks: countedOnce, event: func(_ *simScheduler, event Event) Event {
			if u, ok := event.(Update); ok && u.State == "TASK_FAILED" && u.Reason == "REASON_EXECUTOR_TERMINATED" {
				u.State, u.Data = "TASK_FINISHED", proto.Encode(&proto.TaskResult{})
				u.Source = fromExecutor
				return u
			}
			return event
		}},
		{name: "a back-off never ends", breaks: runsEnd, actions: func(sch *simScheduler, acts *Actions) {
			for i, change := range acts.Store {
				rec := taskChange(change)
				if rec == nil || rec.NotBefore == nil {
					continue
				}
				never := rec.NotBefore.Add(1000 * time.Hour)
				rec.NotBefore = &never
				acts.Store[i].Value = proto.Encode(rec)
				sch.core.attempts[rec.Attempts[0].MesosID].task.rec.NotBefore = &never
			}
		}},
		{name: "strangers live on", breaks: aliveUnknown, actions: without(func(sch *simScheduler, call Call) bool {
			kill, ok := call.(Kill)
			return ok && sch.core.attempts[kill.MesosID] == nil
		})},
		{name: "given up ones live on", breaks: aliveUnknown, actions: without(func(sch *simScheduler, call Call) bool {
			kill, ok := call.(Kill)
			a := sch.core.attempts[kill.MesosID]
			return ok && a != nil && !a.live()
		})},
		{name: "executors change while they live", breaks: identities, event: func(sch *simScheduler, event Event) Event {
			if _, subscribed := event.(Subscribed); !subscribed || !sch.leads() {
				return event
			}
			for _, id := range sortedKeys(sch.core.executors) {
				rec := sch.core.executors[id].rec
				rec.Info = append(slices.Clone(rec.Info), " changed"...)
				sch.s.store.apply(Change{Key: Key{KindExecutor, id}, Value: proto.Encode(rec)})
			}
			return event
		}},
	}
}

func leaderMutants() []mutant {
	return []mutant{
		{name: "the store has no fence", breaks: oldLeader, unfenced: true},
		{name: "a refused commit stops nobody", breaks: oldLeader, goesOn: true},
		{name: "who leads no more subscribes again", breaks: oldLeader, comesBack: true},
		{name: "nobody steps down", breaks: oldLeader, actions: func(sch *simScheduler, _ *Actions) { sch.core.leading = true }},
	}
}

func coreMutants() []mutant {
	return []mutant{
		{name: "the core rolls dice of its own", breaks: deterministic, event: func(sch *simScheduler, event Event) Event {
			sch.core.cfg.Refuse = time.Duration(sch.s.rng.IntN(1000)) * time.Second
			return event
		}},
		{name: "the core panics", breaks: unharmed, event: func(sch *simScheduler, event Event) Event {
			if _, ok := event.(CallFailed); ok {
				sch.core.agents = nil // the next offer writes to it
			}
			return event
		}},
	}
}
