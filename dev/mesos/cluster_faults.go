package mesos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/types"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/maintenance"
	api "github.com/mesos/mesos-go/api/v1/lib/master"

	"github.com/tidemill/tidemill/dev/mesos/master"
)

const pollInterval = 5 * time.Millisecond

// Leader is the master that leads; nil if none does.
func (c *Cluster) Leader() *master.Master {
	for i, m := range c.Masters {
		select {
		case <-c.masters[i].done:
			continue
		default:
		}
		if m.Leads() {
			return m
		}
	}
	return nil
}

// AwaitLeader waits for a leader with n registered agents.
func (c *Cluster) AwaitLeader(ctx context.Context, n int) (*master.Master, error) {
	for {
		if m := c.Leader(); m != nil && m.ConnectedAgents() == n {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a leader with %d agents: %w", n, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// Lead makes the i-th master the leader, in a cluster of several masters without
// ZooKeeper; elsewhere it does nothing. -1 leaves nobody.
func (c *Cluster) Lead(i int) {
	switch {
	case c.group == nil:
	case i < 0:
		c.group.Lead("")
	default:
		c.group.Lead(c.Masters[i].Address())
	}
}

// StopMaster ends the i-th master: its connections break. With ZooKeeper it withdraws
// at once; one that is to leave its node behind until the session expires must be a
// Process, to be killed.
func (c *Cluster) StopMaster(i int) error { return c.masters[i].end() }

// StartMaster starts the i-th master again, at its address, once it was stopped.
func (c *Cluster) StartMaster(i int) error {
	cfg := c.cfg.Master
	cfg.Listen = c.Masters[i].Address()
	m, err := c.newMaster(cfg)
	if err != nil {
		return fmt.Errorf("start master %d again: %w", i, err)
	}
	c.Masters[i], c.masters[i] = m, begin(m.Run)
	c.Master = c.Masters[0]
	return nil
}

// StopAgent ends the i-th agent. With KeepExecutors in its configuration its executors
// live on, for the one that StartAgent starts; otherwise it leaves with all it has.
func (c *Cluster) StopAgent(i int) error { return c.agents[i].end() }

// StartAgent starts the i-th agent again on its work directory, once it has ended.
func (c *Cluster) StartAgent(i int) error {
	a, err := c.newAgent(i)
	if err != nil {
		return fmt.Errorf("start agent %d again: %w", i, err)
	}
	c.Agents[i], c.agents[i] = a, begin(a.Run)
	return nil
}

// AgentEnded is closed when the i-th agent has ended, as it does when it is marked gone
// or its machine is taken down.
func (c *Cluster) AgentEnded(i int) <-chan struct{} { return c.agents[i].done }

// Partition cuts the i-th agent off from its master, without either of them noticing at
// first; the master makes it unreachable after its AgentTimeout.
func (c *Cluster) Partition(i int) { c.Agents[i].Partition() }

// Heal ends the partition of the i-th agent.
func (c *Cluster) Heal(i int) { c.Agents[i].Heal() }

// Drain has all tasks of the i-th agent killed and offers nothing of it any more. grace
// bounds the tasks' own grace periods unless it is negative. With markGone the agent
// ends when it is drained.
func (c *Cluster) Drain(ctx context.Context, i int, grace time.Duration, markGone bool) error {
	id, err := c.AgentID(ctx, i)
	if err != nil {
		return err
	}
	call := &api.Call_DrainAgent{AgentID: id, MarkGone: &markGone}
	if grace >= 0 {
		call.MaxGracePeriod = types.DurationProto(grace)
	}
	return c.Operate(ctx, &api.Call{Type: api.Call_DRAIN_AGENT, DrainAgent: call})
}

// Deactivate offers nothing of the i-th agent any more; its tasks go on.
func (c *Cluster) Deactivate(ctx context.Context, i int) error {
	id, err := c.AgentID(ctx, i)
	if err != nil {
		return err
	}
	return c.Operate(ctx, &api.Call{Type: api.Call_DEACTIVATE_AGENT, DeactivateAgent: &api.Call_DeactivateAgent{AgentID: id}})
}

// Reactivate ends what Drain (once that is done) and Deactivate did.
func (c *Cluster) Reactivate(ctx context.Context, i int) error {
	id, err := c.AgentID(ctx, i)
	if err != nil {
		return err
	}
	return c.Operate(ctx, &api.Call{Type: api.Call_REACTIVATE_AGENT, ReactivateAgent: &api.Call_ReactivateAgent{AgentID: id}})
}

// Gone marks the i-th agent gone: it ends, with all it has, and never comes back. One
// that is partitioned hears of it when it is healed.
func (c *Cluster) Gone(ctx context.Context, i int) error {
	id, err := c.AgentID(ctx, i)
	if err != nil {
		return err
	}
	return c.Operate(ctx, &api.Call{Type: api.Call_MARK_AGENT_GONE, MarkAgentGone: &api.Call_MarkAgentGone{AgentID: id}})
}

// PlanMaintenance replaces the maintenance schedule: the machines of these agents will be
// down from start on, for the given time, or for ever if that is 0. No agents: nothing
// is planned. Agents of one host name, as all are unless customized, are on one
// machine.
func (c *Cluster) PlanMaintenance(ctx context.Context, start time.Time, duration time.Duration, agents ...int) error {
	schedule := maintenance.Schedule{}
	if machines := c.machines(agents); len(machines) > 0 {
		window := maintenance.Window{
			MachineIDs: machines, Unavailability: v1.Unavailability{Start: v1.TimeInfo{Nanoseconds: start.UnixNano()}},
		}
		if duration > 0 {
			window.Unavailability.Duration = &v1.DurationInfo{Nanoseconds: int64(duration)}
		}
		schedule.Windows = append(schedule.Windows, window)
	}
	return c.Operate(ctx, &api.Call{Type: api.Call_UPDATE_MAINTENANCE_SCHEDULE,
		UpdateMaintenanceSchedule: &api.Call_UpdateMaintenanceSchedule{Schedule: schedule}})
}

// StartMaintenance takes the machines of these agents down, which must be planned: the
// agents end.
func (c *Cluster) StartMaintenance(ctx context.Context, agents ...int) error {
	return c.Operate(ctx, &api.Call{Type: api.Call_START_MAINTENANCE,
		StartMaintenance: &api.Call_StartMaintenance{Machines: c.machines(agents)}})
}

// StopMaintenance brings the machines of these agents up again; StartAgent starts the
// agents.
func (c *Cluster) StopMaintenance(ctx context.Context, agents ...int) error {
	return c.Operate(ctx, &api.Call{Type: api.Call_STOP_MAINTENANCE,
		StopMaintenance: &api.Call_StopMaintenance{Machines: c.machines(agents)}})
}

// machines are those of the agents, each once.
func (c *Cluster) machines(agents []int) []v1.MachineID {
	var ids []v1.MachineID
	seen := map[string]bool{}
	for _, i := range agents {
		if hostname := c.Agents[i].Hostname(); !seen[hostname] {
			seen[hostname] = true
			ip := c.Agents[i].IP()
			ids = append(ids, v1.MachineID{Hostname: &hostname, IP: &ip})
		}
	}
	return ids
}

// AgentID is what the masters call the i-th agent. It waits until the agent knows.
func (c *Cluster) AgentID(ctx context.Context, i int) (v1.AgentID, error) {
	for {
		if id := c.Agents[i].ID(); id != "" {
			return v1.AgentID{Value: id}, nil
		}
		select {
		case <-ctx.Done():
			return v1.AgentID{}, fmt.Errorf("wait for agent %d to register: %w", i, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// Operate makes an operator's call at the leader; any answer but success is an error
// with the master's words. It is for clusters without operators' credentials and TLS.
func (c *Cluster) Operate(ctx context.Context, call *api.Call) error {
	leader := c.Leader()
	if leader == nil {
		return fmt.Errorf("%s: no master leads", call.Type)
	}
	body, err := proto.Marshal(call)
	if err != nil {
		return fmt.Errorf("%s: %w", call.Type, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, leader.URL()+"/api/v1", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", call.Type, err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Accept", "application/x-protobuf")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // nothing of it stays
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", call.Type, err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", call.Type, err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%s: %s: %s", call.Type, response.Status, text)
	}
	return nil
}
