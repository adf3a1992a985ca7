// Package artifacts keeps executor files in the scheduler's object storage: one object each, artifacts/<sha256>.
//
// [Store.Put] takes an upload in as it streams, and keeps it only if its sum is the promised one and what the file
// says of itself (proto/describe) is what it is to be registered as. [Store.ServeHTTP] gives files to the agents'
// fetchers at /<sha256>/tidemill-executor, out of the object storage and never by a redirect: the content under such a
// path never changes, any instance that reaches the storage can answer, and whoever knows a sum may have the file, so no
// token is asked for.
//
// The API puts and deletes; which version has which file is in the scheduler's records, not here. A file without a
// record does no harm, a record without a file fails launches: so Put before the version is registered, and Delete only
// after nothing names the sum any more.
package artifacts
