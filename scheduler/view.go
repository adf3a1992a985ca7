package scheduler

import (
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

// Identity is as whom the scheduler is subscribed. It has to come back with it: without the ID everything that runs
// would be orphaned.
type Identity struct {
	ID   string // empty before the very first subscription
	Info []byte // mesos.FrameworkInfo that Mesos accepted last, marshalled, without its ID; empty if that is not known
}

// View is an immutable picture of the Core's state, for the API, the dashboard and metrics.
// Nothing reachable from it may be changed.
type View struct {
	Sequence  uint64 // grows with every change
	At        time.Time
	Framework Identity
	Roles     []string // to be subscribed with; see Core.Roles
	// FrameworkProblem says why Mesos refused to change the framework to what is configured; empty if it did not.
	FrameworkProblem string
	Master           string // empty while not connected
	Leading          bool

	Jobs     map[string]*JobView // without deleted ones
	Runs     map[string]*RunView
	Versions map[string]*VersionView
	Channels map[string]*proto.Channel
	Rollouts map[string]*RolloutView // by channel; without those that never had one
	Agents   map[string]*AgentView
	Checks   map[CheckKey]*CheckView
	Queue    Queue
}

// JobView is a job with its revisions, oldest first.
type JobView struct {
	Job       *proto.Job
	Revisions []*proto.Revision
}

// RunView is a run with its stages and tasks.
type RunView struct {
	Run      *proto.Run
	Revision *proto.Revision // that it executes, also when its job was deleted since
	Stages   []*StageView    // in order, as in Run
	Progress float64         // 0..1, never falls while the run lives
	Waiting  []Waiting       // why tasks wait, one entry for each shape
	Settled  bool            // it has ended and nothing is left to be done for it: it may go to the archive
}

// TaskView is a task with its newest progress.
type TaskView struct {
	Task     *proto.Task
	Progress *proto.TaskProgress // of the attempt that runs; nil if none was heard of
	Heard    time.Time
}

// Waiting explains pending tasks of one shape.
type Waiting struct {
	Stage      string
	Tasks      int
	Resources  jobs.Resources // of one task
	Since      time.Time
	NotBefore  time.Time      // back-off; zero if none
	Offers     int            // offers looked at for this shape
	TurnedDown map[string]int // how many for which reason
	Reason     string         // the main one, a sentence
	Reasons    []Turndown     // all, the most important first
}

// Turndown is one reason for which tasks wait.
type Turndown struct {
	Reason string // cpus, memory, disk, constraint and its attribute, maintenance, back-off, parallelism, …
	Offers int    // that were turned down for it; 0 if offers have nothing to do with it
	Of     int    // offers looked at
	Text   string // for people, as in "zone: 12 of 12 offers are in b"
}

// VersionView is an executor version and what uses it.
type VersionView struct {
	Version   *proto.ExecutorVersion
	Channels  []string
	Runs      int // that have not ended
	Tasks     int // launched and not ended
	Executors int // processes with such tasks

	Use      *proto.Use // never nil
	Pinned   []string   // jobs whose newest revision names it, sorted
	Rollouts []string   // channels with a rollout from or to it that has not ended, sorted
	KeptBy   []string   // all that keeps it from being deleted, each in a few words for people; empty: it may go
}

// RolloutView is a channel's newest rollout, and what is known of those before.
type RolloutView struct {
	Rollout *proto.Rollout
	Tallies []*proto.Tally   // by job, sorted
	Waiting string           // what it waits for before it takes the next step, a sentence; empty unless it runs
	Until   time.Time        // the earliest moment of the next step; zero unless it runs
	Earlier []*proto.Rollout // newest first
}

// AgentView is an agent as the latest offers and launches showed it.
type AgentView struct {
	ID, Host, URL string
	Attributes    map[string]string
	Most          jobs.Resources // the most that one offer of it had, each resource by itself
	Tasks         int
	Seen          time.Time
	BackOff       time.Time    // until when nothing is launched there because attempts kept failing; zero or past: it may
	Maintenance   *Maintenance // announced, or going on; nil: none is known
}

// Maintenance is when an agent will be away.
type Maintenance struct {
	Start time.Time
	End   time.Time // zero: for ever
}

// Satisfies says whether a constraint allows the agent.
func (a *AgentView) Satisfies(c *jobs.Constraint) bool { return satisfies(a.Attributes, c) }

// CheckKey names a check: executor version and a digest of the expressions.
type CheckKey string

// CheckView is the state of a check.
type CheckView struct {
	State    proto.CheckState
	Problems []jobs.Problem
	Version  string
}

// RoleQueue is the part of the queue that waits for one role's offers.
type RoleQueue struct {
	Role              string
	Pending, Launched int
	Suppressed        bool // Mesos sends it no offers, because nothing waits for them
}

// Queue sums up what waits.
type Queue struct {
	Pending       int
	Launched      int         // launching, starting or running
	Roles         []RoleQueue // sorted by role
	OldestPending time.Time   // since when the first of those that may be launched waits; zero if none may
}
