package scheduler

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// maintenanceMargin is how long before announced maintenance nothing is launched on an agent any more; a longer timeout
// of the job counts instead.
const maintenanceMargin = 10 * time.Minute

// bin is what one agent offers, all its offers together.
type bin struct {
	offer    Offer // the first one; its numbers and ID aside, they say the same
	ids      []string
	free     jobs.Resources
	launches []Launch
}

// Why an offer is turned down.
const (
	noDemand    = "no_demand"
	noFit       = "no_fit"
	outOfCPUs   = "cpus"
	outOfMemory = "memory"
	outOfDisk   = "disk"
	maintenance = "maintenance"
	avoided     = "agent excluded"
	constraint  = "constraint " // and the attribute
	platform    = "platform "   // and the platform
)

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
	for _, s := range slices.Clone(c.demand.shapes) {
		if s.wanting {
			c.place(s, byRole[s.owner.role])
		}
	}
	var unused []string
	for _, b := range bins {
		if len(b.launches) == 0 {
			unused = append(unused, b.ids...)
			continue
		}
		c.count(MetricOffers, float64(len(b.ids)), "used", "")
		c.call(Accept{OfferIDs: b.ids, AgentID: b.offer.AgentID, Launches: b.launches, Refuse: c.cfg.Refuse})
	}
	if len(unused) > 0 {
		reason := noFit
		if c.nobodyWants() {
			reason = noDemand
		}
		c.count(MetricOffers, float64(len(unused)), "declined", reason)
		c.call(Decline{OfferIDs: unused, Refuse: c.cfg.Refuse, Reason: reason})
	}
}

// bins puts the offers of one agent and role together, in the order in which they came.
func (c *Core) bins(offers []Offer) []*bin {
	type place struct{ agent, role string }
	byPlace := make(map[place]*bin, len(offers))
	bins := make([]*bin, 0, len(offers))
	for i := range offers {
		o := &offers[i]
		c.seen(o)
		at := place{o.AgentID, o.Role}
		b := byPlace[at]
		if b == nil {
			b = &bin{offer: *o}
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
		k, reason := c.fit(s, b)
		if reason != "" {
			s.tried.turnDown(reason)
			continue
		}
		fits = append(fits, clone(&k))
	}
	c.touchShape(s)
	heap.Init(&fits)
	for n := s.room(); n > 0 && len(fits) > 0; n-- {
		k := fits[0]
		c.launch(s, k)
		k.load++
		k.takes--
		if k.takes == 0 {
			heap.Pop(&fits)
			continue
		}
		heap.Fix(&fits, 0)
	}
}

// fit says how many tasks of a shape a bin can take, or why it can take none.
func (c *Core) fit(s *shape, b *bin) (candidate, string) {
	k := candidate{bin: b, together: s.owner.run == nil, load: s.owner.load[b.offer.AgentID]}
	if reason := c.excluded(s, b); reason != "" {
		return k, reason
	}
	needs := s.resources
	k.executor = c.executorOn(s.owner, b.offer.AgentID, b.offer.Executors)
	if k.executor == nil {
		os, arch := b.platform()
		if k.artifact = c.versions[s.owner.version].artifact(os, arch); k.artifact == nil {
			return k, platform + os + "-" + arch
		}
		needs.CPUs += c.cfg.ExecutorCPUs
		needs.Memory += c.cfg.ExecutorMemory
	}
	if reason := lacks(b.free, needs); reason != "" {
		return k, reason
	}
	k.takes = 1 + times(minus(b.free, needs), s.resources, s.room())
	return k, ""
}

// excluded says why an agent must not be used for a shape, whatever it has.
func (c *Core) excluded(s *shape, b *bin) string {
	if begin := b.offer.Unavailable; begin != nil && c.now.Add(max(maintenanceMargin, s.timeout())).After(*begin) {
		return maintenance
	}
	for i := range s.constraints {
		if !satisfies(b.offer.Attributes, &s.constraints[i]) {
			return constraint + s.constraints[i].Attribute
		}
	}
	if avoid := s.owner.avoid[b.offer.AgentID]; avoid != nil && c.now.Before(avoid.until) {
		return avoided
	}
	return ""
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
func (b *bin) platform() (os, arch string) {
	return cmp.Or(b.offer.Attributes["os"], "linux"), cmp.Or(b.offer.Attributes["arch"], "amd64")
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
