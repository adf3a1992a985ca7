package scheduler

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// Actions is everything that follows from one step, in the order in which it must be done: store, then call and reply.
type Actions struct {
	Store   []Change
	Calls   []Call
	Replies []Reply
	Notes   []Note
	Counts  []Count
	Wake    time.Time // the next time at which a Tick is due; zero: no earlier than the usual second
}

// Change is one record to be written or, with a nil Value, removed.
type Change struct {
	Key   Key
	Value []byte // a proto message
}

// Key names a record. ID has no meaning to the store.
type Key struct {
	Kind RecordKind
	ID   string
}

// RecordKind is what a record is.
type RecordKind string

// Record kinds, each with the message in proto and what its ID is.
const (
	KindFramework RecordKind = "framework" // proto.Framework; "framework"
	KindJob       RecordKind = "job"       // proto.Job; name
	KindRevision  RecordKind = "revision"  // proto.Revision; <job>/<number>
	KindRun       RecordKind = "run"       // proto.Run; ID
	KindTask      RecordKind = "task"      // proto.Task; ID
	KindExecutor  RecordKind = "executor"  // proto.Executor; ID
	KindVersion   RecordKind = "version"   // proto.ExecutorVersion; version
	KindChannel   RecordKind = "channel"   // proto.Channel; name
	KindFormat    RecordKind = "format"    // proto.Format; "format"
	KindPlan      RecordKind = "plan"      // proto.Plan; <run>/<stage>
	KindKey       RecordKind = "key"       // proto.IdempotencyKey; <job>/<the key's SHA-256, 32 hex digits>
	KindUse       RecordKind = "use"       // proto.Use; executor version
	KindRetired   RecordKind = "retired"   // proto.Retired; executor version
	KindRollout   RecordKind = "rollout"   // proto.Rollout; <channel>/<number>
	KindTally     RecordKind = "tally"     // proto.Tally, of the channel's newest rollout; <channel>/<job>
)

// Record is a stored record, as it is loaded on start.
type Record struct {
	Key   Key
	Value []byte
}

// Call is one of the Mesos calls below.
type Call interface{ call() }

// Accept launches tasks on offers of one agent and role. What is left over is refused for Refuse.
type Accept struct {
	OfferIDs []string
	AgentID  string
	Launches []Launch
	Refuse   time.Duration
}

// Launch is one task of an Accept.
type Launch struct {
	MesosID      string // also what CallFailed and updates name
	Name         string // for people: shown in the Mesos UI
	Labels       [][2]string
	Role         string
	Resources    jobs.Resources
	ExecutorInfo []byte // mesos.ExecutorInfo, marshalled, exactly as stored
	Data         []byte // proto.TaskData
}

// Decline gives offers back and refuses the like for Refuse.
type Decline struct {
	OfferIDs []string
	Refuse   time.Duration
	Reason   string // for metrics: no_demand, no_fit, …
}

// Kill asks Mesos to kill a task; repeated until it has ended.
type Kill struct{ MesosID, AgentID string }

// Acknowledge confirms an update whose consequences are stored.
type Acknowledge struct {
	MesosID, AgentID string
	UUID             []byte
}

// SendMessage tells an executor something (proto.Request), from protocol 2 on. It may get lost.
type SendMessage struct {
	AgentID, ExecutorID string
	Data                []byte
}

// Reconcile asks for the state of tasks: all that the master knows if Tasks is empty.
type Reconcile struct{ Tasks []TaskRef }

// TaskRef names a task and where it was launched.
type TaskRef struct{ MesosID, AgentID string }

// Suppress stops offers for roles.
type Suppress struct{ Roles []string }

// Revive asks for offers for roles and clears their filters.
type Revive struct{ Roles []string }

// AcceptInverse agrees to give agents back: nothing of ours will run there when their maintenance begins. It is asked
// again after Refuse, too.
type AcceptInverse struct {
	OfferIDs []string
	Refuse   time.Duration
}

// DeclineInverse says that something may still run there then. It is asked again after Refuse.
type DeclineInverse struct {
	OfferIDs []string
	Refuse   time.Duration
}

func (Accept) call()         {}
func (AcceptInverse) call()  {}
func (DeclineInverse) call() {}
func (Decline) call()        {}
func (Kill) call()           {}
func (Acknowledge) call()    {}
func (SendMessage) call()    {}
func (Reconcile) call()      {}
func (Suppress) call()       {}
func (Revive) call()         {}

// Reply answers the command with that ticket.
type Reply struct {
	Ticket uint64
	Value  any
	Err    *Error
}

// ErrorKind is one of a small closed set.
type ErrorKind string

// Kinds of an Error.
const (
	Invalid     ErrorKind = "invalid"     // 422: the input is wrong; correct it
	NotFound    ErrorKind = "not_found"   // 404
	Conflict    ErrorKind = "conflict"    // 409: against the present state
	Unavailable ErrorKind = "unavailable" // 503: try again later
	Internal    ErrorKind = "internal"    // 500
)

// Error refuses a command.
type Error struct {
	Kind     ErrorKind
	Message  string
	Problems []jobs.Problem
}

func (e *Error) Error() string {
	if len(e.Problems) == 0 {
		return e.Message
	}
	return fmt.Sprintf("%s (%s: %s)", e.Message, e.Problems[0].Pointer, e.Problems[0].Detail)
}

// Note is a line for the log.
type Note struct {
	Level slog.Level
	Text  string
	Attrs []slog.Attr
}

// Count is an observation for one of [Metrics]: Value is added to a counter (1 for an event), or observed, in seconds,
// by a histogram.
type Count struct {
	Metric string   // MetricDesc.Name
	Labels []string // values, in the order of MetricDesc.Labels
	Value  float64
}
