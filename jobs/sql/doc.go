// Package sql is the kind "sql": one statement over named tables, its section of the spec and its stage graph.
//
// A run is one task with all that the spec asks for: it lists and reads the tables, runs the statement and commits the
// result (manifest, then _latest.json), as kind aggregate does.
//
//	query ─▶ done
//
// [Section] is what the spec says, [Kind] reads it and follows the graph; the stage's messages are in proto/sql.proto.
// The package is pure; executor/sql does the work. The statement is not understood here: an executor of the version that
// will run it checks it, together with the names of the tables: see [Check].
package sql
