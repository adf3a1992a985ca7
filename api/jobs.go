package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sort"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type jobPath struct {
	Name string `path:"name" maxLength:"200" doc:"The job"`
}

type jobOutput struct {
	Status   int
	Location string `header:"Location" doc:"Of the job, when it is new"`
	Body     wire.Job
}

type postJobInput struct {
	DryRun  bool   `query:"dry_run" doc:"Validate and check only, store nothing"`
	RawBody []byte `contentType:"application/json"`
}

type putJobInput struct {
	Name    string `path:"name" maxLength:"200" doc:"The job; the spec must have the same name"`
	DryRun  bool   `query:"dry_run" doc:"Validate and check only, store nothing"`
	RawBody []byte `contentType:"application/json"`
}

type listInput struct{ Page }

func (h *Handler) jobRoutes(described huma.API) {
	const tag = "jobs"
	unusable := []int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests}

	post := operation("post-job", http.MethodPost, "/v1/jobs", tag, "Submit a new job", unusable...)
	post.Description = "201 for a new job; 200 for the same spec again; 409 for another spec under that name. Waits up to 3 s for an executor to check the spec's expressions."
	post.DefaultStatus = http.StatusCreated
	post.SkipValidateBody = true // jobs.Decode does, better
	huma.Register(described, post, func(ctx context.Context, in *postJobInput) (*jobOutput, error) {
		return h.submit(ctx, in.RawBody, "", true, in.DryRun)
	})

	put := operation("put-job", http.MethodPut, "/v1/jobs/{name}", tag, "Submit a job or a new revision of it", unusable...)
	put.Description = "201 for a new job; 200 for a new revision, or for the same spec again. Waits up to 3 s for an executor to check the spec's expressions."
	put.SkipValidateBody = true
	huma.Register(described, put, func(ctx context.Context, in *putJobInput) (*jobOutput, error) {
		return h.submit(ctx, in.RawBody, in.Name, false, in.DryRun)
	})

	huma.Register(described, operation("list-jobs", http.MethodGet, "/v1/jobs", tag, "List jobs, by name"), h.listJobs)
	huma.Register(described, operation("get-job", http.MethodGet, "/v1/jobs/{name}", tag, "Read a job", http.StatusNotFound), h.getJob)
	huma.Register(described, operation("list-revisions", http.MethodGet, "/v1/jobs/{name}/revisions", tag, "List a job's revisions, oldest first", http.StatusNotFound), h.listRevisions)
	huma.Register(described, operation("delete-job", http.MethodDelete, "/v1/jobs/{name}", tag, "Remove a job and cancel what runs of it", http.StatusNotFound), h.deleteJob)
}

// submit handles POST (create) and PUT (name is that of the path).
func (h *Handler) submit(ctx context.Context, body []byte, name string, create, dryRun bool) (*jobOutput, error) {
	spec := bytes.Clone(body) // huma uses the buffer again
	decoded, found := jobs.Decode(spec, h.cfg.Kinds)
	if len(found) == 0 && name != "" && decoded.Name != name {
		found = []jobs.Problem{{Pointer: "/name", Detail: fmt.Sprintf("it is %q, but the path names %q", decoded.Name, name)}}
	}
	if len(found) > 0 {
		status, detail := http.StatusUnprocessableEntity, "the spec is not valid"
		if !wellFormed(spec) {
			status, detail = http.StatusBadRequest, "the body is not JSON"
		}
		return nil, problem(status, detail, problems(found)...)
	}
	if err := h.permitSpec(ctx, decoded); err != nil {
		return nil, err
	}
	state, found, err := h.check(ctx, spec)
	if err != nil {
		return nil, err
	}
	if state == proto.CHECKS_FAILED {
		return nil, problem(http.StatusUnprocessableEntity, "the spec's expressions are not valid", problems(found)...)
	}
	warnings := warnings(h.cfg.Scheduler.View(), decoded)
	if dryRun {
		return &jobOutput{Status: http.StatusOK, Body: wire.Job{
			Name: decoded.Name, Kind: decoded.Kind, Spec: spec, Checks: jobs.CheckStateName(state), Warnings: warnings,
		}}, nil
	}
	put, err := command[scheduler.PutJobResult](ctx, h, scheduler.PutJob{Spec: spec, Create: create, Name: name, By: actor(ctx)})
	if err != nil {
		return nil, err
	}
	out := &jobOutput{Status: http.StatusOK, Body: showJob(put.Job, put.Revision)}
	out.Body.Warnings = warnings
	if put.Created {
		out.Status = http.StatusCreated
		out.Location = "/v1/jobs/" + url.PathEscape(put.Job.Name)
	}
	return out, nil
}

// check asks for the spec's checks and waits a little for their outcome.
func (h *Handler) check(ctx context.Context, spec []byte) (proto.CheckState, []jobs.Problem, error) {
	key, err := command[scheduler.CheckKey](ctx, h, scheduler.CheckSpec{Spec: spec})
	if err != nil {
		return 0, nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, h.cfg.CheckWait)
	defer cancel()
	for view := h.cfg.Scheduler.View(); ; {
		if check := view.Checks[key]; check != nil && check.State != proto.CHECKS_PENDING {
			return check.State, check.Problems, nil
		}
		if view, err = h.cfg.Scheduler.Wait(waiting, view.Sequence); err == nil {
			continue
		}
		if ctx.Err() == nil && waiting.Err() != nil {
			return proto.CHECKS_PENDING, nil, nil
		}
		return 0, nil, h.refusal(ctx, err)
	}
}

// wellFormed says whether text is one JSON value, whatever it means.
func wellFormed(text []byte) bool {
	decoder := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
	if err := decoder.SkipValue(); err != nil {
		return false
	}
	_, err := decoder.ReadToken()
	return errors.Is(err, io.EOF)
}

func (h *Handler) job(name string) (*scheduler.JobView, error) {
	known := h.cfg.Scheduler.View().Jobs
	job := known[name]
	if job == nil || job.Job.Deleted {
		return nil, missing("job", name, maps.Keys(known))
	}
	return job, nil
}

func (h *Handler) getJob(_ context.Context, in *jobPath) (*jobOutput, error) {
	job, err := h.job(in.Name)
	if err != nil {
		return nil, err
	}
	return &jobOutput{Status: http.StatusOK, Body: showJobView(job)}, nil
}

func (h *Handler) listJobs(_ context.Context, in *listInput) (*listOutput[wire.Job], error) {
	var all []*scheduler.JobView
	for _, job := range h.cfg.Scheduler.View().Jobs {
		if !job.Job.Deleted {
			all = append(all, job)
		}
	}
	name := func(job *scheduler.JobView) string { return job.Job.Name }
	sort.Slice(all, func(i, j int) bool { return name(all[i]) < name(all[j]) })
	return page("jobs", all, in.Page, name, showJobView)
}

type revisionsInput struct {
	Name string `path:"name" maxLength:"200" doc:"The job"`
	Page
}

func (h *Handler) listRevisions(_ context.Context, in *revisionsInput) (*listOutput[wire.Revision], error) {
	job, err := h.job(in.Name)
	if err != nil {
		return nil, err
	}
	number := func(r *proto.Revision) string { return fmt.Sprintf("%010d", r.Number) }
	return page("revisions", job.Revisions, in.Page, number, showRevision)
}

func (h *Handler) deleteJob(ctx context.Context, in *jobPath) (*jobOutput, error) {
	job, err := h.job(in.Name)
	if err != nil {
		return nil, err
	}
	if err := h.permitJob(ctx, in.Name); err != nil {
		return nil, err
	}
	deleted, err := command[scheduler.DeleteJobResult](ctx, h, scheduler.DeleteJob{Name: in.Name, By: actor(ctx)})
	if err != nil {
		return nil, err
	}
	out := &jobOutput{Status: http.StatusOK, Body: showJobView(job)}
	for _, reader := range deleted.ReadBy {
		out.Body.Warnings = append(out.Body.Warnings, fmt.Sprintf("job %q reads its newest result: no run of that job can start until there is a job %q again", reader, in.Name))
	}
	return out, nil
}
