package main

import (
	"bytes"
	"fmt"
	"math"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
)

// amount is cpus, MiB of memory and MiB of disk, in thousandths, as finely as Mesos counts.
type amount [3]int64

var resourceNames = [3]string{"cpus", "mem", "disk"}

func (a amount) plus(b amount) amount {
	return amount{a[0] + b[0], a[1] + b[1], a[2] + b[2]}
}

func (a amount) minus(b amount) amount {
	return amount{a[0] - b[0], a[1] - b[1], a[2] - b[2]}
}

// within says whether b has at least a of everything.
func (a amount) within(b amount) bool { return a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2] }

// offerable is Mesos' own rule: what has neither 0.01 cpus nor 32 MiB is not offered.
func (a amount) offerable() bool { return a[0] >= 10 || a[1] >= 32_000 }

func (a amount) resources(role string) []mesosgo.Resource {
	scalar := mesosgo.SCALAR
	all := make([]mesosgo.Resource, len(a))
	for i, n := range a {
		all[i] = mesosgo.Resource{
			Name:           resourceNames[i],
			Type:           &scalar,
			Scalar:         &mesosgo.Value_Scalar{Value: float64(n) / 1000},
			AllocationInfo: &mesosgo.Resource_AllocationInfo{Role: &role},
		}
	}
	return all
}

// amountOf adds up resources, all of which must be allocated to that role.
func amountOf(resources []mesosgo.Resource, role string) (sum amount, err error) {
	for i := range resources {
		r := &resources[i]
		if got := r.AllocationInfo.GetRole(); got != role {
			return sum, fmt.Errorf("%s is allocated to %q, and the offer to %q", r.Name, got, role)
		}
		at := -1
		for j, name := range resourceNames {
			if name == r.Name {
				at = j
			}
		}
		if at < 0 || r.Scalar == nil {
			return sum, fmt.Errorf("resource %q is not offered", r.Name)
		}
		sum[at] += int64(math.Round(r.Scalar.Value * 1000))
	}
	return sum, nil
}

// agent is a simulated agent.
type agent struct {
	id, host  string
	total     amount
	used      amount // by executors and tasks
	offered   amount
	executors map[string]*executor
}

func (a *agent) free() amount { return a.total.minus(a.used).minus(a.offered) }

// executor is a process that is not there.
type executor struct {
	id, role  string
	agent     *agent
	info      []byte
	resources amount
	tasks     int
	idle      time.Time // since when it has no task
}

// task is one that was launched and whose end is not acknowledged yet.
type task struct {
	id       string
	executor *executor
	needs    amount
	state    mesosgo.TaskState
	uuid     []byte // of the update that is not acknowledged yet; nil: none
	over     bool   // the update of its end was sent
}

// offer is an offer that is neither used nor declined.
type offer struct {
	id, role string
	agent    *agent
	has      amount
	sent     time.Time
}

// place is where a filter holds.
type place struct {
	agent *agent
	role  string
}

// filter keeps offers away that have no more than what was refused.
type filter struct {
	until   time.Time
	refused amount
}

// launchable checks the tasks of an ACCEPT against what was offered on one agent for one role, and returns the tasks and
// the executors that are new. Nothing is changed.
func (m *master) launchable(at place, has amount, infos []mesosgo.TaskInfo) (tasks []*task, fresh map[string]*executor, err error) {
	var sum amount
	fresh = map[string]*executor{}
	for i := range infos {
		info := &infos[i]
		id := info.TaskID.Value
		if m.launched[id] {
			return nil, nil, fmt.Errorf("task %s is launched twice", id)
		}
		if info.AgentID.Value != at.agent.id {
			return nil, nil, fmt.Errorf("task %s is for agent %s, and the offer of %s", id, info.AgentID.Value, at.agent.id)
		}
		needs, err := amountOf(info.Resources, at.role)
		if err != nil {
			return nil, nil, fmt.Errorf("task %s: %w", id, err)
		}
		e, err := at.executor(info.Executor, fresh)
		if err != nil {
			return nil, nil, fmt.Errorf("task %s: %w", id, err)
		}
		sum = sum.plus(needs)
		tasks = append(tasks, &task{id: id, executor: e, needs: needs})
	}
	for _, e := range fresh {
		sum = sum.plus(e.resources)
	}
	if !sum.within(has) {
		return nil, nil, fmt.Errorf("the tasks need %v, and %v was offered", sum, has)
	}
	return tasks, fresh, nil
}

// executor is the one of a task: it runs already, or is among the fresh ones from now on.
func (p place) executor(info *mesosgo.ExecutorInfo, fresh map[string]*executor) (*executor, error) {
	if info == nil {
		return nil, fmt.Errorf("it has no executor")
	}
	encoded, err := info.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode executor: %w", err)
	}
	id := info.ExecutorID.Value
	e := p.agent.executors[id]
	if e == nil {
		e = fresh[id]
	}
	if e == nil {
		needs, err := amountOf(info.Resources, p.role)
		if err != nil {
			return nil, fmt.Errorf("executor %s: %w", id, err)
		}
		e = &executor{id: id, role: p.role, agent: p.agent, info: encoded, resources: needs}
		fresh[id] = e
		return e, nil
	}
	if !bytes.Equal(e.info, encoded) || e.role != p.role {
		return nil, fmt.Errorf("executor %s is not the one that runs under this ID", id)
	}
	return e, nil
}
