// Package allocator decides who is offered what, as Mesos' hierarchical allocator
// does: each agent's free resources go as a whole to the role and framework with
// the smallest dominant share that has neither suppressed the role nor refused
// what there is. It is pure: no goroutine, no clock; time comes in with the call.
//
// Words: an agent's resources are free or held; what is held is held for one
// framework in one role, whether offered or in use. The caller grants itself
// nothing: everything held was given out by Allocate or told by Hold.
package allocator
