package api

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// This file turns records and views into the shapes of the wire.

func showJobView(job *scheduler.JobView) wire.Job {
	newest := &proto.Revision{Job: job.Job.Name}
	if n := len(job.Revisions); n > 0 {
		newest = job.Revisions[n-1]
	}
	return showJob(job.Job, newest)
}

func showJob(job *proto.Job, revision *proto.Revision) wire.Job {
	return wire.Job{
		Name:     job.Name,
		Kind:     revision.Kind,
		Revision: revision.Number,
		Spec:     json.RawMessage(revision.Spec),
		Checks:   jobs.CheckStateName(revision.Checks),
		Problems: showProblems(revision.Problems),
		Created:  moment(job.Created),
		Updated:  moment(job.Updated),
		By:       revision.By,
	}
}

func showRevision(revision *proto.Revision) wire.Revision {
	return wire.Revision{
		Job:      revision.Job,
		Number:   revision.Number,
		Kind:     revision.Kind,
		Spec:     json.RawMessage(revision.Spec),
		Checks:   jobs.CheckStateName(revision.Checks),
		Problems: showProblems(revision.Problems),
		Created:  shown(revision.Created),
		By:       revision.By,
	}
}

func showProblems(found []proto.Problem) []wire.Problem {
	var out []wire.Problem
	for _, p := range found {
		out = append(out, wire.Problem{Pointer: p.Pointer, Detail: p.Detail})
	}
	return out
}

// showRun is a run; the view says what is known of the rollout that it counts for.
func showRun(view *scheduler.View, run *scheduler.RunView) wire.Run {
	r := run.Run
	out := wire.Run{
		ID:              r.ID,
		Job:             r.Job,
		Revision:        r.Revision,
		Kind:            r.Kind,
		State:           jobs.RunStateName(r.State),
		ExecutorVersion: r.ExecutorVersion,
		Params:          r.Params,
		Created:         shown(r.Created),
		Started:         utc(r.Started),
		Ended:           utc(r.Ended),
		CancelRequested: utc(r.CancelRequested),
		Progress:        fraction(run.Progress),
		Stages:          showStages(view, run),
		By:              r.By,
		CancelledBy:     r.CancelledBy,
		Channel:         r.Channel,
		Rollout:         r.Rollout,
		Canary:          canary(view, r),
		MovingTo:        r.MovingTo,
	}
	for _, m := range r.Moves {
		out.Moves = append(out.Moves, wire.Move{From: m.From, To: m.To, At: shown(m.At), By: m.By})
	}
	if out.Params == nil {
		out.Params = map[string]string{}
	}
	if len(run.Waiting) > 0 && !jobs.Terminal(r.State) {
		out.Waiting = run.Waiting[0].Reason
	}
	if o := r.Output; o != nil {
		out.Output = &wire.Output{URI: o.URI, Manifest: o.Manifest, Rows: o.Rows, Files: o.Files, Bytes: o.Bytes, BadRows: o.BadRows}
	}
	if n := len(out.Stages); n > 0 {
		out.TimeLeft = out.Stages[n-1].TimeLeft
	}
	if e := r.Error; e != nil {
		out.Error = &wire.RunError{Kind: e.Kind, Message: e.Message, Task: e.Task, Pointer: e.Pointer, Problems: showProblems(e.Problems)}
	}
	return out
}

// canary says whether a run began on the new version of the rollout that it counts for.
func canary(view *scheduler.View, run *proto.Run) bool {
	version := run.ExecutorVersion
	if len(run.Moves) > 0 {
		version = run.Moves[0].From
	}
	known := view.Rollouts[run.Channel]
	if known == nil || run.Rollout == 0 {
		return false
	}
	return slices.ContainsFunc(append([]*proto.Rollout{known.Rollout}, known.Earlier...), func(r *proto.Rollout) bool {
		return r.Number == run.Rollout && r.To == version
	})
}

// fraction is progress as the wire has it: 0 to 1, with four digits, and rounded down: 1 is the end.
func fraction(x float64) float64 {
	// The small part makes up for sums that come out just below what they should be.
	return math.Floor(min(max(x, 0), 1)*1e4+1e-6) / 1e4
}

// showStages are the stages of a run. How long the last one still takes is estimated as of the view.
func showStages(view *scheduler.View, run *scheduler.RunView) []wire.Stage {
	out := make([]wire.Stage, len(run.Run.Stages))
	for i, stage := range run.Run.Stages {
		out[i].Name = stage.Name
		if shown := run.Stage(stage.Name); shown != nil { // or the run is as a command gave it
			showFigures(&out[i], run.Figures(shown))
		}
	}
	if left, known := run.Left(view.At); known && len(out) > 0 {
		out[len(out)-1].TimeLeft = seconds(left)
	}
	return out
}

func showFigures(out *wire.Stage, f scheduler.Figures) {
	for state, n := range f.States {
		*counter(&out.Tasks, state) += n
	}
	out.Rows, out.Bytes, out.OutRows, out.OutBytes = f.Rows, f.Bytes, f.OutRows, f.OutBytes
	out.Started, out.Ended = moment(f.Started), moment(f.Ended)
	if took := f.Took; took.Tasks > 0 {
		out.Durations = &wire.Durations{
			Tasks: took.Tasks, Min: *seconds(took.Min), Median: *seconds(took.Median), P95: *seconds(took.P95), Max: *seconds(took.Max),
			Skew: math.Round(took.Skew()*100) / 100,
		}
	}
}

// seconds is a duration as the wire has it: in seconds, with milliseconds.
func seconds(d time.Duration) *float64 {
	s := d.Round(time.Millisecond).Seconds()
	return &s
}

// counter is where tasks in that state are counted.
func counter(c *wire.TaskCounts, state proto.TaskState) *int {
	switch state {
	case proto.TASK_PENDING:
		return &c.Pending
	case proto.TASK_LAUNCHING:
		return &c.Launching
	case proto.TASK_STARTING:
		return &c.Starting
	case proto.TASK_RUNNING:
		return &c.Running
	case proto.TASK_FINISHED:
		return &c.Finished
	case proto.TASK_FAILED:
		return &c.Failed
	case proto.TASK_KILLED:
		return &c.Killed
	case proto.TASK_LOST:
		return &c.Lost
	}
	return &c.Unreachable
}

func showCounters(c proto.Counters) wire.Counters {
	return wire.Counters{
		Rows: c.Rows, Bytes: c.Bytes, OutRows: c.OutRows, OutBytes: c.OutBytes,
		CPUSeconds: c.Cpu.Seconds(), PeakMemory: c.PeakMemory,
	}
}

func showTask(run *proto.Run, task *scheduler.TaskView) wire.Task {
	t := task.Task
	out := wire.Task{
		ID:              t.ID,
		Run:             t.Run,
		Job:             run.Job,
		Stage:           t.Stage,
		Index:           t.Index,
		Of:              t.Of,
		State:           jobs.TaskStateName(t.State),
		ExecutorVersion: run.ExecutorVersion,
		Counters:        showCounters(task.Counters()),
		NotBefore:       utc(t.NotBefore),
		Created:         shown(t.Created),
		Attempts:        make([]wire.Attempt, len(t.Attempts)),
	}
	switch {
	case t.State == proto.TASK_FINISHED:
		out.Progress = 1
	case task.Progress != nil:
		out.Progress = fraction(task.Progress.Fraction)
		out.Phase = task.Progress.Phase
	}
	for i := range t.Attempts {
		out.Attempts[i] = showAttempt(run, &t.Attempts[i])
		out.Host, out.Agent = t.Attempts[i].Host, t.Attempts[i].AgentID
	}
	return out
}

func showAttempt(run *proto.Run, a *proto.Attempt) wire.Attempt {
	out := wire.Attempt{
		ID:       a.MesosID,
		Number:   a.Number,
		State:    jobs.TaskStateName(a.State),
		Agent:    a.AgentID,
		Host:     a.Host,
		AgentURL: a.AgentURL,
		Executor: a.ExecutorID,
		Launched: shown(a.Launched),
		Running:  utc(a.Running),
		Ended:    utc(a.Ended),
		GivenUp:  a.GivenUp,
		Reason:   a.Reason,
		LogURI:   a.LogURI,

		ExecutorVersion: cmp.Or(a.Version, run.ExecutorVersion),
		HandedOver:      a.HandedOver,
		Second:          a.Second,
	}
	if f := a.Failure; f != nil {
		out.Failure = &wire.Failure{Class: jobs.ClassName(f.Class), Kind: f.Kind, Message: f.Message, Pointer: f.Pointer}
	}
	return out
}

// showSeconds are the second attempts that live beside others.
func showSeconds(run *scheduler.RunView) []wire.SecondAttempt {
	var out []wire.SecondAttempt
	for _, stage := range run.Stages {
		for _, task := range stage.Tasks {
			if task == nil || jobs.TaskTerminal(task.Task.State) {
				continue
			}
			for i := range task.Task.Attempts {
				if a := &task.Task.Attempts[i]; a.Second != "" && a.Ended == nil && !a.GivenUp {
					out = append(out, wire.SecondAttempt{Task: task.Task.ID, Attempt: a.Number, Agent: a.AgentID, Host: a.Host, Launched: shown(a.Launched), Why: a.Second})
				}
			}
		}
	}
	return out
}

func showWaiting(w scheduler.Waiting) wire.Waiting {
	out := wire.Waiting{
		Stage:      w.Stage,
		Tasks:      w.Tasks,
		Resources:  wire.Resources{CPUs: w.Resources.CPUs, Memory: w.Resources.Memory, Disk: w.Resources.Disk},
		Since:      shown(w.Since),
		NotBefore:  moment(w.NotBefore),
		Offers:     w.Offers,
		TurnedDown: w.TurnedDown,
		Reason:     w.Reason,
		Reasons:    []wire.Turndown{},
	}
	for _, t := range w.Reasons {
		out.Reasons = append(out.Reasons, wire.Turndown{Reason: t.Reason, Offers: t.Offers, Of: t.Of, Text: t.Text})
	}
	if out.TurnedDown == nil {
		out.TurnedDown = map[string]int{}
	}
	return out
}

// moment is t, or nil if it is not set.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return utc(&t)
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := shown(*t)
	return &u
}

// shown is a time as the wire has it: UTC, in milliseconds.
func shown(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
