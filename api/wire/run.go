package wire

import "time"

// Run is one execution of a revision.
type Run struct {
	ID              string            `json:"id"`
	Job             string            `json:"job"`
	Revision        uint32            `json:"revision"`
	Kind            string            `json:"kind"`
	State           string            `json:"state" enum:"pending,running,succeeded,failed,cancelled"`
	ExecutorVersion string            `json:"executor_version" doc:"The executor version that it runs on. Runs of kind aggregate finish on the one that they began with"`
	Params          map[string]string `json:"params"`
	Created         time.Time         `json:"created"`
	Started         *time.Time        `json:"started,omitempty" doc:"When its first task was launched"`
	Ended           *time.Time        `json:"ended,omitempty"`
	CancelRequested *time.Time        `json:"cancel_requested,omitempty"`
	Progress        float64           `json:"progress" minimum:"0" maximum:"1" doc:"Never falls while the run lives"`
	Stages          []Stage           `json:"stages" doc:"In order; the last one is the current one"`
	TimeLeft        *float64          `json:"time_left_seconds,omitempty" doc:"Until the end of the current stage, estimated; what follows after that is not known. Absent while too little is done to tell"`
	Waiting         string            `json:"waiting,omitempty" doc:"Why tasks wait, in a sentence; see explain"`
	Output          *Output           `json:"output,omitempty" doc:"What the run made visible"`
	Error           *RunError         `json:"error,omitempty" doc:"Why the run failed"`

	By          string `json:"by,omitempty" doc:"Who started it"`
	CancelledBy string `json:"cancelled_by,omitempty" doc:"Who asked for it to stop"`
	Channel     string `json:"channel,omitempty" doc:"The channel that its spec followed when it started; absent: the spec names a version"`
	Rollout     uint32 `json:"rollout,omitempty" doc:"The number of the channel's rollout that it counts for, be it on the old or the new version; absent: none"`
	Canary      bool   `json:"canary,omitempty" doc:"It began on the version to which that rollout moves the channel; not known of rollouts that are no longer kept"`
	MovingTo    string `json:"moving_to,omitempty" doc:"The executor version to which its tasks are handing over"`
	Moves       []Move `json:"moves,omitempty" doc:"Its changes of executor version, oldest first"`
}

// Move is a long run's change to another executor version, at a checkpoint.
type Move struct {
	From string    `json:"from"`
	To   string    `json:"to"`
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"`
}

// Ended says whether a run in that state has ended.
func Ended(state string) bool {
	return state == "succeeded" || state == "failed" || state == "cancelled"
}

// Stage is a step of a run.
type Stage struct {
	Name  string     `json:"name" example:"map"`
	Tasks TaskCounts `json:"tasks" doc:"How many tasks are in which state"`
	Rows  int64      `json:"rows" doc:"Input rows read so far"`
	Bytes int64      `json:"bytes" doc:"Input bytes read so far, as stored"`

	OutRows   int64      `json:"out_rows" doc:"Rows put out so far, to the next stage or the result"`
	OutBytes  int64      `json:"out_bytes" doc:"Bytes put out so far, as stored"`
	Started   *time.Time `json:"started,omitempty" doc:"When its first task was launched"`
	Ended     *time.Time `json:"ended,omitempty" doc:"When its last task ended"`
	TimeLeft  *float64   `json:"time_left_seconds,omitempty" doc:"Until its end, estimated: at the pace so far, but no shorter than its slowest task needs at its own. Absent while too little is done to tell"`
	Durations *Durations `json:"durations,omitempty" doc:"How long the tasks took that have finished"`
}

// Durations are how long tasks took that have finished, each from the launch of the attempt that counts to its end.
type Durations struct {
	Tasks  int     `json:"tasks" doc:"How many have finished"`
	Min    float64 `json:"min_seconds"`
	Median float64 `json:"median_seconds"`
	P95    float64 `json:"p95_seconds"`
	Max    float64 `json:"max_seconds"`
	Skew   float64 `json:"skew,omitempty" doc:"The slowest by the median. 1: all take the same. A large one speaks of skewed data, or of a slow agent"`
}

// TaskCounts is how many tasks are in which state.
type TaskCounts struct {
	Pending     int `json:"pending"`
	Launching   int `json:"launching"`
	Starting    int `json:"starting"`
	Running     int `json:"running"`
	Finished    int `json:"finished"`
	Failed      int `json:"failed"`
	Killed      int `json:"killed"`
	Lost        int `json:"lost"`
	Unreachable int `json:"unreachable"`
}

// Sum is the number of tasks.
func (c TaskCounts) Sum() int {
	return c.Pending + c.Launching + c.Starting + c.Running + c.Finished + c.Failed + c.Killed + c.Lost + c.Unreachable
}

// Output is what a run made visible.
type Output struct {
	URI      string `json:"uri" doc:"The prefix that holds this run's files and nothing else"`
	Manifest string `json:"manifest" doc:"The manifest's whole URI"`
	Rows     int64  `json:"rows"`
	Files    int64  `json:"files" doc:"How many files there are"`
	Bytes    int64  `json:"bytes"`
	BadRows  int64  `json:"bad_rows,omitempty" doc:"Input rows that were left out because they could not be read"`
}

// RunError is why a run failed.
type RunError struct {
	Kind     string    `json:"kind" doc:"One of invalid, not_found, conflict, unavailable, internal, out_of_memory, timeout, killed, lost"`
	Message  string    `json:"message"`
	Task     string    `json:"task,omitempty" doc:"The task that failed"`
	Pointer  string    `json:"pointer,omitempty" doc:"JSON Pointer into the spec"`
	Problems []Problem `json:"problems,omitempty" doc:"When there is more than one"`
}

// Task is one unit that Mesos launches.
type Task struct {
	ID              string     `json:"id"`
	Run             string     `json:"run"`
	Job             string     `json:"job"`
	Stage           string     `json:"stage"`
	Index           uint32     `json:"index" doc:"From 0"`
	Of              uint32     `json:"of" doc:"How many tasks the stage has"`
	State           string     `json:"state" enum:"pending,launching,starting,running,finished,failed,killed,lost,unreachable"`
	ExecutorVersion string     `json:"executor_version"`
	Progress        float64    `json:"progress" minimum:"0" maximum:"1"`
	Phase           string     `json:"phase,omitempty" doc:"What it does now, in a word or two"`
	Counters        Counters   `json:"counters"`
	Host            string     `json:"host,omitempty" doc:"Where its newest attempt was launched"`
	Agent           string     `json:"agent,omitempty" doc:"Mesos agent ID of its newest attempt"`
	NotBefore       *time.Time `json:"not_before,omitempty" doc:"Back-off: not to be launched earlier"`
	Created         time.Time  `json:"created"`
	Attempts        []Attempt  `json:"attempts" doc:"Oldest first"`
}

// Counters measure the work of a task.
type Counters struct {
	Rows       int64   `json:"rows" doc:"Input rows read"`
	Bytes      int64   `json:"bytes" doc:"Input bytes read, as stored"`
	OutRows    int64   `json:"out_rows"`
	OutBytes   int64   `json:"out_bytes"`
	CPUSeconds float64 `json:"cpu_seconds" doc:"Of the task's process, user and system"`
	PeakMemory int64   `json:"peak_memory" doc:"Bytes, of the task's process"`
}

// Attempt is one try of a task.
type Attempt struct {
	ID       string     `json:"id" doc:"Task ID in Mesos"`
	Number   uint32     `json:"number" doc:"From 1"`
	State    string     `json:"state" enum:"pending,launching,starting,running,finished,failed,killed,lost,unreachable"`
	Agent    string     `json:"agent" doc:"Mesos agent ID"`
	Host     string     `json:"host"`
	AgentURL string     `json:"agent_url,omitempty"`
	Executor string     `json:"executor" doc:"Executor ID in Mesos"`
	Launched time.Time  `json:"launched"`
	Running  *time.Time `json:"running,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	GivenUp  bool       `json:"given_up,omitempty" doc:"Replaced although Mesos has not said that it ended"`
	Reason   string     `json:"reason,omitempty" doc:"Mesos' reason for its end"`
	LogURI   string     `json:"log_uri,omitempty" doc:"Where its logs were uploaded"`
	Failure  *Failure   `json:"failure,omitempty"`

	ExecutorVersion string `json:"executor_version"`
	Second          string `json:"second,omitempty" doc:"Why it was launched beside an attempt that lived: that lagged far behind its siblings. The first to finish counts"`
	HandedOver      bool   `json:"handed_over,omitempty" doc:"It ended at a checkpoint, because the run moved to another executor version"`
}

// Failure is why an attempt failed, and whose fault that is taken for.
type Failure struct {
	Class   string `json:"class" enum:"ours,passing,final" doc:"ours: a free retry; passing: uses the spec's retries; final: no retry"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Pointer string `json:"pointer,omitempty" doc:"JSON Pointer into the spec"`
}

// StartRun is the body of POST /v1/jobs/{name}/runs; it may be left out.
type StartRun struct {
	Params map[string]string `json:"params,omitempty" doc:"Stored, shown with the run and handed to its tasks; kind aggregate uses none" maxProperties:"100"`
}

// Explanation says why a run's tasks wait.
type Explanation struct {
	Run     string    `json:"run"`
	State   string    `json:"state" enum:"pending,running,succeeded,failed,cancelled"`
	Summary string    `json:"summary" doc:"One sentence"`
	Waiting []Waiting `json:"waiting" doc:"One entry for each shape of task"`

	SecondAttempts []SecondAttempt `json:"second_attempts,omitempty" doc:"Attempts that run beside others of their tasks"`
}

// SecondAttempt is an attempt that runs beside another one of its task, which lags behind its siblings.
type SecondAttempt struct {
	Task     string    `json:"task"`
	Attempt  uint32    `json:"attempt" doc:"Its number, from 1"`
	Agent    string    `json:"agent" doc:"Mesos agent ID"`
	Host     string    `json:"host"`
	Launched time.Time `json:"launched"`
	Why      string    `json:"why" doc:"A sentence"`
}

// Waiting explains the waiting tasks of one shape.
type Waiting struct {
	Stage      string         `json:"stage"`
	Tasks      int            `json:"tasks" doc:"How many wait"`
	Resources  Resources      `json:"resources" doc:"Of one task"`
	Since      time.Time      `json:"since"`
	NotBefore  *time.Time     `json:"not_before,omitempty" doc:"Back-off"`
	Offers     int            `json:"offers" doc:"Offers looked at"`
	TurnedDown map[string]int `json:"turned_down" doc:"How many offers were turned down for which reason"`
	Reason     string         `json:"reason" doc:"The main one, a sentence"`
	Reasons    []Turndown     `json:"reasons" doc:"All, the most important first"`
}

// Turndown is one reason for which tasks wait.
type Turndown struct {
	Reason string `json:"reason" doc:"cpus, memory, disk, constraint and its attribute, maintenance, back-off, parallelism, retry, second attempt, …"`
	Offers int    `json:"offers,omitempty" doc:"Turned down for it; missing if offers have nothing to do with it"`
	Of     int    `json:"of,omitempty" doc:"Offers looked at"`
	Text   string `json:"text" doc:"Such as: zone: 12 of 12 offers are in b"`
}

// Resources are what one task gets.
type Resources struct {
	CPUs   float64 `json:"cpus"`
	Memory int64   `json:"memory" doc:"Bytes"`
	Disk   int64   `json:"disk" doc:"Bytes"`
}
