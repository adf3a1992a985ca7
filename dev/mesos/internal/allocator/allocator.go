package allocator

import (
	"slices"
	"sort"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

// The least that is worth an offer, as in Mesos: so many CPUs or so much memory.
const (
	minCPUs = 0.01
	minMem  = 32
)

// Holder is who holds resources: a framework in one of its roles.
type Holder struct{ Framework, Role string }

// Grant is one agent's free resources, now held by a framework to be offered. The
// resources carry the role in their allocation info.
type Grant struct {
	Holder
	Agent     string
	Resources v1.Resources
}

// Allocator is not safe for concurrent use.
type Allocator struct {
	interval   time.Duration
	shuffle    func(n int, swap func(i, j int))
	agents     map[string]*agent
	frameworks map[string]*framework
	held       map[Holder]v1.Resources
}

type agent struct {
	total, free v1.Resources // without allocation info
	active      bool
}

type framework struct {
	active bool
	roles  map[string]*role
}

type role struct {
	suppressed bool
	filters    map[string][]filter // by agent
}

type filter struct {
	resources v1.Resources
	until     time.Time
}

// New makes an allocator. A refusal lasts at least for interval, as in Mesos, so
// that what was just refused does not come back at once. shuffle puts the agents
// into the order in which they are looked at; nil keeps them sorted by ID.
func New(interval time.Duration, shuffle func(n int, swap func(i, j int))) *Allocator {
	return &Allocator{
		interval:   interval,
		shuffle:    shuffle,
		agents:     map[string]*agent{},
		frameworks: map[string]*framework{},
		held:       map[Holder]v1.Resources{},
	}
}

// AddAgent makes an agent's resources known, all of them free, replacing what was
// known under that ID.
func (a *Allocator) AddAgent(id string, total v1.Resources) {
	a.agents[id] = &agent{total: resource.Sum(total), free: resource.Sum(total), active: true}
}

// RemoveAgent forgets an agent and all filters on it. What is held on it must
// have been released before.
func (a *Allocator) RemoveAgent(id string) {
	delete(a.agents, id)
	for _, f := range a.frameworks {
		for _, r := range f.roles {
			delete(r.filters, id)
		}
	}
}

// SetAgentActive says whether the agent's resources may be offered.
func (a *Allocator) SetAgentActive(id string, active bool) {
	if known, ok := a.agents[id]; ok {
		known.active = active
	}
}

// SetFramework adds a framework or changes its roles; filters and suppression of
// roles that it keeps are kept. It begins active.
func (a *Allocator) SetFramework(id string, roles []string) {
	f, known := a.frameworks[id]
	if !known {
		f = &framework{active: true, roles: map[string]*role{}}
		a.frameworks[id] = f
	}
	for name := range f.roles {
		if !slices.Contains(roles, name) {
			delete(f.roles, name)
		}
	}
	for _, name := range roles {
		if f.roles[name] == nil {
			f.roles[name] = &role{filters: map[string][]filter{}}
		}
	}
}

// RemoveFramework forgets a framework; what it still holds can be released later.
func (a *Allocator) RemoveFramework(id string) { delete(a.frameworks, id) }

// ActivateFramework lets a framework have offers again.
func (a *Allocator) ActivateFramework(id string) {
	if f, ok := a.frameworks[id]; ok {
		f.active = true
	}
}

// DeactivateFramework keeps offers from a framework and drops its filters, which
// end with the subscription.
func (a *Allocator) DeactivateFramework(id string) {
	if f, ok := a.frameworks[id]; ok {
		f.active = false
		for _, r := range f.roles {
			clear(r.filters)
		}
	}
}

// Suppress keeps offers for these roles from the framework; no roles means all.
func (a *Allocator) Suppress(id string, roles []string) {
	a.eachRole(id, roles, func(r *role) { r.suppressed = true })
}

// Revive ends suppression and all filters of these roles; no roles means all.
func (a *Allocator) Revive(id string, roles []string) {
	a.eachRole(id, roles, func(r *role) {
		r.suppressed = false
		clear(r.filters)
	})
}

// SetSuppressed suppresses exactly these roles; the others that were suppressed are
// revived.
func (a *Allocator) SetSuppressed(id string, roles []string) {
	f, ok := a.frameworks[id]
	if !ok {
		return
	}
	for name, r := range f.roles {
		suppress := slices.Contains(roles, name)
		if r.suppressed && !suppress {
			clear(r.filters)
		}
		r.suppressed = suppress
	}
}

func (a *Allocator) eachRole(id string, roles []string, do func(*role)) {
	f, ok := a.frameworks[id]
	if !ok {
		return
	}
	for name, r := range f.roles {
		if len(roles) == 0 || slices.Contains(roles, name) {
			do(r)
		}
	}
}

// Hold marks resources as held that somebody has anyway, such as the tasks of an
// agent that comes back. They may or may not carry allocation info.
func (a *Allocator) Hold(h Holder, agentID string, rs []v1.Resource) {
	plain := resource.Plain(rs).Unallocate()
	if known, ok := a.agents[agentID]; ok {
		known.free.Subtract(plain...)
	}
	a.held[h] = a.held[h].Plus(plain...)
}

// Release gives held resources back to their agent.
func (a *Allocator) Release(h Holder, agentID string, rs []v1.Resource) {
	plain := resource.Plain(rs).Unallocate()
	if known, ok := a.agents[agentID]; ok {
		known.free.Add(plain...)
	}
	if left := a.held[h].Minus(plain...); len(left) > 0 {
		a.held[h] = left
	} else {
		delete(a.held, h)
	}
}

// Refuse keeps from being offered to the holder, for the given time, any part of
// these resources on that agent. Zero or less refuses nothing.
func (a *Allocator) Refuse(h Holder, agentID string, rs []v1.Resource, now time.Time, d time.Duration) {
	f, ok := a.frameworks[h.Framework]
	if !ok || f.roles[h.Role] == nil || d <= 0 || len(rs) == 0 {
		return
	}
	filters := f.roles[h.Role].filters
	filters[agentID] = append(filters[agentID],
		filter{resources: resource.Plain(rs).Unallocate(), until: now.Add(max(d, a.interval))})
}

// Allocate gives out all that is free and wanted.
func (a *Allocator) Allocate(now time.Time) []Grant {
	a.expire(now)
	ids := make([]string, 0, len(a.agents))
	for id := range a.agents {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	if a.shuffle != nil {
		a.shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	}
	var grants []Grant
	for _, id := range ids {
		known := a.agents[id]
		if !known.active || !worthOffering(known.free) {
			continue
		}
		for _, h := range a.candidates() {
			if a.refused(h, id, known.free) {
				continue
			}
			offered := resource.InOfferOrder(known.free.Clone())
			a.Hold(h, id, offered)
			grants = append(grants, Grant{Holder: h, Agent: id, Resources: offered.Allocate(h.Role)})
			break
		}
	}
	return grants
}

func worthOffering(rs v1.Resources) bool {
	return resource.Amount(rs, resource.CPUs) >= minCPUs || resource.Amount(rs, resource.Mem) >= minMem
}

// candidates are all who want offers, the smallest dominant share first.
func (a *Allocator) candidates() []Holder {
	var total v1.Resources
	for _, known := range a.agents {
		total.Add(known.total...)
	}
	var who []Holder
	for id, f := range a.frameworks {
		for name, r := range f.roles {
			if f.active && !r.suppressed {
				who = append(who, Holder{id, name})
			}
		}
	}
	share := func(h Holder) float64 {
		largest := 0.0
		for _, name := range []string{resource.CPUs, resource.Mem, resource.Disk} {
			if all := resource.Amount(total, name); all > 0 {
				largest = max(largest, resource.Amount(a.held[h], name)/all)
			}
		}
		return largest
	}
	sort.Slice(who, func(i, j int) bool {
		if si, sj := share(who[i]), share(who[j]); si != sj {
			return si < sj
		}
		if who[i].Framework != who[j].Framework {
			return who[i].Framework < who[j].Framework
		}
		return who[i].Role < who[j].Role
	})
	return who
}

func (a *Allocator) refused(h Holder, agentID string, rs v1.Resources) bool {
	for _, f := range a.frameworks[h.Framework].roles[h.Role].filters[agentID] {
		if resource.Contains(f.resources, rs) {
			return true
		}
	}
	return false
}

func (a *Allocator) expire(now time.Time) {
	for _, f := range a.frameworks {
		for _, r := range f.roles {
			for id, filters := range r.filters {
				r.filters[id] = slices.DeleteFunc(filters, func(f filter) bool { return !now.Before(f.until) })
			}
		}
	}
}
