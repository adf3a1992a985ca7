// Package faults makes storage fail on purpose, so that tests can see what becomes of a reader or writer whose n-th
// call is refused, loses its answer, is cut short or is slow.
//
// Its words: a Call is one use of a store, with a label ("put", or "UploadPart" for S3), a key, and how many calls of
// that label there have been; a Script looks at a Call and returns a Fault, the zero Fault being none; an Injector asks
// the script before each call, does what it says and counts.
//
// The same Injector stands in two places: Store decorates a storage.Store in the process, below storage.WithRetry;
// Proxy is an HTTP handler between the processes of a test and an S3 server.
//
//	n := faults.New(faults.Nth("put", 3, faults.Fault{Effect: faults.Lose}))
//	s := storage.WithRetry(n.Store(below), storage.DefaultBackoff)
//
// For tests only: nothing that is built for users imports it.
package faults
