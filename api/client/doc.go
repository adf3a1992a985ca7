// Package client calls the HTTP API from Go: the command line, tests, and programs that submit jobs. It knows the
// shapes of api/wire and nothing else of tidemill.
//
// Calls that can be repeated without harm are repeated when the server cannot be reached or is not ready; a run is
// started with an idempotency key for that. An answer that refuses is a *[wire.Error], to be found with errors.As;
// a server that cannot be reached matches [ErrUnreachable].
package client
