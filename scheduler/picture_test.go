package scheduler

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidemill/tidemill/proto"
)

// TestPictureIsWhatTheLeaderShows: as far as it is stored, a standby shows the same.
func TestPictureIsWhatTheLeaderShows(t *testing.T) {
	s := newScript(t)
	s.setup(`"work": {"stages": [5]}`)
	s.store[Key{KindFormat, formatID}] = proto.Encode(&proto.Format{Version: FormatVersion})
	for _, b := range []block{
		{command: "start flights"},
		{command: "offers", input: "a1 cpus=1.2 mem=4GiB disk=10GiB\n"},
		{command: "update r1.plan.0.1 RUNNING"},
		{command: "update r1.plan.0.1 FINISHED output=x"},
		{command: "cancel r2"},
		{command: "register 1.6.0"},
		{command: "channel stable 1.6.0 steps=50,100 interval=1h runs=5 by=ann"},
		{command: "runs flights 3"},
		{command: "tick 2h"},
	} {
		s.run(b)
		got, err := Picture(s.cfg, records(s.store), s.now)
		if err != nil {
			t.Fatal(err)
		}
		want := s.core.View()
		if got.Leading || got.Master != "" || got.Framework.ID != want.Framework.ID {
			t.Errorf("after %s: got %+v", b.command, got)
		}
		if got.Queue.Pending != want.Queue.Pending || got.Queue.Launched != want.Queue.Launched {
			t.Errorf("after %s: the queue is %+v, want %+v", b.command, got.Queue, want.Queue)
		}
		live := cmp.Options{ // what is not stored
			cmpopts.IgnoreFields(RunView{}, "Waiting"), cmpopts.IgnoreFields(TaskView{}, "Heard", "Progress"),
			cmpopts.IgnoreFields(StageView{}, "Created"), cmpopts.EquateEmpty(),
		}
		for what, pair := range map[string][2]any{
			"runs": {want.Runs, got.Runs}, "jobs": {want.Jobs, got.Jobs}, "channels": {want.Channels, got.Channels},
			"rollouts": {want.Rollouts, got.Rollouts}, "versions": {want.Versions, got.Versions},
		} {
			if diff := cmp.Diff(pair[0], pair[1], live); diff != "" {
				t.Errorf("after %s: %s (-leader +standby):\n%s", b.command, what, diff)
			}
		}
	}
}

// TestPictureOfOtherFormats: an older store is shown and stays as it is; a newer one is refused.
func TestPictureOfOtherFormats(t *testing.T) {
	s := newScript(t)
	s.setup(`"work": {"stages": [2]}`)
	for key := range s.store {
		if key.Kind == KindRun || key.Kind == KindPlan || key.Kind == KindTask || key.Kind == KindKey {
			delete(s.store, key)
		}
	}
	before := records(s.store)
	view, err := Picture(s.cfg, before, s.now)
	if err != nil || view.Jobs["flights"] == nil {
		t.Errorf("of format 1: got %+v, %v", view, err)
	}
	if len(before) != len(s.store) {
		t.Errorf("got %d records, want %d", len(before), len(s.store))
	}
	for _, r := range before {
		if !bytes.Equal(r.Value, s.store[r.Key]) {
			t.Errorf("%s %q was changed", r.Key.Kind, r.Key.ID)
		}
	}
	s.store[Key{KindFormat, formatID}] = proto.Encode(&proto.Format{Version: FormatVersion + 1, WrittenBy: "9.0.0"})
	if _, err := Picture(s.cfg, records(s.store), s.now); err == nil || !strings.Contains(err.Error(), `written by version "9.0.0"`) {
		t.Errorf("of a newer format: got %v", err)
	}
}
