// Package logs reads what tasks wrote to stdout and stderr: from the sandbox on the agent while it is there, afterwards
// from the copy that the executor uploaded to the run's work area.
package logs
