// Package wire has the shapes of the HTTP API as plain structs: what api answers, what api/client reads, and what
// /openapi.json describes. Their tags are the only source of all three.
//
// Times are RFC 3339 in UTC, sizes are bytes, durations are seconds. What is not known yet is left out: a run that has
// not ended has no "ended". Lists are never null.
package wire
