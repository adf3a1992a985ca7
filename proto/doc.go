// Package proto has the messages that tidemill stores and sends, generated from the .proto files beside it.
//
// records.proto is what the scheduler keeps, task.proto what scheduler and executor say to each other inside
// Mesos' opaque data fields, aggregate.proto and sql.proto the inputs and outputs of those kinds' stages. The generated types
// are plain structs. Code treats a message that it has stored or published as immutable: to change one, copy it.
//
// Decoding bytes that come from outside must go through [Decode]: the generated decoders can panic
// on hostile input (CVE-2021-3121).
//
// The generated files are kept in the repository; after a change run `make generate`, which needs protoc.
package proto

//go:generate sh generate.sh
