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
	replies []scheduler.Reply
	notes   []scheduler.Note
	counts  []scheduler.Count
	wake    time.Time
}

// add appends what one step gave. Of several changes of one record only the last is written.
func (o *outcome) add(a scheduler.Actions) {
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
	o.replies = append(o.replies, a.Replies...)
	o.notes = append(o.notes, a.Notes...)
	o.counts = append(o.counts, a.Counts...)
	o.wake = a.Wake // each step says anew what is due
}
