package view

import (
	"encoding/json"
	"net/http"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"

	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
	"github.com/tidemill/tidemill/dev/mesos/internal/wire"
)

// Object is a JSON object.
type Object map[string]any

// AgentCapabilities are what an agent of the recorded version could do.
var AgentCapabilities = []string{
	"MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT", "RESOURCE_PROVIDER", "RESIZE_VOLUME",
	"AGENT_OPERATION_FEEDBACK", "AGENT_DRAINING", "TASK_RESOURCE_LIMITS",
}

// Build describes the build; the version is that of the recorded Mesos.
func Build(version string) Object {
	return Object{
		"version": version, "build_date": "2024-08-23 00:00:00 UTC", "build_time": 1724425140.0,
		"build_user": "tidemill", "git_branch": "refs/heads/master", "git_sha": "",
	}
}

// Write answers with JSON.
func Write(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body) //nolint:errcheck // the peer may be gone; there is nobody to tell
}

// Message puts a message of the API into a view.
func Message(m proto.Message) json.RawMessage { return wire.MarshalJSON(m) }

// Resources shows the sums, reserved or not; what is no scalar is shown as text, if there
// is any.
func Resources(rs []v1.Resource) Object {
	o := Object{"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}
	for _, r := range resource.Sum(unallocated(rs).ToUnreserved()) {
		if r.GetType() == v1.SCALAR {
			before, _ := o[r.Name].(float64) // volumes are not summed up
			o[r.Name] = before + r.GetScalar().GetValue()
		} else {
			o[r.Name] = resource.FormatValue(&r)
		}
	}
	return o
}

// Reserved shows what is reserved, by role.
func Reserved(rs []v1.Resource) Object {
	byRole := map[string]v1.Resources{}
	for i := range rs {
		if !rs[i].IsUnreserved() {
			byRole[rs[i].ReservationRole()] = append(byRole[rs[i].ReservationRole()], rs[i])
		}
	}
	o := Object{}
	for role, held := range byRole {
		o[role] = Resources(held)
	}
	return o
}

// Unreserved shows what is not reserved.
func Unreserved(rs []v1.Resource) Object {
	var free v1.Resources
	for i := range rs {
		if rs[i].IsUnreserved() {
			free = append(free, rs[i])
		}
	}
	return Resources(free)
}

func unallocated(rs []v1.Resource) v1.Resources { return resource.Plain(rs).Unallocate() }

// Full lists resources with the role "*" of what is not reserved.
func Full(rs []v1.Resource) []json.RawMessage {
	list := []json.RawMessage{}
	star := "*"
	for _, r := range v1.Resources(rs).Clone() {
		r.Role = &star
		list = append(list, Message(&r))
	}
	return list
}

// FullByReservation lists resources apart: what is reserved by role, and what is not.
func FullByReservation(rs []v1.Resource) (reserved map[string][]json.RawMessage, unreserved []json.RawMessage) {
	reserved = map[string][]json.RawMessage{}
	var free []v1.Resource
	for i := range rs {
		if rs[i].IsUnreserved() {
			free = append(free, rs[i])
			continue
		}
		role := rs[i].ReservationRole()
		reserved[role] = append(reserved[role], Message(&rs[i]))
	}
	return reserved, Full(free)
}

// Attributes shows attributes by name.
func Attributes(attributes []v1.Attribute) Object {
	o := Object{}
	for i := range attributes {
		switch a := &attributes[i]; {
		case a.Scalar != nil:
			o[a.Name] = a.Scalar.Value
		default:
			o[a.Name] = a.GetText().GetValue()
		}
	}
	return o
}

// Labels shows labels as a list.
func Labels(labels *v1.Labels) []Object {
	list := []Object{}
	for _, label := range labels.GetLabels() {
		o := Object{"key": label.Key}
		if label.Value != nil {
			o["value"] = *label.Value
		}
		list = append(list, o)
	}
	return list
}

// Role is the role that resources are allocated to.
func Role(rs []v1.Resource) string {
	if len(rs) > 0 && rs[0].GetAllocationInfo().GetRole() != "" {
		return rs[0].GetAllocationInfo().GetRole()
	}
	return "*"
}

// Task shows a task. executor is empty for command tasks at the master.
func Task(framework, executor string, info *v1.TaskInfo, state v1.TaskState, statuses []v1.TaskStatus) Object {
	o := Object{
		"id": info.TaskID.Value, "name": info.Name, "framework_id": framework, "executor_id": executor,
		"slave_id": info.AgentID.Value, "state": state.String(), "resources": Resources(info.Resources),
		"role": Role(info.Resources), "statuses": statusList(statuses),
	}
	if info.Labels != nil {
		o["labels"] = Labels(info.Labels)
	}
	return o
}

// statusList shows what Mesos shows of statuses: not their messages.
func statusList(statuses []v1.TaskStatus) []Object {
	list := []Object{}
	for i := range statuses {
		status := &statuses[i]
		o := Object{"state": status.GetState().String(), "timestamp": status.GetTimestamp()}
		if status.ContainerStatus != nil {
			container := *status.ContainerStatus
			container.ExecutorPID = nil
			o["container_status"] = Message(&container)
		}
		list = append(list, o)
	}
	return list
}

// Entry makes a task as the operator API has it.
func Entry(framework string, info *v1.TaskInfo, state v1.TaskState, statuses []v1.TaskStatus) v1.Task {
	entry := v1.Task{
		Name: info.Name, TaskID: info.TaskID, FrameworkID: v1.FrameworkID{Value: framework},
		AgentID: info.AgentID, State: &state, Resources: info.Resources, Statuses: statuses, Labels: info.Labels,
	}
	if info.Executor != nil {
		entry.ExecutorID = &info.Executor.ExecutorID
	}
	if n := len(statuses); n > 0 {
		entry.StatusUpdateState, entry.StatusUpdateUUID = statuses[n-1].State, statuses[n-1].UUID
	}
	return entry
}
