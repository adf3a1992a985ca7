// Command latency measures what a one-split job costs on an idle cluster whose agents have the executor in their cache:
// from the request that starts a run to its task running, and to the run's end. It starts `tidemill-dev up` once with
// Mesos' usual allocation interval of one second and once with one so short that it does not count, and prints medians
// with a breakdown:
//
//	go run ./bench/latency -runs 15
package main
