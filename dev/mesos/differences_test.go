package mesos_test

import (
	"path/filepath"
	"strings"
)

// This file lists every difference between what was recorded and what dev/mesos says
// that the replay bears, each with its reason. Where times are shorter here stands with
// the scenarios.

// tolerated are the fields whose recorded value cannot come again, by the last parts
// of their path. Each binds: where one recorded value stands for one of ours, it does
// so everywhere.
var tolerated = []struct{ path, reason string }{
	{"uuid", "random"},
	{"executor_pid", "the system's choice"},
	{"timestamp", "the time of this run"},
	{"nanoseconds", "the time of this run"},
	{"port", "free ports are used"},
	{"master_info.id", "random, and part of all IDs"},
}

// unordered are the lists that have no order, with what tells their items apart.
var unordered = []struct{ path, key string }{
	{".offers.offers", "attributes"},
	{".executors", "id"},
	{".agents", "agent_info"},
}

// notCompared are fields of operators' views that are left out on both sides. Empty lists
// are too: Mesos writes them or not from view to view.
var notCompared = map[string]string{
	"flags":               "ours has its own configuration",
	"build_date":          "of the build",
	"build_time":          "of the build",
	"build_user":          "of the build",
	"git_sha":             "of the build",
	"git_branch":          "of the build",
	"start_time":          "the time of this run",
	"elected_time":        "the time of this run",
	"registered_time":     "the time of this run",
	"reregistered_time":   "the time of this run",
	"offer_constraints":   "mesos-go's messages do not know them",
	"agent_checkpoint":    "mesos-go's AgentInfo does not know it",
	"statistics":          "what this run used",
	"resource_statistics": "what this run used",
}

// texts are those that must be others here, in calls and in what comes back.
func (l *lab) texts() []struct{ recorded, ours, reason string } {
	command := "exec " + l.self + " demo-executor"
	if l.name == "executor_fetched_over_http" {
		command = "exec ./demo-executor"
	}
	master := strings.Replace(strings.TrimPrefix(l.masterURL, "http:"), "127.0.0.1", "localhost", 1)
	return []struct{ recorded, ours, reason string }{
		{"exec ./demo-executor", command, "it is this test's binary, and lies in no sandbox unless it is fetched"},
		{"/var/log/demo-executor", filepath.Join(l.dir, "executor.log"), "temporary directories are used"},
		{"/var/lib/mesos/agent-0", filepath.Join(l.dir, "agent-0"), "temporary directories are used"},
		{"/var/lib/mesos/agent-1", filepath.Join(l.dir, "agent-1"), "temporary directories are used"},
		{"http://127.0.0.1:8099/", l.artefacts.URL + "/", "free ports are used"},
		{"//localhost:5050", master, "free ports are used"},
	}
}

// substitutes are the texts as bindings.
func (l *lab) substitutes() bindings {
	b := bindings{}
	for _, text := range l.texts() {
		b[text.recorded] = text.ours
	}
	return b
}

// unrecorded are events that may come though they were not recorded.
var unrecorded = []struct {
	what, reason string
	applies      func(r *replay, actor string, event any) bool
}{
	{"HEARTBEAT", "heartbeats come by the clock; one scenario waits for the recorded ones", func(*replay, string, any) bool {
		return true
	}},
	{"OFFERS", "an offer was on its way when the stream was dropped, there and perhaps here", func(r *replay, actor string, _ any) bool {
		return actor == r.lab.wasDropped
	}},
	{"UPDATE", "the executor sent it there too, but a teardown overtook it", func(r *replay, _ string, event any) bool {
		return r.overtaken(event)
	}},
	{"ACKNOWLEDGED", "the recorded executor stopped reading when it had got SHUTDOWN", func(_ *replay, actor string, _ any) bool {
		return actor == "executor"
	}},
}

// tolerates says whether an event may come that was not recorded.
func (r *replay) tolerates(actor string, event any) bool {
	for _, u := range unrecorded {
		if u.what == text(event, "type") && u.applies(r, actor, event) {
			return true
		}
	}
	return false
}

// overtaken says whether the recorded executor sent an update that the recorded
// scheduler never got.
func (r *replay) overtaken(update any) bool {
	same := func(recorded any) bool {
		return text(recorded, "update", "status", "task_id", "value") == text(update, "update", "status", "task_id", "value") &&
			text(recorded, "update", "status", "state") == text(update, "update", "status", "state")
	}
	sent, got := false, false
	for _, l := range r.lines {
		if typeOf(l) == "UPDATE" && same(l.Body) {
			sent = sent || l.Actor == "executor"
			got = got || l.Kind == "event"
		}
	}
	return sent && !got
}
