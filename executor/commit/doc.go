// Package commit makes a run's result visible, once, however many attempts try and whatever dies meanwhile.
//
// Its objects, below the job's output prefix:
//
//	data/<run>/<attempt>/part-00000.parquet   files of one attempt, invisible by themselves
//	data/<run>/_manifest.json                 the commit point: created once, never replaced
//	_latest.json                              the newest results, newest first
//
// The protocol:
//
//  1. An attempt writes its files below its own prefix and creates the manifest (If-None-Match). The manifest names run
//     and attempt, so its bytes name their writer. Whoever finds another manifest there has lost, and the result is the
//     one that the manifest names; whoever finds a tombstone, a manifest with "cancelled", must give up.
//  2. It enters the run into _latest.json (If-Match), which is in the order in which runs were created: a run never
//     replaces a later one. An attempt that lost does this, too: the winner may have died in between.
//  3. It tidies up: results beyond the newest three go, with their logs; and what attempts left that never won.
//
// Cancel is the same race from the other side: it creates a tombstone at the commit point. Only the conditional write
// decides which of the two came first. Tombstones stay for two weeks, much longer than any attempt lives.
//
// Callers give stores that settle conditional writes whose answer was lost (storage.WithRetry); a write that ends in
// storage.ErrUnavailable nevertheless is settled here by reading back, and if that fails, too, the attempt fails and
// the next one finds out. All steps may be repeated.
package commit
