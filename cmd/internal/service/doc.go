// Package service wires the scheduler service together from its configuration: store, lease, core and loop, the connection
// to Mesos, artefacts, archive, metrics and the API.
//
// cmd/tidemill serve runs it with what file, environment and flags say; the development platform runs it inside its own
// process. [Run] blocks until its context ends, and never tears the framework down: tasks go on without a scheduler, and
// the next one takes them up.
//
// Words. An instance is a service that runs. It takes part in the election: while it has the lease (a term), it takes the
// store over and leads; otherwise it stands by, follows the store when somebody reads, and passes writes on to whoever
// leads. What ends a term makes the instance a standby again, in the same process, unless it would end the next one, too.
//
// [Export], [Import], [ShowFramework], [ForgetFramework] and [Teardown] are what an operator does with the same
// configuration while no scheduler leads.
package service
