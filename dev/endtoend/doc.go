// Package endtoend tests the real binaries together, each in its own process: `tidemill serve`, Mesos agents that are
// killed and come back, executors and their task processes. It has tests only, behind the build tag endtoend:
//
//	go test -tags=endtoend ./dev/endtoend/             ten faults of each sort
//	go test -tags=endtoend ./dev/endtoend/ -args -soak a hundred of each
//	go test -tags=endtoend ./dev/endtoend/ -args -seed 42
//
// The seed of the random moments is printed; the processes' logs are printed when a test fails.
package endtoend
