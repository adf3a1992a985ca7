package master

import (
	"maps"
	"net/http"
	"slices"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/tidemill/tidemill/dev/mesos/internal/view"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// serveOperator is /api/v1: the reads that people use, and what operators change.
func (m *Master) serveOperator(w http.ResponseWriter, r *http.Request) {
	call := &api.Call{}
	_, refusal := wire.ReadCall(r, call)
	if refusal == nil && call.Type == api.Call_UNKNOWN {
		refusal = wire.Refuse(http.StatusBadRequest, "Failed to validate master::Call: Expecting 'type' to be present")
	}
	media, notAccepted := wire.Accepted(r)
	if refusal == nil {
		refusal = notAccepted
	}
	if refusal != nil {
		refusal.Write(w)
		return
	}
	if m.change(w, call) {
		return
	}
	m.mu.Lock()
	response := m.answer(call)
	m.mu.Unlock()
	if response == nil {
		wire.Refuse(http.StatusNotImplemented, "This Mesos does not know how to %s", call.Type).Write(w)
		return
	}
	body, err := wire.Marshal(response, media)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(media))
	w.Write(body) //nolint:errcheck // the peer may be gone; there is nobody to tell
}

// answer makes the response to a read; nil for what is not known.
func (m *Master) answer(call *api.Call) *api.Response {
	response := &api.Response{Type: api.Response_Type(api.Response_Type_value[call.Type.String()])}
	switch call.Type {
	case api.Call_GET_HEALTH:
		response.GetHealth = &api.Response_GetHealth{Healthy: true}
	case api.Call_GET_VERSION:
		response.GetVersion = &api.Response_GetVersion{VersionInfo: versionInfo()}
	case api.Call_GET_MASTER:
		started, elected := seconds(m.started), seconds(m.elected)
		response.GetMaster = &api.Response_GetMaster{MasterInfo: m.info(), StartTime: &started, ElectedTime: &elected}
	case api.Call_GET_AGENTS:
		response.GetAgents = m.agentEntries()
	case api.Call_GET_FRAMEWORKS:
		response.GetFrameworks = m.frameworkEntries()
	case api.Call_GET_EXECUTORS:
		response.GetExecutors = m.executorEntries()
	case api.Call_GET_TASKS:
		response.GetTasks = m.taskEntries()
	case api.Call_GET_ROLES:
		response.GetRoles = m.roleEntries()
	case api.Call_GET_MAINTENANCE_SCHEDULE:
		response.GetMaintenanceSchedule = &api.Response_GetMaintenanceSchedule{Schedule: *m.schedule}
	case api.Call_GET_MAINTENANCE_STATUS:
		response.GetMaintenanceStatus = &api.Response_GetMaintenanceStatus{Status: m.clusterStatus()}
	case api.Call_GET_STATE:
		response.GetState = &api.Response_GetState{
			GetTasks: m.taskEntries(), GetExecutors: m.executorEntries(),
			GetFrameworks: m.frameworkEntries(), GetAgents: m.agentEntries(),
		}
	default:
		return nil
	}
	return response
}

func versionInfo() v1.VersionInfo {
	build := view.Build(Version)
	date, at := build["build_date"].(string), build["build_time"].(float64)
	user, branch, sha := build["build_user"].(string), build["git_branch"].(string), build["git_sha"].(string)
	return v1.VersionInfo{Version: Version, BuildDate: &date, BuildTime: &at, BuildUser: &user, GitSHA: &sha, GitBranch: &branch}
}

// starred gives what is not reserved the role "*", as operators see it.
func starred(rs []v1.Resource) []v1.Resource {
	star := "*"
	copied := v1.Resources(rs).Clone()
	for i := range copied {
		if copied[i].IsUnreserved() {
			copied[i].Role = &star
		}
	}
	return copied
}

func (m *Master) agentEntries() *api.Response_GetAgents {
	entries := &api.Response_GetAgents{}
	for _, a := range m.sortedAgents() {
		pid, admitted := a.pid, m.registry.Agents[a.id]
		entry := api.Response_GetAgents_Agent{
			AgentInfo: *a.info, Active: m.active(a), Deactivated: &admitted.Deactivated, DrainInfo: admitted.drainInfo(), Version: Version, PID: &pid,
			RegisteredTime:     &v1.TimeInfo{Nanoseconds: a.registered.UnixNano()},
			TotalResources:     starred(a.total),
			AllocatedResources: starred(m.usedOn(a)),
			OfferedResources:   starred(m.offeredOf(func(o *offer) bool { return o.Agent == a.id })),
		}
		if !a.reregistered.IsZero() {
			entry.ReregisteredTime = &v1.TimeInfo{Nanoseconds: a.reregistered.UnixNano()}
		}
		if admitted.Drain != nil {
			entry.EstimatedDrainStartTime = &v1.TimeInfo{Nanoseconds: admitted.DrainStart.UnixNano()}
		}
		for _, name := range view.AgentCapabilities {
			entry.Capabilities = append(entry.Capabilities, v1.AgentInfo_Capability{
				Type: v1.AgentInfo_Capability_Type(v1.AgentInfo_Capability_Type_value[name]),
			})
		}
		entries.Agents = append(entries.Agents, entry)
	}
	for _, id := range slices.Sorted(maps.Keys(m.recovered)) {
		entries.RecoveredAgents = append(entries.RecoveredAgents, *m.recovered[id])
	}
	return entries
}

func (m *Master) frameworkEntries() *api.Response_GetFrameworks {
	entry := func(f *framework) api.Response_GetFrameworks_Framework {
		e := api.Response_GetFrameworks_Framework{
			FrameworkInfo: *f.info, Active: f.subscription != nil, Connected: f.subscription != nil, Recovered: f.recovered,
			RegisteredTime:     &v1.TimeInfo{Nanoseconds: f.registered.UnixNano()},
			ReregisteredTime:   &v1.TimeInfo{Nanoseconds: f.reregistered.UnixNano()},
			AllocatedResources: starred(m.usedBy(f)),
			OfferedResources:   starred(m.offeredOf(func(o *offer) bool { return o.framework == f })),
		}
		for _, id := range slices.Sorted(maps.Keys(m.inverseOffers)) {
			if o := m.inverseOffers[id]; o.framework == f {
				e.InverseOffers = append(e.InverseOffers, o.message(m.unavailability(o.agent)))
			}
		}
		if !f.unregistered.IsZero() {
			e.UnregisteredTime = &v1.TimeInfo{Nanoseconds: f.unregistered.UnixNano()}
		}
		return e
	}
	entries := &api.Response_GetFrameworks{}
	for _, f := range m.sortedFrameworks() {
		entries.Frameworks = append(entries.Frameworks, entry(f))
	}
	for _, f := range m.completed {
		entries.CompletedFrameworks = append(entries.CompletedFrameworks, entry(f))
	}
	return entries
}

func (m *Master) executorEntries() *api.Response_GetExecutors {
	entries := &api.Response_GetExecutors{}
	for _, f := range m.sortedFrameworks() {
		for _, a := range m.sortedAgents() {
			for _, e := range a.customExecutors(f.id) {
				entries.Executors = append(entries.Executors, api.Response_GetExecutors_Executor{
					ExecutorInfo: *e.info, AgentID: v1.AgentID{Value: a.id},
				})
			}
		}
	}
	return entries
}

func (m *Master) taskEntries() *api.Response_GetTasks {
	entries := &api.Response_GetTasks{}
	add := func(to *[]v1.Task, tasks []*task) {
		for _, t := range tasks {
			*to = append(*to, view.Entry(t.framework, t.info, t.state, t.statuses))
		}
	}
	for _, f := range append(m.sortedFrameworks(), m.completed...) {
		add(&entries.Tasks, sortedTasks(f.tasks))
		add(&entries.UnreachableTasks, sortedTasks(f.unreachable))
		add(&entries.CompletedTasks, f.completed)
	}
	return entries
}

func (m *Master) roleEntries() *api.Response_GetRoles {
	entries := &api.Response_GetRoles{}
	known := map[string]int{}
	for _, f := range m.sortedFrameworks() {
		for _, name := range rolesOf(f.info) {
			at, there := known[name]
			if !there {
				at = len(entries.Roles)
				known[name] = at
				entries.Roles = append(entries.Roles, v1.Role{Name: name, Weight: 1})
			}
			role := &entries.Roles[at]
			role.Frameworks = append(role.Frameworks, v1.FrameworkID{Value: f.id})
			held := v1.Resources(role.Resources)
			for _, r := range m.usedBy(f) {
				if r.GetAllocationInfo().GetRole() == name {
					r.AllocationInfo = nil
					held.Add(r)
				}
			}
			role.Resources = held
		}
	}
	return entries
}
