// Package result reads what a run made visible, through its manifest, into a small table of text: for the demo, which
// prints it, and for tests, which compare it. It has no engine: Parquet is read with parquet-go.
//
// It is for results of a size that a person would look at; everything is held in memory.
package result
