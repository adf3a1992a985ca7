// Package input reads the objects of an aggregation's input: it lists them, cuts them into splits, and feeds a split to
// the engine as one plain stream of rows.
//
// A file is one object in the version that the plan saw; a segment is a range of a file; a split is what one map task
// reads: consecutive segments in the order of the listing. Compressed files, and CSV files whose fields may hold line
// breaks, are never cut. A row belongs to the segment in which its first byte lies.
//
// The stream of a split has no headers and no byte order marks, every row ends in a line feed, and line breaks inside
// quoted fields are left alone, so that files of different makes follow one another as if they were one.
//
// What goes wrong with data is a *task.Failure that names the object and, where it is known, the line. Errors of storage
// come through as they are, but for one: an object that changed since the plan is named as such.
package input
