// Package mesos is a real little Mesos on loopback: a master (package master) and
// agents (package agent) that speak the v1 HTTP API of Mesos, start real executor
// processes, and answer as a recorded Mesos 1.12 did. The demo runs on it, and tests
// use it where they would need a Mesos.
//
// StartCluster starts a master and agents inside the calling process; Close ends them
// and every process that they started:
//
//	cluster, err := mesos.StartCluster(mesos.ClusterConfig{Agents: 2})
//	if err != nil { … }
//	defer cluster.Close()
//	subscribe(cluster.URL() + "/api/v1/scheduler")
//
// RunMaster and RunAgent are the same as processes of their own, with flags: an agent
// that is to be killed with -9 while its executors live on must be one.
//
// A hook (package hook) in the configuration of master or agents sees each call and
// each event and may drop, delay, repeat or refuse it, or break the connection.
//
// # What it does
//
// Scheduler API, in JSON and protobuf: SUBSCRIBE, TEARDOWN, ACCEPT with LAUNCH,
// DECLINE, REVIVE, SUPPRESS, KILL, SHUTDOWN, ACKNOWLEDGE, RECONCILE, MESSAGE,
// UPDATE_FRAMEWORK. Executor API: all of it but task groups. Operator API: the reads
// that people use, and MARK_AGENT_GONE. Files of sandboxes, and a page at the master.
//
// # What it does not do
//
// Reservations, volumes, quota, weights, maintenance, draining, task groups, the
// default executor, containers other than sessions of processes, CPU limits, several
// masters. Schedulers that ask for it get an answer that says so.
package mesos
