package scheduler

import (
	"time"

	"github.com/tidemill/tidemill/jobs"
)

// Config is what the Core is told once.
type Config struct {
	Kinds jobs.Kinds
	Roles []string // that jobs may use, at least one; the first is that of checks and of specs that name none

	ExecutorCPUs    float64       // an executor's own, beside its tasks'; at least 0.01
	ExecutorMemory  int64         // bytes; at least 32 MiB
	Linger          time.Duration // an executor stays so long after its last task
	ProgressEvery   time.Duration
	StallAfter      time.Duration // silence of an executor after which its running tasks are replaced
	LaunchTimeout   time.Duration // a task that has not been heard of since its launch is asked about, then replaced
	ReconcileEvery  time.Duration // between two questions for everything that Mesos knows
	UnreachableWait time.Duration // before an unreachable task is replaced
	Refuse          time.Duration // filter of declined offers
	KillGrace       time.Duration // between graceful and hard kill of a task process
	KillRepeat      time.Duration // between repeated kill calls
	FreeRetries     int           // attempts a task may lose through no fault of the job
	ConnectionsFile string        // path on the agents, handed to executors
	SecondAttempts  bool          // whether tasks that lag far behind their siblings get a second attempt
	KeepVersions    int           // so many executor versions, the newest, stay however long they were not used
	KeepVersionsFor time.Duration // others go so long after their last use, unless something keeps them; 0: none goes
	ArtifactURL     string        // base URL under which agents fetch artefacts; stable, whoever leads

	// ExecutorInfo marshals a mesos.ExecutorInfo. Pure: the same plan gives the same bytes.
	ExecutorInfo func(ExecutorPlan) []byte
}

// ExecutorPlan says what an executor process is to be.
type ExecutorPlan struct {
	ID            string
	Name          string // for people
	FrameworkID   string
	Role          string
	Version       string
	URL           string // of the artefact
	SHA256        string // lower-case hex; the launch command verifies it before it executes the file
	CPUs          float64
	Memory        int64  // bytes
	Data          []byte // proto.ExecutorData
	Labels        [][2]string
	ShutdownGrace time.Duration
}

// Defaults are values for everything but Kinds and the URLs.
func Defaults() Config {
	return Config{
		Roles:           []string{"tidemill"},
		ExecutorCPUs:    0.1,
		ExecutorMemory:  64 << 20,
		Linger:          30 * time.Second,
		ProgressEvery:   time.Second,
		StallAfter:      30 * time.Second,
		LaunchTimeout:   2 * time.Minute,
		ReconcileEvery:  15 * time.Minute,
		UnreachableWait: time.Minute,
		Refuse:          time.Hour,
		KillGrace:       5 * time.Second,
		KillRepeat:      5 * time.Second,
		FreeRetries:     10,
		SecondAttempts:  true,
		KeepVersions:    20,
		KeepVersionsFor: 90 * 24 * time.Hour,
	}
}
