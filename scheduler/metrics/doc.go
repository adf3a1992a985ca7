// Package metrics shows the scheduler to Prometheus.
//
// It registers what the core counts (the table scheduler.Metrics), and adds what lies outside of the core: store writes,
// API requests, the build, the Go runtime. Gauges (queue, runs, agents, connection) are read from the newest view when
// Prometheus asks.
//
// Labels are bounded: after a thousand jobs or versions, further ones are counted as "other".
//
// [Metrics] is the loop's Observer; the API calls [Metrics.Request] after each request and serves [Metrics.Handler].
package metrics
