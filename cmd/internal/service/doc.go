// Package service wires the scheduler service together from its configuration: store, core and loop, the connection to
// Mesos, artefacts, metrics and the API.
//
// cmd/tidemill serve runs it with what file, environment and flags say; the development platform runs it inside its own
// process. [Run] blocks until its context ends, and never tears the framework down: tasks go on without a scheduler, and
// the next one takes them up.
package service
