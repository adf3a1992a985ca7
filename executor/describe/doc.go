// Package describe has what this build of the executor says of itself: its version, stamped in when it is built, and a
// marked block with the protocol range, kinds and features that its source fixes. Both stand in the binary as plain
// strings, so that [github.com/tidemill/tidemill/proto/describe.Read] finds them without running it.
//
// A new kind or feature is added to the block by hand; a test of cmd/tidemill-executor compares it with the kinds that
// are registered there, and with what their specs can need.
package describe
