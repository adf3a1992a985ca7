// Command snapshot keeps the sources that an older executor was built from, so that a test can build it again and run it
// under today's scheduler:
//
//	go run ./dev/snapshot -commit 20f160d -output dev/endtoend/testdata/executor-0.1.0.tar.gz
//
// The archive holds go.mod, go.sum, LICENSE, a note on where it is from, and the packages that cmd/tidemill-executor of
// that commit needs, for every platform, without their tests. The commit must be in the checkout's history; the same
// commit gives the same bytes. Of each protocol version that a scheduler still drives and that is not the newest one,
// dev/endtoend keeps one such archive: before the protocol changes, the last commit that speaks the old one is kept.
package main
