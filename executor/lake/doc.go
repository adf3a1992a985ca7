// Package lake is what tasks of all kinds that read files and publish a result have in common: they reach the places that
// a spec names, say in its terms what went wrong there and in the engine, report how far they are, and publish through
// package commit.
//
// Whoever calls it does one stage of a run. The errors are a *task.Failure where their class is known.
package lake
