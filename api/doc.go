// Package api is the scheduler's HTTP face: the JSON API with its OpenAPI description, problem answers, event streams,
// task logs, the artefacts that agents fetch, probes, and the dashboard.
//
// It decides nothing. Reads are answered from the immutable [scheduler.View]; writes become one of the scheduler's
// commands. The shapes of requests and answers are in api/wire, the Go client in api/client, the page in api/dashboard,
// and where task logs come from in api/logs.
//
// Of several instances that share a store ([Peers]) one leads. The others answer reads from a view that they follow the
// store with, and pass writes on to the leader, once: a request that comes from a peer is never passed on again.
//
// The caller (the service's wiring) must
//
//  1. build a [Handler] with [New] once the scheduler answers View;
//  2. serve it with the http.Server that [Handler.Server] returns, whose limits it relies on, or with the same limits;
//  3. give it an access.Access that needs tokens before it listens beyond loopback, and an audit.Log that lasts.
package api
