package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemill/tidemill/scheduler"
)

// What uses a registered executor version, and what became of that. A version that is deleted is no longer shown.
var (
	versionRunsDesc      = prometheus.NewDesc("tidemill_version_runs", "Runs on the executor version that have not ended.", []string{"version"}, nil)
	versionTasksDesc     = prometheus.NewDesc("tidemill_version_tasks", "Tasks on the executor version that are launched and have not ended.", []string{"version"}, nil)
	versionExecutorsDesc = prometheus.NewDesc("tidemill_version_executors", "Executor processes of the version with tasks that have not ended.", []string{"version"}, nil)
	versionPinnedDesc    = prometheus.NewDesc("tidemill_version_jobs_pinned", "Jobs that pin the executor version.", []string{"version"}, nil)
	versionChannelsDesc  = prometheus.NewDesc("tidemill_version_channels", "Channels that point at the executor version.", []string{"version"}, nil)
	versionEndedDesc     = prometheus.NewDesc("tidemill_version_runs_ended_total", "Runs that ended on the executor version, by outcome; counted in the records, so that a restart does not begin anew.", []string{"version", "outcome"}, nil)
	versionUsedDesc      = prometheus.NewDesc("tidemill_version_last_use_timestamp_seconds", "When a run was last started on the executor version, or ended; absent before the first.", []string{"version"}, nil)
)

var versionDescs = []*prometheus.Desc{versionRunsDesc, versionTasksDesc, versionExecutorsDesc, versionPinnedDesc, versionChannelsDesc, versionEndedDesc, versionUsedDesc}

// collectVersions shows the executor versions of a view.
func collectVersions(view *scheduler.View, out chan<- prometheus.Metric) {
	show := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	for name, v := range view.Versions {
		show(versionRunsDesc, prometheus.GaugeValue, float64(v.Runs), name)
		show(versionTasksDesc, prometheus.GaugeValue, float64(v.Tasks), name)
		show(versionExecutorsDesc, prometheus.GaugeValue, float64(v.Executors), name)
		show(versionPinnedDesc, prometheus.GaugeValue, float64(len(v.Pinned)), name)
		show(versionChannelsDesc, prometheus.GaugeValue, float64(len(v.Channels)), name)
		for outcome, runs := range map[string]int64{"succeeded": v.Use.GetSucceeded(), "failed": v.Use.GetFailed(), "cancelled": v.Use.GetCancelled()} {
			show(versionEndedDesc, prometheus.CounterValue, float64(runs), name, outcome)
		}
		if last := v.Use.GetLast(); last != nil {
			show(versionUsedDesc, prometheus.GaugeValue, float64(last.UnixMilli())/1000, name)
		}
	}
}
