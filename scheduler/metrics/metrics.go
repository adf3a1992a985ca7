package metrics

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemill/tidemill/scheduler"
)

// Buckets, in seconds.
var (
	taskBuckets  = []float64{.025, .05, .1, .2, .3, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}
	storeBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}
	apiBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}
	batchBuckets = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000}
)

// Metrics is safe for concurrent use, and none of its methods blocks.
type Metrics struct {
	registry   *prometheus.Registry
	log        *slog.Logger
	counters   map[string]*prometheus.CounterVec
	histograms map[string]*prometheus.HistogramVec
	limits     map[string][]*limit // by metric: one for each label, nil where none is needed

	commits  *prometheus.HistogramVec
	changes  prometheus.Histogram
	events   prometheus.Histogram
	requests *prometheus.HistogramVec
	dropped  prometheus.Counter
	archive  archive

	leases    *prometheus.CounterVec
	forwarded *prometheus.CounterVec
}

// New registers everything. view gives the newest picture of the state and is not called before the first scrape;
// version is that of this build.
func New(version string, view func() *scheduler.View, log *slog.Logger) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		log:        log,
		counters:   make(map[string]*prometheus.CounterVec),
		histograms: make(map[string]*prometheus.HistogramVec),
		limits:     make(map[string][]*limit),
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidemill_store_commit_seconds", Help: "Time that writing to the store took, by outcome (ok, failed).", Buckets: storeBuckets,
		}, []string{"outcome"}),
		changes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemill_store_commit_changes", Help: "Records changed by one store write.", Buckets: batchBuckets,
		}),
		events: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemill_store_commit_events", Help: "Events and commands that shared one store write.", Buckets: batchBuckets,
		}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidemill_api_request_seconds", Help: "Time that API requests took, by route and HTTP status. Event streams count when they end.", Buckets: apiBuckets,
		}, []string{"route", "code"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemill_observations_dropped_total", Help: "Observations that name no known metric or label: a fault in tidemill.",
		}),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemill_lease_changes_total", Help: "How often this instance was given leadership (acquired) and how often that ended (lost).",
		}, []string{"change"}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemill_requests_forwarded_total", Help: "Requests that this instance passed on to the leader, by HTTP status; none: there was no answer.",
		}, []string{"code"}),
	}
	// What alerts look at is shown as 0 from the start: Prometheus sees no increase in a counter that begins with 1.
	for _, change := range []string{leaseAcquired, leaseLost} {
		m.leases.WithLabelValues(change)
	}
	for _, outcome := range []string{commitOK, commitFailed} {
		m.commits.WithLabelValues(outcome)
	}
	m.archive = newArchive()
	m.registry.MustRegister(
		m.commits, m.changes, m.events, m.requests, m.dropped, m.leases, m.forwarded,
		m.archive.runs, m.archive.waiting, m.archive.failures, m.archive.compacted,
		buildInfo(version), &state{view: view},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	shared := map[string]*limit{"job": newLimit(), "version": newLimit(), "kind": newLimit()} // an executor may name kinds as it likes
	for _, desc := range scheduler.Metrics {
		m.register(desc, shared)
	}
	return m
}

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tidemill_build_info", Help: "Always 1; the label says which build this is.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	return info
}

func (m *Metrics) register(desc scheduler.MetricDesc, shared map[string]*limit) {
	limits := make([]*limit, len(desc.Labels))
	for i, label := range desc.Labels {
		limits[i] = shared[label]
	}
	m.limits[desc.Name] = limits
	if desc.Kind == scheduler.Histogram {
		buckets := taskBuckets
		if desc.Name == scheduler.MetricOfferToLaunch {
			buckets = storeBuckets // a store write is most of it
		}
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: desc.Name, Help: desc.Help, Buckets: buckets}, desc.Labels)
		m.registry.MustRegister(vec)
		m.histograms[desc.Name] = vec
		return
	}
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: desc.Name, Help: desc.Help}, desc.Labels)
	m.registry.MustRegister(vec)
	m.counters[desc.Name] = vec
	if len(desc.Labels) == 0 {
		vec.WithLabelValues() // shown as 0 from the start
	}
}

// Count takes an observation of the core.
func (m *Metrics) Count(c scheduler.Count) {
	limits, known := m.limits[c.Metric]
	if !known || len(limits) != len(c.Labels) || (m.counters[c.Metric] != nil && c.Value < 0) {
		m.dropped.Inc()
		m.log.Error("an observation names no known metric", "metric", c.Metric, "labels", len(c.Labels))
		return
	}
	values := make([]string, len(c.Labels))
	for i, value := range c.Labels {
		values[i] = limits[i].bound(value)
	}
	if vec := m.histograms[c.Metric]; vec != nil {
		vec.WithLabelValues(values...).Observe(c.Value)
		return
	}
	m.counters[c.Metric].WithLabelValues(values...).Add(c.Value)
}

// Values of the label outcome.
const (
	commitOK     = "ok"
	commitFailed = "failed"
)

// Committed takes the outcome of a store write.
func (m *Metrics) Committed(events, changes int, took time.Duration, err error) {
	outcome := commitOK
	if err != nil {
		outcome = commitFailed
	}
	m.commits.WithLabelValues(outcome).Observe(took.Seconds())
	m.events.Observe(float64(events))
	m.changes.Observe(float64(changes))
}

// Request takes the outcome of an API request. route is the pattern that matched, not the path; empty if none did. The
// method is part of the pattern.
func (m *Metrics) Request(_, route string, status int, took time.Duration) {
	if route == "" {
		route = "unknown"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}

// Values of the label change.
const (
	leaseAcquired = "acquired"
	leaseLost     = "lost"
)

// LeaseChanged: this instance was given leadership, or has it no more.
func (m *Metrics) LeaseChanged(leads bool) {
	if leads {
		m.leases.WithLabelValues(leaseAcquired).Inc()
	} else {
		m.leases.WithLabelValues(leaseLost).Inc()
	}
}

// Forwarded takes the outcome of a request that was passed on to the leader; status 0: there was no answer.
func (m *Metrics) Forwarded(status int) {
	code := "none"
	if status != 0 {
		code = strconv.Itoa(status)
	}
	m.forwarded.WithLabelValues(code).Inc()
}

// Standing adds what an instance shows that shares its store with others: leads says whether it leads and the number of
// its term, age how old its view is while it does not (ok is false if it has none). It is called once.
func (m *Metrics) Standing(leads func() (epoch uint64, leads bool), age func() (age time.Duration, ok bool)) {
	m.registry.MustRegister(&standing{leads: leads, age: age})
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}
