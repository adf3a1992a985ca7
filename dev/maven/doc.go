// Package maven fetches the jars of the Java servers that tests and tidemill-dev start, once for a machine: a [Bundle] is
// what a pom.xml names, kept in the user's cache folder and compared with known sums each time it is used.
//
// dev/zookeeper and dev/hdfs call it. Java 17 and, the first time, Maven must be installed; [Bundle.Available] tells.
package maven
