package apitest

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

func (s *Scheduler) decode(spec []byte) (*jobs.Spec, error) {
	decoded, problems := jobs.Decode(spec, s.kinds)
	if len(problems) > 0 {
		return nil, &scheduler.Error{Kind: scheduler.Invalid, Message: "the spec is not valid", Problems: problems}
	}
	if _, err := s.version(decoded); err != nil {
		return nil, err
	}
	return decoded, nil
}

func (s *Scheduler) version(spec *jobs.Spec) (string, error) {
	version, pointer := spec.Executor.Version, "/executor/version"
	if version == "" {
		pointer = "/executor/channel"
		if channel := s.view.Channels[spec.Executor.Channel]; channel != nil {
			version = channel.Version
		}
	}
	if s.view.Versions[version] == nil {
		return "", &scheduler.Error{Kind: scheduler.Invalid, Message: "the spec is not valid", Problems: []jobs.Problem{{Pointer: pointer, Detail: "there is no such thing"}}}
	}
	return version, nil
}

func (s *Scheduler) check(c scheduler.CheckSpec) (any, error) {
	spec, err := s.decode(c.Spec)
	if err != nil {
		return nil, err
	}
	key := scheduler.CheckKey(c.Spec)
	check := &scheduler.CheckView{State: proto.CHECKS_PASSED, Version: "1.4.0"}
	if s.Check != nil {
		check.State, check.Problems = s.Check(spec)
	}
	s.update(func(v *scheduler.View) { v.Checks[key] = check })
	return key, nil
}

func (s *Scheduler) putJob(c scheduler.PutJob) (any, error) {
	spec, err := s.decode(c.Spec)
	if err != nil {
		return nil, err
	}
	now := s.now()
	checks := proto.CHECKS_PASSED
	if check := s.view.Checks[scheduler.CheckKey(c.Spec)]; check != nil {
		checks = check.State
	}
	old := s.view.Jobs[spec.Name]
	result := scheduler.PutJobResult{Job: &proto.Job{Name: spec.Name, Created: now, Updated: now}}
	var revisions []*proto.Revision
	if old != nil {
		record := *old.Job
		result.Job, revisions = &record, old.Revisions
	}
	if old != nil && !old.Job.Deleted {
		newest := revisions[len(revisions)-1]
		if bytes.Equal(newest.Spec, c.Spec) {
			result.Revision = newest
			return result, nil
		}
		if c.Create {
			return nil, refuse(scheduler.Conflict, "job %q exists with another spec; PUT replaces it", spec.Name)
		}
	}
	result.Created = old == nil || old.Job.Deleted
	result.Changed = true
	result.Job.Deleted, result.Job.Updated = false, now
	result.Job.Revision++
	result.Revision = &proto.Revision{Job: spec.Name, Number: result.Job.Revision, Kind: spec.Kind, Spec: c.Spec, Created: now, Checks: checks, By: c.By}
	s.update(func(v *scheduler.View) {
		v.Jobs[spec.Name] = &scheduler.JobView{Job: result.Job, Revisions: append(revisions[:len(revisions):len(revisions)], result.Revision)}
	})
	return result, nil
}

func (s *Scheduler) job(name string) (*scheduler.JobView, error) {
	job := s.view.Jobs[name]
	if job == nil || job.Job.Deleted {
		return nil, refuse(scheduler.NotFound, "there is no job %q", name)
	}
	return job, nil
}

func (s *Scheduler) deleteJob(c scheduler.DeleteJob) (any, error) {
	job, err := s.job(c.Name)
	if err != nil {
		return nil, err
	}
	record := *job.Job
	record.Deleted = true
	s.update(func(v *scheduler.View) { v.Jobs[c.Name] = &scheduler.JobView{Job: &record, Revisions: job.Revisions} })
	return scheduler.DeleteJobResult{Job: &record}, nil
}

func (s *Scheduler) startRun(c scheduler.StartRun) (any, error) {
	job, err := s.job(c.Job)
	if err != nil {
		return nil, err
	}
	for _, run := range s.view.Runs {
		if c.IdempotencyKey == "" || run.Run.IdempotencyKey != c.IdempotencyKey {
			continue
		}
		if run.Run.Job != c.Job || !maps.Equal(run.Run.Params, c.Params) {
			return nil, refuse(scheduler.Conflict, "the idempotency key was used for another run")
		}
		return scheduler.StartRunResult{Run: run.Run, Repeat: true}, nil
	}
	if run := s.started[c.IdempotencyKey]; run != nil && run.Job == c.Job {
		return scheduler.StartRunResult{Run: run, Repeat: true, Archived: true}, nil
	}
	newest := job.Revisions[len(job.Revisions)-1]
	spec, err := s.decode(newest.Spec)
	if err != nil {
		return nil, err
	}
	version, err := s.version(spec)
	if err != nil {
		return nil, err
	}
	s.runs++
	now := s.now()
	run := &proto.Run{
		ID: jobs.RunID(c.Job, now, s.runs<<34), Job: c.Job, Revision: newest.Number, Kind: newest.Kind, ExecutorVersion: version,
		Params: c.Params, IdempotencyKey: c.IdempotencyKey, Created: now, By: c.By, Channel: spec.Executor.Channel,
		Stages: []proto.Stage{{Name: "plan", Tasks: 1}},
	}
	plan := &scheduler.StageView{Name: "plan", Created: now, Tasks: make([]*scheduler.TaskView, 1)}
	s.update(func(v *scheduler.View) {
		v.Runs[run.ID] = &scheduler.RunView{Run: run, Revision: newest, Stages: []*scheduler.StageView{plan}}
	})
	return scheduler.StartRunResult{Run: run}, nil
}

func (s *Scheduler) archiveRuns(c scheduler.ArchiveRuns) (any, error) {
	var gone []string
	s.update(func(v *scheduler.View) {
		for _, id := range c.Runs {
			run := v.Runs[id]
			if run == nil || !jobs.Terminal(run.Run.State) {
				continue
			}
			if key := run.Run.IdempotencyKey; key != "" {
				if s.started == nil {
					s.started = map[string]*proto.Run{}
				}
				s.started[key] = &proto.Run{ID: id, Job: run.Run.Job}
			}
			delete(v.Runs, id)
			gone = append(gone, id)
		}
	})
	return gone, nil
}

func (s *Scheduler) cancelRun(c scheduler.CancelRun) (any, error) {
	run := s.view.Runs[c.Run]
	if run == nil {
		return nil, refuse(scheduler.NotFound, "there is no run %q", c.Run)
	}
	if jobs.Terminal(run.Run.State) {
		return run.Run, nil
	}
	now := s.now()
	record := *run.Run
	record.State, record.CancelRequested, record.Ended, record.CancelledBy = proto.RUN_CANCELLED, &now, &now, c.By
	s.update(func(v *scheduler.View) {
		v.Runs[c.Run] = &scheduler.RunView{Run: &record, Revision: run.Revision, Stages: run.Stages, Progress: run.Progress}
	})
	return &record, nil
}

func (s *Scheduler) registerVersion(c scheduler.RegisterVersion) (any, error) {
	name := c.Artifact.Description.Version
	now := s.now()
	c.Artifact.Registered = &now
	record := proto.ExecutorVersion{Version: name, Registered: now}
	if old := s.view.Versions[name]; old != nil {
		record = *old.Version
		for _, a := range record.Artifacts {
			if a.OS != c.Artifact.OS || a.Arch != c.Artifact.Arch {
				continue
			}
			if a.SHA256 != c.Artifact.SHA256 {
				return nil, refuse(scheduler.Conflict, "executor version %s has other bytes", name)
			}
			return scheduler.RegisterVersionResult{Version: old.Version}, nil
		}
	}
	record.Artifacts = append(record.Artifacts[:len(record.Artifacts):len(record.Artifacts)], c.Artifact)
	s.update(func(v *scheduler.View) {
		next := scheduler.VersionView{Use: &proto.Use{Version: name}}
		if old := v.Versions[name]; old != nil {
			next = *old
		}
		next.Version = &record
		v.Versions[name] = &next
	})
	return scheduler.RegisterVersionResult{Version: &record, Created: true}, nil
}

func (s *Scheduler) deleteVersion(c scheduler.DeleteVersion) (any, error) {
	version := s.view.Versions[c.Version]
	if version == nil {
		return nil, refuse(scheduler.NotFound, "there is no executor version %q", c.Version)
	}
	if len(version.KeptBy) > 0 {
		err := &scheduler.Error{Kind: scheduler.Conflict, Message: fmt.Sprintf("executor version %q is in use by %s", c.Version, strings.Join(version.KeptBy, ", "))}
		for _, user := range version.KeptBy {
			err.Problems = append(err.Problems, jobs.Problem{Detail: user})
		}
		return nil, err
	}
	s.update(func(v *scheduler.View) { delete(v.Versions, c.Version) })
	return version.Version, nil
}
