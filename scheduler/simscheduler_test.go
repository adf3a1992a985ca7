package scheduler

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// simScheduler is one process of the scheduler: a core, and what package loop and the connection do around it. It may
// have lost its leadership without knowing.
type simScheduler struct {
	s          *simulation
	epoch      int // under which it writes
	core       *Core
	twin       *Core   // stepped with the same inputs: must do the same; nil in most simulations
	inbox      []Event // on their way to it
	turn       *simTurn
	committed  *simTurn  // the last one that was stored
	ordered    []simCall // sent, one after the other
	acks       []simCall // sent beside them
	stream     int       // its subscription; 0: none
	clock      time.Duration
	ticked     time.Time
	ticks      int
	paused     time.Time               // it is stopped until then
	offers     map[string]Offer        // that it has been given and may use
	windows    map[string]InverseOffer // by agent: the last one, as long as it holds
	asked      map[string]simAsked     // inverse offers without an answer
	suppressed map[string]bool         // roles for which it has asked that
	gated      bool                    // its lease says that it must not act: nothing of it goes out any more
	failedOver bool                    // another instance has subscribed: it ends when it has read what came before
	refused    bool                    // a commit was: it must do nothing any more
	down       bool                    // its core has been told that it leads no more
	earlier    []Offer                 // for mutants
	ledger     *simLedger
	said       map[string]*proto.Task // tasks as its core has had them stored last
}

// simTurn is what followed from some events and is not stored yet.
type simTurn struct {
	changes []Change
	calls   []Call
	replies []Reply
}

// intends says whether a turn has stored that attempt of a task, whatever became of it in the same turn.
func (t *simTurn) intends(task string, number uint32) bool {
	return t != nil && slices.ContainsFunc(t.changes, func(change Change) bool {
		return change.Key == Key{KindTask, task} && change.Value != nil && len(mustDecode(change.Value, &proto.Task{}).Attempts) >= int(number)
	})
}

// simAsked is an inverse offer, and how often its scheduler's clock had ticked when it came.
type simAsked struct {
	offer InverseOffer
	ticks int
}

type simCall struct {
	call   Call
	stream int
}

// start makes a process that leads.
func (s *simulation) start() *simScheduler {
	epoch, all := s.store.lead()
	changes, err := Migrate(all, "simulated")
	if err != nil {
		s.breach(recordsSayAll, "what is stored cannot be migrated: %v", err)
	}
	if len(changes) > 0 {
		if err := s.store.commit(epoch, changes); err != nil {
			s.breach(oldLeader, "scheduler %d leads, but its first commit is refused: %v", epoch, err)
		}
		all = s.store.records()
	}
	sch := &simScheduler{s: s, epoch: epoch, offers: map[string]Offer{}, suppressed: map[string]bool{},
		said: map[string]*proto.Task{}, asked: map[string]simAsked{}, windows: map[string]InverseOffer{}, ticked: s.now}
	if s.faults && s.rng.IntN(4) == 0 {
		sch.clock = time.Duration(s.rng.IntN(600)-300) * time.Second
	}
	s.cfg.Roles = simRoles
	if s.faults && s.rng.IntN(6) == 0 {
		s.cfg.Roles = simRoles[:1]
	}
	sch.core = s.load(all)
	sch.ledger = s.ledger()
	if s.twins {
		sch.twin = s.load(all)
	}
	s.tracef("scheduler %d leads", epoch)
	return sch
}

func (s *simulation) load(all []Record) *Core {
	core, err := New(s.cfg, all)
	if err != nil {
		s.breach(recordsSayAll, "what is stored cannot be loaded: %v", err)
	}
	return core
}

func (sch *simScheduler) now() time.Time { return sch.s.now.Add(sch.clock) }

func (sch *simScheduler) leads() bool { return sch.s.store.epoch == sch.epoch }

// unsubscribed: calls that were not sent yet are reported as failed, but for an ACCEPT that is on its way, of which
// nobody hears.
func (sch *simScheduler) unsubscribed() {
	sch.stream = 0
	for _, lane := range []*[]simCall{&sch.ordered, &sch.acks} {
		for i, c := range *lane {
			if _, accept := c.call.(Accept); accept && i == 0 {
				continue
			}
			sch.inbox = append(sch.inbox, CallFailed{Call: c.call, Reason: "the subscription has ended"})
		}
		*lane = nil
	}
}

// advance lets the process do one thing: store a turn and act, or take in what has come.
func (sch *simScheduler) advance() {
	switch {
	case sch.s.now.Before(sch.paused):
	case sch.turn != nil:
		sch.finishTurn()
	case sch.failedOver && len(sch.inbox) == 0:
		sch.s.tracef("scheduler %d ends: another one has subscribed", sch.epoch)
		sch.s.end(sch)
	default:
		var batch []Event
		for n := 1 + sch.s.rng.IntN(8); n > 0 && len(sch.inbox) > 0; n-- {
			batch = append(batch, sch.next())
		}
		if len(batch) == 0 || sch.s.now.Sub(sch.ticked) >= time.Second {
			batch = append(batch, Tick{})
		}
		sch.take(batch)
	}
}

// next is the event that comes next. Updates, messages and what is known of failures may overtake others.
func (sch *simScheduler) next() Event {
	at := 0
	if sch.s.faults && sch.s.rng.IntN(5) == 0 {
		at = sch.s.rng.IntN(min(len(sch.inbox), 8))
	}
	for ; at > 0; at-- {
		if mayOvertake(sch.inbox[at], sch.inbox[:at]) {
			break
		}
	}
	event := sch.inbox[at]
	sch.inbox = append(sch.inbox[:at:at], sch.inbox[at+1:]...)
	return event
}

func mayOvertake(event Event, earlier []Event) bool {
	for _, other := range earlier {
		switch other.(type) {
		case Subscribed, Disconnected:
			return false
		}
	}
	switch e := event.(type) {
	case Update:
		for _, other := range earlier {
			if u, ok := other.(Update); ok && u.MesosID == e.MesosID {
				return false // updates of one task stay in order
			}
		}
		return true
	case Message, Failure, Command:
		return true
	}
	return false
}

// take steps the core through some events.
func (sch *simScheduler) take(batch []Event) {
	s := sch.s
	turn := &simTurn{}
	for _, event := range batch {
		sch.learn(event)
		if _, tick := event.(Tick); tick {
			sch.ticked = sch.s.now
			sch.ticks++
		}
		if f, failed := event.(CallFailed); failed && f.Status == 403 && sch.failedOver {
			continue // nobody is told: the connection has ended for good
		}
		if s.mutant != nil && s.mutant.event != nil {
			event = s.mutant.event(sch, event)
		}
		in := Input{Now: sch.now(), Random: s.rng.Uint64(), Event: event}
		if s.tracing {
			s.tracef("%s to %d: %T %s", s.now.Format("15:04:05.000"), sch.epoch, event, briefEvent(event))
		}
		acts := sch.core.Step(in)
		if sch.twin != nil {
			if again := sch.twin.Step(in); !reflect.DeepEqual(acts, again) {
				s.breach(deterministic, "the same input led to other actions:\n%+v\n%+v", acts, again)
			}
		}
		if s.mutant != nil && s.mutant.actions != nil {
			s.mutant.actions(sch, &acts)
		}
		s.checkSilence(sch, event, &acts)
		s.checkDecided(sch, event, &acts)
		s.checkRollouts(sch, &acts)
		turn.changes = append(turn.changes, acts.Store...)
		turn.calls = append(turn.calls, acts.Calls...)
		turn.replies = append(turn.replies, acts.Replies...)
	}
	s.traceTurn(turn)
	sch.turn = turn
	if s.mutant == nil {
		return
	}
	if s.mutant.sendsFirst != nil {
		turn.calls = sch.sendSome(turn.calls, s.mutant.sendsFirst)
	}
	if s.mutant.answersFirst {
		for _, reply := range turn.replies {
			s.replied(reply)
		}
		turn.replies = nil
	}
}

// learn keeps the harness's own account of the offers that the process may use.
func (sch *simScheduler) learn(event Event) {
	switch e := event.(type) {
	case Subscribed, Disconnected:
		clear(sch.offers)
		clear(sch.suppressed)
		clear(sch.asked)
		clear(sch.windows)
	case Offers:
		for _, o := range e.Offers {
			sch.offers[o.ID] = o
			delete(sch.windows, o.AgentID) // it says itself what holds now
		}
	case InverseOffers:
		for _, o := range e.Offers {
			sch.asked[o.ID] = simAsked{o, sch.ticks}
			sch.windows[o.AgentID] = o
		}
	case RescindInverse:
		delete(sch.asked, e.OfferID)
		for _, agent := range sortedKeys(sch.windows) {
			if sch.windows[agent].ID == e.OfferID {
				delete(sch.windows, agent)
			}
		}
	case Rescind:
		delete(sch.offers, e.OfferID)
	}
}

// finishTurn stores what was decided, and then acts. The process may end at any point of that.
func (sch *simScheduler) finishTurn() {
	s, turn := sch.s, sch.turn
	sch.turn = nil
	if s.crash() {
		s.tracef("scheduler %d is killed before it stores", sch.epoch)
		s.end(sch)
		return
	}
	if len(turn.changes) > 0 && !sch.commit(turn) {
		return
	}
	for _, reply := range turn.replies {
		if s.crash() {
			s.tracef("scheduler %d is killed before it answers", sch.epoch)
			s.end(sch)
			return
		}
		s.replied(reply)
	}
	for i := range turn.calls {
		if s.crash() {
			s.tracef("scheduler %d is killed before its call %d", sch.epoch, i+1)
			s.end(sch)
			return
		}
		sch.send(turn.calls[i])
	}
	s.checkAfter(sch)
}

// commit says whether the process may go on. If not, its core is ahead of the store, or may be, and is thrown away.
func (sch *simScheduler) commit(turn *simTurn) bool {
	s := sch.s
	if s.crash() {
		s.tracef("a commit of scheduler %d fails", sch.epoch)
		s.end(sch)
		return false
	}
	if err := s.store.commit(sch.epoch, turn.changes); err != nil {
		s.tracef("a commit of scheduler %d is refused", sch.epoch)
		sch.refused = true
		if s.mutant != nil && s.mutant.goesOn {
			for _, call := range turn.calls {
				sch.send(call)
			}
		}
		s.end(sch)
		return false
	}
	sch.committed = turn
	s.checkStored(sch, turn.changes)
	if s.crash() {
		s.tracef("the answer to a commit of scheduler %d gets lost", sch.epoch)
		s.end(sch)
		return false
	}
	return true
}

// send hands a call to the connection.
func (sch *simScheduler) send(call Call) {
	sch.s.checkSent(sch, call)
	c := simCall{call, sch.stream}
	if _, ack := call.(Acknowledge); ack {
		sch.acks = append(sch.acks, c)
	} else {
		sch.ordered = append(sch.ordered, c)
	}
}

// sendSome sends the calls that are picked, and returns the others.
func (sch *simScheduler) sendSome(calls []Call, pick func(Call) bool) (others []Call) {
	for _, call := range calls {
		if pick(call) {
			sch.send(call)
		} else {
			others = append(others, call)
		}
	}
	return others
}

// deliver lets one call arrive at the master, or be refused, or get lost.
func (sch *simScheduler) deliver() {
	s := sch.s
	lane := &sch.ordered
	if len(*lane) == 0 || len(sch.acks) > 0 && s.rng.IntN(2) == 0 {
		lane = &sch.acks
	}
	if len(*lane) == 0 {
		return
	}
	at := 0
	if s.faults && s.rng.IntN(3) == 0 {
		for at = s.rng.IntN(len(*lane)); !mayGo((*lane)[at].call, (*lane)[:at]); {
			at--
		}
	}
	c := (*lane)[at]
	*lane = slices.Delete(*lane, at, at+1)
	if sch.gated && sch.stream != 0 {
		s.master.leave(sch)
	}
	if c.stream == 0 || sch.gated {
		sch.inbox = append(sch.inbox, CallFailed{Call: c.call, Reason: "there is no subscription"})
		return
	}
	_, accept := c.call.(Accept)
	switch n := s.rng.IntN(400); {
	case s.faults && n < 3:
		status := 400
		if n == 0 {
			status = 503
		}
		s.tracef("refused with %d: %s", status, describeCall(c.call))
		sch.inbox = append(sch.inbox, CallFailed{Call: c.call, Status: status, Reason: "refused"})
	case s.faults && n < 6:
		arrives := n%2 == 0
		s.tracef("its answer gets lost (arrives: %v): %s", arrives, describeCall(c.call))
		if arrives {
			s.master.arrive(sch, c.stream, c.call)
		}
		if accept && sch.stream == c.stream && s.master.subscriber == sch {
			s.master.disconnect() // so that it cannot arrive any more
		} else if !accept {
			sch.inbox = append(sch.inbox, CallFailed{Call: c.call, Reason: "connection reset"})
		}
	default:
		if failed := s.master.arrive(sch, c.stream, c.call); failed != nil {
			sch.inbox = append(sch.inbox, *failed)
		}
	}
}

// mayGo says whether a call may overtake those before it: see rule 3 of package mesos.
func mayGo(call Call, before []simCall) bool {
	lane, together := simLane(call)
	if !together {
		return len(before) == 0
	}
	return !slices.ContainsFunc(before, func(c simCall) bool {
		other, together := simLane(c.call)
		return !together || other == lane && lane != ""
	})
}

// simLane is the agent for whose sake a call keeps its order, or none. Calls that go alone overtake nothing, and
// nothing overtakes them.
func simLane(call Call) (agent string, together bool) {
	switch call := call.(type) {
	case Accept:
		return call.AgentID, true
	case Kill:
		return call.AgentID, call.AgentID != ""
	case Acknowledge:
		return call.AgentID, true
	case Decline, AcceptInverse, DeclineInverse:
		return "", true
	}
	return "", false
}

// subscribe begins a subscription under the ID that is stored, or that has come since.
func (sch *simScheduler) subscribe() {
	s := sch.s
	if !sch.leads() {
		s.breach(oldLeader, "scheduler %d subscribes although another one leads", sch.epoch)
	}
	s.tracef("scheduler %d subscribes", sch.epoch)
	as := sch.core.View().Framework
	for _, event := range sch.inbox {
		if e, ok := event.(Subscribed); ok {
			as.ID = e.FrameworkID
		}
	}
	s.master.subscribe(sch, as, sch.core.Roles())
}

// briefEvent makes events short enough for a trace.
func briefEvent(event Event) string {
	switch e := event.(type) {
	case Update:
		return fmt.Sprintf("%s %s %s %s", e.MesosID, e.State, e.Reason, e.Source)
	case Message:
		return e.ExecutorID
	case Tick:
		return ""
	case CallFailed:
		return fmt.Sprintf("%d %s: %s", e.Status, e.Reason, describeCall(e.Call))
	case Offers:
		text := ""
		for _, o := range e.Offers {
			text += fmt.Sprintf(" %s of %s for %s: %.4g cpus, %d MiB", o.ID, o.AgentID, o.Role, o.CPUs, o.Memory>>20)
			if o.Unavailable != nil {
				text += " until " + o.Unavailable.Format("15:04:05")
			}
		}
		return text
	case Command:
		if body, ok := e.Body.(PutJob); ok {
			return fmt.Sprintf("put %s", body.Spec)
		}
		return fmt.Sprintf("%T%+v", e.Body, e.Body)
	}
	return fmt.Sprintf("%+v", event)
}
