package master

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
	"github.com/tidemill/tidemill/dev/mesos/internal/view"
)

// handleViews adds the read-only views that need no call body.
func (m *Master) handleViews(mux *http.ServeMux, prefix string) {
	// Those of the leader alone, and those that each master answers.
	led := map[string]func() any{
		"/state":         func() any { return m.stateView() },
		"/state.json":    func() any { return m.stateView() },
		"/state-summary": func() any { return m.summaryView() },
		"/frameworks":    func() any { return m.frameworksView() },
		"/slaves":        func() any { return m.slavesView() },
		"/tasks":         func() any { return m.tasksView() },
	}
	for path, show := range led {
		mux.HandleFunc("GET "+prefix+path, m.forOperators("readonly", m.atLeader(m.shows(show))))
	}
	mux.HandleFunc("GET "+prefix+"/metrics/snapshot", m.shows(func() any { return m.metrics() }))
	mux.HandleFunc("GET "+prefix+"/version", m.shows(func() any { return view.Build(Version) }))
	mux.HandleFunc("GET "+prefix+"/health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET "+prefix+"/redirect", m.serveRedirect)
}

func (m *Master) shows(show func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		m.mu.Lock()
		shown := show()
		m.mu.Unlock()
		view.Write(w, shown)
	}
}

func (m *Master) port() uint16 {
	address, err := netip.ParseAddrPort(m.listener.Addr().String())
	if err != nil { // a listener's address is one
		panic(err)
	}
	return address.Port()
}

func (m *Master) stateView() view.Object {
	info := m.info()
	state := view.Build(Version)
	maps.Copy(state, view.Object{
		"start_time": seconds(m.started), "elected_time": seconds(m.elected), "id": m.id, "pid": *info.PID,
		"hostname": *info.Hostname, "leader": *info.PID,
		"leader_info":        view.Object{"id": m.id, "pid": *info.PID, "port": *info.Port, "hostname": *info.Hostname},
		"capabilities":       []string{"AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"},
		"activated_slaves":   m.connectedAgents(),
		"unreachable_slaves": len(m.unreachable), "deactivated_slaves": len(m.agents) - m.connectedAgents(),
		"flags": view.Object{
			"allocation_interval": m.cfg.AllocationInterval.String(), "port": fmt.Sprint(m.port()),
			"min_allocatable_resources": "cpus:0.01|mem:32",
		},
		"slaves": m.agentViews(false), "recovered_slaves": m.recoveredViews(),
		"orphan_tasks": []any{}, "unregistered_frameworks": []any{},
	})
	maps.Copy(state, m.frameworksView())
	return state
}

func (m *Master) connectedAgents() int {
	n := 0
	for _, a := range m.agents {
		if a.stream != nil {
			n++
		}
	}
	return n
}

func (m *Master) summaryView() view.Object {
	slaves, frameworks := []view.Object{}, []view.Object{}
	for _, a := range m.sortedAgents() {
		o := m.agentView(a)
		for key, n := range m.countTasks(func(t *task) bool { return t.agent == a.id }) {
			o[key] = n
		}
		var ids []string
		for id := range a.executors {
			ids = append(ids, id)
		}
		sort.Strings(ids)
		o["framework_ids"] = ids
		slaves = append(slaves, o)
	}
	for _, f := range m.sortedFrameworks() {
		o := m.frameworkSummary(f)
		for key, n := range m.countTasks(func(t *task) bool { return t.framework == f.id }) {
			o[key] = n
		}
		frameworks = append(frameworks, o)
	}
	return view.Object{
		"hostname": "localhost", "cluster": "tidemill", "slaves": slaves, "frameworks": frameworks,
	}
}

func (m *Master) countTasks(match func(*task) bool) map[string]int {
	counts := map[string]int{}
	for _, state := range v1.TaskState_name {
		counts[state] = 0
	}
	count := func(t *task) {
		if match(t) {
			counts[t.state.String()]++
		}
	}
	for _, f := range m.frameworks {
		for _, t := range f.tasks {
			count(t)
		}
		for _, t := range f.unreachable {
			count(t)
		}
		for _, t := range f.completed {
			count(t)
		}
	}
	return counts
}

func (m *Master) sortedAgents() []*agent {
	var list []*agent
	for _, a := range m.agents {
		list = append(list, a)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

func (m *Master) sortedFrameworks() []*framework {
	var list []*framework
	for _, f := range m.frameworks {
		list = append(list, f)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

func (m *Master) agentViews(full bool) []view.Object {
	list := []view.Object{}
	for _, a := range m.sortedAgents() {
		o := m.agentView(a)
		if full {
			o["reserved_resources_full"], o["unreserved_resources_full"] = view.FullByReservation(a.total)
			o["used_resources_full"] = view.Full(m.usedOn(a))
			o["offered_resources_full"] = view.Full(m.offeredOf(func(x *offer) bool { return x.Agent == a.id }))
		}
		list = append(list, o)
	}
	return list
}

func (m *Master) slavesView() view.Object {
	return view.Object{"slaves": m.agentViews(true), "recovered_slaves": m.recoveredViews()}
}

func (m *Master) recoveredViews() []view.Object {
	list := []view.Object{}
	for _, id := range slices.Sorted(maps.Keys(m.recovered)) {
		info := m.recovered[id]
		list = append(list, view.Object{"id": id, "hostname": info.Hostname, "resources": view.Resources(info.Resources)})
	}
	return list
}

func (m *Master) agentView(a *agent) view.Object {
	admitted := m.registry.Agents[a.id]
	_, port := addressOf(a.pid)
	o := view.Object{
		"id": a.id, "hostname": a.info.Hostname, "port": port, "pid": a.pid,
		"attributes": view.Attributes(a.info.Attributes), "registered_time": seconds(a.registered),
		"resources": view.Resources(a.total), "unreserved_resources": view.Unreserved(a.total),
		"reserved_resources": view.Reserved(a.total),
		"used_resources":     view.Resources(m.usedOn(a)),
		"offered_resources":  view.Resources(m.offeredOf(func(o *offer) bool { return o.Agent == a.id })),
		"active":             m.active(a), "deactivated": admitted.Deactivated, "version": Version, "capabilities": view.AgentCapabilities,
	}
	if !a.reregistered.IsZero() {
		o["reregistered_time"] = seconds(a.reregistered)
	}
	if admitted.Drain != nil {
		o["drain_info"] = view.Message(admitted.drainInfo())
		o["estimated_drain_start_time_seconds"] = admitted.DrainStart.Unix()
	}
	return o
}

// usedOn sums what tasks and executors hold on an agent.
func (m *Master) usedOn(a *agent) v1.Resources {
	return m.used(func(t *task) bool { return t.agent == a.id }, func(on *agent, _ string) bool { return on == a })
}

func (m *Master) usedBy(f *framework) v1.Resources {
	return m.used(func(t *task) bool { return t.framework == f.id }, func(_ *agent, framework string) bool { return framework == f.id })
}

func (m *Master) used(byTask func(*task) bool, byExecutor func(a *agent, framework string) bool) v1.Resources {
	var sum v1.Resources
	for _, f := range m.frameworks {
		for _, t := range f.tasks {
			if byTask(t) && !t.released {
				sum.Add(t.info.Resources...)
			}
		}
	}
	for _, a := range m.agents {
		for framework, executors := range a.executors {
			for _, e := range executors {
				if byExecutor(a, framework) {
					sum.Add(e.held()...)
				}
			}
		}
	}
	return sum
}

func (m *Master) offeredOf(match func(*offer) bool) v1.Resources {
	var sum v1.Resources
	for _, o := range m.offers {
		if match(o) {
			sum.Add(o.Resources...)
		}
	}
	return sum
}

func (m *Master) frameworksView() view.Object {
	active, completed := []view.Object{}, []view.Object{}
	for _, f := range m.sortedFrameworks() {
		active = append(active, m.frameworkView(f))
	}
	for _, f := range m.completed {
		completed = append(completed, m.frameworkView(f))
	}
	return view.Object{"frameworks": active, "completed_frameworks": completed, "unregistered_frameworks": []any{}}
}

func (m *Master) frameworkSummary(f *framework) view.Object {
	capabilities := []string{}
	for _, c := range f.info.Capabilities {
		capabilities = append(capabilities, c.Type.String())
	}
	o := view.Object{
		"id": f.id, "name": f.info.Name, "capabilities": capabilities, "hostname": f.info.GetHostname(),
		"active": f.subscription != nil, "connected": f.subscription != nil, "recovered": f.recovered,
		"used_resources":    view.Resources(m.usedBy(f)),
		"offered_resources": view.Resources(m.offeredOf(func(o *offer) bool { return o.framework == f })),
	}
	if f.info.WebUiURL != nil {
		o["webui_url"] = *f.info.WebUiURL
	}
	return o
}

func (m *Master) frameworkView(f *framework) view.Object {
	o := m.frameworkSummary(f)
	offered := m.offeredOf(func(o *offer) bool { return o.framework == f })
	maps.Copy(o, view.Object{
		"user": f.info.User, "failover_timeout": f.info.GetFailoverTimeout(), "checkpoint": f.info.GetCheckpoint(),
		"registered_time": seconds(f.registered), "unregistered_time": 0.0,
		"resources": view.Resources(resource.Sum(m.usedBy(f), offered)), "roles": rolesOf(f.info),
		"tasks": taskViews(sortedTasks(f.tasks)), "unreachable_tasks": taskViews(sortedTasks(f.unreachable)),
		"completed_tasks": taskViews(f.completed), "offers": m.offerViews(f), "executors": m.executorViews(f),
		"offer_constraints": view.Object{},
	})
	if f.reregistered.After(f.registered) {
		o["reregistered_time"] = seconds(f.reregistered)
	}
	if !f.unregistered.IsZero() {
		o["unregistered_time"] = seconds(f.unregistered)
	}
	return o
}

func sortedTasks(tasks map[string]*task) []*task {
	var list []*task
	for _, t := range tasks {
		list = append(list, t)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id() < list[j].id() })
	return list
}

func taskViews(tasks []*task) []view.Object {
	list := []view.Object{}
	for _, t := range tasks {
		list = append(list, t.view())
	}
	return list
}

func (t *task) view() view.Object {
	return view.Task(t.framework, t.executorID().GetValue(), t.info, t.state, t.statuses)
}

func (m *Master) offerViews(f *framework) []view.Object {
	list := []view.Object{}
	for _, o := range m.offers {
		if o.framework == f {
			list = append(list, view.Object{
				"id": o.id, "framework_id": f.id, "slave_id": o.Agent,
				"allocation_info": view.Object{"role": o.Role}, "resources": view.Resources(o.Resources),
			})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i]["id"].(string) < list[j]["id"].(string) })
	return list
}

func (m *Master) executorViews(f *framework) []view.Object {
	list := []view.Object{}
	for _, a := range m.sortedAgents() {
		for _, e := range a.customExecutors(f.id) {
			list = append(list, view.Object{
				"executor_id": e.info.ExecutorID.Value, "name": e.info.GetName(), "framework_id": f.id,
				"command": commandView(e.info.Command), "resources": view.Resources(e.info.Resources),
				"role": view.Role(e.info.Resources), "labels": view.Labels(e.info.Labels),
				"type": e.info.Type.String(), "slave_id": a.id,
			})
		}
	}
	return list
}

func commandView(command *v1.CommandInfo) view.Object {
	o := view.Object{"shell": command.GetShell(), "argv": append([]string{}, command.GetArguments()...)}
	if command.GetValue() != "" {
		o["value"] = command.GetValue()
	}
	if command.GetEnvironment() != nil {
		o["environment"] = view.Message(command.GetEnvironment())
	}
	uris := []view.Object{}
	for _, uri := range command.GetURIs() {
		uris = append(uris, view.Object{"value": uri.Value, "executable": uri.GetExecutable(), "cache": uri.GetCache()})
	}
	o["uris"] = uris
	return o
}

func (m *Master) tasksView() view.Object {
	list := []view.Object{}
	for _, f := range m.sortedFrameworks() {
		list = append(list, taskViews(sortedTasks(f.tasks))...)
		list = append(list, taskViews(f.completed)...)
	}
	return view.Object{"tasks": list}
}

func (m *Master) electedGauge() int {
	if m.leads() {
		return 1
	}
	return 0
}

// metrics are a few of those that Mesos has under these names.
func (m *Master) metrics() view.Object {
	states := map[v1.TaskState]int{}
	connected := 0
	for _, f := range m.frameworks {
		if f.subscription != nil {
			connected++
		}
		for _, t := range f.tasks {
			if !terminal(t.state) {
				states[t.state]++
			}
		}
	}
	o := view.Object{
		"master/elected": m.electedGauge(), "master/uptime_secs": time.Since(m.started).Seconds(),
		"master/slaves_connected": m.connectedAgents(), "master/slaves_disconnected": len(m.agents) - m.connectedAgents(),
		"master/slaves_unreachable": len(m.unreachable), "master/outstanding_offers": len(m.offers),
		"master/frameworks_connected": connected, "master/frameworks_disconnected": len(m.frameworks) - connected,
		"master/invalid_tasks": m.counters.invalidTasks, "master/messages_status_update": m.counters.updates,
		"master/offers_sent": m.counters.offersSent, "master/offers_accepted": m.counters.offersAccepted,
		"master/offers_declined": m.counters.offersDeclined, "master/offers_rescinded": m.counters.offersRescinded,
		"master/tasks_launched": m.counters.tasksLaunched, "allocator/mesos/allocation_runs": m.counters.allocations,
	}
	for _, state := range []v1.TaskState{v1.TASK_STAGING, v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_KILLING, v1.TASK_UNREACHABLE} {
		o["master/"+strings.ToLower(strings.Replace(state.String(), "TASK_", "tasks_", 1))] = states[state]
	}
	for _, state := range []v1.TaskState{
		v1.TASK_FINISHED, v1.TASK_FAILED, v1.TASK_KILLED, v1.TASK_ERROR, v1.TASK_LOST,
		v1.TASK_DROPPED, v1.TASK_GONE, v1.TASK_GONE_BY_OPERATOR,
	} {
		o["master/"+strings.ToLower(strings.Replace(state.String(), "TASK_", "tasks_", 1))] = m.counters.endedTasks[state]
	}
	var total, used v1.Resources
	for _, a := range m.agents {
		total.Add(a.total...)
		used.Add(m.usedOn(a)...)
	}
	for _, name := range []string{resource.CPUs, resource.Mem, resource.Disk} {
		o["master/"+name+"_total"] = resource.Amount(total, name)
		o["master/"+name+"_used"] = resource.Amount(used, name)
	}
	return o
}
