package master

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"
	api "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// machine names a host as maintenance schedules do. An agent runs on the machine of
// its host name and address, both of them.
type machine struct {
	Hostname string `json:"hostname,omitempty"`
	IP       string `json:"ip,omitempty"`
}

func machineOf(id v1.MachineID) machine {
	return machine{Hostname: strings.ToLower(id.GetHostname()), IP: id.GetIP()}
}

func (x machine) id() v1.MachineID { return v1.MachineID{Hostname: &x.Hostname, IP: &x.IP} }

func (x machine) String() string {
	encoded, err := json.Marshal(x)
	if err != nil { // two strings have a JSON form
		panic(err)
	}
	return string(encoded)
}

// machine is the one that the agent runs on.
func (a *agent) machine() machine { return machineOnto(a.info.Hostname, a.pid) }

func machineOnto(hostname, pid string) machine {
	host, _ := addressOf(pid)
	return machine{Hostname: strings.ToLower(hostname), IP: host}
}

// window finds when a machine will be down; nil if that is not planned.
func window(schedule *maintenance.Schedule, x machine) *v1.Unavailability {
	for i := range schedule.Windows {
		for _, id := range schedule.Windows[i].MachineIDs {
			if machineOf(id) == x {
				return &schedule.Windows[i].Unavailability
			}
		}
	}
	return nil
}

// unavailability is when an agent's machine will be down; nil if that is not planned.
func (m *Master) unavailability(a *agent) *v1.Unavailability {
	if len(m.schedule.Windows) == 0 {
		return nil
	}
	return window(m.schedule, a.machine())
}

func (m *Master) isDown(x machine) bool { return slices.Contains(m.registry.Down, x) }

// scheduleProblem judges a schedule, in Mesos' own words.
func (m *Master) scheduleProblem(schedule *maintenance.Schedule) string {
	seen := map[machine]bool{}
	for i := range schedule.Windows {
		w := &schedule.Windows[i]
		if len(w.MachineIDs) == 0 {
			return "List of machines in the maintenance window is empty"
		}
		if d := w.Unavailability.Duration; d != nil && d.Nanoseconds < 0 {
			return "Unavailability 'duration' is negative"
		}
		for _, id := range w.MachineIDs {
			x := machineOf(id)
			if x == (machine{}) {
				return "Both 'hostname' and 'ip' for a machine are empty"
			}
			if seen[x] {
				return "Machine '" + x.String() + "' appears more than once in the schedule"
			}
			seen[x] = true
		}
	}
	for _, x := range m.registry.Down {
		if !seen[x] {
			return "Machine '" + x.String() + "' is deactivated and cannot be removed from the schedule"
		}
	}
	return ""
}

// updateSchedule replaces the schedule. Offers and inverse offers of all machines that
// are or were in it are taken back, so that schedulers hear at once what has changed.
func (m *Master) updateSchedule(call *api.Call_UpdateMaintenanceSchedule) *wire.Refusal {
	schedule := call.Schedule
	if problem := m.scheduleProblem(&schedule); problem != "" {
		return wire.Refuse(http.StatusBadRequest, "%s", problem)
	}
	old := m.schedule
	m.schedule = &schedule
	m.registry.Schedule = link.Encode(&schedule)
	m.saveRegistry()
	for _, a := range m.agents {
		if window(old, a.machine()) == nil && m.unavailability(a) == nil {
			continue
		}
		m.forgetInverseOffers(a)
		for _, f := range m.frameworks {
			m.takeBackOffers(f, func(o *offer) bool { return o.Agent == a.id }, true)
		}
	}
	m.allocate(time.Now())
	return nil
}

func machinesProblem(ids []v1.MachineID) string {
	if len(ids) == 0 {
		return "List of machines is empty"
	}
	seen := map[machine]bool{}
	for _, id := range ids {
		x := machineOf(id)
		if x == (machine{}) {
			return "Both 'hostname' and 'ip' for a machine are empty"
		}
		if seen[x] {
			return "Machine '" + x.String() + "' appears more than once in the list of machines"
		}
		seen[x] = true
	}
	return ""
}

// startMaintenance takes machines down: their agents are shut down and refused.
func (m *Master) startMaintenance(call *api.Call_StartMaintenance) *wire.Refusal {
	if problem := machinesProblem(call.Machines); problem != "" {
		return wire.Refuse(http.StatusBadRequest, "%s", problem)
	}
	for _, id := range call.Machines {
		x := machineOf(id)
		if window(m.schedule, x) == nil {
			return wire.Refuse(http.StatusBadRequest, "Machine '%s' is not part of a maintenance schedule", x)
		}
		if m.isDown(x) {
			return wire.Refuse(http.StatusBadRequest, "Machine '%s' is not in DRAINING mode and cannot be brought down", x)
		}
	}
	for _, id := range call.Machines {
		m.registry.Down = append(m.registry.Down, machineOf(id))
	}
	for _, a := range m.sortedAgents() {
		if m.isDown(a.machine()) {
			m.takeDown(a)
		}
	}
	m.saveRegistry()
	return nil
}

// takeDown shuts an agent down whose machine goes down. It is a new one afterwards.
func (m *Master) takeDown(a *agent) {
	a.send(link.Command{Shutdown: &link.Shutdown{}})
	delete(m.registry.Agents, a.id)
	m.endAgent(a, v1.TASK_GONE, v1.REASON_AGENT_REMOVED, "Agent "+a.info.Hostname+" removed: Operator initiated 'Machine DOWN'")
}

// stopMaintenance brings machines up again, which takes them out of the schedule.
func (m *Master) stopMaintenance(call *api.Call_StopMaintenance) *wire.Refusal {
	if problem := machinesProblem(call.Machines); problem != "" {
		return wire.Refuse(http.StatusBadRequest, "%s", problem)
	}
	up := map[machine]bool{}
	for _, id := range call.Machines {
		x := machineOf(id)
		if window(m.schedule, x) == nil {
			return wire.Refuse(http.StatusBadRequest, "Machine '%s' is not part of a maintenance schedule", x)
		}
		if !m.isDown(x) {
			return wire.Refuse(http.StatusBadRequest, "Machine '%s' is not in DOWN mode and cannot be brought up", x)
		}
		up[x] = true
	}
	m.registry.Down = slices.DeleteFunc(m.registry.Down, func(x machine) bool { return up[x] })
	left := &maintenance.Schedule{}
	for _, w := range m.schedule.Windows {
		ids := slices.DeleteFunc(slices.Clone(w.MachineIDs), func(id v1.MachineID) bool { return up[machineOf(id)] })
		if len(ids) > 0 {
			left.Windows = append(left.Windows, maintenance.Window{MachineIDs: ids, Unavailability: w.Unavailability})
		}
	}
	m.schedule, m.registry.Schedule = left, link.Encode(left)
	m.saveRegistry()
	return nil
}

// clusterStatus says how far maintenance is.
func (m *Master) clusterStatus() maintenance.ClusterStatus {
	status := maintenance.ClusterStatus{}
	for i := range m.schedule.Windows {
		for _, id := range m.schedule.Windows[i].MachineIDs {
			x := machineOf(id)
			if m.isDown(x) {
				status.DownMachines = append(status.DownMachines, x.id())
				continue
			}
			draining := maintenance.ClusterStatus_DrainingMachine{ID: x.id()}
			for _, a := range m.sortedAgents() {
				if a.machine() == x {
					draining.Statuses = append(draining.Statuses, a.inverseStatuses()...)
				}
			}
			status.DrainingMachines = append(status.DrainingMachines, draining)
		}
	}
	return status
}
