// Package artifacts keeps executor files in the scheduler's object storage: one object each, artifacts/<sha256>.
//
// [Store.Put] takes an upload in as it streams, into a local file without a name, and keeps it only if its sum is the
// promised one, what the file says of itself (proto/describe) is what it is to be registered as, and its ELF (or Mach-O)
// header is that of a program for that architecture. [Store.ServeHTTP] gives files to the agents' fetchers at
// /<sha256>/tidemill-executor, out of the object storage and never by a redirect: the content under such a path never
// changes, any instance that reaches the storage can answer, and whoever knows a sum may have the file, so no token is
// asked for. Either way a file passes through in pieces: it is never in memory.
//
// # Signatures
//
// [Keys] verifies who has signed a file. The signature is Ed25519 over the text of [SignedText], which holds nothing but
// the SHA-256 in lower-case hex, so that it can be verified before the first byte of the file is read:
//
//	tidemill executor\n
//	sha256:<64 hex digits>\n
//
// It does not name the version: the file itself does, and its sum stands for the file. With openssl:
//
//	printf 'tidemill executor\nsha256:%s\n' "$(sha256sum <file | cut -c1-64)" >text
//	openssl pkeyutl -sign -inkey key.pem -rawin -in text | base64 -w0
//
// # What the caller must do
//
// The API puts and deletes; which version has which file is in the scheduler's records, not here. A file without a
// record does no harm, a record without a file fails launches. So
//
//  1. Hold the file, Put it, register its version, and release it: nothing deletes it meanwhile;
//  2. Delete it only when no version names its sum any more;
//  3. run a [Collector] while leading: whatever was left between Put and the record, by a crash or by storage that was
//     away, is deleted when it is more than an hour old.
package artifacts
