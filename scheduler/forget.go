package scheduler

import "github.com/tidemill/tidemill/proto"

// settled says whether nothing is to be done for a run any more, so that it may go to the archive.
func (r *run) settled() bool { return r.ended() && r.rec.CleanUp != proto.CLEAN_UP_PENDING }

// archiveRuns forgets runs that lie in the archive.
func (c *Core) archiveRuns(cmd ArchiveRuns) []string {
	var forgotten []string
	for _, id := range cmd.Runs {
		if r := c.runs[id]; r != nil && r.settled() {
			c.dropRun(r)
			forgotten = append(forgotten, id)
		}
	}
	return forgotten
}

// dropRun forgets a run and all that belongs to it but its idempotency key. What still runs of it is unknown from then
// on, and killed when it speaks.
func (c *Core) dropRun(r *run) {
	for _, st := range r.stages {
		if st.plan != nil {
			c.remove(KindPlan, planID(r.rec.ID, st.name))
		}
		for _, t := range st.tasks {
			if t == nil {
				continue
			}
			for _, a := range t.attempts {
				delete(c.attempts, a.rec().MesosID)
			}
			t.dropped = true
			c.remove(KindTask, t.rec.ID)
		}
	}
	for _, e := range c.executorsOf(r.owner) {
		c.forgetExecutor(e)
	}
	delete(c.runs, r.rec.ID)
	c.remove(KindRun, r.rec.ID)
	c.view.dropRun(r)
	if rec := c.keys.byKey[runKey{r.rec.Job, r.rec.IdempotencyKey}]; rec != nil && rec.Run == r.rec.ID {
		c.keys.forget(c, rec)
	}
	r.revision.runs--
	c.dropRevisions(r.job)
}
