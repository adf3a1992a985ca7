package scheduler

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// bin is what one agent offers to one role, all its offers together.
type bin struct {
	offer    Offer // the first one; its numbers and ID aside, they say the same
	agent    *agent
	ids      []string
	free     jobs.Resources
	launches []Launch
	refused  string // why the shape that is being placed cannot use it
	reason   string // the same of the first shape that still waits for more; empty: it is of use, or nothing waits
}

// Why an offer is turned down or declined.
const (
	noDemand    = "no_demand"   // nothing waits for it
	otherRole   = "role"        // what waits has other roles
	outOfCPUs   = "cpus"        // too few
	outOfMemory = "memory"      // too little
	outOfDisk   = "disk"        // too little
	maintenance = "maintenance" // its agent will be away before a task would have ended
	troubled    = "back-off"    // attempts of all kinds keep failing on its agent
	avoided     = "executor"    // this owner's executor has just ended there
	constraint  = "constraint"  // of the job
	elsewhere   = "retry"       // a task failed on its agent, and waits a little for another one, or lags there
	platform    = "platform"    // the executor version has no file for it
	enough      = "enough"      // the step has launched as many tasks as one may
)

// mostLaunches is how many tasks one step may launch. They are stored together, before any of them is sent: without a
// bound, a large cluster that comes back would make a write of which no store knows how long it takes. What is left
// gets the offers of the next step, for which Mesos is asked at once.
const mostLaunches = 5000

// refusal is why an offer is of no use to a shape.
type refusal struct {
	reason string    // one of the above; empty: it is of use
	on     string    // the constraint's attribute, or the platform
	value  string    // that the agent has for the attribute
	until  time.Time // the begin of maintenance, the end of a back-off
}

// offered matches offers with what waits. No offer is held: what is not used goes back at once.
func (c *Core) offered(offers []Offer) {
	if !c.mesos.up() {
		return // they died with their subscription
	}
	c.count(MetricOffers, float64(len(offers)), "received", "")
	bins := c.bins(offers)
	byRole := map[string][]*bin{}
	for _, b := range bins {
		byRole[b.offer.Role] = append(byRole[b.offer.Role], b)
	}
	unwanted := map[string]string{} // why a role's offers go back that no shape was tried on
	for role := range byRole {
		unwanted[role] = c.whyUnwanted(role)
	}
	for _, s := range slices.Clone(c.demand.shapes) {
		if there := byRole[s.owner.role]; s.wanting && len(there) > 0 && c.launches < mostLaunches {
			c.place(s, there)
		}
	}
	if c.launches >= mostLaunches {
		for role := range byRole {
			unwanted[role] = enough
			c.demand.share(role).grow()
		}
	}
	unused := map[string][]string{}
	for _, b := range bins {
		if len(b.launches) == 0 {
			reason := cmp.Or(b.reason, unwanted[b.offer.Role])
			unused[reason] = append(unused[reason], b.ids...)
			continue
		}
		c.count(MetricOffers, float64(len(b.ids)), "used", "")
		c.call(Accept{OfferIDs: b.ids, AgentID: b.offer.AgentID, Launches: b.launches, Refuse: c.cfg.Refuse})
	}
	for _, reason := range sortedKeys(unused) {
		c.count(MetricOffers, float64(len(unused[reason])), "declined", reason)
		c.call(Decline{OfferIDs: unused[reason], Refuse: c.cfg.Refuse, Reason: reason})
	}
}

// whyUnwanted is the reason for which offers of a role go back although no task was too large for them.
func (c *Core) whyUnwanted(role string) string {
	if c.demand.share(role).wanting > 0 || c.nobodyWants() {
		return noDemand
	}
	return otherRole
}

// bins puts the offers of one agent and role together, in the order in which they came.
func (c *Core) bins(offers []Offer) []*bin {
	type place struct{ agent, role string }
	byPlace := make(map[place]*bin, len(offers))
	bins := make([]*bin, 0, len(offers))
	for i := range offers {
		o := &offers[i]
		agent := c.seen(o)
		at := place{o.AgentID, o.Role}
		b := byPlace[at]
		if b == nil {
			b = &bin{offer: *o, agent: agent}
			byPlace[at] = b
			bins = append(bins, b)
		}
		b.ids = append(b.ids, o.ID)
		b.free.CPUs += o.CPUs
		b.free.Memory += o.Memory
		b.free.Disk += o.Disk
	}
	return bins
}

// candidate is a bin that can take some of a shape's tasks.
type candidate struct {
	bin      *bin
	executor *executor // nil: a new one is needed
	artifact *proto.Artifact
	takes    int // how many tasks
	load     int // how many of the owner's attempts live there
	together bool
}

// place launches as many of a shape's tasks as fit, one search for all of them. They are spread: each goes to the agent
// on which the fewest of the run's tasks are; among equals to one where its executor runs already, then to the one with
// the most free cpus. Checks rather stay together, for they share an executor.
func (c *Core) place(s *shape, bins []*bin) {
	var fits candidates
	for _, b := range bins {
		s.tried.saw(b)
		k, why := c.fit(s, b)
		if why.reason != "" {
			s.tried.turnDown(why)
			b.refused = why.reason
			continue
		}
		fits = append(fits, clone(&k))
	}
	c.touchShape(s)
	heap.Init(&fits)
	c.placeAgain(s, &fits)
	for s.fresh() > 0 && len(fits) > 0 && c.launches < mostLaunches {
		c.launch(s, nil, fits[0])
		fits.took(0)
	}
	c.placeSeconds(s, &fits)
	for _, b := range bins {
		switch {
		case s.wanting && b.refused != "":
			b.reason = cmp.Or(b.reason, b.refused)
		case s.wanting && (!s.held.IsZero() || s.roomBeside() > 0):
			b.reason = cmp.Or(b.reason, elsewhere)
		}
		b.refused = ""
	}
}

// fit says how many tasks of a shape a bin can take, or why it can take none.
func (c *Core) fit(s *shape, b *bin) (candidate, refusal) {
	k := candidate{bin: b, together: s.owner.run == nil, load: s.owner.load[b.offer.AgentID]}
	if why := c.excluded(s, b.agent); why.reason != "" {
		return k, why
	}
	needs := s.resources
	k.executor = c.executorOn(s.owner, b.offer.AgentID, b.offer.Executors)
	if k.executor == nil {
		os, arch := b.agent.platform()
		if k.artifact = c.versions[s.owner.version].artifact(os, arch); k.artifact == nil {
			return k, refusal{reason: platform, on: os + "-" + arch}
		}
		needs = c.withExecutor(needs)
	}
	if reason := lacks(b.free, needs); reason != "" {
		return k, refusal{reason: reason}
	}
	k.takes = 1 + times(minus(b.free, needs), s.resources, s.room())
	return k, refusal{}
}

// withExecutor adds what an executor has for itself.
func (c *Core) withExecutor(r jobs.Resources) jobs.Resources {
	r.CPUs += c.cfg.ExecutorCPUs
	r.Memory += c.cfg.ExecutorMemory
	return r
}

// excluded says why an agent must not be used for a shape, whatever it has.
func (c *Core) excluded(s *shape, a *agent) refusal {
	if c.mayOutlast(s, a) {
		return refusal{reason: maintenance, until: c.clock(a.window.start)}
	}
	for i := range s.constraints {
		if on := s.constraints[i].Attribute; !satisfies(a.attributes, &s.constraints[i]) {
			return refusal{reason: constraint, on: on, value: a.attributes[on]}
		}
	}
	if c.now.Before(a.trouble.until) {
		return refusal{reason: troubled, until: a.trouble.until}
	}
	if avoid := s.owner.avoid[a.id]; avoid != nil && c.now.Before(avoid.until) {
		return refusal{reason: avoided, until: avoid.until}
	}
	return refusal{}
}

func satisfies(attributes map[string]string, c *jobs.Constraint) bool {
	value, ok := attributes[c.Attribute]
	switch c.Operator {
	case jobs.Is:
		return ok && value == c.Value
	case jobs.IsNot:
		return !ok || value != c.Value
	default:
		return ok && slices.Contains(c.Values, value)
	}
}

// platform is what the agent's attributes "os" and "arch" say, or linux-amd64.
func (a *agent) platform() (os, arch string) {
	return cmp.Or(a.attributes["os"], "linux"), cmp.Or(a.attributes["arch"], "amd64")
}

// cpuGrain is the finest share of a CPU that Mesos tells apart, halved.
const cpuGrain = 0.0005

// lacks names the resource of which there is not enough, or none.
func lacks(free, needs jobs.Resources) string {
	switch {
	case free.CPUs < needs.CPUs-cpuGrain:
		return outOfCPUs
	case free.Memory < needs.Memory:
		return outOfMemory
	case free.Disk < needs.Disk:
		return outOfDisk
	}
	return ""
}

func minus(a, b jobs.Resources) jobs.Resources {
	return jobs.Resources{CPUs: a.CPUs - b.CPUs, Memory: a.Memory - b.Memory, Disk: a.Disk - b.Disk}
}

// times is how often each goes into free, at most most times.
func times(free, each jobs.Resources, most int) int {
	n := most
	if each.CPUs > 0 {
		n = min(n, int((free.CPUs+cpuGrain)/each.CPUs))
	}
	if each.Memory > 0 {
		n = min(n, int(free.Memory/each.Memory))
	}
	if each.Disk > 0 {
		n = min(n, int(free.Disk/each.Disk))
	}
	return max(n, 0)
}

// candidates is a heap with the best place for the next task on top.
type candidates []*candidate

func (h candidates) Len() int { return len(h) }
func (h candidates) Less(i, j int) bool {
	a, b := h[i], h[j]
	running := cmp.Compare(btoi(a.executor == nil), btoi(b.executor == nil))
	spread := cmp.Compare(a.load, b.load)
	if a.together {
		spread, running = running, spread
	}
	return cmp.Or(spread, running, -cmp.Compare(a.bin.free.CPUs, b.bin.free.CPUs),
		cmp.Compare(a.bin.offer.AgentID, b.bin.offer.AgentID)) < 0
}
func (h candidates) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *candidates) Push(x any)   { *h = append(*h, x.(*candidate)) }
func (h *candidates) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// took takes one task off what the i-th candidate can take.
func (h *candidates) took(i int) {
	k := (*h)[i]
	k.load++
	k.takes--
	if k.takes == 0 {
		heap.Remove(h, i)
		return
	}
	heap.Fix(h, i)
}

// bestBut is the index of the best candidate that is not on that agent, or -1. Each agent is there once.
func (h candidates) bestBut(agent string) int {
	switch {
	case len(h) == 0:
		return -1
	case h[0].bin.offer.AgentID != agent:
		return 0
	case len(h) == 1:
		return -1
	case len(h) > 2 && h.Less(2, 1):
		return 2
	}
	return 1
}
