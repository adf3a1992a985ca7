package scheduler

import (
	"slices"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// Figures are what the tasks of a stage come to, for readers.
type Figures struct {
	States            map[proto.TaskState]int
	Rows, Bytes       int64     // read, by tasks that have finished and, as far as known, by those that run
	OutRows, OutBytes int64     // put out, likewise
	Started           time.Time // the first launch; zero: there was none
	Ended             time.Time // the last end; zero: not all tasks have ended, or none was launched
	Took              Spread    // by the tasks that have finished, in whole milliseconds
}

// Spread is how long tasks took, each from the launch of the attempt that counts to its end. It is zero without tasks.
type Spread struct {
	Tasks                 int
	Min, Median, P95, Max time.Duration
}

// Skew is how many times the median the slowest task took; 0 if that says nothing.
func (s Spread) Skew() float64 {
	if s.Median <= 0 {
		return 0
	}
	return float64(s.Max) / float64(s.Median)
}

// Figures adds up a stage of the run. It goes through all of its tasks.
func (r *RunView) Figures(st *StageView) Figures {
	f := Figures{States: map[proto.TaskState]int{}}
	var took []time.Duration
	var ended time.Time
	over := true
	for _, t := range st.Tasks {
		if t == nil {
			state := r.NeverLaunched()
			f.States[state]++
			over = over && jobs.TaskTerminal(state)
			continue
		}
		f.States[t.Task.State]++
		over = over && jobs.TaskTerminal(t.Task.State)
		c := t.Counters()
		f.Rows, f.Bytes, f.OutRows, f.OutBytes = f.Rows+c.Rows, f.Bytes+c.Bytes, f.OutRows+c.OutRows, f.OutBytes+c.OutBytes
		for i := range t.Task.Attempts {
			a := &t.Task.Attempts[i]
			f.Started = earlier(f.Started, a.Launched)
			if a.Ended != nil && !a.GivenUp {
				ended = later(ended, *a.Ended)
			}
			if a.Ended != nil && Counts(a) {
				took = append(took, max(0, a.Ended.Sub(a.Launched).Truncate(time.Millisecond)))
			}
		}
	}
	if over {
		f.Ended = ended
	}
	f.Took = spread(took)
	return f
}

// Counts says whether an attempt's result is its task's.
func Counts(a *proto.Attempt) bool {
	return a.State == proto.TASK_FINISHED && !a.GivenUp && !a.HandedOver
}

func spread(took []time.Duration) Spread {
	n := len(took)
	if n == 0 {
		return Spread{}
	}
	slices.Sort(took)
	return Spread{Tasks: n, Min: took[0], Median: took[n/2], P95: took[(n*95+99)/100-1], Max: took[n-1]}
}

// Counters are the final ones of a task that has finished, and what was last heard of one that runs.
func (t *TaskView) Counters() proto.Counters {
	if t.Progress != nil && t.Task.State != proto.TASK_FINISHED {
		return t.Progress.Counters
	}
	return t.Task.Counters
}

// Less than that says nothing of how long a stage still takes.
const (
	leastElapsed = 2 * time.Second
	leastDone    = 0.02 // of the stage
)

// Left estimates how long the run's present stage still takes at now, if enough of it is done to tell: at the pace so far,
// but not shorter than the slowest of its attempts at its own. What follows after that stage is not known and not in it.
func (r *RunView) Left(now time.Time) (left time.Duration, known bool) {
	if r.Run.State != proto.RUN_RUNNING || r.Run.Error != nil || r.Run.CancelRequested != nil || len(r.Stages) == 0 {
		return 0, false
	}
	return r.Stages[len(r.Stages)-1].left(now)
}

func (st *StageView) left(now time.Time) (left time.Duration, known bool) {
	var started time.Time
	var slowest time.Duration
	done := 0.0
	for _, t := range st.Tasks {
		if t == nil || len(t.Task.Attempts) == 0 {
			continue
		}
		started = earlier(started, t.Task.Attempts[0].Launched)
		if t.Task.State == proto.TASK_FINISHED {
			done++
			continue
		}
		fraction := t.fraction()
		done += fraction
		if fraction == 0 {
			continue
		}
		if running := t.running(); running != nil {
			slowest = max(slowest, scale(now.Sub(*running), (1-fraction)/fraction))
		}
	}
	all := float64(len(st.Tasks))
	elapsed := now.Sub(started)
	if done >= all || done < leastDone*all || elapsed < leastElapsed || started.IsZero() {
		return 0, false
	}
	return max(slowest, scale(elapsed, (all-done)/done)), true
}

// fraction is how much of a task that runs is done, 0 if that is not known.
func (t *TaskView) fraction() float64 {
	if t.Progress == nil || !(t.Progress.Fraction > 0) { // NaN, too
		return 0
	}
	return min(t.Progress.Fraction, 1)
}

// running is since when the attempt runs of which progress was heard; nil if it does not any more.
func (t *TaskView) running() *time.Time {
	for i := range t.Task.Attempts {
		if a := &t.Task.Attempts[i]; a.MesosID == t.Progress.MesosID || t.Progress.MesosID == "" && i == len(t.Task.Attempts)-1 {
			return a.Running
		}
	}
	return nil
}

// scale is d times x, bounded.
func scale(d time.Duration, x float64) time.Duration {
	const most = 1000 * time.Hour
	return time.Duration(min(max(float64(d), 0)*x, float64(most)))
}
