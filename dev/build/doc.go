// Package build is the one way to build an executor: for the demo, for make, for tests. It says which flags make a
// binary that asks nothing of an agent but glibc, and stamps the version into it.
package build
