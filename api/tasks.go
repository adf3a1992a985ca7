package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

type logsInput struct {
	ID      string `path:"id" maxLength:"250" doc:"The task, or one of its attempts by its ID in Mesos"`
	Stream  string `query:"stream" enum:"stdout,stderr" default:"stdout"`
	Follow  bool   `query:"follow" doc:"Wait until there is a log, and go on until the attempt has ended"`
	Attempt uint32 `query:"attempt" minimum:"0" doc:"Its number, from 1; unless given that whose result counts, or the newest"`
}

func (h *Handler) taskRoutes(described huma.API) {
	op := operation("task-logs", http.MethodGet, "/v1/tasks/{id}/logs", "runs", "Read a task's log", http.StatusNotFound)
	op.Description = "From the agent while it has the log, afterwards the last 4 MiB, which were uploaded when the task ended."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "What the task wrote",
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string"}}},
	}}
	huma.Register(described, op, func(_ context.Context, in *logsInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			in.Follow = in.Follow && r.Method != http.MethodHead
			h.log(r.Context(), w, in)
		}}, nil
	})
}

// log writes a task's log as it comes. A problem is answered as such as long as nothing was written; later the
// connection is broken, so that the client does not take it for the end.
func (h *Handler) log(ctx context.Context, w http.ResponseWriter, in *logsInput) {
	ctx, cancel := h.untilShutdown(ctx)
	defer cancel()
	out := &logWriter{w: w, control: http.NewResponseController(w)}
	err := h.copyLog(ctx, out, in)
	switch {
	case err == nil && !out.begun:
		_, _ = out.Write(nil) // an empty log; a client that has gone away needs no answer
	case err != nil && !out.begun:
		writeProblem(w, h.refusal(ctx, err))
	case err != nil && ctx.Err() == nil:
		h.cfg.Logger.WarnContext(ctx, "log broken off", "task", in.ID, "error", err)
		panic(http.ErrAbortHandler)
	}
}

func (h *Handler) copyLog(ctx context.Context, out *logWriter, in *logsInput) error {
	attempt, err := h.attempt(ctx, out, in)
	if err != nil || attempt == nil {
		return err
	}
	return h.cfg.Logs.Copy(ctx, out, attempt, in.Stream, in.Follow)
}

// attempt finds the attempt whose log is asked for. If it is to be followed and not launched yet, it is waited for; the
// client is told so at once, and the answer is nil if the task then ends without an attempt or is no longer kept.
func (h *Handler) attempt(ctx context.Context, out *logWriter, in *logsInput) (func() logs.Attempt, error) {
	for view := h.cfg.Scheduler.View(); ; {
		run, task, number, err := findAttempt(view, in.ID, in.Attempt)
		if err != nil && !out.begun {
			past, unread := h.archivedTask(ctx, in.ID)
			if unread != nil {
				return nil, unread
			}
			if past != nil {
				run, task, number, err = findAttempt(past, in.ID, in.Attempt)
			}
		}
		switch {
		case err == nil && len(task.Attempts) > 0:
			return h.newest(run, task, number), nil
		case out.begun && (err != nil || jobs.TaskTerminal(task.State)):
			return nil, nil
		case err != nil:
			return nil, err
		case jobs.TaskTerminal(task.State):
			return nil, problem(http.StatusNotFound, fmt.Sprintf("task %q has no log: it was never launched", task.ID))
		case !in.Follow:
			return nil, problem(http.StatusNotFound, fmt.Sprintf("task %q has no log yet: it has not been launched", task.ID))
		case !out.begun:
			if _, err := out.Write(nil); err != nil {
				return nil, err
			}
		}
		if view, err = h.cfg.Scheduler.Wait(ctx, view.Sequence); err != nil {
			return nil, err
		}
	}
}

// newest is a function that gives the newest state of an attempt, or the last one when the run is no longer kept.
func (h *Handler) newest(run *scheduler.RunView, task *proto.Task, number uint32) func() logs.Attempt {
	last := logs.Attempt{Attempt: &task.Attempts[number-1], Spec: run.Revision.GetSpec()}
	return func() logs.Attempt {
		if _, task := findTask(h.cfg.Scheduler.View(), task.ID); task != nil && int(number) <= len(task.Attempts) {
			last.Attempt = &task.Attempts[number-1]
		}
		return last
	}
}

// findAttempt finds an attempt by the ID of its task or its own, and the number if it is not 0. A task without
// attempts is found, too: its first one is yet to come.
func findAttempt(view *scheduler.View, id string, number uint32) (*scheduler.RunView, *proto.Task, uint32, error) {
	run, task := findTask(view, id)
	if task == nil {
		parsed, n, err := jobs.ParseMesosTaskID(id)
		if err == nil {
			run, task = findTask(view, parsed)
		}
		if task == nil || number != 0 && number != n {
			return nil, nil, 0, problem(http.StatusNotFound, fmt.Sprintf("there is no task %q", id))
		}
		number = n
	}
	if number == 0 {
		number = mostTelling(task)
	}
	if int(number) > max(len(task.Attempts), 1) {
		return nil, nil, 0, problem(http.StatusNotFound, fmt.Sprintf("task %q has no attempt %d", task.ID, number))
	}
	return run, task, number, nil
}

// mostTelling is the number of the attempt whose result counts, or else of the newest: another one may have been launched
// beside that which was the first to finish.
func mostTelling(task *proto.Task) uint32 {
	for i := range task.Attempts {
		if scheduler.Counts(&task.Attempts[i]) {
			return task.Attempts[i].Number
		}
	}
	return uint32(max(len(task.Attempts), 1))
}

func findTask(view *scheduler.View, id string) (*scheduler.RunView, *proto.Task) {
	runID, stage, index, err := jobs.ParseTaskID(id)
	if err != nil || view.Runs[runID] == nil {
		return nil, nil
	}
	run := view.Runs[runID]
	task := run.Task(stage, index)
	if task == nil {
		return nil, nil
	}
	return run, task.Task
}

// listTasks cuts one page out of a run's tasks. Only what is on the page is made, for a run may have very many that were
// never launched. Stages and tasks are only ever added at the end: their place is their key.
func listTasks(run *scheduler.RunView, in *listTasksInput) (*listOutput[wire.Task], error) {
	at := -1
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	out := &listOutput[wire.Task]{Body: wire.List[wire.Task]{Items: []wire.Task{}}}
	last := 0 // the place of the last one on the page
	for _, stage := range run.Stages {
		for i, task := range stage.Tasks {
			state := run.NeverLaunched()
			if task != nil {
				state = task.Task.State
			}
			if at++; at <= after || !in.wants(state) {
				continue
			}
			if len(out.Body.Items) == in.Limit {
				out.Body.Next = taskCursor(last)
				return out, nil
			}
			out.Body.Items = append(out.Body.Items, showTask(run.Run, run.Task(stage.Name, i)))
			last = at
		}
	}
	return out, nil
}

// wants says whether tasks in that state were asked for.
func (in *listTasksInput) wants(state proto.TaskState) bool {
	return len(in.State) == 0 || slices.Contains(in.State, jobs.TaskStateName(state))
}

// after is the place of the last task of the page before, -1 for the first page.
func (in *listTasksInput) after() (int, error) {
	if in.Cursor == "" {
		return -1, nil
	}
	key, ok := readCursor("tasks", in.Cursor)
	last, err := strconv.Atoi(key)
	if !ok || err != nil || last < 0 {
		return 0, invalidCursor()
	}
	return last, nil
}

func taskCursor(last int) string { return cursor("tasks", strconv.Itoa(last)) }

// logWriter sends each piece at once. Each write has its own deadline, so that a client that reads nothing is dropped.
type logWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (l *logWriter) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		l.w.WriteHeader(http.StatusOK)
	}
	if err := deadlines(l.w, 0, answerTimeout); err != nil {
		return 0, err
	}
	n, err := l.w.Write(p)
	if err != nil {
		return n, err
	}
	if err := l.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return n, err
	}
	return n, nil
}
