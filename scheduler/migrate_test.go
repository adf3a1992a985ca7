package scheduler

import (
	"strings"
	"testing"

	"github.com/tidemill/tidemill/proto"
)

// TestFormat2: a store of format 2, which knew no rollouts, is brought to the present one; its channels can move by rollouts,
// and its runs are the history that these begin with.
func TestFormat2(t *testing.T) {
	s := newScript(t)
	s.setup("")
	s.run(block{command: "runs flights 4"})
	for key, value := range s.store { // what format 2 did not have
		switch key.Kind {
		case KindUse:
			delete(s.store, key)
		case KindRun:
			rec := mustDecode(value, &proto.Run{})
			rec.Channel, rec.By = "", ""
			s.store[key] = proto.Encode(rec)
		}
	}
	s.store[Key{KindFormat, formatID}] = proto.Encode(&proto.Format{Version: 2, WrittenBy: "0.1.0"})
	if _, err := New(s.cfg, records(s.store)); err == nil || !strings.Contains(err.Error(), "were not brought to format 4") {
		t.Errorf("it is loaded as it is: %v", err)
	}
	changes, err := Migrate(records(s.store), "0.2.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		if change.Key.Kind != KindFormat && change.Key.Kind != KindUse {
			t.Errorf("%s %s is changed", change.Key.Kind, change.Key.ID)
		}
		s.store[change.Key] = change.Value
	}
	if got := mustDecode(s.store[Key{KindFormat, formatID}], &proto.Format{}); got.Version != FormatVersion || got.WrittenBy != "0.2.0" {
		t.Errorf("the format is %v", got)
	}
	s.restart()
	s.run(block{command: "register 1.6.0"})
	s.run(block{command: "channel stable 1.6.0 steps=50,100"})
	if got := describeTally(s.core.channels["stable"].tallies["flights"]); got != "old 4 failed 0, new 0 failed 0" {
		t.Errorf("the rollout begins with %s", got)
	}
	if again, err := Migrate(records(s.store), "0.2.0"); err != nil || len(again) > 0 {
		t.Errorf("migrated again: %d changes, %v", len(again), err)
	}
}

// TestFormat3: a store of format 3 says the same in the present one.
func TestFormat3(t *testing.T) {
	changes, err := Migrate([]Record{{Key{KindFormat, formatID}, proto.Encode(&proto.Format{Version: 3, WrittenBy: "0.1.0"})}}, "0.2.0")
	if err != nil || len(changes) != 1 || changes[0].Key.Kind != KindFormat {
		t.Errorf("got %v, %v, want the format alone to change", changes, err)
	}
}
