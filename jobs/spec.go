package jobs

import "time"

// Spec is a job as its author wrote it, with defaults filled in by [Decode]. Sizes are bytes.
// Its tags, and those of each kind's section, are what decoder, encoder and schema go by: see [Decoder.Into].
type Spec struct {
	Name        string        `json:"name" required:"true" format:"name" doc:"The job's name. PUT makes a spec under a name that exists a new revision of that job." example:"flights-by-carrier"`
	Kind        string        `json:"kind" required:"true" doc:"What kind of job it is. The spec has a section of that name."`
	Executor    ExecutorRef   `json:"executor" doc:"Which executor version runs the job."`
	Role        string        `json:"role,omitempty" format:"role" maxlen:"255" doc:"The Mesos role that the job's tasks run under; one of those that the scheduler is configured with. Its first one if missing." example:"data/batch"`
	Resources   Resources     `json:"resources" doc:"What one task gets."`
	Parallelism int           `json:"parallelism" default:"4" min:"1" max:"1000" doc:"How many tasks of a stage may run at a time."`
	Retries     Retries       `json:"retries" doc:"For failures that are the job's and may pass. What is lost through no fault of the job does not count."`
	Timeout     time.Duration `json:"timeout,omitempty" min:"1s" max:"720h" doc:"How long one attempt of a task may take. None if missing." example:"30m"`
	Constraints []Constraint  `json:"constraints,omitempty" maxitems:"64" doc:"All must hold for an agent that runs tasks of the job."`
	Section     Section       `json:"-"` // the value under the key that is the kind's name

	needs []Need
}

// ExecutorRef pins a version or follows a channel; exactly one of the two is set.
type ExecutorRef struct {
	Channel string `json:"channel,omitempty" format:"name" doc:"Follow this channel: each run uses the version that it points at when the run starts. \"stable\" if neither channel nor version is given." example:"stable"`
	Version string `json:"version,omitempty" format:"version" doc:"Use this version only." example:"1.5.0"`
}

// DefaultChannel is the channel of a spec that names neither a channel nor a version.
const DefaultChannel = "stable"

// Resources are what one task gets.
type Resources struct {
	CPUs   float64 `json:"cpus" default:"0.5" min:"0.01" max:"1024" doc:"CPUs, of which an engine uses at least one thread."`
	Memory int64   `json:"memory" format:"size" default:"512MiB" min:"64MiB" max:"64TiB" doc:"Memory of one task."`
	Disk   int64   `json:"disk" format:"size" default:"1GiB" min:"0B" max:"1024TiB" doc:"Scratch space of one task in the agent's sandbox."`
}

// Retries are for failures that are the job's and may pass. Back-off doubles from Backoff up to ten times it.
type Retries struct {
	Max     int           `json:"max" default:"3" min:"0" max:"100" doc:"How many times a task is tried again."`
	Backoff time.Duration `json:"backoff" default:"5s" min:"0s" max:"1h" doc:"The wait before the first retry. It doubles with each, up to ten times this."`
}

// Operators of a [Constraint].
const (
	Is    = "is"     // the attribute is there and has the value
	IsNot = "is_not" // the attribute is not there, or has another value
	In    = "in"     // the attribute is there and has one of the values
)

// Constraint limits the agents that may run a job's tasks, by a Mesos attribute. The attribute "hostname" always exists.
type Constraint struct {
	Attribute string   `json:"attribute" required:"true" minlen:"1" maxlen:"255" doc:"A Mesos attribute of agents, or hostname." example:"zone"`
	Operator  string   `json:"operator" required:"true" enum:"is,is_not,in" doc:"is: the attribute has the value. is_not: it is missing or has another. in: it has one of the values."`
	Value     string   `json:"value,omitempty" required:"true" only:"operator=is|is_not" minlen:"1" maxlen:"1000" doc:"The value, as Mesos shows it." example:"a"`
	Values    []string `json:"values,omitempty" required:"true" only:"operator=in" minlen:"1" maxlen:"1000" minitems:"1" maxitems:"1000" doc:"The values, as Mesos shows them."`
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
