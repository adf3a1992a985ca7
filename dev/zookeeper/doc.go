// Package zookeeper runs a real ZooKeeper server for tests, benchmarks and tidemill-dev: a Java process on loopback that
// is durable, can be stopped, killed, frozen and started again, and dies with the process that started it.
//
// Its jars come from Maven (pom.xml) once for a machine, into the user's cache folder, and are compared with known sums
// on each start. Java 17 and, the first time, Maven must be installed; [Available] tells.
//
// dev/zookeeper/zookeepertest shares a server between the tests of a package. Everyone else calls Start and, in the end,
// Stop.
package zookeeper
