package loop

import (
	"time"

	"github.com/tidemill/tidemill/scheduler"
)

// outcome gathers the actions of one turn.
type outcome struct {
	changes []scheduler.Change
	at      map[scheduler.Key]int // where a key's change is
	calls   []scheduler.Call
	accepts []time.Time // of each ACCEPT among the calls: when its offers were received
	replies []scheduler.Reply
	notes   []scheduler.Note
	counts  []scheduler.Count
	wake    time.Time
}

// add appends what one step gave, whose event was received then. Of several changes of one record only the last is
// written.
func (o *outcome) add(a scheduler.Actions, received time.Time) {
	for _, change := range a.Store {
		if i, known := o.at[change.Key]; known {
			o.changes[i] = change
			continue
		}
		if o.at == nil {
			o.at = make(map[scheduler.Key]int)
		}
		o.at[change.Key] = len(o.changes)
		o.changes = append(o.changes, change)
	}
	o.calls = append(o.calls, a.Calls...)
	for _, call := range a.Calls {
		if _, accept := call.(scheduler.Accept); accept {
			o.accepts = append(o.accepts, received)
		}
	}
	o.replies = append(o.replies, a.Replies...)
	o.notes = append(o.notes, a.Notes...)
	o.counts = append(o.counts, a.Counts...)
	o.wake = a.Wake // each step says anew what is due
}
