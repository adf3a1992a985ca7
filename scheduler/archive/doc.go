// Package archive keeps ended runs in object storage, so that the scheduler's store holds live work only.
//
// For each day (UTC, of the runs' creation) there is a folder with pairs of files, both JSON lines, compressed:
//
//	archive/2026-11-23/<name>.runs.jsonl.gz     one line a run, with the sums of its stages
//	archive/2026-11-23/<name>.details.jsonl.gz  for each run a line with its spec, then one for each task that was launched
//
// zcat reads them. Every line has a "version". A pair never changes and its name is never used again, so that two that
// write at one time are harmless. The details come first: a run that can be seen is complete. A run may be in several
// pairs (a writer died, another took over); readers take it once. What only the kinds understand, the inputs and outputs
// of tasks, is not kept. Details without a runs file are what a dead writer has left, and cost space only.
//
// In the details, each line with a spec and each thousand lines of tasks are a gzip member of their own, and the run's
// line says where they are: a page of a run of 100,000 tasks needs one range of the file.
//
// [Archiver] moves runs: it writes those that have settled, and only when they are in the archive tells the scheduler to
// forget them. It also joins the small files of days that are over ([Archive.Compact]): the new pair first, then the old
// ones go. [Archive] reads, on any instance. It keeps what it has read of runs files in memory, up to a bound.
//
// The words: a run's line is its summary; a pair is broken if it cannot be read to its end. Others stay readable then.
//
// Callers: cmd/internal/service runs one Archiver while it leads; api reads.
package archive
