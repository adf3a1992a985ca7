// Package s3 is a storage.Store over a bucket of S3 or of anything that speaks
// its protocol: signature version 4, range reads, conditional writes (If-Match,
// If-None-Match on PutObject and CompleteMultipartUpload), multipart uploads.
//
// storage/connections makes one Client for each connection and one Store for
// each bucket. A Client pools connections; close it when nothing uses its
// stores any more.
//
// A Store makes one try: what may pass by itself is storage.ErrUnavailable, and
// storage.WithRetry repeats it. Only the parts of a multipart upload are
// repeated here, so that one lost part does not cost the whole upload.
//
// While a server answers SlowDown all requests of its Client wait. Writes carry
// CRC32C, which the server compares and keeps, and reads of whole objects
// compare it: storage.ErrDamaged. Servers give no checksum for a range, so that
// TLS and TCP are what protects those. A server that turns out not to know
// checksums gets none.
//
// A connection over which nothing moves for a minute counts as broken, in
// either direction. Proxies of the environment are used, except for loopback.
//
// Limits: objects of up to 5 TiB, copies of up to 5 GiB. Put does not tell
// Object.Modified.
package s3
