package scheduler

import (
	"testing"

	"github.com/tidemill/tidemill/proto"
)

// TestViewShares: a View costs only what has changed, and an older one never changes.
func TestViewShares(t *testing.T) {
	s := newScript(t)
	s.setup(`"work": {"stages": [2]}`)
	s.run(block{command: "start flights"})
	first := s.core.View()
	if again := s.core.View(); again != first {
		t.Error("a View without a change is another one")
	}
	s.run(block{command: "tick 1s"})
	if again := s.core.View(); again != first {
		t.Error("a View after a step that changed nothing is another one")
	}
	r1, r2 := s.long("r1"), s.long("r2")
	s.run(block{command: "offers", input: "a1 cpus=0.6 mem=4GiB disk=10GiB\n"})
	second := s.core.View()
	if second.Sequence <= first.Sequence {
		t.Errorf("the sequence went from %d to %d", first.Sequence, second.Sequence)
	}
	if second.Jobs["flights"] != first.Jobs["flights"] || second.Runs[r2].Stages[0] != first.Runs[r2].Stages[0] {
		t.Error("what has not changed is not shared")
	}
	if got := first.Runs[r1].Task("plan", 0).Task.State; got != proto.TASK_PENDING {
		t.Errorf("the task in the older View is %s", got)
	}
	if got := second.Runs[r1].Task("plan", 0).Task.State; got != proto.TASK_LAUNCHING {
		t.Errorf("the task in the newer View is %s", got)
	}
	s.run(block{command: "update r1.plan.0.1 RUNNING"})
	if got := second.Runs[r1].Task("plan", 0).Task.Attempts[0].State; got != proto.TASK_LAUNCHING {
		t.Errorf("the attempt in the older View became %s", got)
	}
}

// TestReplyIsACopy: what a command was answered does not change later.
func TestReplyIsACopy(t *testing.T) {
	s := newScript(t)
	s.setup("")
	s.run(block{command: "start flights"})
	run := s.last.Replies[0].Value.(StartRunResult).Run
	s.run(block{command: "cancel r2"})
	if run.State != proto.RUN_PENDING || len(run.Stages) != 1 {
		t.Errorf("the answer to StartRun became %s", describeRun(run))
	}
}

// TestViewShowsAnswersFromBefore: whoever asks for a check that had its answer before a restart finds it, in a View that
// was made before the first step, as the service makes one, or after it.
func TestViewShowsAnswersFromBefore(t *testing.T) {
	s := newScript(t)
	s.setup("") // with a job whose expressions have passed
	if len(s.core.View().Checks) == 0 {
		t.Fatal("there is no answer")
	}
	s.restart()
	s.core.View()
	s.run(block{command: "subscribe"})
	for key, ck := range s.core.checks {
		if shown := s.core.View().Checks[key]; shown == nil || shown.State != ck.state {
			t.Errorf("%s: got %+v, want %s", key, shown, ck.state)
		}
	}
	if len(s.core.checks) == 0 {
		t.Error("the answer is forgotten")
	}
}

// TestViewSharesTallies: a run that ends in a rollout costs a View the tally of its job, also the first one; not those of
// other jobs, nor the versions that it did not use.
func TestViewSharesTallies(t *testing.T) {
	s := newScript(t)
	s.setup("")
	s.run(block{command: "register 1.4.0"})
	s.run(block{command: "register 1.6.0"})
	for _, job := range []string{"a", "z", "m"} {
		s.run(block{command: "put-job create", input: `{"name": "` + job + `", "kind": "work", "work": {"stages": [1]}}`})
	}
	s.run(block{command: "channel stable 1.6.0 steps=1,100 interval=1h runs=100"})
	s.run(block{command: "runs a 1"})
	s.run(block{command: "runs z 1"})
	before := s.core.View()
	was := before.Rollouts["stable"].Tallies
	s.run(block{command: "runs m 1"})
	after := s.core.View()
	is := after.Rollouts["stable"].Tallies
	if len(was) != 2 || len(is) != 3 || is[1].Job != "m" {
		t.Fatalf("there were %d tallies, and are %v", len(was), is)
	}
	if is[0] != was[0] || is[2] != was[1] {
		t.Error("tallies that have not changed are not shared")
	}
	if after.Versions["1.4.0"] != before.Versions["1.4.0"] || after.Channels["stable"] != before.Channels["stable"] {
		t.Error("a version that was not used, or a channel that did not move, is not shared")
	}
	s.run(block{command: "steer abort stable by=bob"})
	if got := s.core.View().Versions["1.6.0"]; len(got.Rollouts) != 0 {
		t.Errorf("the rollout has ended, and version 1.6.0 is shown in %v", got.Rollouts)
	}
}
