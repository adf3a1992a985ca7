// Package store keeps the scheduler's records so that they outlive it.
//
// A record is a key (kind and ID, both without meaning here) and a value. [Store] is the interface; storetest has the
// conformance tests that every implementation passes:
//
//   - [File], one embedded database file, for a scheduler that is alone;
//   - [Leader], for several schedulers that share a ZooKeeper ensemble. Whoever holds the lease calls [ZooKeeper.Lead],
//     after which no write of a leader before can succeed; the others read with a [Follower] what it commits.
//
// [Large] keeps the large values of a store with small nodes in object storage.
//
// Who follows does not disturb who leads: a snapshot is read without a lock, and is what one commit left all the same.
//
// Only scheduler/loop calls a Store: Load once when it begins, then Commit from one goroutine. A failed Commit means that
// nobody knows what is stored: the caller gives up leadership, and whoever leads next loads what is there.
package store
