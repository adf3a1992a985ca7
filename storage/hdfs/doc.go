// Package hdfs is a storage.Store over an HDFS: hdfs://nameservice/path, with name nodes that take over from each other,
// and Kerberos by keytab.
//
// storage/connections makes one Client for each connection and one Store for each nameservice. A Client pools
// connections to name nodes; close it when nothing uses its stores any more. A Store makes one try: what may pass by
// itself is storage.ErrUnavailable, and storage.WithRetry repeats it.
//
// An object is a file; its key is its path without the first slash. How it keeps the promises of storage.Store:
//
//   - A Put writes a draft, a file in a hidden folder beside the object, waits until the data nodes have it, and
//     renames it into place: readers see the old version or the new one.
//   - Whoever changes a path holds its claim meanwhile: a folder that is taken by a rename which fails if it is taken,
//     and from which the draft is published by a rename which fails if the claim has been lost. A writer that stops
//     in between is overtaken after a few seconds and can do nothing any more. See docs/decisions/0015.
//   - The ETag is the file's number, which HDFS never gives twice, its modification time and its length, so that files
//     that others append to have versions, too.
//   - What writers that died have left is removed by listings that come across it a day later.
//   - Bytes are compared with the checksums that HDFS keeps (CRC32C for each 512 bytes) on every read and write.
//
// Limits: names must not contain a colon or be longer than 255 bytes; a key p and a key p/q cannot both exist; names
// that begin with .tidemill- are refused and never listed. Other programs that write to the same paths know nothing
// of claims: conditions hold among those that use this package. Copy moves the bytes through the caller. An object that
// another program is still writing is seen with the length that its finished blocks have.
package hdfs
