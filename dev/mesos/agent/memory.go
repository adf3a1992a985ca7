package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/process"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
)

// watchMemory ends containers that use more memory than their tasks and executor
// brought along.
func (a *Agent) watchMemory() {
	if a.cfg.MemoryPollInterval < 0 {
		return
	}
	ticker := time.NewTicker(a.cfg.MemoryPollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		}
		limited := a.limitedContainers()
		if len(limited) == 0 {
			continue
		}
		const megabyte = 1 << 20
		for session, used := range process.Memory(slices.Collect(maps.Keys(limited))...) {
			a.limitMemory(limited[session], float64(used)/megabyte)
		}
	}
}

// limitedContainers are those that run and have a memory limit, by session.
func (a *Agent) limitedContainers() map[int]*executor {
	a.mu.Lock()
	defer a.mu.Unlock()
	limited := map[int]*executor{}
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			if e.process.PID != 0 && e.phase < terminated && e.memory > 0 {
				limited[e.process.PID] = e
			}
		}
	}
	return limited
}

// limitMemory ends a container that uses too much, in MB.
func (a *Agent) limitMemory(e *executor, used float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if used <= e.memory {
		return
	}
	star := "*"
	held := resource.Scalar(resource.Mem, used)
	held.Role = &star
	a.kill(e, &termination{
		reason: v1.REASON_CONTAINER_LIMITATION_MEMORY,
		message: fmt.Sprintf("Memory limit exceeded: Requested: %.0fMB Maximum Used: %.0fMB\n\nMEMORY STATISTICS: \nrss %.0f\n",
			e.memory, used, used*(1<<20)),
		limitation: &v1.TaskResourceLimitation{Resources: []v1.Resource{held}},
	})
}
