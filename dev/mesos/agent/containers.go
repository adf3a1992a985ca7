package agent

import (
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	api "github.com/mesos/mesos-go/api/v1/lib/agent"

	"github.com/tidemill/tidemill/dev/mesos/internal/process"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
	"github.com/tidemill/tidemill/dev/mesos/internal/view"
)

// containers are those whose processes run, with what they use.
func (a *Agent) containers() []api.Response_GetContainers_Container {
	list := []api.Response_GetContainers_Container{}
	for _, f := range a.sortedFrameworks() {
		for _, e := range f.sortedExecutors() {
			if e.phase == terminated || e.process.PID == 0 {
				continue
			}
			pid := uint32(e.process.PID)
			executorID := e.info.ExecutorID
			list = append(list, api.Response_GetContainers_Container{
				FrameworkID: f.info.ID, ExecutorID: &executorID, ExecutorName: e.info.Name,
				ContainerID: v1.ContainerID{Value: e.container},
				ContainerStatus: &v1.ContainerStatus{
					ContainerID: &v1.ContainerID{Value: e.container}, ExecutorPID: &pid,
				},
				ResourceStatistics: e.statistics(),
			})
		}
	}
	return list
}

func (e *executor) statistics() *v1.ResourceStatistics {
	const megabyte = 1 << 20
	user, system := process.CPU(e.process.PID)
	cpus := resource.Amount(e.limits(), resource.CPUs)
	limit, used := uint64(e.memory*megabyte), process.Memory(e.process.PID)[e.process.PID]
	return &v1.ResourceStatistics{
		Timestamp:        float64(time.Now().UnixNano()) / 1e9,
		CPUsUserTimeSecs: &user, CPUsSystemTimeSecs: &system, CPUsSoftLimit: &cpus,
		MemLimitBytes: &limit, MemSoftLimitBytes: &limit, MemRSSBytes: &used,
	}
}

// containersView is the same in the older views, with or without the status.
func (a *Agent) containersView(status bool) []view.Object {
	list := []view.Object{}
	for _, c := range a.containers() {
		source := a.findExecutor(c.FrameworkID.Value, c.ExecutorID.Value).info.GetSource()
		o := view.Object{
			"executor_id": c.ExecutorID.Value, "executor_name": c.GetExecutorName(),
			"framework_id": c.FrameworkID.Value, "source": source,
			"statistics": view.Message(c.ResourceStatistics),
		}
		if status {
			o["container_id"], o["status"] = c.ContainerID.Value, view.Message(c.ContainerStatus)
		}
		list = append(list, o)
	}
	return list
}
