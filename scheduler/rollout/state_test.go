package rollout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/proto"
)

// machine is a rollout that anything may happen to, beside what must be true of it.
type machine struct {
	*trial
	t       *rapid.T
	stopped time.Duration // that the step's time has stood still since it began
	pausing time.Time     // since when it is paused
	counted uint32        // runs of the step
	mark    time.Time     // since when runs count for it
	steps   int
}

// TestStateMachine: no step back, none twice and none left out; the share only grows while it is open; nothing changes
// what has ended; it is promoted by itself only when the last step's gates are passed; its events tell all that.
func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfNDistinct(rapid.Uint32Range(1, 100), 1, 5, rapid.ID).Draw(t, "steps")
		slices.Sort(steps)
		plan := proto.RolloutPlan{Steps: steps, Interval: time.Minute, MinRuns: rapid.Uint32Range(1, 5).Draw(t, "runs")}
		if rapid.Bool().Draw(t, "speed") {
			plan.MaxDurationRatio, plan.MinRateRatio = 1.2, 0.8
		}
		m := &machine{trial: newTrial(plan, 2), t: t, mark: noon}
		bad := rapid.SampledFrom([]int{0, 0, 5, 50}).Draw(t, "percent of failures")
		for range rapid.IntRange(1, 150).Draw(t, "events") {
			m.random(bad)
		}
		m.events()
	})
}

func (m *machine) random(bad int) {
	before := *m.r
	switch what := rapid.IntRange(0, 12).Draw(m.t, "what"); {
	case what < 7:
		m.run(bad)
		m.tend(before)
	case what < 10:
		m.now = m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(m.t, "seconds")) * time.Second)
		m.tend(before)
	default:
		m.steer(before)
	}
	if !Open(&before) && string(proto.Encode(&before)) != string(proto.Encode(m.r)) {
		m.t.Fatalf("it had ended as %s and became %v", StateName(before.State), m.r)
	}
	if Open(m.r) && Share(m.r) < Share(&before) {
		m.t.Fatalf("the share fell from %d to %d", Share(&before), Share(m.r))
	}
	if err := Check(m.r); err != nil {
		m.t.Fatalf("the record is wrong: %v", err)
	}
	if at := Due(m.r, m.now); !at.IsZero() && (!at.After(m.now) || m.r.State != proto.ROLLOUT_RUNNING) {
		m.t.Fatalf("at %s it is due at %s, %s", m.now, at, StateName(m.r.State))
	}
}

func (m *machine) run(bad int) {
	isNew := rapid.Bool().Draw(m.t, "new")
	created := m.now.Add(-time.Duration(rapid.IntRange(0, 120).Draw(m.t, "age")) * time.Second)
	at := m.tallies[rapid.IntRange(0, 1).Draw(m.t, "job")]
	o := Outcome{Failed: rapid.IntRange(0, 99).Draw(m.t, "fails") < bad, Took: time.Second, Rows: 10}
	m.sums.Remove(at)
	if isNew {
		Count(&at.New, o)
		Ended(m.r, created)
		if Open(m.r) && !created.Before(m.mark) {
			m.counted++
		}
	} else {
		Count(&at.Old, o)
	}
	m.sums.Add(at)
}

// tend lets the rollout judge itself until there is nothing to do, and holds each change to what is allowed.
func (m *machine) tend(before proto.Rollout) {
	for range 3 {
		if !Follow(m.r, m.judge(), m.now) {
			return
		}
		passed := !m.now.Before(before.StepBegan.Add(m.r.Plan.Interval)) && m.counted >= m.r.Plan.MinRuns
		last := int(before.Step) == len(before.Plan.Steps)-1
		switch m.r.State {
		case proto.ROLLOUT_RUNNING:
			if !passed || last || m.r.Step != before.Step+1 {
				m.t.Fatalf("a step from %d to %d after %d runs, %s", before.Step, m.r.Step, m.counted, m.now.Sub(before.StepBegan))
			}
			m.counted, m.mark, m.stopped = 0, m.now, 0
			m.steps++
		case proto.ROLLOUT_PROMOTED:
			if !passed || !last {
				m.t.Fatalf("promoted in step %d after %d runs, %s", before.Step, m.counted, m.now.Sub(before.StepBegan))
			}
		case proto.ROLLOUT_PAUSED:
			if !passed {
				m.t.Fatalf("paused by itself after %d runs, %s", m.counted, m.now.Sub(before.StepBegan))
			}
			m.pausing = m.now
		case proto.ROLLOUT_TAKEN_BACK:
			if m.sums.NewFailed < 2 || float64(m.sums.NewFailed) <= m.sums.Allowed() {
				m.t.Fatalf("taken back after %+v", m.sums)
			}
		default:
			m.t.Fatalf("it became %s by itself", StateName(m.r.State))
		}
		before = *m.r
	}
	m.t.Fatalf("there is no end to what it does: %v", m.r.Events)
}

func (m *machine) steer(before proto.Rollout) {
	what := rapid.SampledFrom([]string{"pause", "resume", "resume", "promote", "abort"}).Draw(m.t, "steer")
	do := map[string]func(*proto.Rollout, string, string, time.Time) (bool, error){"pause": Pause, "resume": Resume, "promote": Promote, "abort": Abort}[what]
	auto := byItself(m.r)
	changed, err := do(m.r, "bob", "", m.now)
	after := map[string]proto.RolloutState{"pause": proto.ROLLOUT_PAUSED, "resume": proto.ROLLOUT_RUNNING,
		"promote": proto.ROLLOUT_PROMOTED, "abort": proto.ROLLOUT_ABORTED}[what]
	if want := Open(&before) && before.State != after; changed != want {
		m.t.Fatalf("%s of one that was %s: changed %v", what, StateName(before.State), changed)
	}
	if refused := !Open(&before) && before.State != after; refused != (err != nil) {
		m.t.Fatalf("%s of one that was %s: %v", what, StateName(before.State), err)
	}
	if err == nil && m.r.State != after {
		m.t.Fatalf("%s made it %s", what, StateName(m.r.State))
	}
	switch {
	case !changed:
	case what == "pause":
		m.pausing = m.now
	case what == "resume":
		want := before.StepBegan.Add(m.now.Sub(m.pausing))
		if auto {
			want, m.counted, m.mark = m.now, 0, m.now
		}
		if !m.r.StepBegan.Equal(want) || m.r.StepRuns != m.counted {
			m.t.Fatalf("resumed with a step from %s with %d runs, want %s with %d", m.r.StepBegan, m.r.StepRuns, want, m.counted)
		}
	}
}

// events holds what is told to what is so.
func (m *machine) events() {
	state, step, steps := proto.ROLLOUT_RUNNING, uint32(0), 0
	for i, e := range m.r.Events {
		switch {
		case (i == 0) != (e.Event == Started):
			m.t.Fatalf("event %d is %s", i, e.Event)
		case i > 0 && e.At.Before(m.r.Events[i-1].At):
			m.t.Fatalf("event %d was before the last one", i)
		case !Open(&proto.Rollout{State: state}):
			m.t.Fatalf("%s came after the end", e.Event)
		case e.Event == Stepped:
			step++
			steps++
			if state != proto.ROLLOUT_RUNNING {
				m.t.Fatalf("a step while it was %s", StateName(state))
			}
		case e.Event == Paused && state != proto.ROLLOUT_RUNNING || e.Event == Resumed && state != proto.ROLLOUT_PAUSED:
			m.t.Fatalf("%s while it was %s", e.Event, StateName(state))
		case e.Event == TakenBack && e.By != "" || (e.Event == Resumed || e.Event == Aborted || e.Event == Started) && e.By == "":
			m.t.Fatalf("%s by %q", e.Event, e.By)
		}
		if e.Step != step || e.Reason == "" {
			m.t.Fatalf("event %+v in step %d", e, step)
		}
		state = map[string]proto.RolloutState{Paused: proto.ROLLOUT_PAUSED, Promoted: proto.ROLLOUT_PROMOTED,
			TakenBack: proto.ROLLOUT_TAKEN_BACK, Aborted: proto.ROLLOUT_ABORTED}[e.Event]
	}
	if state != m.r.State || step != m.r.Step || steps != m.steps {
		m.t.Fatalf("the events end %s in step %d, it is %s in step %d", StateName(state), step, StateName(m.r.State), m.r.Step)
	}
	if m.r.Reason != m.r.Events[len(m.r.Events)-1].Reason || (m.r.Ended == nil) != Open(m.r) || (m.r.Paused == nil) != (m.r.State != proto.ROLLOUT_PAUSED) {
		m.t.Fatalf("the record contradicts itself: %v", m.r)
	}
}

// TestEventsAreBounded: of many events the first and the newest stay, and what readers hold does not change.
func TestEventsAreBounded(t *testing.T) {
	x := newTrial(proto.RolloutPlan{}, 1)
	var held *proto.Rollout
	for i := range 200 {
		x.now = x.now.Add(time.Second)
		do := []func(*proto.Rollout, string, string, time.Time) (bool, error){Pause, Resume}[i%2]
		if _, err := do(x.r, "ann", fmt.Sprint(i), x.now); err != nil {
			t.Fatal(err)
		}
		if i == 150 {
			copied := *x.r
			held = &copied
		}
	}
	if got := len(x.r.Events); got != EventsKept {
		t.Fatalf("%d events are kept", got)
	}
	if first, last := x.r.Events[0], x.r.Events[EventsKept-1]; first.Event != Started || last.Reason != "it was resumed by ann: 199: 10 % of the runs go to 2.0.0" {
		t.Errorf("from %v to %v", first, last)
	}
	if got := held.Events[EventsKept-1].Reason; got != "it was paused by ann: 150" {
		t.Errorf("what a reader held became %q", got)
	}
	if !x.r.StepBegan.Equal(noon.Add(100 * time.Second)) {
		t.Errorf("the step began %s after noon", x.r.StepBegan.Sub(noon))
	}
}

// TestCheckRefuses: records that this package would not make.
func TestCheckRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*proto.Rollout){
		"state": func(r *proto.Rollout) { r.State = 9 },
		"step":  func(r *proto.Rollout) { r.Step = 3 },
		"plan":  func(r *proto.Rollout) { r.Plan.Steps = []uint32{50, 40} },
	} {
		x := newTrial(proto.RolloutPlan{}, 1)
		spoil(x.r)
		if Check(x.r) == nil {
			t.Errorf("%s: it is not refused", name)
		}
	}
}
