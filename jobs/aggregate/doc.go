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
// The package is pure; executor/aggregate does the work.
package aggregate
