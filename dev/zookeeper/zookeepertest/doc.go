// Package zookeepertest gives the tests of a package one real ZooKeeper that they share, each below a node of its own.
//
//	func TestMain(m *testing.M) { os.Exit(zookeepertest.Main(m)) }
//
//	url := zookeepertest.URL(t, zookeepertest.Shared(t).Address(), "user:password")
//
// Without Java such tests are skipped; with CI set in the environment they fail, so that nobody believes they ran.
package zookeepertest
