// Package task is the vocabulary between a task process and the kind of work it does: what a stage is given ([Work]),
// how it is called ([Kind]), and how it says why it failed ([Failure]) or that it goes on elsewhere ([ErrHandedOver]).
//
// Package executor runs each task in a process of its own, which calls the Kind once and reports what it returns.
// The packages executor/aggregate, … implement Kind and import this package, never executor.
package task
