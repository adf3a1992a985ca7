// Package storage is how tidemill reads and writes objects: input data,
// intermediate results, published results, logs and executor artefacts.
//
// Its words: a Store is one bucket (storage/s3) or one root folder
// (storage/file); an object is a key, its bytes and an ETag that names exactly
// this version of the bytes; a Condition makes a write depend on what is there;
// a URI names an object or a prefix for people and specs.
//
// The executor reads input through NewReader and publishes results with
// conditional writes; the scheduler keeps logs and artefacts here. Neither
// opens a store itself: storage/connections turns a connection's name and a URI
// into a Store that already retries.
//
// What a caller must do:
//
//  1. Close every body that Get returned.
//  2. Bound each call with a context; nothing here gives up before its retries
//     are used up.
//  3. Make the bytes of a conditional write say who wrote them (run, task and
//     attempt): a write whose answer was lost is settled by comparing bytes,
//     see WithRetry.
//  4. Tell errors apart with errors.Is and the sentinels of this package, never
//     by their text. Texts name the URI and never a key or token.
//
// The key of a URI is its key in the store that was opened for that URI, for
// every scheme.
package storage
