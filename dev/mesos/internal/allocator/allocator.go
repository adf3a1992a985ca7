package allocator

import (
	"cmp"
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
	active   bool
	reserved bool // takes reserved resources too
	roles    map[string]*role
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
// roles that it keeps are kept. It begins active. reserved says whether it
// understands resources that are reserved for its roles.
func (a *Allocator) SetFramework(id string, roles []string, reserved bool) {
	f, known := a.frameworks[id]
	if !known {
		f = &framework{active: true, roles: map[string]*role{}}
		a.frameworks[id] = f
	}
	f.reserved = reserved
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

// IsFree says whether an agent has these resources free.
func (a *Allocator) IsFree(agentID string, rs []v1.Resource) bool {
	known, ok := a.agents[agentID]
	return ok && resource.Contains(known.free, rs)
}

// ConvertFree makes free resources of an agent into others of the same amount, such as
// reserved ones. They must be free.
func (a *Allocator) ConvertFree(agentID string, from, to v1.Resources) {
	if known, ok := a.agents[agentID]; ok {
		known.free = known.free.Minus(from...).Plus(to...)
		known.total = known.total.Minus(from...).Plus(to...)
	}
}

// ConvertHeld does the same with resources that a holder has.
func (a *Allocator) ConvertHeld(h Holder, agentID string, from, to v1.Resources) {
	if known, ok := a.agents[agentID]; ok {
		known.total = known.total.Minus(from...).Plus(to...)
	}
	a.held[h] = a.held[h].Minus(from...).Plus(to...)
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
	total := a.total()
	var grants []Grant
	for _, id := range ids {
		known := a.agents[id]
		if !known.active || !worthOffering(known.free) {
			continue
		}
		for _, h := range a.candidates(total) {
			offered := a.allocatable(h, known.free)
			if !worthOffering(offered) || a.refused(h, id, offered) {
				continue
			}
			a.Hold(h, id, offered)
			grants = append(grants, Grant{Holder: h, Agent: id, Resources: offered.Allocate(h.Role)})
		}
	}
	return grants
}

func (a *Allocator) total() v1.Resources {
	var total v1.Resources
	for _, known := range a.agents {
		total.Add(known.total...)
	}
	return total
}

// allocatable are those of the resources that the holder may have: what is not
// reserved, and what is reserved for its role or one above.
func (a *Allocator) allocatable(h Holder, free v1.Resources) v1.Resources {
	var fit v1.Resources
	for _, r := range free.Clone() {
		if r.IsUnreserved() || a.frameworks[h.Framework].reserved && r.IsAllocatableTo(h.Role) {
			fit = append(fit, r)
		}
	}
	return resource.InOfferOrder(fit)
}

func worthOffering(rs v1.Resources) bool {
	return resource.Amount(rs, resource.CPUs) >= minCPUs || resource.Amount(rs, resource.Mem) >= minMem
}

// candidates are all who want offers: the role with the smallest dominant share first,
// and in it the framework with the smallest.
func (a *Allocator) candidates(total v1.Resources) []Holder {
	byRole := map[string]v1.Resources{}
	for h, held := range a.held {
		byRole[h.Role] = byRole[h.Role].Plus(held...)
	}
	var who []Holder
	for id, f := range a.frameworks {
		for name, r := range f.roles {
			if f.active && !r.suppressed {
				who = append(who, Holder{id, name})
			}
		}
	}
	slices.SortFunc(who, func(x, y Holder) int {
		return cmp.Or(
			cmp.Compare(share(byRole[x.Role], total), share(byRole[y.Role], total)),
			cmp.Compare(x.Role, y.Role),
			cmp.Compare(share(a.held[x], total), share(a.held[y], total)),
			cmp.Compare(x.Framework, y.Framework),
		)
	})
	return who
}

// share is the largest part of any resource that is held.
func share(held, total v1.Resources) float64 {
	largest := 0.0
	for _, name := range []string{resource.CPUs, resource.Mem, resource.Disk} {
		if all := resource.Amount(total, name); all > 0 {
			largest = max(largest, resource.Amount(held, name)/all)
		}
	}
	return largest
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
