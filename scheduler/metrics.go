package scheduler

// MetricKind is how a metric is observed.
type MetricKind string

// Kinds of metrics.
const (
	Counter   MetricKind = "counter"   // each Count adds its Value, which is 1 for an event
	Histogram MetricKind = "histogram" // each Count observes its Value in seconds
)

// MetricDesc describes a metric that the Core, or the loop for it, counts. Every Count names one of [Metrics] and has a value for each label.
type MetricDesc struct {
	Name   string
	Kind   MetricKind
	Help   string
	Labels []string
}

// Names of the metrics.
const (
	MetricLaunches        = "tidemill_task_launches_total"
	MetricTaskStates      = "tidemill_task_updates_total"
	MetricFailures        = "tidemill_attempt_failures_total"
	MetricOffers          = "tidemill_offers_total"
	MetricInverseOffers   = "tidemill_inverse_offers_total"
	MetricAgentBackOffs   = "tidemill_agent_backoffs_total"
	MetricRescinds        = "tidemill_offers_rescinded_total"
	MetricOfferToLaunch   = "tidemill_offer_to_launch_seconds" // by scheduler/loop: the Core has no clock
	MetricPendingToLaunch = "tidemill_pending_to_launch_seconds"
	MetricLaunchToRun     = "tidemill_launch_to_running_seconds"
	MetricTaskSeconds     = "tidemill_task_run_seconds"
	MetricRuns            = "tidemill_runs_ended_total"
	MetricRunSeconds      = "tidemill_run_seconds"
	MetricKills           = "tidemill_kills_total"
	MetricSeconds         = "tidemill_second_attempts_total"
	MetricReconciles      = "tidemill_reconciled_tasks_total"
	MetricSubscriptions   = "tidemill_mesos_subscriptions_total"
	MetricOfferFlow       = "tidemill_offer_flow_total"
	MetricCallsRefused    = "tidemill_mesos_calls_refused_total"
	MetricRows            = "tidemill_rows_read_total"
	MetricBytes           = "tidemill_bytes_read_total"

	MetricVersionsCollected = "tidemill_versions_collected_total"
)

// Metrics lists every metric of the Core. Labels are bounded: job and version names are bounded by what people
// register, the rest are small closed sets.
var Metrics = []MetricDesc{
	{MetricLaunches, Counter, "Task attempts launched.", []string{"job", "version"}},
	{MetricTaskStates, Counter, "Status updates from Mesos that changed an attempt, by state and reason.", []string{"state", "reason"}},
	{MetricFailures, Counter, "Attempts that did not finish, by failure class (ours, passing, final) and kind.", []string{"class", "kind"}},
	{MetricOffers, Counter, "Offers by what became of them: received, used, or declined with a reason.", []string{"outcome", "reason"}},
	{MetricInverseOffers, Counter, "Requests to give agents back for maintenance, by answer: accepted if nothing of ours will run there.", []string{"answer"}},
	{MetricAgentBackOffs, Counter, "Times that an agent was left alone because attempts of different stages kept failing there.", nil},
	{MetricRescinds, Counter, "Offers that Mesos took back.", nil},
	{MetricOfferToLaunch, Histogram, "Time from receiving offers to handing the ACCEPT of them to the connection, the store write included.", nil},
	{MetricPendingToLaunch, Histogram, "Time from the moment at which a task could have been launched to its launch.", nil},
	{MetricLaunchToRun, Histogram, "Time from ACCEPT to TASK_RUNNING.", nil},
	{MetricTaskSeconds, Histogram, "Time that attempts ran, from TASK_RUNNING to their end.", nil},
	{MetricRuns, Counter, "Runs that ended, by state.", []string{"job", "state"}},
	{MetricRunSeconds, Histogram, "Time from a run's creation to its end.", nil},
	{MetricKills, Counter, "Kill calls, by why.", []string{"reason"}},
	{MetricSeconds, Counter, "Second attempts of tasks that lag behind their siblings, by what became of them: launched, and then won (it finished first), lost (the first attempt did) or failed.", []string{"outcome"}},
	{MetricReconciles, Counter, "Tasks whose state Mesos was asked for.", nil},
	{MetricSubscriptions, Counter, "Subscriptions accepted by a master.", nil},
	{MetricOfferFlow, Counter, "Suppress and revive calls, by role.", []string{"call", "role"}},
	{MetricCallsRefused, Counter, "Calls that Mesos refused or that could not be sent.", []string{"call"}},
	{MetricRows, Counter, "Input rows read by attempts that finished.", []string{"job", "version"}},
	{MetricVersionsCollected, Counter, "Executor versions that were removed because they had not been used for long.", nil},
	{MetricBytes, Counter, "Input bytes read by attempts that finished, as stored.", []string{"job", "version"}},
}
