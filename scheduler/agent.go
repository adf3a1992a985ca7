package scheduler

import (
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// agent is what is known of an agent.
type agent struct {
	alarm
	id         string
	host, url  string
	attributes map[string]string
	most       jobs.Resources // the most that one offer of it had, each resource by itself
	tasks      int            // that live there
	seen       time.Time
	window     *window // of maintenance ahead or going on; nil: none is known
	trouble    trouble

	viewChanged bool // listed in viewCache.agents
}

// agentKept is how long an agent stays known that nothing is heard of and on which nothing runs.
const agentKept = 24 * time.Hour

func (c *Core) agent(id string) *agent {
	a := c.agents[id]
	if a == nil {
		c.forgetAgents()
		a = &agent{id: id}
		c.agents[id] = a
	}
	return a
}

// forgetAgents forgets those that were not heard of for long, sometimes: there may be many.
func (c *Core) forgetAgents() {
	if c.now.Sub(c.swept) < agentKept/24 {
		return
	}
	c.swept = c.now
	for _, known := range c.agents {
		if known.tasks == 0 && c.now.Sub(known.seen) > agentKept {
			c.dropAgent(known)
		}
	}
}

func (c *Core) dropAgent(a *agent) {
	delete(c.agents, a.id)
	c.dismiss(a)
	c.view.agent(a)
}

// seen notes what an offer says of its agent.
func (c *Core) seen(o *Offer) *agent {
	a := c.agent(o.AgentID)
	a.host, a.url, a.attributes, a.seen = o.Host, o.AgentURL, o.Attributes, c.now
	a.most.CPUs, a.most.Memory, a.most.Disk = max(a.most.CPUs, o.CPUs), max(a.most.Memory, o.Memory), max(a.most.Disk, o.Disk)
	if o.Unavailable != nil {
		c.announce(a, *o.Unavailable, o.UnavailableFor, "")
	} else {
		c.dismiss(a)
	}
	c.view.agent(a)
	return a
}

func (c *Core) showAgent(a *agent) *AgentView {
	view := &AgentView{ID: a.id, Host: a.host, URL: a.url, Attributes: a.attributes, Most: a.most, Tasks: a.tasks, Seen: a.seen, BackOff: a.trouble.until}
	if a.window != nil {
		view.Maintenance = &Maintenance{Start: c.clock(a.window.start)}
		if !a.window.end.IsZero() {
			view.Maintenance.End = c.clock(a.window.end)
		}
	}
	return view
}
