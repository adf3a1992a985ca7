// Package hdfs runs a real HDFS for tests: one or two name nodes and a data node, Java processes on loopback with small
// heaps, and a Kerberos realm of their own if that is asked for. They die with the process that started them.
//
// Permissions are on: the superuser is the user who runs the tests, or with Kerberos the principal of the servers.
//
// Its jars come from Maven (pom.xml, jars.sha256) once for a machine, see dev/maven. Java 17 and, the first time, Maven
// must be installed; [Available] tells. dev/hdfs/hdfstest shares a cluster between the tests of a package.
package hdfs
