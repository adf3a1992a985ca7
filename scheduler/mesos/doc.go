// Package mesos is the scheduler's connection to a Mesos master: the v1 scheduler HTTP API, protobuf on the wire.
//
// [Connection.Run] keeps one subscription alive: it subscribes, watches heartbeats, follows redirects to the leading
// master, waits with back-off and jitter while there is none, and translates what comes in to the events of package
// scheduler, in the order in which Mesos sent them. [Connection.Send] takes that package's calls. Messages, codecs and
// RecordIO are mesos-go's; its httpsched is not used, because it drops the subscription when one call is refused, has
// no heartbeat timeout and repeats a refused SUBSCRIBE for ever.
//
// What the caller (scheduler/loop) can rely on and must do:
//
//  1. The framework ID that comes with the first Subscribed event is stored before anything else is done.
//  2. Calls go out one after the other, each after the answer to the one before, so that none overtakes another.
//     Only acknowledgements travel beside them, in order among themselves: nothing else waits for them.
//  3. A call belongs to the subscription under which it was sent. When that ends, what was not sent is reported as
//     CallFailed, and after the next Subscribed the caller reconciles.
//  4. A refused call (4xx, 5xx) is reported as CallFailed and says nothing about the subscription.
//  5. Nothing here ever sends TEARDOWN.
//
// Resources are unreserved cpus, mem and disk only: what is reserved, revocable, shared or on a disk of its own is
// left out of offers.
//
// [ExecutorInfo] is pure and given to scheduler.Config. [Sandbox] reads files of a task from its agent.
package mesos
