package mesos

import (
	"testing"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

func ptr[T any](v T) *T { return &v }

func TestUpdateEnums(t *testing.T) {
	for name, test := range map[string]struct {
		status                *mesosgo.TaskStatus
		state, reason, source string
	}{
		"nothing set": {&mesosgo.TaskStatus{}, "", "", ""},
		"value 0 is not missing": {
			&mesosgo.TaskStatus{State: ptr(mesosgo.TASK_RUNNING), Reason: ptr(mesosgo.REASON_COMMAND_EXECUTOR_FAILED), Source: ptr(mesosgo.SOURCE_MASTER)},
			"TASK_RUNNING", "REASON_COMMAND_EXECUTOR_FAILED", "SOURCE_MASTER",
		},
		"newer than mesos-go": {
			&mesosgo.TaskStatus{State: ptr(mesosgo.TaskState(99)), Reason: ptr(mesosgo.TaskStatus_Reason(777)), Source: ptr(mesosgo.TaskStatus_Source(9))},
			"TASK_UNKNOWN_99", "REASON_UNKNOWN_777", "SOURCE_UNKNOWN_9",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := update(test.status)
			if got.State != test.state || got.Reason != test.reason || got.Source != test.source {
				t.Errorf("got %q %q %q, want %q %q %q", got.State, got.Reason, got.Source, test.state, test.reason, test.source)
			}
		})
	}
}

func TestLimitation(t *testing.T) {
	got := update(&mesosgo.TaskStatus{Limitation: &mesosgo.TaskResourceLimitation{Resources: []mesosgo.Resource{{Name: "mem"}, {Name: "disk"}}}})
	if got.Limitation != "mem,disk" {
		t.Errorf("got %q", got.Limitation)
	}
}

func TestOfferCountsPlainResourcesOnly(t *testing.T) {
	scalar := func(name string, value float64, change func(*mesosgo.Resource)) mesosgo.Resource {
		r := mesosgo.Resource{Name: name, Scalar: &mesosgo.Value_Scalar{Value: value}}
		if change != nil {
			change(&r)
		}
		return r
	}
	got := offer(&mesosgo.Offer{Resources: []mesosgo.Resource{
		scalar("cpus", 2, nil),
		scalar("cpus", 1.5, func(r *mesosgo.Resource) { r.Role = ptr("*") }),
		scalar("cpus", 8, func(r *mesosgo.Resource) { r.Role = ptr("data") }),
		scalar("cpus", 8, func(r *mesosgo.Resource) { r.Reservations = make([]mesosgo.Resource_ReservationInfo, 1) }),
		scalar("cpus", 8, func(r *mesosgo.Resource) { r.Reservation = &mesosgo.Resource_ReservationInfo{} }),
		scalar("cpus", 8, func(r *mesosgo.Resource) { r.Revocable = &mesosgo.Resource_RevocableInfo{} }),
		scalar("cpus", 8, func(r *mesosgo.Resource) { r.Shared = &mesosgo.Resource_SharedInfo{} }),
		scalar("cpus", 8, func(r *mesosgo.Resource) { r.ProviderID = &mesosgo.ResourceProviderID{Value: "p"} }),
		scalar("cpus", -4, nil),
		scalar("mem", 512.5, nil),
		scalar("mem", 1e300, nil),
		scalar("disk", 100, nil),
		scalar("disk", 800, func(r *mesosgo.Resource) { r.Disk = &mesosgo.Resource_DiskInfo{} }),
		{Name: "mem", Ranges: &mesosgo.Value_Ranges{}},
	}})
	if got.CPUs != 3.5 || got.Memory != 512.5*mebibyte || got.Disk != 100*mebibyte {
		t.Errorf("got %v cpus, %v, %v", got.CPUs, got.Memory, got.Disk)
	}
}

func TestOfferAttributes(t *testing.T) {
	when := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	got := offer(&mesosgo.Offer{
		Hostname: "node-1",
		Attributes: []mesosgo.Attribute{
			{Name: "zone", Text: &mesosgo.Value_Text{Value: "a"}},
			{Name: "disks", Scalar: &mesosgo.Value_Scalar{Value: 2.5}},
			{Name: "ports", Ranges: &mesosgo.Value_Ranges{Range: []mesosgo.Value_Range{{Begin: 1, End: 5}, {Begin: 7, End: 9}}}},
			{Name: "features", Set: &mesosgo.Value_Set{Item: []string{"ssd", "10g"}}},
			{Name: "empty"},
		},
		Unavailability: &mesosgo.Unavailability{Start: mesosgo.TimeInfo{Nanoseconds: when.UnixNano()}},
	})
	for name, want := range map[string]string{
		"hostname": "node-1", "zone": "a", "disks": "2.5", "ports": "[1-5, 7-9]", "features": "{ssd, 10g}", "empty": "",
	} {
		if got.Attributes[name] != want {
			t.Errorf("%s: got %q, want %q", name, got.Attributes[name], want)
		}
	}
	if got.Unavailable == nil || !got.Unavailable.Equal(when) {
		t.Errorf("unavailable: got %v, want %v", got.Unavailable, when)
	}
}

func TestAgentURL(t *testing.T) {
	for name, test := range map[string]struct {
		url  *mesosgo.URL
		want string
	}{
		"none":                {nil, ""},
		"no port":             {&mesosgo.URL{Scheme: "http", Address: mesosgo.Address{IP: ptr("10.0.0.1")}}, ""},
		"address before name": {&mesosgo.URL{Scheme: "http", Address: mesosgo.Address{IP: ptr("10.0.0.1"), Hostname: ptr("n"), Port: 5051}, Path: ptr("/slave(1)")}, "http://10.0.0.1:5051"},
		"name only":           {&mesosgo.URL{Scheme: "http", Address: mesosgo.Address{Hostname: ptr("n"), Port: 5051}}, "http://n:5051"},
		"name for TLS":        {&mesosgo.URL{Scheme: "https", Address: mesosgo.Address{IP: ptr("10.0.0.1"), Hostname: ptr("n"), Port: 5051}}, "https://n:5051"},
		"IPv6":                {&mesosgo.URL{Scheme: "http", Address: mesosgo.Address{IP: ptr("fd00::1"), Port: 5051}}, "http://[fd00::1]:5051"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := agentURL(test.url); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// An event without the body that its type promises is ignored, not a panic.
func TestEventsWithoutBody(t *testing.T) {
	for number, name := range sched.Event_Type_name {
		if got := translate(&sched.Event{Type: sched.Event_Type(number)}); got != nil {
			t.Errorf("%s: got %#v", name, got)
		}
	}
	if got := translate(&sched.Event{Type: 99}); got != nil {
		t.Errorf("type 99: got %#v", got)
	}
	if _, ok := translate(&sched.Event{Type: sched.Event_FAILURE, Failure: &sched.Event_Failure{}}).(scheduler.Failure); !ok {
		t.Error("an empty FAILURE is still one")
	}
}
