package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemill/tidemill/proto"
)

// runs starts runs one after another and lets each end at once: those on versions other than a channel's own fail, as
// long as some are to.
func (s *script) runs(a args) string {
	n, _ := strconv.Atoi(a.word(1))
	fail, _ := strconv.Atoi(a.named["fail"])
	went := map[string]int{}
	for range n {
		version, took := s.oneRun(a.word(0), &fail)
		if version == "" {
			return took
		}
		went[version]++
	}
	var out strings.Builder
	for _, version := range sortedKeys(went) {
		fmt.Fprintf(&out, "%d on %s\n", went[version], version)
	}
	return out.String()
}

func (s *script) oneRun(job string, fail *int) (version, problem string) {
	s.ticket++
	out := s.step(Command{Ticket: s.ticket, Body: StartRun{Job: job}})
	result, ok := s.last.Replies[0].Value.(StartRunResult)
	if !ok {
		return "", out
	}
	s.step(s.parseOffers("fast cpus=8 mem=8GiB disk=8GiB"))
	version = s.core.runs[result.Run.ID].rec.ExecutorVersion
	isOld := slices.ContainsFunc(sortedKeys(s.core.channels), func(name string) bool { return s.core.channels[name].rec.Version == version })
	for id, at := range s.core.attempts {
		if at.task.run == nil || at.task.run.rec.ID != result.Run.ID {
			continue
		}
		end := &proto.TaskResult{Counters: proto.Counters{Rows: 10}}
		state := "TASK_FINISHED"
		if *fail > 0 && !isOld {
			*fail--
			state, end.Failure = "TASK_FAILED", &proto.Failure{Class: proto.CLASS_FINAL, Kind: "internal", Message: "made to fail"}
		}
		s.step(Update{MesosID: id, AgentID: "fast", ExecutorID: at.rec().ExecutorID, State: state, Source: fromExecutor, UUID: []byte("u"), Data: proto.Encode(end)})
		break
	}
	return version, ""
}

// TestRolloutSurvives: a core that is thrown away and built anew from its records after each commit takes a rollout
// through the same states at the same moments as one that lives on, and counts the same.
func TestRolloutSurvives(t *testing.T) {
	lives, dies := newScript(t), newScript(t)
	scripts := []*script{lives, dies}
	for _, s := range scripts {
		s.between = func() {
			again := s.between
			s.between = nil
			last := s.last
			if s == dies {
				s.restart()
			}
			s.run(block{command: "subscribe"}) // who starts anew subscribes, and so does the other one
			s.last, s.between = last, again
		}
	}
	do := func(command, input string) {
		t.Helper()
		for _, s := range scripts {
			s.run(block{command: command, input: input})
		}
		if got, want := rolloutRecords(dies), rolloutRecords(lives); !slices.Equal(got, want) {
			t.Fatalf("after %q there is\n%s\nwant\n%s", command, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	state := func(want string) {
		t.Helper()
		got := describeRollout(dies.core.channels["stable"].newest())
		if got != want {
			t.Fatalf("the rollout is %q, want %q", got, want)
		}
	}
	do("setup", "")
	do("register 1.6.0", "")
	do("runs flights 6", "")
	do("channel stable 1.6.0 steps=30,60,100 interval=10s runs=2 duration=100 by=ann", "")
	do("runs flights 12", "")
	do("tick 10s", "")
	state("running 1.5.0 -> 1.6.0 step 1 runs 0: started step")
	do("runs flights 1", "")
	do("steer pause stable by=bob", "")
	do("tick 30s", "")
	do("runs flights 4", "")
	do("steer resume stable by=bob", "")
	do("runs flights 4", "")
	do("tick 10s", "")
	state("running 1.5.0 -> 1.6.0 step 2 runs 1: started step paused resumed step")
	do("tick 20s", "")
	do("runs flights 2", "")
	state("promoted 1.5.0 -> 1.6.0 step 2 runs 2: started step paused resumed step promoted")
	do("register 1.7.0", "")
	do("channel stable 1.7.0 steps=50,100 interval=10s runs=2 by=ann", "")
	do("runs flights 10 fail=5", "")
	state("taken_back 1.6.0 -> 1.7.0 step 0 runs 2: started taken_back")
	do("channel stable 1.7.0 steps=50,100 interval=10s runs=2 again by=ann", "")
	do("steer abort stable by=bob", "")
	do("runs flights 3", "")
	if got := dies.core.channels["stable"].rec; got.Version != "1.6.0" || len(got.Moves) != 2 || got.Rollouts != 3 {
		t.Errorf("the channel is %v", got)
	}
}

// rolloutRecords is what is stored of channels, rollouts and runs.
func rolloutRecords(s *script) []string {
	var all []string
	for _, key := range sortedRecordKeys(s.store) {
		switch key.Kind {
		case KindChannel, KindRollout, KindTally, KindRun:
			all = append(all, fmt.Sprintf("%s %s %x", key.Kind, key.ID, s.store[key]))
		}
	}
	return all
}
