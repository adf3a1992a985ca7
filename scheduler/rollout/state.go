package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// Kinds of a proto.RolloutEvent.
const (
	Started   = "started"
	Stepped   = "step"
	Paused    = "paused"
	Resumed   = "resumed"
	Promoted  = "promoted"
	TakenBack = "taken_back"
	Aborted   = "aborted"
)

// EventsKept bounds the events of one rollout: the first stays, of the others the newest.
const EventsKept = 100

var stateNames = map[proto.RolloutState]string{
	proto.ROLLOUT_RUNNING:    "running",
	proto.ROLLOUT_PAUSED:     "paused",
	proto.ROLLOUT_PROMOTED:   "promoted",
	proto.ROLLOUT_TAKEN_BACK: "taken_back",
	proto.ROLLOUT_ABORTED:    "aborted",
}

// StateName is how the API spells a state.
func StateName(s proto.RolloutState) string { return cmp.Or(stateNames[s], fmt.Sprint(int32(s))) }

// Open says whether a rollout runs or is paused. The others have ended, and nothing changes them any more.
func Open(r *proto.Rollout) bool {
	return r.State == proto.ROLLOUT_RUNNING || r.State == proto.ROLLOUT_PAUSED
}

// Begin makes a rollout run, in its first step. Of r the channel, number, both versions, the plan, complete, and By are
// given.
func Begin(r proto.Rollout, now time.Time) *proto.Rollout {
	r.State, r.Step, r.StepRuns = proto.ROLLOUT_RUNNING, 0, 0
	r.Created, r.StepBegan = now, now
	note(&r, Started, cmp.Or(r.By, somebody), "it has begun: "+goes(&r), now)
	return &r
}

// Pause holds an open rollout in its step: its share stays. It says whether that changed anything. An error says that the
// rollout has ended; the same of the functions below. by and why may be empty.
func Pause(r *proto.Rollout, by, why string, now time.Time) (bool, error) {
	switch {
	case !Open(r):
		return false, over(r, "pause")
	case r.State == proto.ROLLOUT_PAUSED:
		return false, nil
	}
	pause(r, cmp.Or(by, somebody), sentence("it was paused", by, why), now)
	return true, nil
}

func pause(r *proto.Rollout, by, reason string, now time.Time) {
	r.State, r.Paused = proto.ROLLOUT_PAUSED, &now
	note(r, Paused, by, reason, now)
}

// Resume lets a paused rollout go on in its step. The time of the step has stood still; if the rollout has paused by
// itself, the step begins anew.
func Resume(r *proto.Rollout, by, why string, now time.Time) (bool, error) {
	switch {
	case !Open(r):
		return false, over(r, "resume")
	case r.State == proto.ROLLOUT_RUNNING:
		return false, nil
	}
	if byItself(r) {
		r.StepBegan, r.StepRuns = now, 0
	} else if r.Paused != nil && now.After(*r.Paused) {
		r.StepBegan = r.StepBegan.Add(now.Sub(*r.Paused))
	}
	r.State, r.Paused = proto.ROLLOUT_RUNNING, nil
	note(r, Resumed, cmp.Or(by, somebody), sentence("it was resumed", by, why)+": "+goes(r), now)
	return true, nil
}

// byItself says whether a rollout that is paused was not asked to.
func byItself(r *proto.Rollout) bool {
	n := len(r.Events)
	return n > 0 && r.Events[n-1].Event == Paused && r.Events[n-1].By == ""
}

// Promote ends an open rollout: the channel is to point at the new version.
func Promote(r *proto.Rollout, by, why string, now time.Time) (bool, error) {
	return end(r, proto.ROLLOUT_PROMOTED, Promoted, "promote", cmp.Or(by, somebody), sentence("it was promoted", by, why), now)
}

// Abort ends an open rollout: no further run is to go to the new version.
func Abort(r *proto.Rollout, by, why string, now time.Time) (bool, error) {
	return end(r, proto.ROLLOUT_ABORTED, Aborted, "abort", cmp.Or(by, somebody), sentence("it was aborted", by, why), now)
}

// TakeBack ends an open rollout by itself: no further run is to go to the new version. reason is a sentence.
func TakeBack(r *proto.Rollout, reason string, now time.Time) (bool, error) {
	return end(r, proto.ROLLOUT_TAKEN_BACK, TakenBack, "take back", "", reason, now)
}

func end(r *proto.Rollout, state proto.RolloutState, event, verb, by, reason string, now time.Time) (bool, error) {
	switch {
	case r.State == state:
		return false, nil
	case !Open(r):
		return false, over(r, verb)
	}
	r.State, r.Paused, r.Ended = state, nil, &now
	note(r, event, by, reason, now)
	return true, nil
}

func over(r *proto.Rollout, verb string) error {
	return fmt.Errorf("%s rollout %d of channel %q to %s: it has ended, %s: %s", verb, r.Number, r.Channel, r.To, ended[r.State], r.Reason)
}

var ended = map[proto.RolloutState]string{
	proto.ROLLOUT_PROMOTED:   "promoted",
	proto.ROLLOUT_TAKEN_BACK: "taken back",
	proto.ROLLOUT_ABORTED:    "aborted",
}

// note adds an event, whose reason becomes that of the state. by is empty if it came by itself.
func note(r *proto.Rollout, event, by, reason string, now time.Time) {
	r.Reason = reason
	r.Events = append(r.Events, proto.RolloutEvent{At: now, Event: event, Step: r.Step, By: by, Reason: reason})
	if more := len(r.Events) - EventsKept; more > 0 { // readers may hold the old ones
		r.Events = append(slices.Clone(r.Events[:1]), r.Events[1+more:]...)
	}
}

// somebody stands for who asked if that is not known: an event without a name came by itself.
const somebody = "somebody"

// sentence says what somebody did and why.
func sentence(did, by, why string) string {
	text := did + " by " + cmp.Or(by, somebody)
	if why != "" {
		text += ": " + why
	}
	return text
}

// goes says where runs go.
func goes(r *proto.Rollout) string {
	return fmt.Sprintf("%d %% of the runs go to %s", r.Plan.Steps[r.Step], r.To)
}

// since is when what counts for the step began, pauses included: runs that were started earlier do not.
func since(r *proto.Rollout) time.Time {
	for i, e := range slices.Backward(r.Events) {
		anew := e.Event == Resumed && i > 0 && r.Events[i-1].Event == Paused && r.Events[i-1].By == ""
		if e.Event == Started || e.Event == Stepped || anew {
			return e.At
		}
	}
	return r.StepBegan
}

// Check holds a record to what this package makes.
func Check(r *proto.Rollout) error {
	switch {
	case stateNames[r.State] == "":
		return fmt.Errorf("its state %d is not known", r.State)
	case int(r.Step) >= len(r.Plan.Steps):
		return fmt.Errorf("it is in step %d of %d", r.Step+1, len(r.Plan.Steps))
	}
	if _, problems := Complete(r.Plan); len(problems) > 0 {
		return fmt.Errorf("its plan is wrong at %s: %s", problems[0].Pointer, problems[0].Detail)
	}
	return nil
}
