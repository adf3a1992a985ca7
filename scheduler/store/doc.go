// Package store keeps the scheduler's records so that they outlive it.
//
// A record is a key (kind and ID, both without meaning here) and a value. [Store] is the interface, [File] its
// implementation in one embedded database file; storetest has the conformance tests that every implementation passes.
//
// [Large] keeps the large values of a store with small nodes in object storage.
//
// Only scheduler/loop calls it: Load once when it begins, then Commit from one goroutine. A failed Commit means that
// nobody knows what is stored: the caller gives up leadership, and whoever leads next loads what is there.
package store
