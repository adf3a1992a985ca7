package metrics

import "github.com/prometheus/client_golang/prometheus"

// archive counts what becomes of ended runs. Only a leader's numbers move.
type archive struct {
	runs      prometheus.Counter
	waiting   prometheus.Gauge
	failures  prometheus.Counter
	compacted prometheus.Counter
}

func newArchive() archive {
	return archive{
		runs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemill_archive_runs_total", Help: "Ended runs written to the archive.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidemill_archive_waiting_runs", Help: "Ended runs that should be in the archive and are not yet.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemill_archive_failures_total", Help: "Passes of the archiver that failed; it tries again.",
		}),
		compacted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemill_archive_compacted_pairs_total", Help: "Small files of days that are over, joined into larger ones.",
		}),
	}
}

// Archived implements scheduler/archive.Observer.
func (m *Metrics) Archived(runs int) { m.archive.runs.Add(float64(runs)) }

// ArchiveWaiting implements scheduler/archive.Observer.
func (m *Metrics) ArchiveWaiting(runs int) { m.archive.waiting.Set(float64(runs)) }

// ArchiveFailed implements scheduler/archive.Observer.
func (m *Metrics) ArchiveFailed() { m.archive.failures.Inc() }

// ArchiveCompacted implements scheduler/archive.Observer.
func (m *Metrics) ArchiveCompacted(pairs int) { m.archive.compacted.Add(float64(pairs)) }
