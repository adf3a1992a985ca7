package scheduler

import (
	"strings"
	"testing"

	"github.com/tidemill/tidemill/proto"
)

// TestDamagedRecords: what cannot be understood is refused with the record's key, not skipped.
func TestDamagedRecords(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(store map[Key][]byte, run string)
		want   string
	}{
		"not a message": {func(store map[Key][]byte, run string) {
			store[Key{KindRun, run}] = []byte{0xff, 0xff}
		}, `load run "r1": decode *proto.Run`},
		"another's record": {func(store map[Key][]byte, run string) {
			store[Key{KindJob, "lights"}] = store[Key{KindJob, "flights"}]
		}, `load job "lights": it is the record of "flights"`},
		"a kind from the future": {func(store map[Key][]byte, run string) {
			store[Key{"tide", "x"}] = nil
		}, `load tide "x": the kind is not known`},
		"no framework ID": {func(store map[Key][]byte, run string) {
			store[Key{KindFramework, frameworkID}] = nil
		}, `load framework "framework": it has no ID`},
		"no job": {func(store map[Key][]byte, run string) {
			delete(store, Key{KindJob, "flights"})
		}, `load revision "flights/1": there is no job "flights"`},
		"no revision": {func(store map[Key][]byte, run string) {
			delete(store, Key{KindRevision, "flights/1"})
		}, `load job "flights": its revision 1 is not there`},
		"no run": {func(store map[Key][]byte, run string) {
			delete(store, Key{KindRun, run})
		}, `there is no run "r1"`},
		"a use of no version": {func(store map[Key][]byte, run string) {
			store[Key{KindUse, "1.5.1"}] = proto.Encode(&proto.Use{Version: "1.5.1"})
		}, `load use "1.5.1": there is no executor version "1.5.1"`},
		"no version": {func(store map[Key][]byte, run string) {
			delete(store, Key{KindVersion, "1.5.0"})
		}, `load run "r1": there is no executor version "1.5.0"`},
		"no executor": {func(store map[Key][]byte, run string) {
			delete(store, Key{KindExecutor, run + "_1.5.0_1"})
		}, `load task "r1.plan.0": attempt 1: there is no executor "r1_1.5.0_1"`},
		"no plan": {func(store map[Key][]byte, run string) {
			delete(store, Key{KindPlan, run + "/plan"})
			delete(store, Key{KindTask, run + ".plan.0"})
		}, `load run "r1": stage "plan" has neither a plan nor all of its tasks`},
		"a plan of another size": {func(store map[Key][]byte, run string) {
			rec := mustDecode(store[Key{KindPlan, run + "/plan"}], &proto.Plan{})
			rec.Inputs = rec.Inputs[1:]
			store[Key{KindPlan, run + "/plan"}] = proto.Encode(rec)
		}, `load plan "r1/plan": it has 1 inputs, and the stage 2 tasks`},
		"a plan of no stage": {func(store map[Key][]byte, run string) {
			store[Key{KindPlan, run + "/dance"}] = proto.Encode(&proto.Plan{Run: run, Stage: "dance"})
		}, `load plan "r1/dance": run "r1" has no stage "dance"`},
		"a task beyond the stage": {func(store map[Key][]byte, run string) {
			rec := mustDecode(store[Key{KindTask, run + ".plan.1"}], &proto.Task{})
			rec.ID, rec.Index = run+".plan.2", 2
			store[Key{KindTask, rec.ID}] = proto.Encode(rec)
		}, `load task "r1.plan.2": it is task 2 of 2, but the stage has 2`},
		"a task in another's place": {func(store map[Key][]byte, run string) {
			rec := mustDecode(store[Key{KindTask, run + ".plan.1"}], &proto.Task{})
			rec.Index = 0
			store[Key{KindTask, rec.ID}] = proto.Encode(rec)
		}, `load task "r1.plan.1": its stage and index say "r1.plan.0"`},
		"a format from the future": {func(store map[Key][]byte, run string) {
			store[Key{KindFormat, "format"}] = proto.Encode(&proto.Format{Version: FormatVersion + 1, WrittenBy: "9.0.0"})
		}, `load format "format": they are of format 5, written by version "9.0.0"`},
		"another's key": {func(store map[Key][]byte, run string) {
			store[Key{KindKey, keyID("flights", "k")}] = proto.Encode(&proto.IdempotencyKey{Job: "flights", Key: "l"})
		}, `load key "` + keyID("flights", "k") + `": it is the record of "` + keyID("flights", "l") + `"`},
		"a task of no stage": {func(store map[Key][]byte, run string) {
			rec := mustDecode(store[Key{KindTask, run + ".plan.0"}], &proto.Task{})
			rec.ID, rec.Stage = run+".dance.0", "dance"
			store[Key{KindTask, rec.ID}] = proto.Encode(rec)
		}, `load task "r1.dance.0": run "r1" has no stage "dance"`},
		"a state from the future": {func(store map[Key][]byte, run string) {
			rec := mustDecode(store[Key{KindTask, run + ".plan.0"}], &proto.Task{})
			rec.State = 77
			store[Key{KindTask, rec.ID}] = proto.Encode(rec)
		}, `load task "r1.plan.0": its state 77 is not known`},
		"two attempts that live": {func(store map[Key][]byte, run string) {
			rec := mustDecode(store[Key{KindTask, run + ".plan.0"}], &proto.Task{})
			second := rec.Attempts[0]
			second.Number, second.MesosID = 2, rec.ID+".2"
			rec.Attempts = append(rec.Attempts, second)
			store[Key{KindTask, rec.ID}] = proto.Encode(rec)
		}, `load task "r1.plan.0": attempt 2: an earlier attempt lives, too`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.setup(`"work": {"stages": [2]}`)
			s.run(block{command: "offers", input: "a1 cpus=4 mem=4GiB disk=10GiB\n"})
			if _, err := New(s.cfg, records(s.store)); err != nil {
				t.Fatalf("before: %v", err)
			}
			test.damage(s.store, s.long("r1"))
			_, err := New(s.cfg, records(s.store))
			if err == nil || !strings.Contains(s.short(err.Error()), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

// TestKindIsGone: a scheduler that no longer knows the kind of a run fails it, and does not go down.
func TestKindIsGone(t *testing.T) {
	for _, test := range []struct {
		name   string
		events []block
		want   string
	}{
		{"a run that runs", nil,
			`failed 1.5.0 plan:2 error=invalid "the stored spec can no longer be read" clean-up=given_up`},
		{"a run whose clean-up waits", []block{
			{command: "cancel r1"},
			{command: "update r1.plan.0.1 KILLED"},
			{command: "update r1.plan.1.1 KILLED"},
		}, `cancelled 1.5.0 plan:2/clean:1 cancel-requested clean-up=given_up`},
		{"a run whose clean-up runs", []block{
			{command: "cancel r1"},
			{command: "update r1.plan.0.1 KILLED"},
			{command: "update r1.plan.1.1 KILLED"},
			{command: "offers", input: "a1 cpus=4 mem=4GiB disk=10GiB\n"},
		}, `cancelled 1.5.0 plan:2/clean:1 cancel-requested clean-up=given_up`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			s.setup(`"work": {"stages": [2]}`)
			s.run(block{command: "offers", input: "a1 cpus=4 mem=4GiB disk=10GiB\n"})
			for _, b := range test.events {
				s.run(b)
			}
			s.cfg.Kinds = s.cfg.Kinds[1:]
			s.restart()
			for _, b := range []block{
				{command: "subscribe"},
				{command: "update r1.plan.0.1 KILLED"},
				{command: "update r1.plan.1.1 FINISHED output=x"},
				{command: "offers", input: "a1 cpus=4 mem=4GiB disk=10GiB\n"},
				{command: "tick 1m"},
			} {
				s.run(b)
			}
			if got := describeRun(s.core.View().Runs[s.long("r1")].Run); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if got := s.run(block{command: "start flights"}); !strings.HasPrefix(got, "reply invalid: the stored spec can no longer be read") {
				t.Errorf("another run: got %s", got)
			}
			if launched := s.core.demand.launched(); len(s.core.demand.shapes) > 0 || launched > 0 {
				t.Errorf("%d shapes wait and %d tasks run", len(s.core.demand.shapes), launched)
			}
		})
	}
}

// TestExecutorOfUnknownRole: which role an executor was started under that is older than roles of jobs is written in its
// Info only. Mesos would refuse each task that joins it under another one, so a new one is started.
func TestExecutorOfUnknownRole(t *testing.T) {
	s := newScript(t)
	s.setup(`"parallelism": 2, "work": {"stages": [2]}`)
	s.run(block{command: "offers", input: "a1 cpus=0.7 mem=1GiB disk=10GiB\n"})
	for key, value := range s.store {
		switch key.Kind {
		case KindExecutor:
			rec := mustDecode(value, &proto.Executor{})
			rec.Role = ""
			s.store[key] = proto.Encode(rec)
		case KindRun:
			rec := mustDecode(value, &proto.Run{})
			rec.Role = ""
			s.store[key] = proto.Encode(rec)
		}
	}
	s.cfg.Roles = []string{"data/batch"}
	s.restart()
	s.run(block{command: "subscribe"})
	got := s.run(block{command: "offers", input: "a1 role=data/batch cpus=4 mem=4GiB disk=10GiB\n"})
	if !strings.Contains(got, "by r1_1.5.0_2") {
		t.Errorf("got:\n%swant the second task on an executor of its own", got)
	}
}
