package scheduler

import (
	"log/slog"
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

const (
	troubleFirst = 2 * time.Second // back-off of an agent, doubling
	troubleMost  = 5 * time.Minute
	troubleFades = 10 * time.Minute // failures further apart have nothing to do with one another
	suspicious   = 2                // different shapes must fail before it is the agent's doing
)

// trouble is what speaks against an agent: attempts of different runs or stages that failed there for reasons that point
// at it, without a success in between. One bad job alone cannot keep others off an agent. It is not stored: a new leader
// finds out by itself.
type trouble struct {
	shapes []string // that failed, at most as many as are suspicious
	last   time.Time
	rounds int // back-offs in a row
	until  time.Time
}

// agentsFault are Mesos' reasons that point at an agent, or at how executors start there.
var agentsFault = map[string]bool{
	"REASON_EXECUTOR_TERMINATED":             true,
	"REASON_EXECUTOR_UNREGISTERED":           true,
	"REASON_EXECUTOR_REGISTRATION_TIMEOUT":   true,
	"REASON_EXECUTOR_REREGISTRATION_TIMEOUT": true,
	"REASON_CONTAINER_LAUNCH_FAILED":         true,
	"REASON_CONTAINER_UPDATE_FAILED":         true,
	"REASON_GC_ERROR":                        true,
	"REASON_AGENT_DISCONNECTED":              true,
	"REASON_SLAVE_DISCONNECTED":              true,
	"REASON_AGENT_REMOVED":                   true,
	"REASON_SLAVE_REMOVED":                   true,
	"REASON_AGENT_RESTARTED":                 true,
	"REASON_SLAVE_RESTARTED":                 true,
}

// judge lets the end of an attempt speak for or against its agent.
func (c *Core) judge(a *attempt, o outcome, live bool) {
	agent := c.agents[a.executor.rec.AgentID]
	switch {
	case agent == nil:
	case o.state == proto.TASK_FINISHED:
		if len(agent.trouble.shapes) > 0 {
			agent.trouble = trouble{}
			c.view.agent(agent)
		}
	case live && a.rec().KillRequested == nil && o.failure.Class == proto.CLASS_OURS && (o.suspect || agentsFault[o.reason]):
		c.suspect(agent, a.task.shape)
	}
}

// suspect counts a failure against an agent. Those that come while it is in back-off began before.
func (c *Core) suspect(a *agent, s *shape) {
	t := &a.trouble
	if c.now.Sub(later(t.last, t.until)) > troubleFades {
		*t = trouble{}
	}
	t.last = c.now
	if key := s.owner.id + "/" + s.stage; !slices.Contains(t.shapes, key) && len(t.shapes) < suspicious {
		t.shapes = append(t.shapes, key)
	}
	if len(t.shapes) < suspicious || c.now.Before(t.until) {
		return
	}
	t.rounds++
	t.until = c.now.Add(grow(troubleFirst, t.rounds, troubleMost))
	for _, share := range c.demand.shares {
		share.lookAgainAt(c, t.until)
	}
	c.view.agent(a)
	c.count(MetricAgentBackOffs, 1)
	c.note(slog.LevelWarn, "attempts keep failing on an agent: nothing is launched there for a while",
		slog.String("agent", a.id), slog.String("host", a.host), slog.Time("until", t.until))
}
