package api

import (
	"context"
	"net/http"
	"sort"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type infoOutput struct{ Body wire.Info }

type infoInput struct {
	Authorization string `header:"Authorization" hidden:"true"`
	ForwardedBy   string `header:"Tidemill-Forwarded-By" hidden:"true"`
}

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
	ready.Description = "503 while it cannot read the store. A standby is ready: it answers reads and passes writes on. An instance that has lost Mesos is ready: it takes jobs and says why they wait."
	huma.Register(described, ready, h.ready)
}

// staleAfter is how old the view of a standby may be for it to be ready.
const staleAfter = 15 * time.Second

func (h *Handler) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	view, now := h.cfg.Scheduler.View(), h.cfg.Peers.Standing()
	if !now.Leads {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		if age, err := h.cfg.Peers.Fresh(ctx); err != nil || age > staleAfter {
			return &healthOutput{Status: http.StatusServiceUnavailable, Body: wire.Health{Status: "blind"}}, nil
		}
		return &healthOutput{Status: http.StatusOK, Body: wire.Health{Status: "standby"}}, nil
	}
	if view.Master == "" {
		return &healthOutput{Status: http.StatusOK, Body: wire.Health{Status: "disconnected"}}, nil
	}
	return &healthOutput{Status: http.StatusOK, Body: wire.Health{Status: "ok"}}, nil
}

func (h *Handler) info(ctx context.Context, in *infoInput) (*infoOutput, error) {
	view, now := h.cfg.Scheduler.View(), h.cfg.Peers.Standing()
	info := h.cfg.Info
	info.Leader, info.Role, info.Epoch, info.Instances = now.Leader, "standby", now.Epoch, now.Instances
	if now.Leads {
		info.Role = "leader"
	}
	if info.Instances == nil {
		info.Instances = []wire.Instance{}
	}
	info.FrameworkID, info.FrameworkProblem = view.Framework.ID, view.FrameworkProblem
	info.Mesos.Connected = view.Master != ""
	if view.Master != "" {
		info.Mesos.Master = view.Master
	}
	info.Agents = showAgents(view)
	info.Queue = wire.Queue{Pending: view.Queue.Pending, Launched: view.Queue.Launched, OldestPending: moment(view.Queue.OldestPending)}
	if in.ForwardedBy == "" {
		if leader, ok := h.leaderInfo(ctx, now, in.Authorization); ok {
			info.FrameworkID, info.FrameworkProblem = leader.FrameworkID, leader.FrameworkProblem
			info.Mesos, info.Agents, info.Queue = leader.Mesos, leader.Agents, leader.Queue
		}
	}
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
		if agent.BackOff.After(view.At) {
			row.BackOff = moment(agent.BackOff)
		}
		if m := agent.Maintenance; m != nil {
			row.Maintenance = &wire.Maintenance{Start: m.Start, End: moment(m.End)}
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
		for _, stage := range run.Stages {
			for _, task := range stage.Tasks {
				agent := launchedOn(task)
				if agent == "" {
					continue
				}
				if counts[agent] == nil {
					counts[agent] = map[string]int{}
				}
				counts[agent][run.Run.ExecutorVersion]++
			}
		}
	}
	return counts
}

// launchedOn is the agent that a task is on, or empty if it is on none.
func launchedOn(task *scheduler.TaskView) string {
	if task == nil {
		return ""
	}
	switch task.Task.State {
	case proto.TASK_LAUNCHING, proto.TASK_STARTING, proto.TASK_RUNNING:
		return task.Task.Attempts[len(task.Task.Attempts)-1].AgentID
	}
	return ""
}
