// Package zookeeper is a session with a ZooKeeper ensemble that is held for as long as the process wants it.
//
// Words. A session is what ZooKeeper calls one: ephemeral nodes live as long as it does. It outlives connections: a
// client that reconnects within the session timeout, to any server, keeps it. A session that was lost is replaced by a
// new one without a word to those who only read and write; those who have ephemeral nodes watch [Session.Lost].
//
// Callers: scheduler/lease (leadership), scheduler/store (records) and scheduler/mesos (which master leads). They give
// paths below the path of the URL, beginning with a slash; "/" is that path itself.
//
// What the caller must do:
//
//  1. Give each call a context that ends: reads are repeated until they succeed or it does.
//  2. Expect [ErrUnsettled] of each write, which means that nobody knows whether it was carried out. Write so that it may
//     be repeated (with expected versions), and find out by reading back.
//  3. Call [Session.Sync] before a read that must see what other clients have written before.
//  4. Call [Session.Close] in the end: it gives up the session, and with it all ephemeral nodes, at once.
//
// All nodes that a session makes can be read and written with the credentials of its URL only; by everyone if it has
// none.
package zookeeper
