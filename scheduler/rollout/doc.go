// Package rollout is how a channel moves from one executor version to another by steps: which runs go to the new version,
// when the next step is due, and what the runs so far say. It is pure: time comes in, and what it decides is in the
// record that it changes. scheduler calls it, stores the records, and carries out what they say.
//
// # Words
//
// A rollout has a plan: shares in percent, which are its steps, and what a step needs before it is left. It is open while
// it runs or is paused. The old version is the one that it moves from, to which the channel points until the rollout is
// promoted; the new version is the one that it moves to. A run of a job that takes part goes to the new version if it
// lies in the share (see [Slot]). A tally is what was seen of one job: a sample of runs on either version.
//
// # Steering
//
// People pause, resume, promote and abort. A paused rollout keeps its share, and the time of its step stands still. If it
// has paused by itself, resuming begins the step anew: with what is known it would pause again at once. For the step count
// runs that were started on the new version since the step began, or since the rollout was last resumed.
package rollout
