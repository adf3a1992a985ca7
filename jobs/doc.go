// Package jobs says what a job, run, task and attempt are: the spec and its validation, states and transitions,
// names, failure classes. It is pure: no I/O, no clock, no goroutine, and it imports nothing of ours but proto.
//
// A job is a named spec with numbered revisions; a run is one execution of a revision; a stage is a step of a run
// (plan, map, reduce, commit, …); a task is one unit that Mesos launches; an attempt is one try of a task.
//
// [Decode] reads a spec and finds everything wrong with it that can be found without an executor. The struct tags of
// [Spec] and of each kind's section are the one description of a spec: the decoder, what is shown of a spec
// ([Spec.MarshalJSON]), the comparison of two ([Equal]) and the JSON Schema ([Schema]) are made of them.
// So are the features that executor versions may have and specs may need ([Features], [Spec.Needs]).
// [FromYAML] is for people who write specs in YAML.
//
// A kind (aggregate, …) brings its own section of the spec and its stage graph; see [Kind]. Kinds live in packages
// below this one and are registered in jobs/kinds.
//
// Callers: api decodes specs and answers their problems, scheduler runs stage graphs and makes names, executor decodes
// the spec that a task carries, cmd/tidemill validates specs offline. They treat a Spec as immutable, and decode specs
// with all kinds that they know: a spec that was stored by a build with more kinds has problems.
package jobs
