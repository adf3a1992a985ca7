// Package s3 is the S3 of tidemill-dev and of tests: versitygw embedded over a
// folder, with signatures checked, listening on loopback.
//
// The demo and the integration tests call Start, hand URL and the keys to
// connections, make buckets with CreateBucket and end it with Stop.
//
// What the caller must do:
//
//  1. Run one server a process at a time; versitygw keeps state in globals.
//  2. Expect the process's working directory to be the data folder while the
//     server runs: versitygw's posix backend reads and writes relative to it.
//     Everything else in the process must use absolute paths and set exec.Cmd.Dir.
//     Stop restores the directory.
//  3. Keep the folder on a file system with user extended attributes.
//
// Where it differs from AWS: a key p and a key p/q cannot both exist, since
// objects are files, and buckets cannot be versioned (versitygw announces that
// feature on standard output, which belongs to the caller).
package s3
