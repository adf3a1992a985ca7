package master

import (
	"net/http"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// operatorChange is an operator's call that changes something.
type operatorChange struct {
	part    string                  // of the call that it needs, as it is named there
	given   func(*master.Call) bool // whether that part is there
	carry   func(*Master, *master.Call) *wire.Refusal
	success int // the status of the answer, 200 if zero
}

var operatorChanges = map[master.Call_Type]operatorChange{
	master.Call_MARK_AGENT_GONE: {
		part:  "mark_agent_gone",
		given: func(c *master.Call) bool { return c.MarkAgentGone != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal {
			if !m.markGone(c.MarkAgentGone.AgentID.Value) {
				return wire.Refuse(http.StatusNotFound, "Agent not found")
			}
			return nil
		},
	},
	master.Call_DRAIN_AGENT: {
		part:  "drain_agent",
		given: func(c *master.Call) bool { return c.DrainAgent != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal { return m.drainAgent(c.DrainAgent) },
	},
	master.Call_DEACTIVATE_AGENT: {
		part:  "deactivate_agent",
		given: func(c *master.Call) bool { return c.DeactivateAgent != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal { return m.deactivateAgent(c.DeactivateAgent) },
	},
	master.Call_REACTIVATE_AGENT: {
		part:  "reactivate_agent",
		given: func(c *master.Call) bool { return c.ReactivateAgent != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal { return m.reactivateAgent(c.ReactivateAgent) },
	},
	master.Call_UPDATE_MAINTENANCE_SCHEDULE: {
		part:  "update_maintenance_schedule",
		given: func(c *master.Call) bool { return c.UpdateMaintenanceSchedule != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal { return m.updateSchedule(c.UpdateMaintenanceSchedule) },
	},
	master.Call_START_MAINTENANCE: {
		part:  "start_maintenance",
		given: func(c *master.Call) bool { return c.StartMaintenance != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal { return m.startMaintenance(c.StartMaintenance) },
	},
	master.Call_STOP_MAINTENANCE: {
		part:  "stop_maintenance",
		given: func(c *master.Call) bool { return c.StopMaintenance != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal { return m.stopMaintenance(c.StopMaintenance) },
	},
	master.Call_RESERVE_RESOURCES: {
		part:  "reserve_resources",
		given: func(c *master.Call) bool { return c.ReserveResources != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal {
			return m.convertFree(c.ReserveResources.AgentID.Value, &v1.Offer_Operation{
				Type: v1.Offer_Operation_RESERVE, Reserve: &v1.Offer_Operation_Reserve{Resources: c.ReserveResources.Resources}})
		},
		success: http.StatusAccepted,
	},
	master.Call_UNRESERVE_RESOURCES: {
		part:  "unreserve_resources",
		given: func(c *master.Call) bool { return c.UnreserveResources != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal {
			return m.convertFree(c.UnreserveResources.AgentID.Value, &v1.Offer_Operation{
				Type: v1.Offer_Operation_UNRESERVE, Unreserve: &v1.Offer_Operation_Unreserve{Resources: c.UnreserveResources.Resources}})
		},
		success: http.StatusAccepted,
	},
	master.Call_CREATE_VOLUMES: {
		part:  "create_volumes",
		given: func(c *master.Call) bool { return c.CreateVolumes != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal {
			return m.convertFree(c.CreateVolumes.AgentID.Value, &v1.Offer_Operation{
				Type: v1.Offer_Operation_CREATE, Create: &v1.Offer_Operation_Create{Volumes: c.CreateVolumes.Volumes}})
		},
		success: http.StatusAccepted,
	},
	master.Call_DESTROY_VOLUMES: {
		part:  "destroy_volumes",
		given: func(c *master.Call) bool { return c.DestroyVolumes != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal {
			return m.convertFree(c.DestroyVolumes.AgentID.Value, &v1.Offer_Operation{
				Type: v1.Offer_Operation_DESTROY, Destroy: &v1.Offer_Operation_Destroy{Volumes: c.DestroyVolumes.Volumes}})
		},
		success: http.StatusAccepted,
	},
	master.Call_TEARDOWN: {
		part:  "teardown",
		given: func(c *master.Call) bool { return c.Teardown != nil },
		carry: func(m *Master, c *master.Call) *wire.Refusal { return m.teardown(c.Teardown.FrameworkID.Value) },
	},
}

// change carries out a call that changes something and writes the answer; false means
// that the call is none.
func (m *Master) change(w http.ResponseWriter, call *master.Call) bool {
	change, known := operatorChanges[call.Type]
	if !known {
		return false
	}
	if !change.given(call) {
		wire.Refuse(http.StatusBadRequest, "Failed to validate master::Call: Expecting '%s' to be present", change.part).Write(w)
		return true
	}
	m.mu.Lock()
	refusal := change.carry(m, call)
	m.mu.Unlock()
	switch {
	case refusal != nil:
		refusal.Write(w)
	case change.success != 0:
		w.WriteHeader(change.success)
	}
	return true
}

// teardown ends a framework at an operator's word.
func (m *Master) teardown(id string) *wire.Refusal {
	f, known := m.frameworks[id]
	if !known {
		return wire.Refuse(http.StatusBadRequest, "No framework found with specified ID")
	}
	m.removeFramework(f, "torn down by an operator")
	return nil
}

// serveTeardown is the older form of the call, with the ID in a form.
func (m *Master) serveTeardown(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("frameworkId")
	if id == "" {
		wire.Refuse(http.StatusBadRequest, "Missing 'frameworkId' query parameter").Write(w)
		return
	}
	m.mu.Lock()
	refusal := m.teardown(id)
	m.mu.Unlock()
	if refusal != nil {
		refusal.Write(w)
	}
}
