// Command scale measures the scheduler under load: 100,000 pending tasks of 20 shapes in two roles, 1,000 and 10,000
// simulated agents, with the records in a file and in a real ZooKeeper that waits for its disk.
//
//	go run ./bench/scale [-agents 1000,10000] [-tasks 100000] [-store file,zookeeper] [-dir DIR] [-cpuprofile FILE] [-v]
//
// The decision core is measured by itself first, on one core. Then the whole scheduler, made of what the service makes it
// of (scheduler/loop, scheduler/mesos, scheduler/store, scheduler/lease), talks HTTP to a simulated master: SUBSCRIBE,
// OFFERS, ACCEPT, UPDATE, ACKNOWLEDGE, RECONCILE in protobuf and RecordIO over loopback. The master has only what a
// scheduler sees of a cluster: no processes, no network beyond the one connection. It checks each ACCEPT (offers known
// and unused, of one agent and role, large enough for tasks and new executors; task IDs never used before; an executor
// always the same), honours filters, SUPPRESS and REVIVE, and sends an update again only after the acknowledgement of
// the one before. What it finds wrong fails the program.
//
// So that no executor is needed, jobs are of a kind of their own, which is registered only here: one stage of tasks with
// inputs of 100 bytes. The master answers for the executors: a task runs at once, and ends at once or when it is told to.
// A new executor process is needed for nearly each task, because a run spreads its tasks over agents: this is the hard
// case, in which two records are written for each launch. Jobs and runs are made by commands to the loop, not through
// the API.
//
// Master and scheduler share the process and its cores; what the master uses is not taken off. The numbers are printed with
// their ratio to the aim, where 2.0 is twice as good as aimed at.
package main
