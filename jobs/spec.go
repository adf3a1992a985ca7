package jobs

import "time"

// Spec is a job as its author wrote it, with defaults filled in by [Decode]. Sizes are bytes.
type Spec struct {
	Name        string
	Kind        string
	Executor    ExecutorRef
	Resources   Resources
	Parallelism int // how many tasks of a stage may run at a time; 1..1000
	Retries     Retries
	Timeout     time.Duration // of one attempt; 0: none
	Constraints []Constraint
	Section     Section // the value under the key that is the kind's name
}

// ExecutorRef pins a version or follows a channel; exactly one of the two is set.
type ExecutorRef struct {
	Channel string
	Version string
}

// Resources are what one task gets.
type Resources struct {
	CPUs   float64
	Memory int64 // bytes
	Disk   int64 // bytes
}

// Retries are for failures that are the job's and may pass. Back-off doubles from Backoff up to ten times it.
type Retries struct {
	Max     int
	Backoff time.Duration
}

// Operators of a [Constraint].
const (
	Is    = "is"     // the attribute is there and has the value
	IsNot = "is_not" // the attribute is not there, or has another value
	In    = "in"     // the attribute is there and has one of the values
)

// Constraint limits the agents that may run a job's tasks, by a Mesos attribute. The attribute "hostname" always exists.
type Constraint struct {
	Attribute string
	Operator  string
	Value     string   // for Is and IsNot
	Values    []string // for In
}

// Problem is one thing wrong with a spec: where (a JSON Pointer into it), and what, in a sentence without a full stop.
type Problem struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Expression is a piece of the engine's SQL in a spec, which only an executor can check.
type Expression struct {
	Pointer string
	Text    string
}
