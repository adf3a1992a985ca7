// Package endtoend tests the real binaries together, each in its own process: `tidemill serve`, Mesos agents that are
// killed and come back, executors and their task processes; and three schedulers with a real ZooKeeper and two Mesos
// masters, of which everything is killed, stopped and cut off while runs are started all the time, and what operators do
// to them. An executor of the protocol version before today's, kept as an archive of sources by dev/snapshot, is built and
// runs beside today's. Rollouts go through `tidemill-dev up` over HTTP, by the page docs/versions-side-by-side.md whose
// commands are run, and on while the scheduler that leads is killed around each of their steps; their runs are of
// dev/endtoend/shortrun, which takes no time. It has tests only, behind the build tag endtoend:
//
//	go test -tags=endtoend ./dev/endtoend/             ten faults of each sort, ten rounds of high availability, some rollouts
//	go test -tags=endtoend ./dev/endtoend/ -args -soak a hundred of each, two hundred rounds, 280 rollouts
//	go test -tags=endtoend ./dev/endtoend/ -args -seed 42
//
// Without Java the tests of high availability are skipped; with CI set in the environment they fail. The seed of the
// random moments is printed; the processes' logs are printed when a test fails.
package endtoend
