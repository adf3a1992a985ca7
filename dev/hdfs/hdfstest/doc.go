// Package hdfstest gives the tests of a package one real HDFS that they share.
//
//	func TestMain(m *testing.M) { os.Exit(hdfstest.Main(m)) }
//
//	cluster := hdfstest.Shared(t)
//
// Without Java such tests are skipped; with CI set in the environment they fail, so that nobody believes they ran.
package hdfstest
