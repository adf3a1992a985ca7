package scheduler

import (
	"iter"
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// StageView is a stage of a run with its tasks.
type StageView struct {
	Name    string
	Tasks   []*TaskView // by index; nil: never launched, see [RunView.Task]
	Created time.Time   // when its tasks began to wait
}

// Stage returns the stage of that name, or nil.
func (r *RunView) Stage(name string) *StageView {
	for _, st := range r.Stages {
		if st.Name == name {
			return st
		}
	}
	return nil
}

// Task returns the task of that stage and index, made on the fly if it was never launched. It is nil if there is none.
func (r *RunView) Task(stage string, index int) *TaskView {
	st := r.Stage(stage)
	if st == nil || index < 0 || index >= len(st.Tasks) {
		return nil
	}
	return r.task(st, index)
}

// Tasks are all tasks, by stage, then index. Those that were never launched are made on the fly: whoever only counts
// looks at Stages.
func (r *RunView) Tasks() iter.Seq[*TaskView] {
	return func(yield func(*TaskView) bool) {
		for _, st := range r.Stages {
			for i := range st.Tasks {
				if !yield(r.task(st, i)) {
					return
				}
			}
		}
	}
}

// NeverLaunched is the state of the tasks that are nil: pending, or killed as soon as the run is ending.
func (r *RunView) NeverLaunched() proto.TaskState {
	if jobs.Terminal(r.Run.State) || r.Run.Error != nil || r.Run.CancelRequested != nil {
		return proto.TASK_KILLED
	}
	return proto.TASK_PENDING
}

func (r *RunView) task(st *StageView, index int) *TaskView {
	if t := st.Tasks[index]; t != nil {
		return t
	}
	return &TaskView{Task: &proto.Task{
		ID:      jobs.TaskID(r.Run.ID, st.Name, index),
		Run:     r.Run.ID,
		Stage:   st.Name,
		Index:   uint32(index),
		Of:      uint32(len(st.Tasks)),
		State:   r.NeverLaunched(),
		Created: st.Created,
	}}
}

// touch lists a task whose view must be built anew.
func (st *stage) touch(t *task) {
	if !t.touched {
		t.touched = true
		st.touched = append(st.touched, t)
	}
}

// show is the stage as it is now. What has not changed is shared with the last view.
func (st *stage) show() *StageView {
	if st.view != nil && len(st.touched) == 0 {
		return st.view
	}
	view := &StageView{Name: st.name}
	if st.view == nil {
		view.Tasks = make([]*TaskView, len(st.tasks))
	} else {
		view.Tasks = slices.Clone(st.view.Tasks)
	}
	if st.plan != nil {
		view.Created = st.plan.Created
	}
	for _, t := range st.touched {
		t.touched = false
		view.Tasks[t.rec.Index] = t.show()
	}
	st.view, st.touched = view, nil
	return view
}

func (t *task) show() *TaskView {
	view := &TaskView{Task: cloneTask(t.rec)}
	if a := t.furthest(); a != nil {
		view.Progress, view.Heard = a.progress, a.heard
	}
	return view
}
