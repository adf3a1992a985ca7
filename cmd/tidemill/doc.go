// Command tidemill is the scheduler service (serve) and the client for people and scripts (validate, submit, run, …).
//
// It builds without cgo: no engine and nothing of the executor or of dev is linked into it.
package main
