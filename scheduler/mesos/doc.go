// Package mesos is the scheduler's connection to a Mesos master: the v1 scheduler HTTP API, protobuf on the wire.
//
// [Connection.Run] keeps one subscription alive: it finds the leading master (by URL, from a list, or through ZooKeeper),
// subscribes, watches heartbeats, follows redirects, waits with back-off and jitter while nobody leads, and translates what
// comes in to the events of package scheduler, in the order in which Mesos sent them. [Connection.Send] takes that
// package's calls. Messages and codecs are mesos-go's; its httpsched is not used, because it drops the subscription when one
// call is refused, has no heartbeat timeout and repeats a refused SUBSCRIBE for ever.
//
// A peer is not trusted to be well: a record that is broken or too long, an event that cannot be decoded or that comes out
// of place, silence, and a record that trickles in all end the subscription, and the next one begins after the back-off.
// Types, enum values and fields that this code does not know are passed over.
//
// What the caller (scheduler/loop) can rely on and must do:
//
//  1. The framework ID that comes with the first Subscribed event is stored before anything else is done.
//  2. FrameworkUpdated says what Mesos has taken over of the configuration; it is stored and given to the next Run. A
//     change of the configuration is asked for before any other call of a subscription goes out.
//  3. Calls go out in their order as far as it matters, many at one time where it does not: those of one agent (ACCEPT,
//     KILL) each after the answer to the one before; REVIVE, SUPPRESS, RECONCILE and a KILL without an agent after the
//     answers to all calls before them, and before all behind them; DECLINE and the answers to inverse offers in no order
//     among themselves. Acknowledgements travel beside them, in order for each agent: nothing else waits for them.
//  4. A call belongs to the subscription under which it was sent. When that ends, what was not sent is reported as
//     CallFailed, and after the next Subscribed the caller reconciles.
//  5. A refused call (4xx, 5xx) is reported as CallFailed and says nothing about the subscription.
//  6. Nothing is written after Config.MayAct has said no: a call is reported as CallFailed, and the subscription ends.
//  7. Nothing but [Teardown] ever sends TEARDOWN.
//
// Resources are unreserved cpus, mem and disk only: what is reserved, revocable, shared or on a disk of its own is
// left out of offers.
//
// [ExecutorInfo] is pure and given to scheduler.Config. [Sandbox] reads files of a task from its agent.
package mesos
