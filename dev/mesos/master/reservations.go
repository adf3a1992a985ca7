package master

import (
	"fmt"
	"net/http"
	"path/filepath"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/allocator"
	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// conversion makes some of an agent's resources into others of the same amount:
// reserved ones, or a persistent volume, or back.
type conversion struct{ from, to v1.Resources }

// conversionOf reads an operation; problem says in Mesos' own words why it is not
// valid. An operation of another kind gives neither.
func conversionOf(operation *v1.Offer_Operation) (c conversion, problem string) {
	switch operation.Type {
	case v1.Offer_Operation_RESERVE:
		rs := resource.Plain(operation.GetReserve().GetResources())
		if problem = reservedProblem(rs); problem == "" {
			c = conversion{from: rs.PopReservation(), to: rs}
		}
	case v1.Offer_Operation_UNRESERVE:
		rs := resource.Plain(operation.GetUnreserve().GetResources())
		if problem = reservedProblem(rs); problem == "" {
			c = conversion{from: rs, to: rs.PopReservation()}
		}
	case v1.Offer_Operation_CREATE:
		rs := resource.Plain(operation.GetCreate().GetVolumes())
		if problem = volumesProblem(rs); problem == "" {
			c = conversion{from: withoutVolumes(rs), to: rs}
		}
	case v1.Offer_Operation_DESTROY:
		rs := resource.Plain(operation.GetDestroy().GetVolumes())
		if problem = volumesProblem(rs); problem == "" {
			c = conversion{from: rs, to: withoutVolumes(rs)}
		}
	}
	return c, problem
}

// reservedProblem judges what is to be reserved, or not to be any more.
func reservedProblem(rs v1.Resources) string {
	if len(rs) == 0 {
		return "Empty resources"
	}
	if problem := resourcesProblem(rs); problem != "" {
		return problem
	}
	for i := range rs {
		switch r := &rs[i]; {
		case len(r.Reservations) == 0 || !r.IsDynamicallyReserved():
			return "Resource " + resource.Format(rs[i:i+1]) + " is not dynamically reserved"
		case r.IsPersistentVolume():
			return "A persistent volume " + resource.Format(rs[i:i+1]) + " must already be reserved, and is not unreserved before it is destroyed"
		case roleProblem(r.ReservationRole()) != "" || r.ReservationRole() == "*":
			return "Invalid reservation role '" + r.ReservationRole() + "'"
		}
	}
	return ""
}

// volumesProblem judges what is to become a volume, or to be one no more. IDs become
// names of directories.
func volumesProblem(rs v1.Resources) string {
	if len(rs) == 0 {
		return "Empty volumes"
	}
	if problem := resourcesProblem(rs); problem != "" {
		return problem
	}
	for i := range rs {
		r := &rs[i]
		switch {
		case !r.IsPersistentVolume():
			return "'persistence' is not set in DiskInfo"
		case r.IsUnreserved():
			return "Persistent volumes cannot be created from unreserved resources."
		case r.Disk.Volume == nil:
			return "Expecting 'volume' to be set for persistent volume"
		case !filepath.IsLocal(r.Disk.Volume.ContainerPath):
			return "The 'container_path' of a persistent volume must be inside the sandbox"
		}
		if problem := idProblem(r.Disk.Persistence.ID); problem != "" {
			return "Invalid persistence ID: " + problem
		}
	}
	return ""
}

func withoutVolumes(rs v1.Resources) v1.Resources {
	plain := rs.Clone()
	for i := range plain {
		plain[i].Disk = nil
	}
	return resource.Sum(plain)
}

// allocatedTo gives resources as they are in an offer to the holder.
func (c conversion) allocatedTo(h allocator.Holder) conversion {
	return conversion{from: allocated(h, c.from), to: allocated(h, c.to)}
}

// convert carries out an operation of an ACCEPT on what is left of its offers.
func (m *Master) convert(f *framework, a *agent, h allocator.Holder, operation *v1.Offer_Operation, left v1.Resources) v1.Resources {
	c, problem := conversionOf(operation)
	if problem == "" {
		problem = m.conversionProblem(f, a, h, operation, c, left)
	}
	if problem != "" {
		m.log.Warn("operation dropped", "framework", f.id, "operation", operation.Type.String(), "problem", problem)
		return left
	}
	m.alloc.ConvertHeld(h, a.id, c.from, c.to)
	m.setTotal(a, c)
	mine := c.allocatedTo(h)
	return left.Minus(mine.from...).Plus(mine.to...)
}

func (m *Master) conversionProblem(f *framework, a *agent, h allocator.Holder, operation *v1.Offer_Operation, c conversion, left v1.Resources) string {
	if !hasCapability(f.info, v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT) {
		return "The framework is not RESERVATION_REFINEMENT capable"
	}
	for i := range c.to {
		if operation.Type == v1.Offer_Operation_RESERVE && !c.to[i].IsAllocatableTo(h.Role) {
			return fmt.Sprintf("A reserve operation was attempted for a resource with role '%s', but the resource is allocated to role '%s'",
				c.to[i].ReservationRole(), h.Role)
		}
	}
	if problem := duplicateVolume(a, c); problem != "" {
		return problem
	}
	if mine := c.allocatedTo(h); !resource.Contains(left, mine.from) {
		return "Invalid " + operation.Type.String() + " operation: " + resource.Format(left) + " does not contain " + resource.Format(mine.from)
	}
	return ""
}

// duplicateVolume looks for volumes of one ID in one role, which would share a
// directory.
func duplicateVolume(a *agent, c conversion) string {
	for i := range c.to {
		for j := range a.total {
			one, other := &c.to[i], &a.total[j]
			if one.IsPersistentVolume() && other.IsPersistentVolume() &&
				one.Disk.Persistence.ID == other.Disk.Persistence.ID && one.ReservationRole() == other.ReservationRole() {
				return "Persistence ID '" + one.Disk.Persistence.ID + "' already exists on the agent"
			}
		}
	}
	return ""
}

// setTotal notes what a conversion made of the agent's resources and tells the agent,
// which keeps it.
func (m *Master) setTotal(a *agent, c conversion) {
	a.total = a.total.Minus(c.from...).Plus(c.to...)
	a.send(link.Command{Total: &link.Total{Resources: link.EncodeResources(a.total)}})
}

// convertFree is an operator's conversion, of what is free. Offers are rescinded until
// enough is.
func (m *Master) convertFree(agentID string, operation *v1.Offer_Operation) *wire.Refusal {
	a := m.agents[agentID]
	if a == nil {
		return wire.Refuse(http.StatusBadRequest, "No agent found with specified ID")
	}
	c, problem := conversionOf(operation)
	if problem != "" {
		return wire.Refuse(http.StatusBadRequest, "Invalid %s operation: %s", operation.Type, problem)
	}
	if problem := duplicateVolume(a, c); problem != "" {
		return wire.Refuse(http.StatusBadRequest, "Invalid %s operation: %s", operation.Type, problem)
	}
	for _, f := range m.sortedFrameworks() {
		m.takeBackOffers(f, func(o *offer) bool { return o.Agent == a.id && !m.alloc.IsFree(a.id, c.from) }, true)
	}
	if !m.alloc.IsFree(a.id, c.from) {
		return wire.Refuse(http.StatusConflict, "Invalid %s operation: not all of %s is free on the agent", operation.Type, resource.Format(c.from))
	}
	m.alloc.ConvertFree(a.id, c.from, c.to)
	m.setTotal(a, c)
	return nil
}
