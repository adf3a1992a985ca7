// Command shortrun is an executor for tests and for trying out versions side by side: it runs the tasks of jobs of kind
// aggregate, does no work for them, and ends a run in its first stage. What Mesos, the scheduler and the executor do
// around the work is real: files are fetched, processes are started, updates are sent. It has no engine, so it is
// small and is built in seconds without a C compiler. How a build behaves is stamped into it, beside its version:
//
//	CGO_ENABLED=0 go build -o executor-1.5.0 -ldflags "-X main.fail=50 \
//		-X github.com/tidemill/tidemill/executor/describe.stamp=tidemill-executor-version:1.5.0;" ./dev/endtoend/shortrun
//
//	main.fail     percent of runs that fail, chosen by a hash of the run's ID: those of one build fail on another
//	              with the same percentage, too; none if missing
//	main.sleep    how long a run takes, such as 200ms; no time if missing
//	main.rows     how many rows a run says that it read; none if missing
//
// A run's parameter "sleep" is used in place of main.sleep, and its parameter "until" names a file on the agent: the run
// goes on until that is there. Results are named and not written.
package main
