package scheduler

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	askFirst   = 5 * time.Second // before Mesos is asked again for tasks of which it has said nothing
	askMost    = time.Minute
	askAllSoon = 30 * time.Second // the first one after a subscription
	askAtOnce  = 500              // tasks in one call
)

// subscribed begins anew with a master: offers are void, and everything that has not ended is asked about.
func (c *Core) subscribed(s Subscribed) {
	c.identify(s.FrameworkID)
	c.mesos.master, c.mesos.since = s.Master, c.now
	c.mesos.asking, c.mesos.calls = asking{}, callRepeats{}
	for _, share := range c.demand.shares {
		share.restart()
	}
	c.touchWaiting()
	c.count(MetricSubscriptions, 1)
	c.note(slog.LevelInfo, "subscribed", slog.String("master", s.Master), slog.String("framework", s.FrameworkID))

	for _, a := range c.unended() {
		if rec := a.rec(); rec.KillRequested != nil {
			c.sendKill(a, "repeat")
		}
		a.asking = false
		c.mesos.asking.add(a)
		a.rearm(c)
	}
	c.mesos.asking.restart(c)
}

// unended lists all attempts that have not ended for good, by executor.
func (c *Core) unended() []*attempt {
	var all []*attempt
	for _, id := range sortedKeys(c.executors) {
		all = append(all, c.executors[id].attempts...)
	}
	return all
}

// disconnected: no call can be made and nothing can be heard, so nothing is concluded from silence either.
func (c *Core) disconnected(d Disconnected) {
	if !c.mesos.up() {
		return
	}
	c.mesos.master = ""
	c.mesos.asking, c.mesos.calls = asking{}, callRepeats{}
	c.touchWaiting()
	c.note(slog.LevelWarn, "disconnected", slog.String("reason", d.Reason))
}

// asking is the reconciliation that goes on. It is never stored: a new subscription begins it anew.
type asking struct {
	alarm
	tasks   []*attempt // asked about, not yet answered
	now     []*attempt // to be asked about at the end of this step
	next    time.Time
	wait    time.Duration
	nextAll time.Time // implicitly
}

func (s *asking) add(a *attempt) {
	if !a.asking {
		a.asking = true
		s.tasks = append(s.tasks, a)
	}
}

// ask puts one attempt on the list, and asks for it at the end of the step, together with others.
func (c *Core) ask(a *attempt) {
	s := &c.mesos.asking
	s.add(a)
	s.now = append(s.now, a)
	if s.next.IsZero() {
		s.wait = askFirst
		s.next = c.now.Add(s.wait)
	}
	c.arm(s, s.next)
}

// restart asks for everything on the list at once and begins with the shortest wait.
func (s *asking) restart(c *Core) {
	s.wait = askFirst
	s.nextAll = c.now.Add(askAllSoon)
	s.next = time.Time{}
	c.arm(s, s.nextAll)
	if len(s.tasks) > 0 {
		c.reconcile(s.tasks)
		s.next = c.now.Add(c.jitter(s.wait))
		c.arm(s, s.next)
	}
}

// fire asks again for those that were not answered, and from time to time for all that Mesos knows.
func (s *asking) fire(c *Core) {
	if !c.mesos.up() {
		return
	}
	if !c.now.Before(s.nextAll) {
		c.call(Reconcile{})
		s.nextAll = c.now.Add(c.cfg.ReconcileEvery)
	}
	if !s.next.IsZero() && !c.now.Before(s.next) {
		s.tasks = slices.DeleteFunc(s.tasks, func(a *attempt) bool {
			if a.over() || a.task.dropped {
				a.asking = false
			}
			return !a.asking
		})
		s.next = time.Time{}
		if len(s.tasks) > 0 {
			c.reconcile(s.tasks)
			s.wait = min(2*s.wait, askMost)
			s.next = c.now.Add(c.jitter(s.wait))
		}
	}
	c.arm(s, earlier(s.nextAll, s.next))
}

// flush asks for those that ask has gathered.
func (s *asking) flush(c *Core) {
	if len(s.now) > 0 && c.mesos.up() {
		c.reconcile(s.now)
	}
	s.now = nil
}

// reconcile asks Mesos for the states of attempts.
func (c *Core) reconcile(attempts []*attempt) {
	for batch := range slices.Chunk(attempts, askAtOnce) {
		refs := make([]TaskRef, 0, len(batch))
		for _, a := range batch {
			refs = append(refs, TaskRef{MesosID: a.rec().MesosID, AgentID: a.rec().AgentID})
		}
		c.call(Reconcile{Tasks: refs})
		c.count(MetricReconciles, float64(len(refs)))
	}
}

// callRepeats are offers to be given back once more, because the call that did so failed: Mesos would wait for ever.
type callRepeats struct {
	alarm
	offers  []string
	refused map[string]int // how often giving an offer back was refused
}

// mostRefused is how often giving an offer back may be refused until it is taken for gone. A master refuses what it does
// not understand, so that one refusal says little of the offer.
const mostRefused = 5

func (r *callRepeats) fire(c *Core) {
	if len(r.offers) == 0 || !c.mesos.up() {
		return
	}
	c.call(Decline{OfferIDs: r.offers, Refuse: c.cfg.Refuse, Reason: repeated})
	r.offers = nil
}

const repeated = "repeated"

// callFailed handles a call that Mesos refused (4xx), or of which it is not known whether it arrived.
func (c *Core) callFailed(f CallFailed) {
	c.count(MetricCallsRefused, 1, callName(f.Call))
	c.note(slog.LevelWarn, "call failed", slog.String("call", callName(f.Call)), slog.Int("status", f.Status), slog.String("reason", f.Reason))
	refused := f.Status >= 400 && f.Status < 500
	switch call := f.Call.(type) {
	case Accept:
		for i := range call.Launches {
			c.launchFailed(call.Launches[i].MesosID, refused, f.Reason)
		}
		c.giveBack(call.OfferIDs)
	case Decline:
		if refused {
			call.OfferIDs = c.mesos.calls.stillThere(call.OfferIDs)
		}
		c.giveBack(call.OfferIDs)
	case Suppress:
		c.flowFailed(call.Roles)
	case Revive:
		c.flowFailed(call.Roles)
	case Reconcile:
		for _, ref := range call.Tasks {
			if a := c.attempts[ref.MesosID]; a != nil && !a.over() && c.mesos.up() {
				c.mesos.asking.add(a)
			}
		}
		if s := &c.mesos.asking; c.mesos.up() && len(s.tasks) > 0 && s.next.IsZero() {
			s.next = c.now.Add(askFirst)
			c.arm(s, s.next)
		}
	}
}

// stillThere counts a refusal, and leaves out the offers that are taken for gone.
func (r *callRepeats) stillThere(offers []string) []string {
	if r.refused == nil {
		r.refused = map[string]int{}
	}
	var there []string
	for _, id := range offers {
		if r.refused[id]++; r.refused[id] < mostRefused {
			there = append(there, id)
		} else {
			delete(r.refused, id)
		}
	}
	return there
}

// giveBack declines offers once more after a moment, if they are still this subscription's.
func (c *Core) giveBack(offers []string) {
	if !c.mesos.up() || len(offers) == 0 {
		return
	}
	r := &c.mesos.calls
	r.offers = append(r.offers, offers...)
	c.arm(r, c.now.Add(callAgain))
}

// launchFailed: a refused launch never began; of one whose call got lost nobody knows, so Mesos is asked.
func (c *Core) launchFailed(mesosID string, refused bool, reason string) {
	a := c.attempts[mesosID]
	switch {
	case a == nil || a.over():
	case refused:
		c.conclude(a, outcome{
			state:     proto.TASK_LOST,
			settled:   true,
			unborn:    true,
			uncharged: true,
			failure:   &proto.Failure{Class: proto.CLASS_OURS, Kind: "lost", Message: "Mesos refused the launch: " + cmp.Or(reason, "no reason given")},
		})
	case c.mesos.up():
		c.ask(a)
	}
}

func callName(call Call) string {
	switch call.(type) {
	case Accept:
		return "accept"
	case Decline:
		return "decline"
	case Kill:
		return "kill"
	case Acknowledge:
		return "acknowledge"
	case SendMessage:
		return "message"
	case Reconcile:
		return "reconcile"
	case AcceptInverse:
		return "accept_inverse"
	case DeclineInverse:
		return "decline_inverse"
	case Suppress:
		return "suppress"
	case Revive:
		return "revive"
	}
	return "unknown"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
