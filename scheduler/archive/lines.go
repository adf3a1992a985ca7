package archive

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

// This file is the format of the lines. Fields may be added; anything else is a new version.

// lineVersion is written into every line. A line of a higher one is for a newer tidemill.
const lineVersion = 1

// mostStageTasks is more than the scheduler allows: a stage with more is none of its.
const mostStageTasks = 1_000_000

// runLine is a line of a runs file.
type runLine struct {
	Version int         `json:"version"`
	Run     summary     `json:"run"`
	Details detailsSpan `json:"details"`
}

// detailsSpan says where a run's lines are in the details file of the pair.
type detailsSpan struct {
	Revision span   `json:"revision"`
	Tasks    []span `json:"tasks,omitempty"`
}

// span is one gzip member of a details file.
type span struct {
	Offset int64 `json:"offset"` // bytes
	Length int64 `json:"length"` // bytes
	First  int   `json:"first"`  // position of its first task among all of the run
}

type summary struct {
	ID              string            `json:"id"`
	Job             string            `json:"job"`
	Revision        uint32            `json:"revision"`
	Kind            string            `json:"kind"`
	State           string            `json:"state"`
	ExecutorVersion string            `json:"executor_version"`
	Role            string            `json:"role,omitempty"`
	By              string            `json:"by,omitempty"`
	CancelledBy     string            `json:"cancelled_by,omitempty"`
	Channel         string            `json:"channel,omitempty"`
	Rollout         uint32            `json:"rollout,omitempty"`
	Moves           []moveLine        `json:"moves,omitempty"`
	Params          map[string]string `json:"params,omitempty"`
	Created         time.Time         `json:"created"`
	Started         *time.Time        `json:"started,omitempty"`
	Ended           *time.Time        `json:"ended,omitempty"`
	CancelRequested *time.Time        `json:"cancel_requested,omitempty"`
	Progress        float64           `json:"progress"`
	Stages          []stageLine       `json:"stages"`
	Output          *outputLine       `json:"output,omitempty"`
	Error           *errorLine        `json:"error,omitempty"`
}

// moveLine is a change of a run to another executor version.
type moveLine struct {
	From string    `json:"from"`
	To   string    `json:"to"`
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"`
}

type stageLine struct {
	Name    string         `json:"name"`
	Created time.Time      `json:"created"`
	Tasks   uint32         `json:"tasks"`
	Done    bool           `json:"done"`
	States  map[string]int `json:"states"` // how many tasks ended in which
	Rows    int64          `json:"rows"`   // read
	Bytes   int64          `json:"bytes"`

	// These are missing in lines that were written before there were such.
	OutRows  int64       `json:"out_rows,omitempty"`
	OutBytes int64       `json:"out_bytes,omitempty"`
	Started  *time.Time  `json:"started,omitempty"`
	Ended    *time.Time  `json:"ended,omitempty"`
	Took     *spreadLine `json:"took,omitempty"`
}

// spreadLine is how long tasks took, in milliseconds.
type spreadLine struct {
	Tasks  int   `json:"tasks"`
	Min    int64 `json:"min"`
	Median int64 `json:"median"`
	P95    int64 `json:"p95"`
	Max    int64 `json:"max"`
}

type outputLine struct {
	URI      string `json:"uri"`
	Manifest string `json:"manifest"`
	Rows     int64  `json:"rows"`
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
	BadRows  int64  `json:"bad_rows,omitempty"`
}

type errorLine struct {
	Kind     string        `json:"kind"`
	Message  string        `json:"message"`
	Task     string        `json:"task,omitempty"`
	Pointer  string        `json:"pointer,omitempty"`
	Problems []problemLine `json:"problems,omitempty"`
}

type problemLine struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// detailLine is a line of a details file: it has one of the two.
type detailLine struct {
	Version  int           `json:"version"`
	Run      string        `json:"run"`
	Revision *revisionLine `json:"revision,omitempty"`
	Task     *taskLine     `json:"task,omitempty"`
}

type revisionLine struct {
	Job     string          `json:"job"`
	Number  uint32          `json:"number"`
	Kind    string          `json:"kind"`
	Created time.Time       `json:"created"`
	By      string          `json:"by,omitempty"`
	Spec    json.RawMessage `json:"spec"`
}

type taskLine struct {
	ID             string        `json:"id"`
	Stage          string        `json:"stage"`
	Index          uint32        `json:"index"`
	Of             uint32        `json:"of"`
	State          string        `json:"state"`
	Created        time.Time     `json:"created"`
	Charged        uint32        `json:"charged,omitempty"`
	Free           uint32        `json:"free,omitempty"`
	ExecutorDeaths uint32        `json:"executor_deaths,omitempty"`
	Counters       countersLine  `json:"counters"`
	Attempts       []attemptLine `json:"attempts"`
}

type countersLine struct {
	Rows       int64   `json:"rows"`
	Bytes      int64   `json:"bytes"`
	OutRows    int64   `json:"out_rows"`
	OutBytes   int64   `json:"out_bytes"`
	CPUSeconds float64 `json:"cpu_seconds"`
	PeakMemory int64   `json:"peak_memory"`
}

type attemptLine struct {
	ID            string       `json:"id"`
	Number        uint32       `json:"number"`
	State         string       `json:"state"`
	Agent         string       `json:"agent"`
	Host          string       `json:"host"`
	AgentURL      string       `json:"agent_url,omitempty"`
	Executor      string       `json:"executor"`
	Version       string       `json:"version,omitempty"`
	HandedOver    bool         `json:"handed_over,omitempty"`
	Second        string       `json:"second,omitempty"`
	Launched      time.Time    `json:"launched"`
	Running       *time.Time   `json:"running,omitempty"`
	Ended         *time.Time   `json:"ended,omitempty"`
	KillRequested *time.Time   `json:"kill_requested,omitempty"`
	GivenUp       bool         `json:"given_up,omitempty"`
	Settled       bool         `json:"settled,omitempty"`
	Reason        string       `json:"reason,omitempty"`
	Directory     string       `json:"directory,omitempty"`
	LogURI        string       `json:"log_uri,omitempty"`
	Failure       *failureLine `json:"failure,omitempty"`
}

type failureLine struct {
	Class    string        `json:"class"`
	Kind     string        `json:"kind"`
	Message  string        `json:"message"`
	Pointer  string        `json:"pointer,omitempty"`
	Problems []problemLine `json:"problems,omitempty"`
}

func checkVersion(version int) error {
	switch {
	case version > lineVersion:
		return fmt.Errorf("a line of version %d needs a newer tidemill; this one reads up to %d", version, lineVersion)
	case version < 1:
		return fmt.Errorf("a line has the version %d", version)
	}
	return nil
}

func writeSummary(r *Run) summary {
	rec := r.Record
	out := summary{
		ID: rec.ID, Job: rec.Job, Revision: rec.Revision, Kind: rec.Kind, State: jobs.RunStateName(rec.State),
		ExecutorVersion: rec.ExecutorVersion, Role: rec.Role, Params: rec.Params,
		Created: rec.Created.UTC(), Started: utc(rec.Started), Ended: utc(rec.Ended), CancelRequested: utc(rec.CancelRequested),
		By: rec.By, CancelledBy: rec.CancelledBy, Channel: rec.Channel, Rollout: rec.Rollout,
		Progress: r.Progress,
	}
	for _, m := range rec.Moves {
		out.Moves = append(out.Moves, moveLine{From: m.From, To: m.To, At: m.At.UTC(), By: m.By})
	}
	for i, stage := range r.Stages {
		line := stageLine{
			Name: stage.Name, Created: stage.Created.UTC(), Tasks: rec.Stages[i].Tasks, Done: rec.Stages[i].Done,
			States: map[string]int{}, Rows: stage.Rows, Bytes: stage.Bytes, OutRows: stage.OutRows, OutBytes: stage.OutBytes,
			Started: moment(stage.Started), Ended: moment(stage.Ended), Took: writeSpread(stage.Took),
		}
		for state, n := range stage.States {
			line.States[jobs.TaskStateName(state)] = n
		}
		out.Stages = append(out.Stages, line)
	}
	if o := rec.Output; o != nil {
		out.Output = &outputLine{URI: o.URI, Manifest: o.Manifest, Rows: o.Rows, Files: o.Files, Bytes: o.Bytes, BadRows: o.BadRows}
	}
	if e := rec.Error; e != nil {
		out.Error = &errorLine{Kind: e.Kind, Message: e.Message, Task: e.Task, Pointer: e.Pointer, Problems: writeProblems(e.Problems)}
	}
	return out
}

func readSummary(in *summary) (*Run, error) {
	state, err := runState(in.State)
	if err != nil {
		return nil, err
	}
	rec := &proto.Run{
		ID: in.ID, Job: in.Job, Revision: in.Revision, Kind: in.Kind, State: state,
		ExecutorVersion: in.ExecutorVersion, Role: in.Role, Params: in.Params,
		Created: in.Created, Started: in.Started, Ended: in.Ended, CancelRequested: in.CancelRequested,
		By: in.By, CancelledBy: in.CancelledBy, Channel: in.Channel, Rollout: in.Rollout,
	}
	for _, m := range in.Moves {
		rec.Moves = append(rec.Moves, proto.Move{From: m.From, To: m.To, At: m.At, By: m.By})
	}
	out := &Run{Record: rec, Progress: in.Progress}
	for _, line := range in.Stages {
		if line.Tasks > mostStageTasks {
			return nil, fmt.Errorf("stage %q has %d tasks", line.Name, line.Tasks)
		}
		stage := Stage{Name: line.Name, Created: line.Created, Figures: scheduler.Figures{
			Rows: line.Rows, Bytes: line.Bytes, OutRows: line.OutRows, OutBytes: line.OutBytes,
			Started: orZero(line.Started), Ended: orZero(line.Ended), Took: readSpread(line.Took), States: map[proto.TaskState]int{},
		}}
		for name, n := range line.States {
			state, err := taskState(name)
			if err != nil {
				return nil, err
			}
			stage.States[state] = n
		}
		rec.Stages = append(rec.Stages, proto.Stage{Name: line.Name, Tasks: line.Tasks, Done: line.Done})
		out.Stages = append(out.Stages, stage)
	}
	if o := in.Output; o != nil {
		rec.Output = &proto.Output{URI: o.URI, Manifest: o.Manifest, Rows: o.Rows, Files: o.Files, Bytes: o.Bytes, BadRows: o.BadRows}
	}
	if e := in.Error; e != nil {
		rec.Error = &proto.RunError{Kind: e.Kind, Message: e.Message, Task: e.Task, Pointer: e.Pointer, Problems: readProblems(e.Problems)}
	}
	return out, nil
}

func writeSpread(in scheduler.Spread) *spreadLine {
	if in.Tasks == 0 {
		return nil
	}
	return &spreadLine{Tasks: in.Tasks, Min: in.Min.Milliseconds(), Median: in.Median.Milliseconds(), P95: in.P95.Milliseconds(), Max: in.Max.Milliseconds()}
}

func readSpread(in *spreadLine) scheduler.Spread {
	if in == nil {
		return scheduler.Spread{}
	}
	return scheduler.Spread{
		Tasks: in.Tasks, Min: time.Duration(in.Min) * time.Millisecond, Median: time.Duration(in.Median) * time.Millisecond,
		P95: time.Duration(in.P95) * time.Millisecond, Max: time.Duration(in.Max) * time.Millisecond,
	}
}

// moment is t, or nil if it is not set; orZero is the inverse.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return utc(&t)
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func writeProblems(in []proto.Problem) []problemLine {
	var out []problemLine
	for _, p := range in {
		out = append(out, problemLine{Pointer: p.Pointer, Detail: p.Detail})
	}
	return out
}

func readProblems(in []problemLine) []proto.Problem {
	var out []proto.Problem
	for _, p := range in {
		out = append(out, proto.Problem{Pointer: p.Pointer, Detail: p.Detail})
	}
	return out
}

func writeRevision(r *proto.Revision) *revisionLine {
	out := &revisionLine{Job: r.Job, Number: r.Number, Kind: r.Kind, Created: r.Created.UTC(), By: r.By, Spec: r.Spec}
	if !json.Valid(out.Spec) {
		out.Spec = json.RawMessage("null") // one that nobody can read must not keep others out
	}
	return out
}

func readRevision(in *revisionLine) *proto.Revision {
	return &proto.Revision{Job: in.Job, Number: in.Number, Kind: in.Kind, Created: in.Created, By: in.By, Spec: in.Spec}
}

func writeTask(t *proto.Task) *taskLine {
	out := &taskLine{
		ID: t.ID, Stage: t.Stage, Index: t.Index, Of: t.Of, State: jobs.TaskStateName(t.State), Created: t.Created.UTC(),
		Charged: t.Charged, Free: t.Free, ExecutorDeaths: t.ExecutorDeaths,
		Counters: countersLine{
			Rows: t.Counters.Rows, Bytes: t.Counters.Bytes, OutRows: t.Counters.OutRows, OutBytes: t.Counters.OutBytes,
			CPUSeconds: t.Counters.Cpu.Seconds(), PeakMemory: t.Counters.PeakMemory,
		},
		Attempts: make([]attemptLine, len(t.Attempts)),
	}
	for i, a := range t.Attempts {
		out.Attempts[i] = attemptLine{
			ID: a.MesosID, Number: a.Number, State: jobs.TaskStateName(a.State), Agent: a.AgentID, Host: a.Host, AgentURL: a.AgentURL,
			Executor: a.ExecutorID, Version: a.Version, HandedOver: a.HandedOver, Second: a.Second, Launched: a.Launched.UTC(), Running: utc(a.Running), Ended: utc(a.Ended), KillRequested: utc(a.KillRequested),
			GivenUp: a.GivenUp, Settled: a.Settled, Reason: a.Reason, Directory: a.Directory, LogURI: a.LogURI,
		}
		if f := a.Failure; f != nil {
			out.Attempts[i].Failure = &failureLine{
				Class: jobs.ClassName(f.Class), Kind: f.Kind, Message: f.Message, Pointer: f.Pointer, Problems: writeProblems(f.Problems),
			}
		}
	}
	return out
}

func readTask(run string, in *taskLine) (*proto.Task, error) {
	state, err := taskState(in.State)
	if err != nil {
		return nil, err
	}
	out := &proto.Task{
		ID: in.ID, Run: run, Stage: in.Stage, Index: in.Index, Of: in.Of, State: state, Created: in.Created,
		Charged: in.Charged, Free: in.Free, ExecutorDeaths: in.ExecutorDeaths,
		Counters: proto.Counters{
			Rows: in.Counters.Rows, Bytes: in.Counters.Bytes, OutRows: in.Counters.OutRows, OutBytes: in.Counters.OutBytes,
			Cpu: time.Duration(math.Round(in.Counters.CPUSeconds * float64(time.Second))), PeakMemory: in.Counters.PeakMemory,
		},
	}
	for _, a := range in.Attempts {
		state, err := taskState(a.State)
		if err != nil {
			return nil, err
		}
		attempt := proto.Attempt{
			MesosID: a.ID, Number: a.Number, State: state, AgentID: a.Agent, Host: a.Host, AgentURL: a.AgentURL,
			ExecutorID: a.Executor, Version: a.Version, HandedOver: a.HandedOver, Second: a.Second, Launched: a.Launched, Running: a.Running, Ended: a.Ended, KillRequested: a.KillRequested,
			GivenUp: a.GivenUp, Settled: a.Settled, Reason: a.Reason, Directory: a.Directory, LogURI: a.LogURI,
		}
		if f := a.Failure; f != nil {
			attempt.Failure = &proto.Failure{
				Class: class(f.Class), Kind: f.Kind, Message: f.Message, Pointer: f.Pointer, Problems: readProblems(f.Problems),
			}
		}
		out.Attempts = append(out.Attempts, attempt)
	}
	return out, nil
}

var (
	runStates  = numbers(jobs.RunStateNames())
	taskStates = numbers(jobs.TaskStateNames())
)

func numbers(names []string) map[string]int {
	out := make(map[string]int, len(names))
	for i, name := range names {
		out[name] = i
	}
	return out
}

func runState(name string) (proto.RunState, error) {
	n, known := runStates[name]
	if !known {
		return 0, fmt.Errorf("a run has the state %q", name)
	}
	return proto.RunState(n), nil
}

func taskState(name string) (proto.TaskState, error) {
	n, known := taskStates[name]
	if !known {
		return 0, fmt.Errorf("a task has the state %q", name)
	}
	return proto.TaskState(n), nil
}

func class(name string) proto.Class {
	for _, c := range []proto.Class{proto.CLASS_OURS, proto.CLASS_PASSING} {
		if name == jobs.ClassName(c) {
			return c
		}
	}
	return proto.CLASS_FINAL
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
