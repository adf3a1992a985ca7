// Command check runs what `make check` and `make test` stand for and says at the end, in one line, how many tests
// passed and failed:
//
//	go run ./dev/check           everything, as CI does
//	go run ./dev/check -quick    format, vet and the unit tests without the race detector
//
// It runs step after step, prints each step's name and duration, the output of those that fail, and each failed
// test's own output. It exits with 1 if anything failed. A step that is no Go test counts as one test.
package main
