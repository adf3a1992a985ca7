package scheduler

import (
	"fmt"
	"log/slog"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// revisionsKept is how many revisions of a job stay as its history; those that a kept run is of stay anyway.
const revisionsKept = 100

// job is a named spec with its revisions.
type job struct {
	rec       *proto.Job
	revisions []*revision // oldest first; the last one is the newest unless the job is deleted

	pinned string // the version that the newest revision names; empty: it follows a channel, or the job was deleted

	view *JobView // nil: to be built anew
}

// revision is one immutable spec.
type revision struct {
	rec      *proto.Revision
	job      *job
	spec     *jobs.Spec     // nil if the stored spec can no longer be read
	problems []jobs.Problem // why not
	runs     int            // that are kept
	sent     []byte         // what executors are sent of the spec; nil: not worked out yet
}

// forExecutor is what executors are sent of the spec: all of one that can no longer be read, so that they say why.
func (r *revision) forExecutor() []byte {
	if r.sent == nil {
		part, err := jobs.ForExecutor(r.rec.Spec, r.rec.Kind)
		if err != nil {
			part = r.rec.Spec
		}
		r.sent = part
	}
	return r.sent
}

func (r *revision) id() string { return revisionID(r.rec.Job, r.rec.Number) }

func revisionID(job string, number uint32) string { return fmt.Sprintf("%s/%d", job, number) }

func (j *job) newest() *revision { return j.revisions[len(j.revisions)-1] }

// decode reads a spec that someone has sent.
func (c *Core) decode(data []byte) (*jobs.Spec, *Error) {
	spec, problems := jobs.Decode(data, c.cfg.Kinds)
	switch {
	case len(problems) == 1:
		return nil, invalid("the spec has a problem", problems)
	case len(problems) > 1:
		return nil, invalid(fmt.Sprintf("the spec has %d problems", len(problems)), problems)
	}
	return spec, nil
}

func (c *Core) putJob(cmd PutJob) (PutJobResult, *Error) {
	spec, err := c.decode(cmd.Spec)
	if err != nil {
		return PutJobResult{}, err
	}
	if cmd.Name != "" && spec.Name != cmd.Name {
		detail := fmt.Sprintf("the spec's name is %q, but it was sent for %q", spec.Name, cmd.Name)
		return PutJobResult{}, invalid("the spec is another job's", []jobs.Problem{{Pointer: "/name", Detail: detail}})
	}
	v, err := c.resolve(spec)
	if err != nil {
		return PutJobResult{}, err
	}
	if _, err := c.sources(spec); err != nil {
		return PutJobResult{}, err
	}
	j := c.jobs[spec.Name]
	exists := j != nil && !j.rec.Deleted
	same := exists && j.newest().spec != nil && jobs.Equal(j.newest().spec, spec)
	if exists && !same && cmd.Create {
		return PutJobResult{}, errorf(Conflict, "there is a job %q with another spec; use PUT to make a new revision of it", spec.Name)
	}
	if !same {
		if err := c.suitsRollout(spec); err != nil {
			return PutJobResult{}, err
		}
	}
	ck := c.ensureCheck(v.rec.Version, spec.Kind, spec.Section.Expressions())
	if ck.state == proto.CHECKS_FAILED {
		return PutJobResult{}, invalid("the spec's expressions did not pass the checks", ck.problems)
	}
	result := PutJobResult{Created: !exists, Changed: !same}
	if !same {
		j = c.addRevision(j, spec, cmd)
	}
	c.showCheck(j.newest(), ck)
	result.Job, result.Revision = clone(j.rec), clone(j.newest().rec)
	return result, nil
}

// addRevision makes a spec the newest revision of a job, which is made if there is none.
func (c *Core) addRevision(j *job, spec *jobs.Spec, cmd PutJob) *job {
	switch {
	case j == nil:
		j = &job{rec: &proto.Job{Name: spec.Name, Created: c.now}}
		c.jobs[spec.Name] = j
	case j.rec.Deleted:
		j.rec.Deleted, j.rec.Created = false, c.now
	}
	j.rec.Revision++
	j.rec.Updated = c.now
	rev := &revision{job: j, spec: spec, rec: &proto.Revision{
		Job:     spec.Name,
		Number:  j.rec.Revision,
		Kind:    spec.Kind,
		Spec:    cmd.Spec,
		Created: c.now,
		By:      cmd.By,
	}}
	j.revisions = append(j.revisions, rev)
	c.repin(j)
	c.saveJob(j)
	c.saveRevision(rev)
	c.dropRevisions(j)
	c.note(slog.LevelInfo, "job stored", slog.String("job", spec.Name), slog.Int("revision", int(rev.rec.Number)))
	return j
}

func (c *Core) deleteJob(cmd DeleteJob) (DeleteJobResult, *Error) {
	j := c.jobs[cmd.Name]
	if j == nil || j.rec.Deleted {
		return DeleteJobResult{}, errorf(NotFound, "there is no job %q", cmd.Name)
	}
	j.rec.Deleted, j.rec.Updated = true, c.now
	c.repin(j)
	c.saveJob(j)
	for _, id := range sortedKeys(c.runs) {
		if r := c.runs[id]; r != nil && r.job == j {
			c.cancel(r, cmd.By)
		}
	}
	c.dropRevisions(j)
	c.note(slog.LevelInfo, "job deleted", slog.String("job", cmd.Name), slog.String("by", cmd.By))
	return DeleteJobResult{Job: clone(j.rec), ReadBy: c.readBy(cmd.Name)}, nil
}

// dropRevisions forgets revisions that no run is of: all of a deleted job's, and what is too old of another's.
func (c *Core) dropRevisions(j *job) {
	keep := revisionsKept
	if j.rec.Deleted {
		keep = 0
	}
	var kept []*revision
	for i, rev := range j.revisions {
		if rev.runs == 0 && len(j.revisions)-i > keep {
			c.remove(KindRevision, rev.id())
			c.view.job(j)
			continue
		}
		kept = append(kept, rev)
	}
	j.revisions = kept
}
