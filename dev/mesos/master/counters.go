package master

import v1 "github.com/mesos/mesos-go/api/v1/lib"

// counters are what /metrics/snapshot shows besides what can be counted there and
// then.
type counters struct {
	allocations                                                 int
	offersSent, offersAccepted, offersDeclined, offersRescinded int
	tasksLaunched, invalidTasks, updates                        int
	endedTasks                                                  map[v1.TaskState]int
}

func (c *counters) ended(state v1.TaskState) {
	if c.endedTasks == nil {
		c.endedTasks = map[v1.TaskState]int{}
	}
	c.endedTasks[state]++
}
