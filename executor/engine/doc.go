// Package engine is DuckDB as one task uses it: one in-process session on an in-memory database that spills into the
// task's scratch directory, within the memory, disk and threads that the task was given.
//
// By the time [Open] returns, the session can reach no file outside that directory, loads no extension, runs in UTC,
// and its configuration is locked: SQL that users wrote runs under the same locks as ours.
//
// A Session is for one goroutine. Whoever opens one closes it. Errors are [*Error]: short texts without the engine's
// advice and without paths; callers say which object, column or expression they concern.
package engine
