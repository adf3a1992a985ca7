// Package hook lets a test stand between dev/mesos and its peers: one function
// sees each call and each event and says what becomes of it.
package hook
