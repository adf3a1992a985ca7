package scheduler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/proto"
)

var figuresBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return figuresBegin.Add(time.Duration(seconds * float64(time.Second)))
}

// tried is a task whose attempts were launched and ended at those seconds; an end of 0: not yet. Each attempt runs a
// second after its launch.
func tried(state proto.TaskState, fraction float64, spans ...[2]float64) *TaskView {
	t := &TaskView{Task: &proto.Task{State: state}}
	for i, s := range spans {
		running := after(s[0] + 1)
		a := proto.Attempt{Number: uint32(i + 1), MesosID: string(rune('a' + i)), State: proto.TASK_RUNNING, Launched: after(s[0]), Running: &running}
		if s[1] > 0 {
			ended := after(s[1])
			a.Ended, a.State = &ended, proto.TASK_FAILED
		}
		t.Task.Attempts = append(t.Task.Attempts, a)
	}
	if last := len(spans) - 1; state == proto.TASK_FINISHED {
		t.Task.Attempts[last].State = state
		t.Task.Counters = proto.Counters{Rows: 100, Bytes: 1000, OutRows: 10, OutBytes: 20}
	} else if last >= 0 {
		t.Progress = &proto.TaskProgress{MesosID: t.Task.Attempts[last].MesosID, Fraction: fraction, Counters: proto.Counters{Rows: 5, Bytes: 7}}
	}
	return t
}

func runOf(tasks ...*TaskView) (*RunView, *StageView) {
	st := &StageView{Name: "map", Tasks: tasks}
	return &RunView{Run: &proto.Run{State: proto.RUN_RUNNING}, Stages: []*StageView{st}}, st
}

func TestFigures(t *testing.T) {
	r, st := runOf(
		tried(proto.TASK_FINISHED, 0, [2]float64{1, 3.0004}),
		tried(proto.TASK_FINISHED, 0, [2]float64{1, 2}, [2]float64{4, 10}), // failed first
		tried(proto.TASK_FINISHED, 0, [2]float64{0.5, 1.5}),
		tried(proto.TASK_RUNNING, 0.5, [2]float64{2, 0}),
		nil,
	)
	want := Figures{
		States: map[proto.TaskState]int{proto.TASK_FINISHED: 3, proto.TASK_RUNNING: 1, proto.TASK_PENDING: 1},
		Rows:   305, Bytes: 3007, OutRows: 30, OutBytes: 60, Started: after(0.5),
		Took: Spread{Tasks: 3, Min: time.Second, Median: 2 * time.Second, P95: 6 * time.Second, Max: 6 * time.Second},
	}
	got := r.Figures(st)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if skew := got.Took.Skew(); skew != 3 {
		t.Errorf("got skew %v, want 3", skew)
	}
	if skew := (Spread{Tasks: 1}).Skew(); skew != 0 {
		t.Errorf("got skew %v without durations", skew)
	}
}

// What a second attempt, or one that was given up, has taken says nothing of the task.
func TestFiguresOfSecondAttempts(t *testing.T) {
	task := tried(proto.TASK_FINISHED, 0, [2]float64{1, 40}, [2]float64{20, 25})
	task.Task.Attempts[0].GivenUp = true
	r, st := runOf(task)
	got := r.Figures(st)
	if got.Took.Tasks != 1 || got.Took.Max != 5*time.Second || !got.Ended.Equal(after(25)) || !got.Started.Equal(after(1)) {
		t.Errorf("got %+v", got)
	}
}

func TestSpread(t *testing.T) {
	var took []time.Duration
	for i := range 100 {
		took = append(took, time.Duration(100-i)*time.Second)
	}
	want := Spread{Tasks: 100, Min: time.Second, Median: 51 * time.Second, P95: 95 * time.Second, Max: 100 * time.Second}
	if got := spread(took); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := spread(took[:1]); got != (Spread{1, time.Second, time.Second, time.Second, time.Second}) {
		t.Errorf("got %+v of one", got)
	}
}

func TestLeft(t *testing.T) {
	done := tried(proto.TASK_FINISHED, 0, [2]float64{0, 10})
	for _, tt := range []struct {
		name  string
		tasks []*TaskView
		at    float64
		want  time.Duration // negative: not known
	}{
		{"half", []*TaskView{done, done, nil, nil}, 20, 20 * time.Second},
		{"parts count", []*TaskView{done, tried(proto.TASK_RUNNING, 0.5, [2]float64{10, 0}), tried(proto.TASK_RUNNING, 0.5, [2]float64{10, 0}), nil}, 20, 20 * time.Second},
		{"the slowest one counts more than the pace", []*TaskView{done, done, done, tried(proto.TASK_RUNNING, 0.1, [2]float64{10, 0})}, 21, 90 * time.Second},
		{"nothing is done", []*TaskView{tried(proto.TASK_RUNNING, 0, [2]float64{0, 0}), nil}, 20, -1},
		{"too little is done", []*TaskView{tried(proto.TASK_RUNNING, 0.01, [2]float64{0, 0})}, 20, -1},
		{"nothing was heard of one", []*TaskView{done, {Task: &proto.Task{State: proto.TASK_RUNNING, Attempts: []proto.Attempt{{Launched: after(5)}}}}}, 20, 20 * time.Second},
		{"too early", []*TaskView{done, nil}, 1.5, -1},
		{"all is done", []*TaskView{done, done}, 20, -1},
		{"nothing was launched", []*TaskView{nil, nil}, 20, -1},
		{"no tasks", nil, 20, -1},
		{"a later clock", []*TaskView{done, nil}, -20, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := runOf(tt.tasks...)
			left, known := r.Left(after(tt.at))
			if known != (tt.want >= 0) || known && (left-tt.want).Abs() > time.Millisecond {
				t.Errorf("got %s, %v, want %s", left, known, tt.want)
			}
		})
	}
	r, _ := runOf(done, nil)
	for _, end := range []func(*proto.Run){
		func(r *proto.Run) { r.State = proto.RUN_SUCCEEDED },
		func(r *proto.Run) { r.Error = &proto.RunError{} },
		func(r *proto.Run) { at := after(1); r.CancelRequested = &at },
	} {
		r.Run = &proto.Run{State: proto.RUN_RUNNING}
		if _, known := r.Left(after(20)); !known {
			t.Error("it is not known although half is done")
		}
		end(r.Run)
		if left, known := r.Left(after(20)); known {
			t.Errorf("got %s for a run that ends", left)
		}
	}
}
