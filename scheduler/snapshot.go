package scheduler

import (
	"maps"
	"slices"

	"github.com/tidemill/tidemill/proto"
)

// viewCache is the last View and what has changed since.
type viewCache struct {
	last     *View
	changed  bool // anything that the fields below do not say
	jobs     bool
	versions bool
	channels bool // where they point, or which rollouts are open: versions show that, too
	rollouts bool // what they have seen
	checks   bool
	agents   []*agent // that have changed or gone, each once
	runs     []*run   // each once
	dropped  []*run
}

func (v *viewCache) any() bool {
	return v.changed || v.jobs || v.versions || v.channels || v.rollouts || v.checks || len(v.agents)+len(v.runs)+len(v.dropped) > 0
}

func (v *viewCache) job(j *job) {
	j.view = nil
	v.jobs = true
}

func (v *viewCache) run(r *run) {
	if !r.viewChanged {
		r.viewChanged = true
		v.runs = append(v.runs, r)
	}
}

func (v *viewCache) agent(a *agent) {
	if !a.viewChanged {
		a.viewChanged = true
		v.agents = append(v.agents, a)
	}
}

func (v *viewCache) dropRun(r *run) { v.dropped = append(v.dropped, r) }

// View returns a picture of the state after the last Step. What has not changed since the last View is shared with it.
func (c *Core) View() *View {
	v := &c.view
	if v.last == nil {
		v.last = &View{Runs: map[string]*RunView{}, Agents: map[string]*AgentView{}}
		v.changed, v.jobs, v.versions, v.channels, v.checks = true, true, true, true, true
		for _, r := range c.runs {
			v.run(r)
		}
		for _, a := range c.agents {
			v.agent(a)
		}
	}
	if !v.any() {
		return v.last
	}
	next := *v.last
	next.Sequence++
	next.At, next.Leading, next.Master = c.now, c.leading, c.mesos.master
	next.Roles = c.roles
	next.Framework, next.FrameworkProblem = c.identity(), c.mesos.refused
	if v.jobs {
		next.Jobs = c.viewJobs()
	}
	if len(v.runs)+len(v.dropped) > 0 {
		next.Runs = c.viewRuns()
	}
	if v.versions {
		next.Versions = c.viewVersions()
	}
	if v.channels {
		next.Channels = make(map[string]*proto.Channel, len(c.channels))
		for name, ch := range c.channels {
			next.Channels[name] = clone(ch.rec)
		}
	}
	if v.channels || v.rollouts {
		next.Rollouts = c.viewRollouts()
	}
	if len(v.agents) > 0 {
		next.Agents = c.viewAgents()
	}
	if v.checks {
		next.Checks = make(map[CheckKey]*CheckView, len(c.checks))
		for key, ck := range c.checks {
			next.Checks[key] = &CheckView{State: ck.state, Problems: ck.problems, Version: ck.version}
		}
	}
	next.Queue = c.viewQueue()
	*v = viewCache{last: &next}
	return &next
}

func (c *Core) viewJobs() map[string]*JobView {
	all := make(map[string]*JobView, len(c.jobs))
	for name, j := range c.jobs {
		if j.rec.Deleted {
			continue
		}
		if j.view == nil {
			j.view = &JobView{Job: clone(j.rec)}
			for _, rev := range j.revisions {
				j.view.Revisions = append(j.view.Revisions, clone(rev.rec))
			}
		}
		all[name] = j.view
	}
	return all
}

func (c *Core) viewRuns() map[string]*RunView {
	all := maps.Clone(c.view.last.Runs)
	for _, r := range c.view.runs {
		r.viewChanged = false
		all[r.rec.ID] = c.viewRun(r)
	}
	for _, r := range c.view.dropped {
		delete(all, r.rec.ID)
	}
	return all
}

func (c *Core) viewRun(r *run) *RunView {
	if r.viewRecord == nil {
		r.viewRecord = cloneRun(r.rec)
	}
	stages := make([]*StageView, 0, len(r.stages))
	for _, st := range r.stages {
		stages = append(stages, st.show())
	}
	r.measure()
	return &RunView{
		Run:      r.viewRecord,
		Revision: clone(r.revision.rec),
		Stages:   stages,
		Progress: r.progress,
		Waiting:  c.waiting(r),
		Settled:  r.settled(),
	}
}

func (c *Core) viewVersions() map[string]*VersionView {
	all := make(map[string]*VersionView, len(c.versions))
	for name, v := range c.versions {
		if v.view == nil || c.view.channels {
			v.view = c.viewVersion(v)
		}
		all[name] = v.view
	}
	return all
}

func (c *Core) viewVersion(v *version) *VersionView {
	name := v.rec.Version
	view := &VersionView{
		Version:   cloneVersion(v.rec),
		Runs:      v.runs,
		Tasks:     v.tasks,
		Executors: v.executors,
		Use:       clone(v.use),
		Pinned:    c.pins[name],
		KeptBy:    c.usersOf(v),
	}
	for _, ch := range c.channels {
		if ch.rec.Version == name {
			view.Channels = append(view.Channels, ch.rec.Name)
		}
		if r := ch.open(); r != nil && (r.From == name || r.To == name) {
			view.Rollouts = append(view.Rollouts, ch.rec.Name)
		}
	}
	slices.Sort(view.Channels)
	slices.Sort(view.Rollouts)
	return view
}

func (c *Core) viewAgents() map[string]*AgentView {
	all := maps.Clone(c.view.last.Agents)
	for _, a := range c.view.agents {
		a.viewChanged = false
		switch c.agents[a.id] {
		case nil:
			delete(all, a.id)
		case a:
			all[a.id] = c.showAgent(a)
		}
	}
	return all
}

func (c *Core) viewQueue() Queue {
	q := Queue{Pending: c.demand.pending(), Launched: c.demand.launched()}
	for _, role := range sortedKeys(c.demand.shares) {
		share := c.demand.shares[role]
		q.Roles = append(q.Roles, RoleQueue{Role: role, Pending: share.pending, Launched: share.launched, Suppressed: share.known && share.suppressed})
	}
	for _, s := range c.demand.shapes {
		if s.room() > 0 {
			q.OldestPending = earlier(q.OldestPending, s.readySince(s.queue.since()))
		}
	}
	return q
}
