package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type runPath struct {
	ID string `path:"id" maxLength:"250" doc:"The run"`
}

type runOutput struct {
	Location string `header:"Location" doc:"Of a new run"`
	Body     wire.Run
}

type startInput struct {
	Name           string `path:"name" maxLength:"200" doc:"The job"`
	IdempotencyKey string `header:"Idempotency-Key" minLength:"1" maxLength:"200" doc:"A repeat with the same key gives the first run"`
	Body           *wire.StartRun
}

// Resolve refuses an empty key. A header without a value is like none to huma, and a client that sends one means to be
// safe from a second run.
func (in *startInput) Resolve(ctx huma.Context) []error {
	r, _ := humago.Unwrap(ctx)
	if _, sent := r.Header["Idempotency-Key"]; !sent || in.IdempotencyKey != "" {
		return nil
	}
	return []error{&huma.ErrorDetail{Location: "header.Idempotency-Key", Message: "it is empty; send 1 to 200 characters, or leave the header out"}}
}

type listRunsInput struct {
	Job   string   `query:"job" maxLength:"200" doc:"Only runs of this job"`
	State []string `query:"state" enum:"pending,running,succeeded,failed,cancelled" doc:"Only runs in one of these states, separated by commas"`
	Page
}

type listTasksInput struct {
	ID    string   `path:"id" maxLength:"250" doc:"The run"`
	State []string `query:"state" enum:"pending,launching,starting,running,finished,failed,killed,lost,unreachable" doc:"Only tasks in one of these states, separated by commas"`
	Page
}

type explainOutput struct{ Body wire.Explanation }

func (h *Handler) runRoutes(described huma.API) {
	const tag = "runs"
	start := operation("start-run", http.MethodPost, "/v1/jobs/{name}/runs", tag, "Start a run of a job's newest revision",
		http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests)
	start.DefaultStatus = http.StatusAccepted
	huma.Register(described, start, h.startRun)
	huma.Register(described, operation("list-runs", http.MethodGet, "/v1/runs", tag, "List runs, newest first"), h.listRuns)
	huma.Register(described, operation("get-run", http.MethodGet, "/v1/runs/{id}", tag, "Read a run", http.StatusNotFound), h.getRun)
	huma.Register(described, operation("list-tasks", http.MethodGet, "/v1/runs/{id}/tasks", tag, "List a run's tasks, by stage and index", http.StatusNotFound), h.listTasks)
	huma.Register(described, operation("explain-run", http.MethodGet, "/v1/runs/{id}/explain", tag, "Say why a run's tasks wait", http.StatusNotFound), h.explain)
	cancel := operation("cancel-run", http.MethodPost, "/v1/runs/{id}/cancel", tag, "Stop a run; nothing changes if it has ended", http.StatusNotFound)
	cancel.DefaultStatus = http.StatusAccepted
	huma.Register(described, cancel, h.cancel)
	h.timelineRoute(described)
	h.eventRoute(described)
}

func (h *Handler) startRun(ctx context.Context, in *startInput) (*runOutput, error) {
	start := scheduler.StartRun{Job: in.Name, IdempotencyKey: in.IdempotencyKey, By: actor(ctx)}
	if in.Body != nil {
		start.Params = in.Body.Params
	}
	if err := h.permitJob(ctx, in.Name); err != nil {
		return nil, err
	}
	if wrong := paramProblems(start.Params); len(wrong) > 0 {
		return nil, problem(http.StatusUnprocessableEntity, "the parameters are not valid", wrong...)
	}
	result, err := command[scheduler.StartRunResult](ctx, h, start)
	if err != nil {
		return nil, err
	}
	out := &runOutput{Location: "/v1/runs/" + url.PathEscape(result.Run.ID)}
	if result.Archived {
		out.Body, err = h.startedBefore(ctx, result.Run)
	} else {
		out.Body = h.present(result.Run)
	}
	return out, err
}

// Bounds of parameters, in bytes: every task carries them.
const (
	maxParamName  = 100
	maxParamValue = 4096
)

func paramProblems(params map[string]string) []wire.Problem {
	var wrong []wire.Problem
	for _, name := range slices.Sorted(maps.Keys(params)) {
		at := jobs.JoinPointer("/params", name)
		if name == "" || len(name) > maxParamName {
			wrong = append(wrong, wire.Problem{Pointer: at, Detail: fmt.Sprintf("its name has %d bytes; want 1 to %d", len(name), maxParamName)})
		}
		if len(params[name]) > maxParamValue {
			wrong = append(wrong, wire.Problem{Pointer: at, Detail: fmt.Sprintf("it has %d bytes; at most %d are allowed", len(params[name]), maxParamValue)})
		}
	}
	return wrong
}

// present shows a run as the newest view has it. A run that the view no longer keeps is shown as the command gave it.
func (h *Handler) present(run *proto.Run) wire.Run {
	view := h.cfg.Scheduler.View()
	if kept := view.Runs[run.ID]; kept != nil {
		return showRun(view, kept)
	}
	return showRun(view, &scheduler.RunView{Run: run})
}

func (h *Handler) cancel(ctx context.Context, in *runPath) (*runOutput, error) {
	if err := h.permitRun(ctx, in.ID); err != nil {
		return nil, err
	}
	run, err := command[*proto.Run](ctx, h, scheduler.CancelRun{Run: in.ID, By: actor(ctx)})
	var answer *wire.Error
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		archived, err := h.archived(ctx, in.ID) // it has ended long ago: nothing changes
		if err != nil {
			return nil, err
		}
		return &runOutput{Body: showArchived(h.cfg.Scheduler.View(), archived)}, nil
	}
	if err != nil {
		return nil, err
	}
	return &runOutput{Body: h.present(run)}, nil
}

func (h *Handler) getRun(ctx context.Context, in *runPath) (*runOutput, error) {
	run, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &runOutput{Body: run.show(h.cfg.Scheduler.View())}, nil
}

// runKey sorts runs, the newest first.
func runKey(run *scheduler.RunView) string {
	return newestFirst(run.Run.Created, run.Run.ID)
}

func (h *Handler) listTasks(ctx context.Context, in *listTasksInput) (*listOutput[wire.Task], error) {
	run, err := h.find(ctx, in.ID)
	switch {
	case err != nil:
		return nil, err
	case run.archived != nil:
		return h.archivedTasks(ctx, run.archived, in)
	}
	return listTasks(run.live, in)
}

func (h *Handler) explain(ctx context.Context, in *runPath) (*explainOutput, error) {
	there, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	run := there.view()
	out := &explainOutput{Body: wire.Explanation{
		Run: run.Run.ID, State: jobs.RunStateName(run.Run.State), Waiting: []wire.Waiting{},
	}}
	for _, waiting := range run.Waiting {
		out.Body.Waiting = append(out.Body.Waiting, showWaiting(waiting))
	}
	out.Body.SecondAttempts = showSeconds(run)
	switch {
	case jobs.Terminal(run.Run.State):
		out.Body.Summary = "nothing waits: the run has ended"
	case len(run.Waiting) == 0:
		out.Body.Summary = "nothing waits"
	default:
		out.Body.Summary = run.Waiting[0].Reason
	}
	return out, nil
}
