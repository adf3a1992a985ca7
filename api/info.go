package api

import (
	"context"
	"net/http"
	"sort"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type infoOutput struct{ Body wire.Info }

type healthOutput struct {
	Status int
	Body   wire.Health
}

func (h *Handler) infoRoutes(described huma.API) {
	const tag = "service"
	huma.Register(described, operation("info", http.MethodGet, "/v1/info", tag, "Say what this instance is connected to"), h.info)
	alive := operation("healthz", http.MethodGet, "/healthz", tag, "Say that the process answers")
	huma.Register(described, alive, func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{Status: http.StatusOK, Body: wire.Health{Status: "ok"}}, nil
	})
	ready := operation("readyz", http.MethodGet, "/readyz", tag, "Say whether this instance takes requests")
	ready.Description = "503 while it does not lead. An instance that has lost Mesos is ready: it takes jobs and says why they wait."
	huma.Register(described, ready, h.ready)
}

func (h *Handler) ready(context.Context, *struct{}) (*healthOutput, error) {
	view := h.cfg.Scheduler.View()
	switch {
	case !view.Leading:
		return &healthOutput{Status: http.StatusServiceUnavailable, Body: wire.Health{Status: "standby"}}, nil
	case view.Master == "":
		return &healthOutput{Status: http.StatusOK, Body: wire.Health{Status: "disconnected"}}, nil
	}
	return &healthOutput{Status: http.StatusOK, Body: wire.Health{Status: "ok"}}, nil
}

func (h *Handler) info(context.Context, *struct{}) (*infoOutput, error) {
	view := h.cfg.Scheduler.View()
	info := h.cfg.Info
	info.FrameworkID = view.FrameworkID
	info.Mesos.Connected = view.Master != ""
	if view.Master != "" {
		info.Mesos.Master = view.Master
	}
	info.Agents = showAgents(view)
	info.Queue = wire.Queue{Pending: view.Queue.Pending, Launched: view.Queue.Launched, OldestPending: moment(view.Queue.OldestPending)}
	return &infoOutput{Body: info}, nil
}

// showAgents lists agents by host, with what runs there.
func showAgents(view *scheduler.View) []wire.Agent {
	versions := versionsByAgent(view)
	out := make([]wire.Agent, 0, len(view.Agents))
	for _, agent := range view.Agents {
		row := wire.Agent{
			ID: agent.ID, Host: agent.Host, URL: agent.URL, Tasks: agent.Tasks, Seen: shown(agent.Seen),
			Attributes: map[string]string{}, Versions: versions[agent.ID],
		}
		for name, value := range agent.Attributes {
			if name != "hostname" { // the core adds it for constraints
				row.Attributes[name] = value
			}
		}
		if row.Versions == nil {
			row.Versions = map[string]int{}
		}
		out = append(out, row)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Host != out[j].Host {
			return out[i].Host < out[j].Host
		}
		return out[i].ID < out[j].ID
	})
	return out
}

// versionsByAgent counts launched tasks by agent and executor version.
func versionsByAgent(view *scheduler.View) map[string]map[string]int {
	counts := map[string]map[string]int{}
	for _, run := range view.Runs {
		if jobs.Terminal(run.Run.State) {
			continue
		}
		for _, task := range run.Tasks {
			switch task.Task.State {
			case proto.TASK_LAUNCHING, proto.TASK_STARTING, proto.TASK_RUNNING:
			default:
				continue
			}
			agent := task.Task.Attempts[len(task.Task.Attempts)-1].AgentID
			if counts[agent] == nil {
				counts[agent] = map[string]int{}
			}
			counts[agent][run.Run.ExecutorVersion]++
		}
	}
	return counts
}
