package agent

import (
	"maps"
	"net/http"
	"sort"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/agent"

	"github.com/tidemill/tidemill/dev/mesos/internal/view"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// Version is the Mesos whose behaviour was recorded.
const Version = "1.12.0"

func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	for _, prefix := range []string{"", "/slave(1)"} {
		mux.HandleFunc(prefix+"/api/v1/executor", a.serveExecutor)
		mux.HandleFunc(prefix+"/api/v1", a.serveOperator)
		a.handleViews(mux, prefix)
	}
	a.handleFiles(mux)
	return mux
}

func (a *Agent) handleViews(mux *http.ServeMux, prefix string) {
	views := map[string]func() any{
		"/state":              func() any { return a.stateView() },
		"/state.json":         func() any { return a.stateView() },
		"/containers":         func() any { return a.containersView(true) },
		"/monitor/statistics": func() any { return a.containersView(false) },
		"/version":            func() any { return view.Build(Version) },
	}
	for path, show := range views {
		mux.HandleFunc("GET "+prefix+path, func(w http.ResponseWriter, _ *http.Request) {
			a.mu.Lock()
			shown := show()
			a.mu.Unlock()
			view.Write(w, shown)
		})
	}
	mux.HandleFunc("GET "+prefix+"/health", func(http.ResponseWriter, *http.Request) {})
}

func (a *Agent) stateView() view.Object {
	state := view.Build(Version)
	maps.Copy(state, view.Object{
		"start_time": float64(a.started.UnixNano()) / 1e9, "id": a.id(), "pid": a.pid(), "hostname": a.info.Hostname,
		"master_hostname": "localhost", "capabilities": view.AgentCapabilities,
		"attributes": view.Attributes(a.info.Attributes), "resources": view.Resources(a.info.Resources),
		"unreserved_resources":           view.Resources(a.info.Resources),
		"reserved_resources":             view.Object{},
		"reserved_resources_full":        view.Object{},
		"unreserved_resources_full":      view.Full(a.info.Resources),
		"reserved_resources_allocated":   view.Object{},
		"unreserved_resources_allocated": view.Resources(a.allocated()),
		"resource_providers":             []any{},
		"flags":                          view.Object{"work_dir": a.cfg.WorkDir, "resources": a.cfg.Resources, "attributes": a.cfg.Attributes},
	})
	active, completed := []view.Object{}, []view.Object{}
	for _, f := range a.sortedFrameworks() {
		active = append(active, f.view())
	}
	for _, f := range a.completed {
		completed = append(completed, f.view())
	}
	state["frameworks"], state["completed_frameworks"] = active, completed
	return state
}

func (a *Agent) allocated() v1.Resources {
	var sum v1.Resources
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			if e.phase != terminated {
				sum.Add(e.limits()...)
			}
		}
	}
	return sum
}

func (a *Agent) sortedFrameworks() []*framework {
	var list []*framework
	for _, f := range a.frameworks {
		list = append(list, f)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

func (f *framework) view() view.Object {
	living, completed := []view.Object{}, []view.Object{}
	for _, e := range f.sortedExecutors() {
		living = append(living, e.view())
	}
	for _, e := range f.completed {
		completed = append(completed, e.view())
	}
	return view.Object{
		"id": f.id, "name": f.info.Name, "user": f.info.User, "failover_timeout": f.info.GetFailoverTimeout(),
		"checkpoint": f.info.GetCheckpoint(), "hostname": f.info.GetHostname(), "roles": f.info.Roles,
		"executors": living, "completed_executors": completed,
	}
}

func (f *framework) sortedExecutors() []*executor {
	var list []*executor
	for _, e := range f.executors {
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id() < list[j].id() })
	return list
}

func (e *executor) view() view.Object {
	tasks, queued, completed := []view.Object{}, []view.Object{}, []view.Object{}
	for _, t := range e.order {
		if t.sent {
			tasks = append(tasks, t.view())
		} else {
			queued = append(queued, t.view())
		}
	}
	for _, t := range e.completed {
		completed = append(completed, t.view())
	}
	o := view.Object{
		"id": e.id(), "name": e.info.GetName(), "source": e.info.GetSource(), "container": e.container,
		"directory": e.sandbox, "resources": view.Resources(e.limits()), "role": view.Role(e.info.Resources),
		"type": e.info.Type.String(), "tasks": tasks, "queued_tasks": queued, "completed_tasks": completed,
	}
	if e.info.Labels != nil {
		o["labels"] = view.Labels(e.info.Labels)
	}
	return o
}

func (t *task) view() view.Object {
	return view.Task(t.executor.framework.id, t.executor.id(), t.info, t.state, t.statuses)
}

// serveOperator is /api/v1: the reads that people use.
func (a *Agent) serveOperator(w http.ResponseWriter, r *http.Request) {
	call := &api.Call{}
	_, refusal := wire.ReadCall(r, call)
	media, notAccepted := wire.Accepted(r)
	if refusal == nil {
		refusal = notAccepted
	}
	if refusal != nil {
		refusal.Write(w)
		return
	}
	a.mu.Lock()
	response := a.answer(call)
	a.mu.Unlock()
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
func (a *Agent) answer(call *api.Call) *api.Response {
	response := &api.Response{Type: api.Response_Type(api.Response_Type_value[call.Type.String()])}
	switch call.Type {
	case api.Call_GET_HEALTH:
		response.GetHealth = &api.Response_GetHealth{Healthy: true}
	case api.Call_GET_AGENT:
		response.GetAgent = &api.Response_GetAgent{AgentInfo: a.info}
	case api.Call_GET_TASKS:
		response.GetTasks = a.taskEntries()
	case api.Call_GET_EXECUTORS:
		response.GetExecutors = a.executorEntries()
	case api.Call_GET_CONTAINERS:
		response.GetContainers = &api.Response_GetContainers{Containers: a.containers()}
	default:
		return nil
	}
	return response
}

func (a *Agent) taskEntries() *api.Response_GetTasks {
	entries := &api.Response_GetTasks{}
	for _, f := range a.sortedFrameworks() {
		for _, e := range f.sortedExecutors() {
			for _, t := range e.order {
				entry := view.Entry(f.id, t.info, t.state, t.statuses)
				switch {
				case !t.sent:
					entries.QueuedTasks = append(entries.QueuedTasks, entry)
				case terminal(t.state):
					entries.TerminatedTasks = append(entries.TerminatedTasks, entry)
				default:
					entries.LaunchedTasks = append(entries.LaunchedTasks, entry)
				}
			}
			for _, t := range e.completed {
				entries.CompletedTasks = append(entries.CompletedTasks, view.Entry(f.id, t.info, t.state, t.statuses))
			}
		}
	}
	return entries
}

func (a *Agent) executorEntries() *api.Response_GetExecutors {
	entries := &api.Response_GetExecutors{}
	for _, f := range a.sortedFrameworks() {
		for _, e := range f.sortedExecutors() {
			entries.Executors = append(entries.Executors, api.Response_GetExecutors_Executor{ExecutorInfo: *e.info})
		}
	}
	return entries
}
