// Package master is the master of dev/mesos: the v1 scheduler API, offers, task
// states, reconciliation, the operators' views and the page. Its agents are those
// of package agent, which talk to it over a small HTTP protocol of our own.
//
// Its words are those of Mesos: a framework is a scheduler's registration, which
// outlives its connections by the failover timeout; an offer is what an agent has
// free, held for one framework in one role until it is accepted, declined or
// rescinded; an inverse offer asks a framework to leave a machine before its
// maintenance; a task is known until its terminal update has been acknowledged; an
// agent that was silent for too long is unreachable, with its tasks, until it
// registers again. A term is the time from an election to the loss of the lead.
//
// The caller makes a master with New, which opens its port, and lets Run serve it
// until the context ends. Without an Election it leads at once; with one it says where
// the leader is (307, or 503 if there is none) until it is elected, and forgets all
// when it loses, as a real master ends then and is started again. From one term to the
// next only the registry is kept: agents and what operators ordered. Agents tell their
// tasks when they register again; until an agent that the registry knows has done so,
// nothing is said of its tasks.
//
// What it does not do, and answers so: quota, weights, task groups, feedback on
// operations.
package master
