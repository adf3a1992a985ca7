package scheduler

import (
	"slices"
	"strconv"
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// simMaster is a Mesos master in plain Go. Nothing in it happens by itself: the simulation picks what happens next, and
// says what breaks. What the agents do is in simagent_test.go.
type simMaster struct {
	s          *simulation
	stream     int           // the subscription that counts; each has a number of its own
	subscriber *simScheduler // whose it is; nil while there is none
	roles      []string      // with which it subscribed
	suppressed map[string]bool
	framework  int // the number in its ID
	serial     int
	agents     []*simAgent
	tasks      map[string]*simTask
	taskOrder  []*simTask // those that have not ended, or of which an update is not acknowledged, oldest first
	offers     map[string]*simOffer
	offerOrder []string
	inverse    map[string]*simInverse // inverse offers that were not answered
	commits    map[string]string      // by run: the commit point; simTombstone if it was claimed for nothing
	executors  map[string]string      // by ID: the agent on which it ran
	launched   bool                   // something was, since the framework registered
	removed    bool                   // the framework was
}

const (
	simTombstone = "-"
	simInfo      = "what Mesos knows of the framework"
)

type simOffer struct {
	agent *simAgent
	role  string
	has   jobs.Resources
	made  time.Time
}

type simInverse struct{ agent *simAgent }

// filter is what was declined: nothing that is not more than that is offered again before it ends.
type filter struct {
	has   jobs.Resources
	until time.Time
}

func newSimMaster(s *simulation) *simMaster {
	return &simMaster{
		s:          s,
		suppressed: map[string]bool{},
		tasks:      map[string]*simTask{},
		offers:     map[string]*simOffer{},
		inverse:    map[string]*simInverse{},
		commits:    map[string]string{},
		executors:  map[string]string{},
	}
}

func (m *simMaster) unique(prefix string) string {
	m.serial++
	return prefix + strconv.Itoa(m.serial)
}

func (m *simMaster) send(event Event) {
	if m.subscriber != nil {
		m.subscriber.inbox = append(m.subscriber.inbox, event)
	}
}

// subscribe begins a subscription. Whoever had one before is told that it failed over, once it has read what was on its
// way; offers are void.
func (m *simMaster) subscribe(sch *simScheduler, as Identity, roles []string) {
	if old := m.subscriber; old != nil && old != sch {
		old.failedOver = true
	}
	switch {
	case as.ID == "" && m.launched && !m.removed:
		m.s.breach(aliveUnknown, "a scheduler subscribes without a framework ID although tasks were launched")
	case as.ID == "":
		m.framework++
		m.launched, m.removed = false, false
	case as.ID != m.frameworkID():
		m.s.breach(identities, "a scheduler subscribes as %s, which was never given or has been removed", as.ID)
	}
	m.stream++
	m.subscriber, m.roles, sch.stream = sch, roles, m.stream
	m.voidOffers()
	for _, role := range simRoles {
		if m.s.rng.IntN(2) == 0 {
			delete(m.suppressed, role)
		}
	}
	m.send(Subscribed{FrameworkID: m.frameworkID(), Master: "http://master"})
	if string(as.Info) != simInfo {
		m.send(FrameworkUpdated{Info: []byte(simInfo)})
	}
}

func (m *simMaster) frameworkID() string { return "fw-" + strconv.Itoa(m.framework) }

// stale says whether that framework is no more.
func (m *simMaster) stale(framework int) bool { return framework != m.framework || m.removed }

// remove ends the framework for good, with all that runs of it. Agents that cannot be reached hear of that later.
func (m *simMaster) remove() {
	m.removed = true
	for _, a := range m.agents {
		if a.link == linkUp {
			m.shutDown(a)
		}
	}
	m.voidOffers()
	clear(m.suppressed)
}

func (m *simMaster) voidOffers() {
	clear(m.offers)
	m.offerOrder = nil
	clear(m.inverse)
	for _, a := range m.agents {
		if a.window != nil {
			a.window.granted, a.window.asked = false, time.Time{} // each subscription is asked anew
		}
	}
}

// disconnect ends the subscription.
func (m *simMaster) disconnect() {
	if m.subscriber != nil {
		m.leave(m.subscriber)
	}
}

// leave ends the subscription of a scheduler. Of what was on its way to it the last part is lost.
func (m *simMaster) leave(sch *simScheduler) {
	if m.subscriber == sch {
		m.subscriber = nil
		m.voidOffers()
	}
	arrives := m.s.rng.IntN(len(sch.inbox) + 1)
	var inbox []Event
	for i, event := range sch.inbox {
		if i < arrives || !fromMaster(event) {
			inbox = append(inbox, event)
		}
	}
	sch.inbox = append(inbox, Disconnected{Reason: "closed"})
	sch.unsubscribed()
}

// fromMaster says whether an event comes over the subscription.
func fromMaster(event Event) bool {
	switch event.(type) {
	case Command, CallFailed, Disconnected:
		return false
	}
	return true
}

// failover makes another master lead: it knows only what it hears from the agents that come back to it.
func (m *simMaster) failover() {
	m.disconnect()
	clear(m.suppressed)
	for _, a := range m.agents {
		a.filters = nil
		if a.link == linkUp || a.link == linkCut {
			a.link = linkRecovering
		}
	}
}

// offer offers what is free and not filtered, to one role or to two.
func (m *simMaster) offer() {
	if m.subscriber == nil {
		return
	}
	var all []Offer
	for _, a := range m.agents {
		if a.link != linkUp || a.draining {
			continue
		}
		free := m.free(a)
		if free.CPUs < 0.05 || free.Memory < 32<<20 {
			continue
		}
		parts := []jobs.Resources{free}
		if m.s.rng.IntN(5) == 0 {
			half := jobs.Resources{CPUs: free.CPUs / 2, Memory: free.Memory / 2, Disk: free.Disk / 2}
			parts = []jobs.Resources{half, minus(free, half)}
		}
		for _, part := range parts {
			roles := slices.DeleteFunc(slices.Clone(m.roles), func(role string) bool {
				return m.suppressed[role] || a.filtered(role, part, m.s.now)
			})
			if len(roles) > 0 {
				all = append(all, m.newOffer(a, roles[m.s.rng.IntN(len(roles))], part))
			}
		}
	}
	if len(all) > 0 {
		m.send(Offers{all})
	}
}

func (m *simMaster) newOffer(a *simAgent, role string, has jobs.Resources) Offer {
	id := m.unique("offer-")
	m.offers[id] = &simOffer{agent: a, role: role, has: has, made: m.s.now}
	m.offerOrder = append(m.offerOrder, id)
	o := Offer{ID: id, AgentID: a.id, Host: a.host, Role: role, CPUs: has.CPUs, Memory: has.Memory, Disk: has.Disk,
		Attributes: map[string]string{"hostname": a.host, "zone": a.zone}}
	if w := a.window; w != nil {
		start := w.start
		o.Unavailable, o.UnavailableFor = &start, w.takes
	}
	for _, e := range a.executorOrder {
		if e.alive {
			o.Executors = append(o.Executors, e.id)
		}
	}
	return o
}

func (m *simMaster) dropOffer(id string) {
	delete(m.offers, id)
	if i := slices.Index(m.offerOrder, id); i >= 0 {
		m.offerOrder = slices.Delete(m.offerOrder, i, i+1)
	}
}

// rescind takes back what of an agent is offered.
func (m *simMaster) rescind(a *simAgent) {
	for _, id := range slices.Clone(m.offerOrder) {
		if m.offers[id].agent == a {
			m.dropOffer(id)
			m.send(Rescind{id})
		}
	}
}

// arrive is a call that reaches the master. A call of another subscription is refused, whatever it says.
func (m *simMaster) arrive(sch *simScheduler, stream int, call Call) *CallFailed {
	if stream != m.stream || m.subscriber != sch {
		m.s.tracef("refused with 403, for it is of another subscription: scheduler %d", sch.epoch)
		return &CallFailed{Call: call, Status: 403, Reason: "the stream ID is not the subscription's"}
	}
	m.s.checkEffect(sch, call)
	switch call := call.(type) {
	case Accept:
		m.accept(call)
	case Decline:
		m.decline(call)
	case Revive:
		for _, role := range call.Roles {
			delete(m.suppressed, role)
			for _, a := range m.agents {
				delete(a.filters, role)
			}
		}
	case Suppress:
		for _, role := range call.Roles {
			m.suppressed[role] = true
		}
	case Kill:
		m.kill(call)
	case Acknowledge:
		m.acknowledge(call)
	case Reconcile:
		m.reconcile(call)
	case AcceptInverse:
		m.answered(call.OfferIDs, true)
	case DeclineInverse:
		m.answered(call.OfferIDs, false)
	}
	return nil
}

func (m *simMaster) answered(ids []string, granted bool) {
	for _, id := range ids {
		if o := m.inverse[id]; o != nil {
			o.agent.window.granted = granted
			delete(m.inverse, id)
		}
	}
}

func (m *simMaster) decline(call Decline) {
	for _, id := range call.OfferIDs {
		if o := m.offers[id]; o != nil {
			o.agent.refuse(o.role, o.has, m.s.now.Add(call.Refuse))
			m.dropOffer(id)
		}
	}
}

func (m *simMaster) accept(call Accept) {
	var has jobs.Resources
	var agent *simAgent
	var role string
	void := false
	for _, id := range call.OfferIDs {
		o := m.offers[id]
		if o == nil {
			void = true
			continue
		}
		m.dropOffer(id)
		agent, role = o.agent, o.role
		has = jobs.Resources{CPUs: has.CPUs + o.has.CPUs, Memory: has.Memory + o.has.Memory, Disk: has.Disk + o.has.Disk}
	}
	if void {
		for i := range call.Launches {
			m.send(Update{MesosID: call.Launches[i].MesosID, AgentID: call.AgentID, State: "TASK_DROPPED", Reason: invalidOffers, Source: "SOURCE_MASTER"})
		}
		return
	}
	for i := range call.Launches {
		has = m.launch(agent, &call.Launches[i], has)
	}
	agent.refuse(role, has, m.s.now.Add(call.Refuse))
}

func (m *simMaster) kill(call Kill) {
	t := m.tasks[call.MesosID]
	if t != nil && !m.stale(t.framework) && t.executor.agent.link == linkUp && !(final(t.known) && len(t.updates) == 0) {
		t.kill = t.kill || !m.s.fault(20)
		return
	}
	if t == nil || t.executor.agent.link != linkCut {
		m.answer(call.MesosID, call.AgentID)
	}
}

// answer says what the master knows of a task, as it does to reconciliation. It is silent about agents that it waits for.
func (m *simMaster) answer(id, agentID string) {
	u := Update{MesosID: id, AgentID: agentID, Reason: reconciliation, Source: "SOURCE_MASTER", State: "TASK_UNKNOWN"}
	agent, t := m.agent(agentID), m.tasks[id]
	if t != nil && m.stale(t.framework) {
		t = nil
	}
	switch {
	case agent == nil:
	case agent.link == linkRecovering:
		return
	case agent.markedGone:
		u.State = "TASK_GONE_BY_OPERATOR"
	case agent.link == linkUnreachable || agent.link == linkGone:
		if !m.s.fault(20) { // or the master has forgotten that agent
			u.State = "TASK_UNREACHABLE"
		}
	case t != nil && m.s.fault(3): // the agent has not recovered it yet
		u.State = "TASK_GONE"
	case t != nil && !(final(t.known) && len(t.updates) == 0):
		u.State = t.known
	default:
		u.State = "TASK_GONE"
	}
	m.send(u)
}

func (m *simMaster) reconcile(call Reconcile) {
	for _, ref := range call.Tasks {
		if !m.s.fault(10) { // it is lost among the master's many duties
			m.answer(ref.MesosID, ref.AgentID)
		}
	}
	if len(call.Tasks) > 0 {
		return
	}
	for _, t := range slices.Clone(m.taskOrder) {
		if !m.stale(t.framework) && !final(t.known) && (t.executor.agent.link == linkUp || t.executor.agent.link == linkCut) {
			m.answer(t.id, t.executor.agent.id)
		}
	}
}

// acknowledge reaches the agent, which then goes on with the next update.
func (m *simMaster) acknowledge(call Acknowledge) {
	t := m.tasks[call.MesosID]
	if t == nil || t.executor.agent.link != linkUp || len(t.updates) == 0 || string(t.updates[0].UUID) != string(call.UUID) {
		return
	}
	t.updates = t.updates[1:]
}

func (m *simMaster) agent(id string) *simAgent {
	for _, a := range m.agents {
		if a.id == id {
			return a
		}
	}
	return nil
}

// announce plans maintenance of an agent: what is offered of it is void, and it is asked for back.
func (m *simMaster) announce(a *simAgent, start time.Time, takes time.Duration) {
	a.window = &simWindow{start: start, takes: takes}
	m.rescind(a)
	m.askBack(a)
}

// askAgain is for how long an agent is not asked back once more.
const askAgain = 30 * time.Second

// askBack sends an inverse offer for an agent that goes into maintenance, from time to time.
func (m *simMaster) askBack(a *simAgent) {
	w := a.window
	if m.subscriber == nil || w == nil || w.granted || a.link != linkUp || m.s.now.Before(w.asked.Add(askAgain)) {
		return
	}
	for _, o := range m.inverse {
		if o.agent == a {
			return
		}
	}
	id := m.unique("inverse-")
	w.asked = m.s.now
	m.inverse[id] = &simInverse{agent: a}
	m.send(InverseOffers{[]InverseOffer{{ID: id, AgentID: a.id, Start: a.window.start, Duration: a.window.takes}}})
}

// callOff ends planned maintenance that has not begun.
func (m *simMaster) callOff(a *simAgent) {
	m.endWindow(a)
	m.rescind(a)
}

func (m *simMaster) endWindow(a *simAgent) {
	a.window = nil
	for _, id := range sortedKeys(m.inverse) {
		if m.inverse[id].agent == a {
			delete(m.inverse, id)
			m.send(RescindInverse{id})
		}
	}
}
