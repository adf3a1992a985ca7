// Package describe reads what an executor binary says of itself out of its file, without running it.
//
// An executor carries two marked strings: a block of JSON with its platform, protocol range, kinds and features
// ([BlockMarker]), fixed in its source, and its version ([VersionMarker]), stamped into it when it is built. Package
// executor/describe has them; [Parse] puts them together, and [Read] finds them in a file.
//
// The scheduler calls [Read] when a version is registered; `tidemill-executor --describe` prints [JSON] of the same.
// The package is pure Go and takes nothing of the executor along.
package describe
