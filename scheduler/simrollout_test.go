package scheduler

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler/rollout"
)

// moveChannel is someone who moves the channel, or steers how it moves.
func (s *simulation) moveChannel() {
	switch n := s.rng.IntN(10); {
	case n < 3:
		action := []RolloutAction{RolloutPause, RolloutResume, RolloutResume, RolloutPromote, RolloutAbort}[s.rng.IntN(5)]
		s.command(SteerRollout{Channel: simChannel, Action: action, By: "ann"})
	case n < 5:
		s.command(SetChannel{Name: simChannel, Version: simVersions[s.rng.IntN(2)], By: "bob", Again: s.rng.IntN(2) == 0})
	default:
		plan := &proto.RolloutPlan{
			Steps:    [][]uint32{{50, 100}, {20, 60, 90}, {100}}[s.rng.IntN(3)],
			Interval: time.Duration(1+s.rng.IntN(20)) * time.Second,
			MinRuns:  uint32(1 + s.rng.IntN(2)),
		}
		if s.rng.IntN(4) == 0 {
			plan.Jobs = []string{"job-0", "*-1"}[:1+s.rng.IntN(2)]
		}
		s.command(SetChannel{Name: simChannel, Version: simVersions[s.rng.IntN(2)], By: "ann", Again: s.rng.IntN(2) == 0, Rollout: plan})
	}
}

const simChannel = "stable"

// simLedger is the harness's own account of channels and rollouts: what one scheduler has said that is stored, and what
// its tallies must come to.
type simLedger struct {
	channel  *proto.Channel
	newest   *proto.Rollout
	deleted  map[string]bool // jobs
	runs     map[string]*proto.Run
	tallies  map[string]simTally // by job, as stored
	expected map[string]simTally
}

type simTally struct{ oldRuns, oldFailed, newRuns, newFailed uint32 }

// ledger opens the account with what is in the store.
func (s *simulation) ledger() *simLedger {
	l := &simLedger{deleted: map[string]bool{}, runs: map[string]*proto.Run{}, tallies: map[string]simTally{}, expected: map[string]simTally{}}
	for _, key := range sortedRecordKeys(s.store.values) {
		l.apply(Change{Key: key, Value: s.store.values[key]})
	}
	l.expected = maps.Clone(l.tallies)
	return l
}

func (l *simLedger) apply(change Change) {
	switch value := change.Value; change.Key.Kind {
	case KindChannel:
		l.channel = mustDecode(value, &proto.Channel{})
	case KindRollout:
		if value == nil {
			return
		}
		if r := mustDecode(value, &proto.Rollout{}); l.newest == nil || r.Number >= l.newest.Number {
			l.newest = r
		}
	case KindJob:
		if value != nil {
			l.deleted[change.Key.ID] = mustDecode(value, &proto.Job{}).Deleted
		}
	case KindRun:
		delete(l.runs, change.Key.ID)
		if value != nil {
			l.runs[change.Key.ID] = mustDecode(value, &proto.Run{})
		}
	case KindTally:
		_, job, _ := strings.Cut(change.Key.ID, "/")
		delete(l.tallies, job)
		if value != nil {
			t := mustDecode(value, &proto.Tally{})
			l.tallies[job] = simTally{t.Old.Runs, t.Old.Failed, t.New.Runs, t.New.Failed}
		}
	}
}

// checkRollouts looks at what one step has changed of the channel, its rollouts and runs.
func (s *simulation) checkRollouts(sch *simScheduler, acts *Actions) {
	l := sch.ledger
	before := *l
	earlier := map[string]*proto.Run{}
	for _, change := range acts.Store {
		if change.Key.Kind == KindRun {
			earlier[change.Key.ID] = l.runs[change.Key.ID]
		}
		l.apply(change)
	}
	if l.newest != nil && (before.newest == nil || l.newest.Number != before.newest.Number) {
		s.begins(l, before.newest)
	} else if before.newest != nil {
		s.checkProgress(before.newest, l.newest)
	}
	s.checkPointer(l)
	for _, id := range sortedKeys(earlier) {
		if now := l.runs[id]; now != nil {
			s.checkVersion(l, earlier[id], now)
			l.count(earlier[id], now)
		}
	}
	if !maps.Equal(l.expected, l.tallies) {
		s.breach(talliedOnce, "tallies are %v, but what has ended comes to %v", l.tallies, l.expected)
	}
}

// begins: a rollout begins with what is known of the old version, and no sooner than the one before has ended.
func (s *simulation) begins(l *simLedger, last *proto.Rollout) {
	r := l.newest
	number := uint32(1)
	if last != nil {
		number = last.Number + 1
	}
	if r.Number != number || len(r.Events) != 1 || r.Step != 0 {
		s.breach(stepsOnce, "rollout %d follows %v with %v", r.Number, last, r.Events)
	}
	l.expected = map[string]simTally{}
	for _, id := range sortedKeys(l.runs) {
		run := l.runs[id]
		if run.ExecutorVersion != r.From || l.deleted[run.Job] || !rollout.TakesPart(&r.Plan, run.Job) {
			continue
		}
		l.add(run)
	}
}

// count takes in the end of a run that is part of the newest rollout.
func (l *simLedger) count(before, now *proto.Run) {
	ended := before != nil && jobs.Terminal(before.State)
	if !ended && l.newest != nil && now.Rollout == l.newest.Number {
		l.add(now)
	}
}

func (l *simLedger) add(run *proto.Run) {
	if run.State != proto.RUN_SUCCEEDED && run.State != proto.RUN_FAILED {
		return
	}
	failed := uint32(btoi(run.State == proto.RUN_FAILED))
	t := l.expected[run.Job]
	if run.ExecutorVersion == l.newest.To {
		t.newRuns, t.newFailed = t.newRuns+1, t.newFailed+failed
	} else {
		t.oldRuns, t.oldFailed = t.oldRuns+1, t.oldFailed+failed
	}
	l.expected[run.Job] = t
}

// checkVersion: a run goes where the share says, and stays there, unless the new version refuses its expressions.
func (s *simulation) checkVersion(l *simLedger, before, now *proto.Run) {
	r := l.newest
	if before != nil {
		retreats := before.Rollout != 0 && now.Rollout == 0 && len(before.Stages) == 0 && s.refusing[now.Job]
		if (before.ExecutorVersion != now.ExecutorVersion || before.Rollout != now.Rollout) && !retreats {
			s.breach(keepsVersion, "run %s moves from %s to %s", now.ID, before.ExecutorVersion, now.ExecutorVersion)
		}
		return
	}
	switch takesPart := r != nil && rollout.Open(r) && rollout.TakesPart(&r.Plan, now.Job); {
	case l.channel == nil:
		s.breach(recordsSayAll, "run %s follows channel %q, which is not stored", now.ID, now.Channel)
	case now.Rollout == 0 && takesPart && !s.refusing[now.Job]:
		s.breach(keepsVersion, "run %s takes no part in rollout %d", now.ID, r.Number)
	case now.Rollout == 0 && now.ExecutorVersion != l.channel.Version:
		s.breach(keepsVersion, "run %s is on %s, and the channel points at %s", now.ID, now.ExecutorVersion, l.channel.Version)
	case now.Rollout == 0:
	case r == nil || now.Rollout != r.Number || !rollout.Open(r):
		s.breach(keepsVersion, "run %s is part of rollout %d, which is not open", now.ID, now.Rollout)
	case rollout.Takes(now.Job, now.ID, r.Plan.Steps[r.Step]) != (now.ExecutorVersion == r.To):
		s.breach(keepsVersion, "run %s is on %s, with slot %d and a share of %d %%", now.ID, now.ExecutorVersion, rollout.Slot(now.Job, now.ID), r.Plan.Steps[r.Step])
	}
}

// checkPointer: while a rollout is open the channel points at what it moves from, and when it is promoted at the other.
func (s *simulation) checkPointer(l *simLedger) {
	r := l.newest
	switch {
	case r == nil || l.channel == nil:
	case rollout.Open(r) && l.channel.Version != r.From:
		s.breach(stepsOnce, "rollout %d is %s, and the channel points at %s", r.Number, rollout.StateName(r.State), l.channel.Version)
	case r.State == proto.ROLLOUT_PROMOTED && !slices.ContainsFunc(l.channel.Moves, func(m proto.ChannelMove) bool { return m.Rollout == r.Number && m.To == r.To }):
		s.breach(stepsOnce, "rollout %d is promoted, and the channel never moved", r.Number)
	}
}

// checkProgress: what a rollout has become follows from what it was: nothing of the past changes, and no step is taken
// twice, left out or taken back.
func (s *simulation) checkProgress(before, now *proto.Rollout) {
	if !rollout.Open(before) && string(proto.Encode(before)) != string(proto.Encode(now)) {
		s.breach(stepsOnce, "rollout %d had ended and changes", now.Number)
	}
	step := uint32(0)
	for i, e := range now.Events {
		if i < len(before.Events) {
			if was := before.Events[i]; was.Event != e.Event || was.Step != e.Step || was.By != e.By {
				s.breach(stepsOnce, "event %d of rollout %d was %v and is %v", i, now.Number, was, e)
			}
		}
		if e.Event == rollout.Stepped {
			step++
		}
		if e.Step != step || i > 0 && !rollout.Open(&proto.Rollout{State: afterEvent[now.Events[i-1].Event]}) {
			s.breach(stepsOnce, "event %d of rollout %d is %v in step %d", i, now.Number, e, step)
		}
	}
	if len(now.Events) < len(before.Events) || now.Step != step || now.State != afterEvent[now.Events[len(now.Events)-1].Event] {
		s.breach(stepsOnce, "rollout %d is %s in step %d after %v", now.Number, rollout.StateName(now.State), now.Step, now.Events)
	}
}

var afterEvent = map[string]proto.RolloutState{
	rollout.Started: proto.ROLLOUT_RUNNING, rollout.Stepped: proto.ROLLOUT_RUNNING, rollout.Resumed: proto.ROLLOUT_RUNNING,
	rollout.Paused: proto.ROLLOUT_PAUSED, rollout.Promoted: proto.ROLLOUT_PROMOTED,
	rollout.TakenBack: proto.ROLLOUT_TAKEN_BACK, rollout.Aborted: proto.ROLLOUT_ABORTED,
}

// checkRolloutStored holds what a commit makes of a rollout to what was stored of it, whoever stored that.
func (s *simulation) checkRolloutStored(rec *proto.Rollout) {
	if last := s.stored[rec.Number]; last != nil {
		s.checkProgress(last, rec)
	}
	s.stored[rec.Number] = rec
}

// checkTallies compares the new side of the newest rollout with all runs that ever were part of it, at the end.
func (s *simulation) checkTallies() {
	l := s.ledger()
	if l.newest == nil {
		return
	}
	expected := map[string]simTally{}
	l.expected = expected
	for _, runs := range []map[string]*proto.Run{s.store.runs, s.store.forgotten} {
		for _, id := range sortedKeys(runs) {
			if run := runs[id]; run.Rollout == l.newest.Number && run.ExecutorVersion == l.newest.To {
				l.add(run)
			}
		}
	}
	for _, job := range sortedKeys(l.tallies) {
		if got, want := l.tallies[job], expected[job]; got.newRuns != want.newRuns || got.newFailed != want.newFailed {
			s.breach(talliedOnce, "of job %s %d runs on the new version are counted, %d failed, but %d have ended, %d failed", job, got.newRuns, got.newFailed, want.newRuns, want.newFailed)
		}
	}
}

func rolloutMutants() []mutant {
	open := func(sch *simScheduler) *proto.Rollout {
		if ch := sch.core.channels[simChannel]; ch != nil && sch.core.leading {
			return ch.open()
		}
		return nil
	}
	var turned *proto.Rollout
	turn := func(r *proto.Rollout) {
		r.Plan.Steps = slices.Clone(r.Plan.Steps)
		for i, share := range r.Plan.Steps {
			r.Plan.Steps[i] = 101 - share
		}
	}
	return []mutant{
		{name: "tallies are not stored", breaks: talliedOnce, actions: unstored(func(change Change) bool { return change.Key.Kind == KindTally })},
		{name: "runs count twice", breaks: talliedOnce, actions: func(_ *simScheduler, acts *Actions) {
			for i, change := range acts.Store {
				if change.Key.Kind != KindTally || change.Value == nil {
					continue
				}
				if t := mustDecode(change.Value, &proto.Tally{}); t.New.Runs > 0 {
					t.New.Runs++
					acts.Store[i].Value = proto.Encode(t)
				}
			}
		}},
		{name: "the share is not kept", breaks: keepsVersion, event: func(sch *simScheduler, event Event) Event {
			cmd, _ := event.(Command)
			if _, start := cmd.Body.(StartRun); start && open(sch) != nil {
				turned = open(sch)
				turn(turned)
			}
			return event
		}, actions: func(*simScheduler, *Actions) {
			if turned != nil {
				turn(turned)
				turned = nil
			}
		}},
		{name: "a run changes its version", breaks: keepsVersion, actions: func(_ *simScheduler, acts *Actions) {
			for i, change := range acts.Store {
				if change.Key.Kind != KindRun || change.Value == nil {
					continue
				}
				if r := mustDecode(change.Value, &proto.Run{}); r.Rollout > 0 && jobs.Terminal(r.State) {
					r.ExecutorVersion = simVersions[btoi(r.ExecutorVersion == simVersions[0])]
					acts.Store[i].Value = proto.Encode(r)
				}
			}
		}},
		{name: "a step is taken twice", breaks: stepsOnce, event: func(sch *simScheduler, event Event) Event {
			if r := open(sch); r != nil && r.Step > 0 {
				r.Step--
			}
			return event
		}},
		{name: "what has ended goes on", breaks: stepsOnce, event: func(sch *simScheduler, event Event) Event {
			cmd, _ := event.(Command)
			steer, _ := cmd.Body.(SteerRollout)
			if ch := sch.core.channels[simChannel]; steer.Action == RolloutPause && ch != nil && ch.newest() != nil && ch.newest().State == proto.ROLLOUT_ABORTED {
				ch.newest().State = proto.ROLLOUT_RUNNING
			}
			return event
		}},
		{name: "a promotion does not move the channel", breaks: stepsOnce, actions: func(_ *simScheduler, acts *Actions) {
			acts.Store = slices.DeleteFunc(acts.Store, func(change Change) bool {
				if change.Key.Kind != KindChannel || change.Value == nil {
					return false
				}
				moves := mustDecode(change.Value, &proto.Channel{}).Moves
				return len(moves) > 0 && moves[len(moves)-1].Rollout > 0
			})
		}},
	}
}
