// Command tidemill-dev is the whole platform on one machine: `demo` shows it at work and leaves nothing behind, `up`
// leaves it running. It also has the pieces alone, for tests: `build-executor`, `mesos-master`, `mesos-agent`.
package main
