// Package master is the master of dev/mesos: the v1 scheduler API, offers, task
// states, reconciliation, the operators' views and the page. Its agents are those
// of package agent, which talk to it over a small HTTP protocol of our own.
//
// Its words are those of Mesos: a framework is a scheduler's registration, which
// outlives its connections by the failover timeout; an offer is what an agent has
// free, held for one framework in one role until it is accepted, declined or
// rescinded; a task is known until its terminal update has been acknowledged; an
// agent that was silent for too long is unreachable, with its tasks, until it
// registers again.
//
// The caller makes a master with New, which opens its port, and lets Run serve it
// until the context ends. A master stores nothing: started again, it is a new one,
// and agents and schedulers that come back with their IDs are taken as they are.
//
// What it does not do, and answers so: reservations, volumes, quota, maintenance,
// draining, task groups.
package master
