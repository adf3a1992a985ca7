package wire

import (
	"encoding/json"
	"time"
)

// Job is a job with one revision of its spec, the newest unless asked otherwise.
type Job struct {
	Name     string          `json:"name" doc:"Unique; 1 to 63 of a-z 0-9 - _ ."`
	Kind     string          `json:"kind" doc:"What kind of job it is" example:"aggregate"`
	Revision uint32          `json:"revision,omitempty" doc:"The spec's number, from 1; absent after a dry run"`
	Spec     json.RawMessage `json:"spec" doc:"The spec as it was sent"`
	Checks   string          `json:"checks" enum:"pending,passed,failed" doc:"What an executor said of the spec's expressions"`
	Problems []Problem       `json:"problems,omitempty" doc:"What is wrong, when checks failed"`
	Warnings []string        `json:"warnings,omitempty" doc:"What will work only when something changes outside"`
	Created  *time.Time      `json:"created,omitempty" doc:"When the job was first stored"`
	Updated  *time.Time      `json:"updated,omitempty" doc:"When the newest revision was stored"`
	By       string          `json:"by,omitempty" doc:"Who submitted the revision"`
}

// Revision is one immutable spec of a job.
type Revision struct {
	Job      string          `json:"job"`
	Number   uint32          `json:"number" doc:"From 1"`
	Kind     string          `json:"kind"`
	Spec     json.RawMessage `json:"spec" doc:"The spec as it was sent"`
	Checks   string          `json:"checks" enum:"pending,passed,failed"`
	Problems []Problem       `json:"problems,omitempty"`
	Created  time.Time       `json:"created"`
	By       string          `json:"by,omitempty" doc:"Who submitted it"`
}

// Problem is one thing wrong with a request or a spec.
type Problem struct {
	Pointer   string `json:"pointer" doc:"JSON Pointer into the body; empty: the body as a whole, or no part of it"`
	Parameter string `json:"parameter,omitempty" doc:"The query parameter, header or part of the path that is wrong, instead of the body"`
	Detail    string `json:"detail" doc:"What is wrong, in a sentence"`
}

// List is one page of something.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one"`
	// Incomplete is only ever set on lists of runs.
	Incomplete string `json:"incomplete,omitempty" doc:"What is missing and why, when not all of the list can be read now"`
}
