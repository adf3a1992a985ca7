// Package platform is the whole of tidemill on one machine, on loopback: an S3, a Mesos master with agents, and the
// scheduler service, in one process; executors are processes of their own, as they are anywhere.
//
// `tidemill-dev demo` and `tidemill-dev up` call [Start], use the URLs, and call Stop.
package platform
