package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/archive"
)

// Archive reads ended runs that the scheduler no longer keeps; scheduler/archive implements it, and says what errors
// there are. Its methods block until its storage has answered.
type Archive interface {
	Run(ctx context.Context, id string) (*archive.Run, error)
	List(ctx context.Context, filter archive.Filter, after archive.Position, limit int) (archive.Page, error)
	Revision(ctx context.Context, run *archive.Run) (*proto.Revision, error)
	Tasks(ctx context.Context, run *archive.Run, from int) iter.Seq2[*scheduler.TaskView, error]
}

const (
	archiveTimeout = 20 * time.Second // for one run
	listTimeout    = 5 * time.Second  // for a page of a list, which is worth showing without the archive, too
)

// found is a run, live or out of the archive: one of the two is set.
type found struct {
	live     *scheduler.RunView
	archived *archive.Run
}

func (f found) show(view *scheduler.View) wire.Run {
	if f.live != nil {
		return showRun(view, f.live)
	}
	return showArchived(view, f.archived)
}

// view is the run as a live one is seen. An archived one comes without its tasks.
func (f found) view() *scheduler.RunView {
	if f.live != nil {
		return f.live
	}
	return f.archived.View()
}

// find looks for a run among the live ones, then in the archive.
func (h *Handler) find(ctx context.Context, id string) (found, error) {
	if run := h.cfg.Scheduler.View().Runs[id]; run != nil {
		return found{live: run}, nil
	}
	run, err := h.archived(ctx, id)
	return found{archived: run}, err
}

// archived reads a run out of the archive. What cannot be read is not said not to be there.
func (h *Handler) archived(ctx context.Context, id string) (*archive.Run, error) {
	missing := problem(http.StatusNotFound, fmt.Sprintf("there is no run %q", id))
	if h.cfg.Archive == nil {
		return nil, missing
	}
	ctx, cancel := context.WithTimeout(ctx, archiveTimeout)
	defer cancel()
	run, err := h.cfg.Archive.Run(ctx, id)
	switch {
	case errors.Is(err, archive.ErrNotFound):
		return nil, missing
	case err != nil:
		return nil, h.unreadable(ctx, fmt.Sprintf("run %q is not live, and whether it is in the archive is not known", id), err)
	}
	return run, nil
}

// unreadable is the answer when the archive cannot be read. The cause, which may name what is inside, is for the log.
func (h *Handler) unreadable(ctx context.Context, what string, err error) error {
	h.cfg.Logger.WarnContext(ctx, "the archive cannot be read", "error", err)
	why := "its storage does not answer"
	if errors.Is(err, archive.ErrBroken) {
		why = "a file of it is broken; the log of the service says which"
	}
	return unavailable(what + ": the archive cannot be read: " + why)
}

func showArchived(view *scheduler.View, run *archive.Run) wire.Run {
	out := showRun(view, &scheduler.RunView{Run: run.Record, Progress: run.Progress})
	for i, stage := range run.Stages {
		showFigures(&out.Stages[i], stage.Figures)
	}
	return out
}

// startedBefore answers the repeat of a start whose run has gone to the archive since.
func (h *Handler) startedBefore(ctx context.Context, run *proto.Run) (wire.Run, error) {
	archived, err := h.archived(ctx, run.ID)
	var answer *wire.Error
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return wire.Run{}, problem(http.StatusConflict, fmt.Sprintf("the idempotency key was used for run %s, which has ended and is no longer in the archive", run.ID))
	}
	if err != nil {
		return wire.Run{}, err
	}
	return showArchived(h.cfg.Scheduler.View(), archived), nil
}

// listRuns merges live runs and those of the archive. A run that is moving may be in both, and is shown once.
func (h *Handler) listRuns(ctx context.Context, in *listRunsInput) (*listOutput[wire.Run], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	past, incomplete := h.listArchive(ctx, in, after)
	live := h.listLive(in, after)
	if past.More { // live runs behind this place are for a later page
		live = slices.DeleteFunc(live, func(r *scheduler.RunView) bool { return past.Next.Before(livePosition(r)) })
	}
	type item struct {
		at   archive.Position
		show func() wire.Run
	}
	view := h.cfg.Scheduler.View()
	var all []item
	known := make(map[string]bool, len(live))
	for _, run := range live {
		known[run.Run.ID] = true
		all = append(all, item{livePosition(run), func() wire.Run { return showRun(view, run) }})
	}
	for _, run := range past.Runs {
		if !known[run.Record.ID] {
			all = append(all, item{run.Position(), func() wire.Run { return showArchived(view, run) }})
		}
	}
	slices.SortFunc(all, func(a, b item) int {
		if a.at.Before(b.at) {
			return -1
		}
		return 1 // no two are at one place
	})
	out := &listOutput[wire.Run]{Body: wire.List[wire.Run]{Items: []wire.Run{}, Incomplete: incomplete}}
	for _, item := range all[:min(in.Limit, len(all))] {
		out.Body.Items = append(out.Body.Items, item.show())
	}
	switch {
	case len(all) > in.Limit:
		out.Body.Next = runCursor(all[in.Limit-1].at)
	case past.More:
		out.Body.Next = runCursor(past.Next)
	}
	return out, nil
}

// listArchive gives a page of the archive. If it cannot be read, incomplete says so.
func (h *Handler) listArchive(ctx context.Context, in *listRunsInput, after archive.Position) (page archive.Page, incomplete string) {
	if h.cfg.Archive == nil {
		return archive.Page{}, ""
	}
	filter := archive.Filter{Job: in.Job}
	for _, name := range in.State {
		if state := proto.RunState(slices.Index(jobs.RunStateNames(), name)); jobs.Terminal(state) {
			filter.States = append(filter.States, state)
		}
	}
	if len(in.State) > 0 && len(filter.States) == 0 {
		return archive.Page{}, "" // only ended runs are archived
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	page, err := h.cfg.Archive.List(ctx, filter, after, in.Limit)
	if err != nil {
		h.cfg.Logger.WarnContext(ctx, "the archive cannot be read", "error", err)
		return archive.Page{}, "archived runs are missing: the archive cannot be read now"
	}
	return page, ""
}

// listLive gives the live runs behind a place.
func (h *Handler) listLive(in *listRunsInput, after archive.Position) []*scheduler.RunView {
	var out []*scheduler.RunView
	for _, run := range h.cfg.Scheduler.View().Runs {
		wanted := (in.Job == "" || run.Run.Job == in.Job) && (len(in.State) == 0 || slices.Contains(in.State, jobs.RunStateName(run.Run.State)))
		if wanted && (after == (archive.Position{}) || after.Before(livePosition(run))) {
			out = append(out, run)
		}
	}
	return out
}

func livePosition(run *scheduler.RunView) archive.Position {
	return archive.Position{Created: run.Run.Created, ID: run.Run.ID}
}

func runCursor(at archive.Position) string { return cursor("runs", newestFirst(at.Created, at.ID)) }

// after is where the page begins.
func (in *listRunsInput) after() (archive.Position, error) {
	if in.Cursor == "" {
		return archive.Position{}, nil
	}
	key, ok := readCursor("runs", in.Cursor)
	number, id, spaced := strings.Cut(key, " ")
	backwards, err := strconv.ParseInt(number, 10, 64)
	if !ok || !spaced || err != nil {
		return archive.Position{}, invalidCursor()
	}
	return archive.Position{Created: time.Unix(0, math.MaxInt64-backwards), ID: id}, nil
}

// archivedTasks is a page of an archived run's tasks.
func (h *Handler) archivedTasks(ctx context.Context, run *archive.Run, in *listTasksInput) (*listOutput[wire.Task], error) {
	ctx, cancel := context.WithTimeout(ctx, archiveTimeout)
	defer cancel()
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	out := &listOutput[wire.Task]{Body: wire.List[wire.Task]{Items: []wire.Task{}}}
	at := after
	last := 0 // the place of the last one on the page
	for task, err := range h.cfg.Archive.Tasks(ctx, run, after+1) {
		if err != nil {
			return nil, h.unreadable(ctx, fmt.Sprintf("the tasks of run %q cannot be shown", in.ID), err)
		}
		if at++; !in.wants(task.Task.State) {
			continue
		}
		if len(out.Body.Items) == in.Limit {
			out.Body.Next = taskCursor(last)
			return out, nil
		}
		out.Body.Items = append(out.Body.Items, showTask(run.Record, task))
		last = at
	}
	return out, nil
}

// archivedTask is a view of nothing but the archived run that a task or attempt with that ID is of, with its spec and
// that task; nil if there is none.
func (h *Handler) archivedTask(ctx context.Context, id string) (*scheduler.View, error) {
	if h.cfg.Archive == nil {
		return nil, nil
	}
	tasks := []string{id}
	if of, _, err := jobs.ParseMesosTaskID(id); err == nil {
		tasks = append(tasks, of)
	}
	ctx, cancel := context.WithTimeout(ctx, archiveTimeout)
	defer cancel()
	for _, task := range tasks {
		runID, stage, index, err := jobs.ParseTaskID(task)
		if err != nil {
			continue
		}
		run, err := h.cfg.Archive.Run(ctx, runID)
		if errors.Is(err, archive.ErrNotFound) {
			continue
		}
		var view *scheduler.RunView
		if err == nil {
			view, err = h.withTask(ctx, run, stage, index)
		}
		if err != nil {
			return nil, h.unreadable(ctx, fmt.Sprintf("task %q is not live, and cannot be looked for", id), err)
		}
		return &scheduler.View{Runs: map[string]*scheduler.RunView{runID: view}}, nil
	}
	return nil, nil
}

// withTask is the view of an archived run with its spec and one task.
func (h *Handler) withTask(ctx context.Context, run *archive.Run, stage string, index int) (view *scheduler.RunView, err error) {
	view = run.View()
	if view.Revision, err = h.cfg.Archive.Revision(ctx, run); err != nil {
		return nil, err
	}
	position := 0
	for _, st := range view.Stages {
		if st.Name != stage {
			position += len(st.Tasks)
			continue
		}
		if index >= len(st.Tasks) {
			break
		}
		for task, err := range h.cfg.Archive.Tasks(ctx, run, position+index) {
			if err != nil {
				return nil, err
			}
			st.Tasks[index] = task
			break
		}
		break
	}
	return view, nil
}
