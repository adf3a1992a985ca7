// Package mesos is a real little Mesos on loopback: a master (package master) and
// agents (package agent) that speak the v1 HTTP API of Mesos, start real executor
// processes, and answer as a recorded Mesos 1.12 did. The demo runs on it, and tests
// use it where they would need a Mesos.
//
// StartCluster starts masters and agents inside the calling process; Close ends them
// and every process that they started:
//
//	cluster, err := mesos.StartCluster(mesos.ClusterConfig{Agents: 2})
//	if err != nil { … }
//	defer cluster.Close()
//	subscribe(cluster.URL() + "/api/v1/scheduler")
//
// RunMaster and RunAgent are the same as processes of their own, with flags: a master or
// an agent that is to be killed with -9 must be one. StartProcess starts it from a test.
//
// What goes wrong in a real cluster is a method of Cluster: another master leads (Lead,
// StopMaster), an agent is cut off (Partition, Heal), ends and comes back (StopAgent,
// StartAgent), is drained, deactivated or gone, or its machine has maintenance. A hook
// (package hook) in the configuration of master or agents sees each call and each event
// and may drop, delay, repeat or refuse it, or break the connection.
//
// # What it does
//
// Scheduler API, in JSON and protobuf: SUBSCRIBE, TEARDOWN, ACCEPT with LAUNCH,
// RESERVE, UNRESERVE, CREATE, DESTROY, DECLINE, REVIVE, SUPPRESS, KILL, SHUTDOWN,
// ACKNOWLEDGE, RECONCILE, MESSAGE, UPDATE_FRAMEWORK, and the answers to inverse offers.
// Executor API: all of it but task groups. Operator API: the reads that people use; what
// concerns agents (MARK_AGENT_GONE, DRAIN_AGENT, DEACTIVATE_AGENT, REACTIVATE_AGENT),
// maintenance, reservations and volumes; TEARDOWN. Files of sandboxes, and a page at
// the master.
//
// Several masters of which one leads (package election): by ZooKeeper, as Mesos does, or
// as a test decides. Roles, with dominant shares between them. TLS, HTTP credentials,
// executors' tokens and domain sockets.
//
// # What it does not do
//
// Quota, weights, feedback on operations, resource providers, task groups, the default
// executor, containers other than sessions of processes, CPU limits. The registry is a
// file that masters of one machine share, not a replicated log. Schedulers that ask for
// what is not there get an answer that says so.
package mesos
