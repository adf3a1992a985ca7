// Package wire is how dev/mesos puts messages on HTTP: mesos-go's messages as
// protobuf or as JSON in the spelling of Mesos (snake_case names, base64 bytes,
// unset optional fields left out), one message a body or many of them on a
// RecordIO stream.
//
// The JSON layer is ours because mesos-go's own refuses enum names that it does
// not know, where Mesos reads them as unset. Protobuf goes through mesos-go's
// generated code, with a recover around each decode: some bad input makes it
// panic (CVE-2021-3121).
package wire
