package scheduler

import (
	"time"

	"github.com/tidemill/tidemill/proto"
)

// Input is one event with the time at which it is handled and a random number of its own.
type Input struct {
	Now    time.Time
	Random uint64
	Event  Event
}

// Event is one of the types of this file or a [Command].
type Event interface{ event() }

// Subscribed: the master has accepted the subscription. All offers of earlier subscriptions are void.
type Subscribed struct {
	FrameworkID string
	Master      string // http://host:port
	MasterID    string
}

// Disconnected: the subscription has ended; offers are void, calls would be refused.
type Disconnected struct{ Reason string }

// Offers are new offers.
type Offers struct{ Offers []Offer }

// Offer is a Mesos offer reduced to what decisions need.
type Offer struct {
	ID             string
	AgentID        string
	Host           string
	AgentURL       string // http://host:port of the agent
	Role           string
	CPUs           float64
	Memory         int64             // bytes
	Disk           int64             // bytes
	Attributes     map[string]string // text, scalars and ranges in Mesos' own notation; "hostname" added
	Executors      []string          // IDs of this framework's executors that run there
	Unavailable    *time.Time        // begin of announced maintenance
	UnavailableFor time.Duration     // how long it takes; 0: for ever
}

// InverseOffers ask for agents back: maintenance is announced for them. Each is answered by AcceptInverse or DeclineInverse.
type InverseOffers struct{ Offers []InverseOffer }

// InverseOffer is one of them.
type InverseOffer struct {
	ID, AgentID string
	Start       time.Time
	Duration    time.Duration // 0: for ever
}

// RescindInverse: an inverse offer is void; the maintenance may have been called off.
type RescindInverse struct{ OfferID string }

// FrameworkUpdated: Mesos has accepted this FrameworkInfo (by SUBSCRIBE or UPDATE_FRAMEWORK), or refused it for that reason.
type FrameworkUpdated struct {
	Info    []byte // mesos.FrameworkInfo, marshalled, without its ID
	Refused string // empty: accepted
}

// Rescind: an offer is void.
type Rescind struct{ OfferID string }

// Update is a task status update, or an answer to reconciliation (then UUID and Data are empty).
type Update struct {
	MesosID    string // task ID in Mesos
	AgentID    string
	ExecutorID string
	State      string // Mesos' name: TASK_RUNNING, …
	Reason     string // Mesos' name: REASON_…; empty if the status has none
	Source     string // SOURCE_MASTER, SOURCE_AGENT, SOURCE_EXECUTOR; empty if it has none
	Message    string
	Data       []byte
	UUID       []byte // empty: must not be acknowledged
	Limitation string // resources whose limit was hit, such as "mem"; empty if none
}

// Message comes from an executor (proto.Progress).
type Message struct {
	AgentID, ExecutorID string
	Data                []byte
}

// Failure: an executor has ended (ExecutorID set) or an agent is lost. May be missing or come late.
type Failure struct {
	AgentID, ExecutorID string
	Status              *int32 // the executor's exit status
}

// CallFailed: Mesos refused a call, or it could not be sent.
type CallFailed struct {
	Call   Call
	Status int // HTTP status; 0: not sent
	Reason string
}

// Tick: time has passed.
type Tick struct{}

// SteppedDown: the lease is lost. From here on the Core answers with no actions but refusals of commands.
type SteppedDown struct{}

func (Subscribed) event()       {}
func (Disconnected) event()     {}
func (Offers) event()           {}
func (Rescind) event()          {}
func (Update) event()           {}
func (Message) event()          {}
func (Failure) event()          {}
func (CallFailed) event()       {}
func (Tick) event()             {}
func (SteppedDown) event()      {}
func (InverseOffers) event()    {}
func (RescindInverse) event()   {}
func (FrameworkUpdated) event() {}
func (Command) event()          {}

// Command is a wish from the API. Its answer is a [Reply] with the same ticket.
type Command struct {
	Ticket uint64
	Body   CommandBody
}

// CommandBody is one of the types below. Each says what Reply.Value holds on success.
type CommandBody interface{ command() }

// CheckSpec asks that a spec's expressions be checked with the version that would run them. Value: CheckKey, to be
// looked up in View.Checks. A spec without expressions passes at once.
type CheckSpec struct{ Spec []byte }

// PutJob stores a spec. Value: PutJobResult. Errors: Invalid with problems; Conflict if Create is set and the name has
// another spec.
type PutJob struct {
	Spec   []byte // JSON
	Create bool   // POST: refuse another spec under a name that exists
	Name   string // PUT: the name in the path, which the spec must have; empty for POST
	By     string // who asks: stored and shown; empty if that is not known. The same in the commands below.
}

// PutJobResult is the answer to PutJob.
type PutJobResult struct {
	Job      *proto.Job
	Revision *proto.Revision
	Created  bool // the job is new
	Changed  bool // there is a new revision
}

// DeleteJob removes a job and cancels what runs. Value: DeleteJobResult.
type DeleteJob struct{ Name, By string }

// DeleteJobResult is the answer to DeleteJob.
type DeleteJobResult struct {
	Job    *proto.Job
	ReadBy []string // jobs whose newest revisions read its newest result, sorted: no run of theirs can start now
}

// StartRun starts a run of the newest revision. Value: StartRunResult. Errors: NotFound; Conflict when the key was used
// for a run of that job with other parameters; Invalid when the channel or version is gone or the checks failed.
type StartRun struct {
	Job            string
	Params         map[string]string
	IdempotencyKey string
	By             string
}

// StartRunResult is the answer to StartRun.
type StartRunResult struct {
	Run      *proto.Run
	Repeat   bool // an earlier run with the same idempotency key
	Archived bool // that lies in the archive: of Run only ID and Job are set
}

// CancelRun asks a run to stop. Value: *proto.Run. Cancelling an ended run changes nothing and is no error.
type CancelRun struct{ Run, By string }

// MoveRun moves a run that goes on for long to another executor version: its tasks hand over at their next checkpoint, and
// go on with that version when all have. Moving to the version that the run is on calls a move off; what is so already is
// no error and changes nothing. Value: *proto.Run. Errors: NotFound; Conflict for a run that has not begun or has ended,
// when its kind or stage does not move ([jobs.Mover]), while it moves elsewhere, and when executors speak a protocol
// without hand-over, or the version lacks what the spec needs or refuses its expressions; Unavailable while these
// are being checked.
type MoveRun struct{ Run, Version, By string }

// RegisterVersion adds an artefact that lies in the artefact store already, with who registered it and whose signature
// was verified; the core fills in when. Value: RegisterVersionResult.
// Errors: Conflict when the version has other bytes for that platform.
type RegisterVersion struct {
	Artifact proto.Artifact
}

// RegisterVersionResult is the answer to RegisterVersion.
type RegisterVersionResult struct {
	Version *proto.ExecutorVersion
	Created bool // false: the same bytes were registered before
}

// DeleteVersion removes a version that nothing uses. Value: *proto.ExecutorVersion. Errors: NotFound, Conflict with what uses it.
type DeleteVersion struct{ Version, By string }

// SetChannel points a channel at a version: at once, or with a plan by a rollout, which then runs. A channel that is new
// is moved at once all the same, for there is nothing to compare with. What is so already is no error and changes
// nothing: the channel points there, or a rollout to that version with the same plan runs or is paused. Value:
// *proto.Channel. Errors: Invalid for an unknown version or a bad plan; Conflict while another rollout runs or is paused,
// when jobs that follow the channel need what the version does not have (each is a problem), and for a rollout to the
// version that the last one has taken back.
type SetChannel struct {
	Name, Version     string
	Rollout           *proto.RolloutPlan // nil: at once; zero fields are filled in with defaults
	AllowIncompatible bool               // also when jobs that follow it need what the version does not have
	Again             bool               // also when the last rollout has taken this version back
	By                string
}

// DeleteChannel removes a channel. Value: *proto.Channel. Errors: NotFound; Conflict with the jobs that follow it, or
// while a rollout runs or is paused.
type DeleteChannel struct{ Name, By string }

// RolloutAction is something that people do to a rollout.
type RolloutAction string

// Actions of [SteerRollout].
const (
	RolloutPause   RolloutAction = "pause"   // the share stays, the time of the step stands still
	RolloutResume  RolloutAction = "resume"  // go on in the step
	RolloutPromote RolloutAction = "promote" // point the channel at the new version, now
	RolloutAbort   RolloutAction = "abort"   // start no further runs on the new version
)

// SteerRollout does something to a channel's newest rollout. What is so already is no error and changes nothing. Value:
// *proto.Rollout. Errors: NotFound without a rollout; Conflict when it has ended otherwise, or when Number is given and
// it is another one.
type SteerRollout struct {
	Channel string
	Number  uint32 // of the rollout that is meant; 0: the newest, whichever it is
	Action  RolloutAction
	Reason  string // for people; may be empty
	By      string
}

// ArchiveRuns forgets ended runs that lie in the archive. Value: the IDs of those that were forgotten, []string; unknown
// ones and ones that something is still to be done for are left out.
type ArchiveRuns struct{ Runs []string }

// ForgetFramework gives up a framework ID that Mesos has removed: what ran under it is taken for lost, and the next
// subscription registers anew. Value: ForgottenFramework. Only an operator asks for it, never the scheduler itself.
type ForgetFramework struct{}

// ForgottenFramework says what was given up.
type ForgottenFramework struct {
	ID       string
	Attempts []ForgottenAttempt // that had not ended as far as known
}

// ForgottenAttempt may still run on its agent, although nothing hears of it any more.
type ForgottenAttempt struct{ MesosID, AgentID, Host, ExecutorID string }

func (CheckSpec) command()       {}
func (ArchiveRuns) command()     {}
func (ForgetFramework) command() {}
func (PutJob) command()          {}
func (DeleteJob) command()       {}
func (StartRun) command()        {}
func (CancelRun) command()       {}
func (MoveRun) command()         {}
func (RegisterVersion) command() {}
func (DeleteVersion) command()   {}
func (SetChannel) command()      {}
func (DeleteChannel) command()   {}
func (SteerRollout) command()    {}
