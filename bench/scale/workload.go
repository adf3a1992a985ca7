package main

import "fmt"

const (
	shapes     = 20
	mostPerRun = 1000 // tasks: a job may have so many at one time
)

func jobName(shape int) string { return fmt.Sprintf("scale-%02d", shape) }

// spec is the job of a shape: each needs something else, and every other has the other role.
func spec(shape, tasks int) []byte {
	cpus, memory := needs(shape)
	return fmt.Appendf(nil, `{"name": %q, "kind": %q, "role": %q, "parallelism": %d,
		"resources": {"cpus": %g, "memory": "%dMiB", "disk": "64MiB"}, "scale": {"tasks": %d}}`,
		jobName(shape), kindName, roles[shape%len(roles)], mostPerRun, cpus, memory, tasks)
}

// needs are the cpus and MiB of a task.
func needs(shape int) (cpus float64, memory int) { return 0.5 + 0.05*float64(shape), 128 + 8*shape }

// load is how many runs of how many tasks there are. The runs are a multiple of the shapes.
type load struct{ agents, runs, each int }

// newLoad spreads tasks over runs.
func newLoad(agents, tasks int) (load, error) {
	if agents < len(roles) || tasks < shapes {
		return load{}, fmt.Errorf("%d agents and %d tasks are too few: at least %d and %d", agents, tasks, len(roles), shapes)
	}
	runs := shapes * ((tasks + shapes*mostPerRun - 1) / (shapes * mostPerRun))
	return load{agents: agents, runs: runs, each: tasks / runs}, nil
}

func (l load) tasks() int { return l.runs * l.each }

// agent is what each agent has: enough for all tasks at once, if each has an executor of its own, twice over, so that the
// roles need not share it evenly and executors that linger are not in the way.
func (l load) agent() amount {
	cpus, memory := needs(shapes - 1)
	cfg := configuration()
	perAgent := float64(2*l.tasks())/float64(l.agents) + 2
	return amount{
		int64(perAgent * (cpus + cfg.ExecutorCPUs) * 1000),
		int64(perAgent * (float64(memory) + float64(cfg.ExecutorMemory>>20)) * 1000),
		int64(perAgent * 64 * 1000),
	}
}
