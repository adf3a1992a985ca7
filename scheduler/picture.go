package scheduler

import (
	"slices"
	"time"

	"github.com/tidemill/tidemill/proto"
)

// Picture draws what an instance shows that does not lead: the state as records have it, in this format or an older one.
// What only the leader knows is not in it: offers, agents, progress within a task, and why tasks wait. now is for what
// depends on the time: what a rollout waits for. Errors are those of [Migrate] and [New].
func Picture(cfg Config, records []Record, now time.Time) (*View, error) {
	changes, err := Migrate(records, "")
	if err != nil {
		return nil, err
	}
	c, err := New(cfg, applied(records, changes))
	if err != nil {
		return nil, err
	}
	c.leading, c.now = false, now
	view := *c.View()
	view.Agents = nil
	view.Queue = Queue{Pending: c.storedPending(), Launched: c.demand.launched()}
	return &view, nil
}

// applied is the records with changes made to them, in another slice.
func applied(records []Record, changes []Change) []Record {
	if len(changes) == 0 {
		return records
	}
	changed := make(map[Key]bool, len(changes))
	var added []Record
	for _, change := range changes {
		changed[change.Key] = true
		if change.Value != nil {
			added = append(added, Record(change))
		}
	}
	kept := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return changed[r.Key] })
	return append(kept, added...)
}

// storedPending counts the tasks that wait, as far as the records say: those that wait for a back-off included.
func (c *Core) storedPending() int {
	n := 0
	for _, r := range c.runs {
		if r.ended() || r.ending() {
			continue
		}
		for _, st := range r.stages {
			for _, t := range st.tasks {
				n += btoi(t == nil || t.rec.State == proto.TASK_PENDING)
			}
		}
	}
	for _, ck := range c.checking {
		n += btoi(ck.task.rec.State == proto.TASK_PENDING)
	}
	return n
}
