package wire

import "time"

// Executor is an executor version and what uses it.
type Executor struct {
	Version    string     `json:"version"`
	Registered time.Time  `json:"registered"`
	Artifacts  []Artifact `json:"artifacts" doc:"One for each platform"`
	Channels   []string   `json:"channels" doc:"Channels that point at it"`
	Runs       int        `json:"runs" doc:"Runs on it that have not ended"`
	Tasks      int        `json:"tasks" doc:"Tasks on it that are launched and have not ended"`
	Running    []string   `json:"running,omitempty" doc:"IDs of the runs, newest first, at most 100; not in lists"`

	RegisteredBy string     `json:"registered_by,omitempty" doc:"Who registered its first file"`
	Jobs         []string   `json:"jobs" doc:"Jobs that pin it"`
	Rollouts     []string   `json:"rollouts" doc:"Channels with a rollout from or to it that has not ended"`
	KeptBy       []string   `json:"kept_by" doc:"What keeps it from being deleted; empty: nothing does"`
	Succeeded    int64      `json:"succeeded" doc:"Runs on it that succeeded, ever"`
	Failed       int64      `json:"failed" doc:"Runs on it that failed, ever"`
	FailureRatio *float64   `json:"failure_ratio,omitempty" doc:"Of failed runs to those that succeeded or failed; absent before the first"`
	FirstUsed    *time.Time `json:"first_used,omitempty" doc:"When a run was first started on it"`
	LastUsed     *time.Time `json:"last_used,omitempty" doc:"When a run was last started on it, or ended"`
}

// Artifact is the executor's file for one platform.
type Artifact struct {
	OS       string   `json:"os" example:"linux"`
	Arch     string   `json:"arch" example:"amd64"`
	SHA256   string   `json:"sha256"`
	Size     int64    `json:"size" doc:"Bytes"`
	Protocol Protocol `json:"protocol" doc:"Protocol versions that it speaks"`
	Kinds    []string `json:"kinds" doc:"Kinds of jobs that it runs"`
	Features []string `json:"features" doc:"What a spec may have for it, as names such as aggregate.input.compression.zstd. An executor that names nothing of a kind has what the kind had at first"`

	RegisteredBy string `json:"registered_by,omitempty" doc:"Who registered it"`
	SignedBy     string `json:"signed_by,omitempty" doc:"The key whose signature was verified; absent: none was"`
}

// Protocol is a range of protocol versions, both ends included.
type Protocol struct {
	Min uint32 `json:"min"`
	Max uint32 `json:"max"`
}

// Channel is a name that points at an executor version.
type Channel struct {
	Name    string    `json:"name" example:"stable"`
	Version string    `json:"version"`
	Updated time.Time `json:"updated"`

	UpdatedBy string        `json:"updated_by,omitempty" doc:"Who moved it last"`
	Previous  string        `json:"previous,omitempty" doc:"The version that it pointed at before"`
	Rollout   *Rollout      `json:"rollout,omitempty" doc:"Its newest rollout, also when it has ended"`
	Moves     []ChannelMove `json:"moves,omitempty" doc:"What it pointed at, newest first; not in lists"`
}

// ChannelMove is one change of what a channel points at.
type ChannelMove struct {
	At      time.Time `json:"at"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to"`
	By      string    `json:"by,omitempty"`
	Rollout uint32    `json:"rollout,omitempty" doc:"The number of the rollout that ended so; absent: it was moved at once"`
}

// SetChannel is the body of PUT /v1/channels/{name}.
type SetChannel struct {
	Version           string       `json:"version" minLength:"1" maxLength:"64" doc:"A registered executor version" example:"1.5.0"`
	Rollout           *RolloutPlan `json:"rollout,omitempty" doc:"Move by steps instead of at once"`
	AllowIncompatible bool         `json:"allow_incompatible,omitempty" doc:"Move also when jobs that follow the channel need what the version does not have"`
	Again             bool         `json:"again,omitempty" doc:"Also when the last rollout has taken this version back"`
}

// RolloutPlan says how a rollout goes. What is zero is left out, and has its default.
type RolloutPlan struct {
	Steps            []int    `json:"steps,omitempty" minItems:"1" maxItems:"20" minimum:"1" maximum:"100" doc:"Shares of runs on the new version in percent, increasing; [10, 50, 100] if missing" example:"[10,50,100]"`
	Interval         string   `json:"interval,omitempty" minLength:"1" maxLength:"40" doc:"The least duration of a step, above zero and at most 720h; 30m if missing. With 1ms only the runs count" example:"30m"`
	MinRuns          int      `json:"min_runs,omitempty" minimum:"1" maximum:"1000000" doc:"How many runs on the new version must have ended in a step before it is left; 20 if missing" example:"20"`
	MaxFailureRatio  float64  `json:"max_failure_ratio,omitempty" exclusiveMinimum:"0" doc:"It goes back when the new version fails more than so many times as often as the old one; 1 to 1000, 1.5 if missing" example:"1.5"`
	MaxDurationRatio float64  `json:"max_duration_ratio,omitempty" exclusiveMinimum:"0" doc:"It pauses when runs on the new version take more than so many times as long; 1 to 1000, not looked at if missing" example:"2"`
	MinRateRatio     float64  `json:"min_rate_ratio,omitempty" exclusiveMinimum:"0" doc:"It pauses when runs on the new version read less than this share of the old one's rows a second; above 0 and at most 1, not looked at if missing" example:"0.5"`
	Jobs             []string `json:"jobs,omitempty" minItems:"1" maxItems:"1000" minLength:"1" maxLength:"100" doc:"Names, or patterns with *, of jobs that take part; all that follow the channel if missing" example:"[\"flights-*\"]"`
}

// Rollout moves a channel from one version to another by steps.
type Rollout struct {
	Channel string         `json:"channel"`
	Number  uint32         `json:"number" doc:"From 1, of the channel"`
	From    string         `json:"from"`
	To      string         `json:"to"`
	State   string         `json:"state" enum:"running,paused,promoted,taken_back,aborted" doc:"taken_back: by itself, because the new version did worse; aborted: by hand"`
	Reason  string         `json:"reason" doc:"Why it is in that state"`
	Step    int            `json:"step" doc:"The step that it is in, from 1"`
	Share   int            `json:"share" doc:"Percent of the runs that are started on the new version now"`
	Runs    int            `json:"runs" doc:"On the new version, started in this step and ended"`
	Waiting string         `json:"waiting,omitempty" doc:"What it waits for before the next step"`
	Until   *time.Time     `json:"until,omitempty" doc:"The earliest moment of the next step, while it runs"`
	Plan    RolloutPlan    `json:"plan" doc:"With defaults filled in"`
	By      string         `json:"by,omitempty" doc:"Who began it"`
	Created time.Time      `json:"created"`
	Ended   *time.Time     `json:"ended,omitempty"`
	Old     Sample         `json:"old,omitzero" doc:"Runs on the old version, of jobs that take part; absent if there are none, and for all but the newest rollout"`
	New     Sample         `json:"new,omitzero" doc:"Runs on the new version; absent as old is"`
	Jobs    []RolloutJob   `json:"jobs,omitempty" doc:"The same by job, for the newest rollout; not in lists"`
	Events  []RolloutEvent `json:"events,omitempty" doc:"What happened, oldest first, at most 100; not in lists of channels"`
}

// Sample is how runs on one version went; cancelled ones do not count.
type Sample struct {
	Runs          int      `json:"runs" doc:"That succeeded or failed"`
	Failed        int      `json:"failed"`
	Seconds       *float64 `json:"seconds,omitempty" doc:"Geometric mean of the duration of those that succeeded; by job only"`
	RowsPerSecond *float64 `json:"rows_per_second,omitempty" doc:"Geometric mean; by job only"`
}

// RolloutJob compares the runs of one job.
type RolloutJob struct {
	Job string `json:"job"`
	Old Sample `json:"old"`
	New Sample `json:"new"`
}

// RolloutEvent is something that happened to a rollout.
type RolloutEvent struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event" enum:"started,step,paused,resumed,promoted,taken_back,aborted"`
	Step   int       `json:"step" doc:"The step that it was in afterwards, from 1"`
	By     string    `json:"by,omitempty" doc:"Absent: by itself"`
	Reason string    `json:"reason,omitempty"`
}

// SteerRollout is the body of POST /v1/channels/{name}/rollout/{action}; it may be missing.
type SteerRollout struct {
	Rollout uint32 `json:"rollout,omitempty" doc:"The number of the rollout that is meant, as a precaution; the newest if missing"`
	Reason  string `json:"reason,omitempty" maxLength:"500" doc:"Why, for people"`
}
