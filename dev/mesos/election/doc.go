// Package election is how masters of dev/mesos agree on one of them, and how agents
// find it.
//
// ZooKeeper is what a real Mesos does: each master makes an ephemeral sequential node
// json.info_0000000000 with its MasterInfo under a path, and the lowest one leads.
// Other children of the path, such as Mesos' own log_replicas, mean nothing. Whoever
// can read it, frameworks too, finds the leader there.
//
// Group is an election inside one process whose outcome a test decides.
//
// A master is a candidate; it leads while it is told its own MasterInfo. It must stop
// acting before its callback returns when it is told another or none.
package election
