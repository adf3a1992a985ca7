package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

// state reads gauges from the newest view. Of an instance that does not lead there are only the connection and that it does not: whoever sums
// up over all instances counts each task once.
type state struct{ view func() *scheduler.View }

var (
	pendingDesc     = prometheus.NewDesc("tidemill_tasks_pending", "Tasks that wait to be launched, by role.", []string{"role"}, nil)
	launchedDesc    = prometheus.NewDesc("tidemill_tasks_launched", "Tasks that are launching, starting or running, by role.", []string{"role"}, nil)
	suppressedDesc  = prometheus.NewDesc("tidemill_role_suppressed", "1 while Mesos sends the role no offers, because nothing waits for them.", []string{"role"}, nil)
	oldestDesc      = prometheus.NewDesc("tidemill_tasks_oldest_pending_seconds", "How long the oldest task has waited that back-off and parallelism let go; 0 if none waits.", nil, nil)
	runsDesc        = prometheus.NewDesc("tidemill_runs", "Runs that are kept, by state.", []string{"state"}, nil)
	jobsDesc        = prometheus.NewDesc("tidemill_jobs", "Jobs that are not deleted.", nil, nil)
	agentsDesc      = prometheus.NewDesc("tidemill_agents", "Agents as offers and launches showed them.", nil, nil)
	backOffDesc     = prometheus.NewDesc("tidemill_agents_in_back_off", "Agents on which nothing is launched for a while, because attempts kept failing there.", nil, nil)
	maintenanceDesc = prometheus.NewDesc("tidemill_agents_in_maintenance", "Agents whose maintenance is announced or goes on.", nil, nil)
	refusedDesc     = prometheus.NewDesc("tidemill_framework_update_refused", "1 while Mesos has the framework otherwise than it is configured, because it refused the change.", nil, nil)
	connectedDesc   = prometheus.NewDesc("tidemill_mesos_connected", "1 while subscribed to a Mesos master.", nil, nil)
	leadingDesc     = prometheus.NewDesc("tidemill_leading", "1 while this instance schedules.", nil, nil)
)

// Describe implements prometheus.Collector. There need not be a view yet.
func (s *state) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range slices.Concat([]*prometheus.Desc{
		pendingDesc, launchedDesc, suppressedDesc, oldestDesc, runsDesc, jobsDesc, agentsDesc, backOffDesc, maintenanceDesc, refusedDesc, connectedDesc, leadingDesc,
	}, rolloutDescs, versionDescs) {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (s *state) Collect(out chan<- prometheus.Metric) {
	view := s.view()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(connectedDesc, oneIf(view.Master != ""))
	gauge(leadingDesc, oneIf(view.Leading))
	if !view.Leading {
		return
	}
	for _, role := range view.Queue.Roles {
		gauge(pendingDesc, float64(role.Pending), role.Role)
		gauge(launchedDesc, float64(role.Launched), role.Role)
		gauge(suppressedDesc, oneIf(role.Suppressed), role.Role)
	}
	age := 0.0
	if !view.Queue.OldestPending.IsZero() {
		age = max(0, time.Since(view.Queue.OldestPending).Seconds())
	}
	gauge(oldestDesc, age)
	gauge(agentsDesc, float64(len(view.Agents)))
	backOff, maintenance := 0, 0
	for _, agent := range view.Agents {
		if agent.BackOff.After(time.Now()) {
			backOff++
		}
		if agent.Maintenance != nil {
			maintenance++
		}
	}
	gauge(backOffDesc, float64(backOff))
	gauge(maintenanceDesc, float64(maintenance))
	gauge(refusedDesc, oneIf(view.FrameworkProblem != ""))

	states := make(map[string]int)
	for _, run := range view.Runs {
		states[jobs.RunStateName(run.Run.State)]++
	}
	for _, name := range jobs.RunStateNames() {
		gauge(runsDesc, float64(states[name]), name)
	}
	living := 0
	for _, job := range view.Jobs {
		if !job.Job.Deleted {
			living++
		}
	}
	gauge(jobsDesc, float64(living))
	collectRollouts(view, gauge)
	collectVersions(view, out)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// standing shows an instance's part among those that share its store.
type standing struct {
	leads func() (epoch uint64, leads bool)
	age   func() (age time.Duration, ok bool)
}

var (
	epochDesc = prometheus.NewDesc("tidemill_leader_epoch", "Number of the term for which this instance leads; absent while it does not. Each new leader has a higher one.", nil, nil)
	ageDesc   = prometheus.NewDesc("tidemill_standby_snapshot_age_seconds", "How old the records are that a standby shows; absent on the leader, and before the first reader. It grows while nobody reads.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *standing) Describe(out chan<- *prometheus.Desc) { out <- epochDesc; out <- ageDesc }

// Collect implements prometheus.Collector.
func (s *standing) Collect(out chan<- prometheus.Metric) {
	epoch, leads := s.leads()
	if leads {
		out <- prometheus.MustNewConstMetric(epochDesc, prometheus.GaugeValue, float64(epoch))
		return
	}
	if age, ok := s.age(); ok {
		out <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, age.Seconds())
	}
}
