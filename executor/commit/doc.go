// Package commit makes a run's result visible, once, however many attempts try and whatever dies meanwhile.
//
// Its objects, below the job's output prefix:
//
//	data/<run>/<attempt>/part-00000.parquet   files of one attempt, invisible by themselves
//	data/<run>/_manifest.json                 the commit point: created once, never replaced
//	data/<run>/_manifest-after-<run>.json     the result of a run that builds on that of another
//	data/<run>/_entered.json                  the mark of such a run that is not kept any more
//	_latest.json                              the newest results, newest first
//
// The protocol:
//
//  1. An attempt writes its files below its own prefix and creates the commit point (If-None-Match). It names run and
//     attempt, so its bytes name their writer. Whoever finds another one there has lost, and what the run has written is
//     what that one names; whoever finds a tombstone, a manifest with "cancelled", must give up. From here on the run
//     will have a result, whoever dies; only its mode can keep it from that.
//  2. It enters the run into _latest.json (If-Match). An attempt that lost does this, too: the winner may have died in
//     between. What becomes of the result before is for the run's [Mode] to say: see [Output.Publish] and below.
//  3. It tidies up: what none of the newest three results names goes, with the logs of the runs; and what attempts left
//     that never won.
//
// The history of an output is the sequence of writes of _latest.json, each of which enters one run or refuses one:
//
//   - A run that replaces everything is entered where its creation puts it: it never replaces a later one.
//   - A run that builds on the result before is always entered behind it. Its manifest, made anew whenever another run
//     was faster, names the files of both; its name tells the two runs, so every attempt writes the same bytes there. Of
//     partitions that it replaces, it leaves those alone into which a later run has written.
//   - A run is entered once. One that is pushed out of the newest three leaves a mark first, so that an attempt that
//     wakes up late does not append it a second time. If it does not fit what it should build on, that is noted in
//     _latest.json, too, so that all attempts are told the same.
//
// Cancel is the same race from the other side: it creates a tombstone at the commit point. Only the conditional write
// decides which of the two came first. Tombstones and marks stay for two weeks, much longer than any attempt lives.
//
// Callers give stores that settle conditional writes whose answer was lost (storage.WithRetry); a write that ends in
// storage.ErrUnavailable nevertheless is settled here by reading back, and if that fails, too, the attempt fails and
// the next one finds out. All steps may be repeated. A store needs no more than Put with conditions, Get, List, Stat and
// Delete. docs/decisions/0014 says why it is done so.
package commit
