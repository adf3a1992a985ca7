// Package aggregate is the kind "aggregate": its section of the spec and its stage graph.
//
// A run plans (lists the input, fixes column types, cuts it into splits), maps (partial aggregates of each split,
// partitioned by hash of the group key), reduces (merges partitions) and commits (manifest, then _latest.json).
// A run of one split is one task: the plan stage does everything. A run with one reduce task commits in it.
//
//	plan ──one split──────────────▶ done
//	  └─▶ map × splits ─▶ reduce × 1 ─▶ done
//	                   └▶ reduce × n ─▶ commit ─▶ done
//
// [Section] is what the spec says, [Kind] reads it and follows the graph; the stages' messages are in
// proto/aggregate.proto. The package is pure; executor/aggregate does the work, and uses [Input.Matches] for what
// belongs to an input, so that what was checked here is what is read there.
//
// The SQL in a section is only measured here, not understood: an executor of the version that will run it checks what
// [Section.Expressions] lists.
package aggregate
