// Package access says who sends a request and what he may do.
//
// Words: a token is a secret that a request carries; an [Actor] is who it belongs to, with a name that records and the
// audit log show; a [Role] is what actors may do. Tokens stand in a file, hashed ([Parse] has its form), which is read
// again when it changes; beside it there may be one token of the configuration, whose actor is called "token" and is an
// admin. When neither is configured everybody is the admin "anonymous": the caller then lets nobody in but this machine.
//
//	viewer     reads everything but the export of the store
//	submitter  submits, starts, cancels and deletes jobs; of some names or Mesos roles only, if the token says so
//	deployer   registers executor versions and moves channels
//	admin      everything
//
// Submitter and deployer are viewers, too; neither is the other. The caller (api's middleware) asks [Access.Identify]
// for each request, holds [Actor.Has] against the role of the operation, [Actor.Permit] against the job that it is about,
// and takes one from [Access.Limit] for each submission.
package access
