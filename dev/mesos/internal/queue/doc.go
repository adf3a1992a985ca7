// Package queue is an unbounded queue between goroutines: whoever puts never
// blocks, whoever takes gets all that is there.
package queue
