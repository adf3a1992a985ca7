package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Access shows how the tokens file and the audit log are: unused says why the file as it is now is not in use, failures
// counts what could not be written. Both are asked at each scrape. Call it once.
func (m *Metrics) Access(unused func() error, failures func() uint64) {
	m.unused("tokens", unused)
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tidemill_audit_failures_total", Help: "Entries that could not be written to the audit log; changes are refused then.",
	}, func() float64 { return float64(failures()) }))
}

// Certificate shows until when the API's certificate is good, and whether its files as they are now are in use. Both are
// asked at each scrape. Call it once.
func (m *Metrics) Certificate(expires func() time.Time, unused func() error) {
	m.unused("certificate", unused)
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidemill_certificate_expiry_timestamp_seconds", Help: "When the API's certificate expires, in seconds since 1970.",
	}, func() float64 { return float64(expires().Unix()) }))
}

// Keys shows whether the file of executor keys as it is now is in use. It is asked at each scrape. Call it once.
func (m *Metrics) Keys(unused func() error) { m.unused("executor-keys", unused) }

func (m *Metrics) unused(file string, why func() error) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "tidemill_file_unusable",
		Help:        "1 while a file (tokens, certificate, executor-keys) has changed and cannot be used as it is: what it held before holds.",
		ConstLabels: prometheus.Labels{"file": file},
	}, func() float64 {
		if why() != nil {
			return 1
		}
		return 0
	}))
}
