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
}

// Artifact is the executor's file for one platform.
type Artifact struct {
	OS       string   `json:"os" example:"linux"`
	Arch     string   `json:"arch" example:"amd64"`
	SHA256   string   `json:"sha256"`
	Size     int64    `json:"size" doc:"Bytes"`
	Protocol Protocol `json:"protocol" doc:"Protocol versions that it speaks"`
	Kinds    []string `json:"kinds" doc:"Kinds of jobs that it runs"`
	Features []string `json:"features"`
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
}

// SetChannel is the body of PUT /v1/channels/{name}.
type SetChannel struct {
	Version string `json:"version" minLength:"1" maxLength:"64" doc:"A registered executor version"`
}
