// Package jobs says what a job, run, task and attempt are: the spec and its validation, states and transitions,
// names, failure classes. It is pure: no I/O, no clock, no goroutine, and it imports nothing of ours but proto.
//
// A job is a named spec with numbered revisions; a run is one execution of a revision; a stage is a step of a run
// (plan, map, reduce, commit, …); a task is one unit that Mesos launches; an attempt is one try of a task.
//
// A kind (aggregate, …) brings its own section of the spec and its stage graph; see [Kind]. Kinds live in packages
// below this one and are registered in jobs/kinds.
//
// Callers: api decodes specs and answers their problems, scheduler runs stage graphs, executor decodes the spec
// that a task carries.
package jobs
