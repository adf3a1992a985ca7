package scheduler

import (
	"slices"

	"github.com/tidemill/tidemill/proto"
)

// changes gathers which records a step has touched. They are encoded once, at its end, in the order of the first touch.
type changes struct {
	touched []touchedRecord
	at      map[Key]int // in touched
}

type touchedRecord struct {
	key    Key
	record proto.Marshaler // nil: to be removed
}

func (s *changes) put(key Key, record proto.Marshaler) {
	if i, known := s.at[key]; known {
		s.touched[i].record = record
		return
	}
	if s.at == nil {
		s.at = map[Key]int{}
	}
	s.at[key] = len(s.touched)
	s.touched = append(s.touched, touchedRecord{key, record})
}

// mostReused bounds what is kept of one step for the next one: clearing a large map costs as much as a large step.
const mostReused = 1024

func (s *changes) take() []Change {
	if len(s.touched) == 0 {
		return nil
	}
	all := make([]Change, 0, len(s.touched))
	for _, t := range s.touched {
		change := Change{Key: t.key}
		if t.record != nil {
			change.Value = proto.Encode(t.record)
			if change.Value == nil {
				change.Value = []byte{} // nil would remove it
			}
		}
		all = append(all, change)
	}
	if len(s.touched) > mostReused {
		*s = changes{}
		return all
	}
	clear(s.at)
	clear(s.touched)
	s.touched = s.touched[:0]
	return all
}

func (c *Core) remove(kind RecordKind, id string) { c.changes.put(Key{kind, id}, nil) }

// The save functions mark a record as changed, for the store and for the next View.

func (c *Core) saveFramework() {
	c.changes.put(Key{KindFramework, frameworkID}, c.framework)
	c.view.changed = true
}

func (c *Core) saveJob(j *job) {
	c.changes.put(Key{KindJob, j.rec.Name}, j.rec)
	c.view.job(j)
}

func (c *Core) saveRevision(r *revision) {
	c.changes.put(Key{KindRevision, r.id()}, r.rec)
	c.view.job(r.job)
}

func (c *Core) saveRun(r *run) {
	c.changes.put(Key{KindRun, r.rec.ID}, r.rec)
	r.viewRecord = nil
	c.view.run(r)
}

func (c *Core) saveTask(t *task) {
	if t.dropped {
		return // a check that ended while more was being done about its last attempt
	}
	c.changes.put(Key{KindTask, t.rec.ID}, t.rec)
	c.touchTask(t)
}

// touchTask marks what a View shows of a task as changed, without storing anything.
func (c *Core) touchTask(t *task) {
	if t.stage != nil {
		t.stage.touch(t)
		t.measure()
		c.view.run(t.run)
	}
}

func (c *Core) saveExecutor(e *executor) {
	c.changes.put(Key{KindExecutor, e.rec.ID}, e.rec)
}

func (c *Core) saveVersion(v *version) {
	c.changes.put(Key{KindVersion, v.rec.Version}, v.rec)
	c.touchVersion(v)
}

func (c *Core) saveUse(v *version) {
	c.changes.put(Key{KindUse, v.rec.Version}, v.use)
	c.touchVersion(v)
}

// touchVersion marks what a View shows of a version as changed. What it shows of channels follows from these. v is nil
// for a version that has gone.
func (c *Core) touchVersion(v *version) {
	if v != nil {
		v.view = nil
	}
	c.view.versions = true
}

func (c *Core) saveChannel(ch *channel) {
	c.changes.put(Key{KindChannel, ch.rec.Name}, ch.rec)
	c.view.channels, c.view.versions = true, true
}

func (c *Core) saveRollout(r *proto.Rollout) {
	c.changes.put(Key{KindRollout, rolloutID(r.Channel, r.Number)}, r)
	c.channels[r.Channel].touch(c)
}

func (c *Core) saveTally(ch *channel, t *proto.Tally) {
	c.changes.put(Key{KindTally, tallyID(t.Channel, t.Job)}, t)
	if ch.rows != nil {
		ch.counted = append(ch.counted, t.Job)
	}
	ch.touch(c)
}

// The clone functions copy a record for readers. What hangs on it by a pointer is never changed in place, only replaced.

func cloneRun(r *proto.Run) *proto.Run {
	clone := *r
	clone.Stages = slices.Clone(r.Stages)
	return &clone
}

func cloneTask(t *proto.Task) *proto.Task {
	clone := *t
	clone.Attempts = slices.Clone(t.Attempts)
	return &clone
}

func cloneVersion(v *proto.ExecutorVersion) *proto.ExecutorVersion {
	clone := *v
	clone.Artifacts = slices.Clone(v.Artifacts)
	return &clone
}

func clone[T any](record *T) *T {
	copied := *record
	return &copied
}
