package jobs

import "github.com/tidemill/tidemill/proto"

// Section is a kind's own part of a spec, decoded.
type Section interface {
	// Expressions are those that an executor checks before the job may run, in the order of the spec. May be empty.
	Expressions() []Expression
	// Work is where a run's intermediate objects and logs lie: the prefix <work>/<run>/, and the connection that reaches it.
	Work() (uri, connection string)
}

// Publisher is a Section of jobs whose runs publish a result that other jobs can read.
type Publisher interface {
	Section
	// Publishes is the prefix whose _latest.json names the newest result, and the connection that reaches it.
	Publishes() (uri, connection string)
}

// Referrer is a Section of jobs that read what runs of other jobs have published.
type Referrer interface {
	Section
	// References are the places in the spec that name another job, in its order. May be empty.
	References() []Reference
}

// Reference names a job whose result is read: the one that the spec has, or any other.
type Reference struct {
	Pointer string // JSON Pointer into the spec
	Job     string
	Run     string // whose result is read; empty: the newest one
}

// Kind is a kind of job: how its section is read and which stages a run of it has.
// All methods are pure and deterministic, and do not block.
type Kind interface {
	// Name is the value of a spec's "kind" and the key of its section.
	Name() string

	// DecodeSection reads the section, fills in defaults and reports everything that is wrong with it to d.
	// It returns a Section even then, and even for a value that is missing: a pointer to a struct whose tags
	// (see [Decoder.Into]) also make its part of the schema.
	DecodeSection(d *Decoder) Section

	// First is the first stage of a run. sources are what the references of a [Referrer] came to, in their order; a kind
	// whose tasks read them puts them into its inputs, so that all attempts read the same.
	First(spec *Spec, sources []proto.Source) StagePlan

	// Next says what follows when every task of the stage done.Name has finished. done.Outputs and done.Attempts
	// are by task index. An error means that an output could not be understood, and fails the run for good.
	Next(spec *Spec, done StageResult) (Step, error)
}

// Mover is a Kind with runs that can go on with another executor version than they began with. Runs of other kinds
// finish on the version that they began with.
type Mover interface {
	Kind

	// Moves says whether the tasks of that stage hand over at a checkpoint when they are told to. Then an attempt on
	// another version can go on with what an earlier one has handed over, and later stages can work with what
	// several versions have put out.
	Moves(spec *Spec, stage string) bool
}

// Repeater is a Kind with stages whose tasks may have two attempts at a time: when one lags far behind its siblings, a
// second one is launched on another agent, and the first to finish counts.
type Repeater interface {
	Kind

	// Repeats says whether two attempts of a task of that stage may do its work at the same time, of which only that counts
	// which [StageResult.Attempts] names. What they put out is named by attempt, and they do not commit.
	Repeats(spec *Spec, stage string) bool
}

// StagePlan is a stage to be run: one task for each input.
type StagePlan struct {
	Name   string
	Inputs [][]byte // the kind's own messages
	// Resources of each task; the spec's if nil.
	Resources *Resources
}

// StageResult is a finished stage.
type StageResult struct {
	Name     string
	Outputs  [][]byte      // what TaskResult.output held
	Attempts []uint32      // the attempt of each task that finished
	Earlier  []StageResult // the stages before it, in order
}

// Step is what comes after a stage: either the next stage or the run's result.
type Step struct {
	Stage *StagePlan
	Done  *proto.Output // set when the run has succeeded; then Stage is nil
}

// Stages that every kind has: see proto.CheckInput and proto.CleanInput.
const (
	StageCheck = "check"
	StageClean = "clean"
)

// Kinds are the registered kinds.
type Kinds []Kind

// Lookup returns the kind of that name, or nil.
func (k Kinds) Lookup(name string) Kind {
	for _, kind := range k {
		if kind.Name() == name {
			return kind
		}
	}
	return nil
}
