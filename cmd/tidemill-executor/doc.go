// Command tidemill-executor is what Mesos agents start to run the tasks of jobs, once for each run and agent; it starts
// itself again as task processes. It takes no configuration of its own: everything comes from the agent. Build it
// with `make executor VERSION=…`, which stamps the version in.
package main
