// Package apitest has a scheduler for tests of the API, its client, the command line and the dashboard: one that holds a
// view that the test writes, and carries out commands on it as the core would, but runs nothing.
package apitest
