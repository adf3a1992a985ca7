package metrics

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
)

func newMetrics(view *scheduler.View) *Metrics {
	return New("1.2.3", func() *scheduler.View { return view }, slog.New(slog.DiscardHandler))
}

// countAll observes every metric of the core once, with label values named after the labels.
func countAll(m *Metrics) {
	for _, desc := range scheduler.Metrics {
		m.Count(scheduler.Count{Metric: desc.Name, Labels: desc.Labels, Value: 1})
	}
	m.Committed(3, 7, time.Millisecond, nil)
	m.Request(http.MethodGet, "GET /v1/runs/{id}", 200, time.Millisecond)
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(answer.Result().Body)
	if err != nil || answer.Code != http.StatusOK {
		t.Fatalf("scrape: got %d, %v: %s", answer.Code, err, body)
	}
	return string(body)
}

func TestViewIsNotNeededToRegister(t *testing.T) {
	var view *scheduler.View
	m := New("1.2.3", func() *scheduler.View {
		if view == nil {
			t.Error("asked for a view before there is one")
		}
		return view
	}, slog.New(slog.DiscardHandler))
	view = &scheduler.View{Leading: true}
	if !strings.Contains(scrape(t, m), "tidemill_leading 1\n") {
		t.Error("the view that came later is not shown")
	}
}

func TestLint(t *testing.T) {
	m := newMetrics(&scheduler.View{})
	countAll(m)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "tidemill_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	if text := scrape(t, m); !strings.Contains(text, "tidemill_observations_dropped_total 0") {
		t.Error("an observation of the core's own table was dropped")
	}
}

func TestEveryMetricOfTheCoreIsShown(t *testing.T) {
	m := newMetrics(&scheduler.View{})
	countAll(m)
	text := scrape(t, m)
	for _, desc := range scheduler.Metrics {
		if !strings.Contains(text, "# HELP "+desc.Name+" "+desc.Help+"\n") {
			t.Errorf("%s is not shown with its help", desc.Name)
		}
	}
	for _, want := range []string{
		`tidemill_store_commit_seconds_count{outcome="ok"} 1`,
		`tidemill_store_commit_changes_sum 7`,
		`tidemill_store_commit_events_sum 3`,
		`tidemill_api_request_seconds_count{code="200",route="GET /v1/runs/{id}"} 1`,
		`tidemill_build_info{version="1.2.3"} 1`,
		`go_goroutines`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not shown", want)
		}
	}
}

func TestEveryMetricIsDocumented(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics(&scheduler.View{Leading: true})
	m.Standing(func() (uint64, bool) { return 1, true }, nil)
	m.Forwarded(200)
	countAll(m)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		name := family.GetName()
		if strings.HasPrefix(name, "tidemill_") && !strings.Contains(string(manual), "`"+name+"`") && !strings.Contains(string(manual), "`"+name+"{") {
			t.Errorf("%s is not in docs/operations.md", name)
		}
	}
}

func TestState(t *testing.T) {
	view := &scheduler.View{
		Leading: true,
		Master:  "http://127.0.0.1:5050",
		Queue:   scheduler.Queue{Pending: 4, Launched: 2, Roles: []scheduler.RoleQueue{{Role: "a/b", Pending: 3, Launched: 2}, {Role: "c", Pending: 1, Suppressed: true}}, OldestPending: time.Now().Add(-time.Minute)},
		Agents: map[string]*scheduler.AgentView{
			"a": {}, "b": {BackOff: time.Now().Add(time.Minute)}, "c": {BackOff: time.Now().Add(-time.Minute), Maintenance: &scheduler.Maintenance{}},
		},
		FrameworkProblem: "the principal cannot change",
		Runs: map[string]*scheduler.RunView{
			"r1": {Run: &proto.Run{State: proto.RUN_RUNNING}}, "r2": {Run: &proto.Run{State: proto.RUN_RUNNING}}, "r3": {Run: &proto.Run{State: proto.RUN_FAILED}},
		},
		Jobs: map[string]*scheduler.JobView{"j": {Job: &proto.Job{}}, "gone": {Job: &proto.Job{Deleted: true}}},
	}
	text := scrape(t, newMetrics(view))
	for _, want := range []string{
		"tidemill_tasks_pending{role=\"a/b\"} 3\n", "tidemill_tasks_pending{role=\"c\"} 1\n", "tidemill_tasks_launched{role=\"a/b\"} 2\n",
		"tidemill_role_suppressed{role=\"a/b\"} 0\n", "tidemill_role_suppressed{role=\"c\"} 1\n", "tidemill_tasks_oldest_pending_seconds 60.",
		`tidemill_runs{state="running"} 2`, `tidemill_runs{state="failed"} 1`, `tidemill_runs{state="succeeded"} 0`,
		"tidemill_jobs 1\n", "tidemill_agents 3\n", "tidemill_agents_in_back_off 1\n", "tidemill_agents_in_maintenance 1\n", "tidemill_framework_update_refused 1\n", "tidemill_mesos_connected 1\n", "tidemill_leading 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	text = scrape(t, newMetrics(&scheduler.View{}))
	for _, want := range []string{"tidemill_mesos_connected 0\n", "tidemill_leading 0\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("of a standby: %q is not shown", want)
		}
	}
	for _, name := range []string{"tidemill_framework_", "tidemill_tasks_", "tidemill_runs{", "tidemill_jobs", "tidemill_agents"} {
		if strings.Contains(text, "\n"+name) {
			t.Errorf("of a standby: %s is shown, too: sums over instances would count it twice", name)
		}
	}
	if text = scrape(t, newMetrics(&scheduler.View{Leading: true})); !strings.Contains(text, "tidemill_tasks_oldest_pending_seconds 0\n") {
		t.Error("of an empty queue: its age is not shown")
	}
	if text = scrape(t, newMetrics(&scheduler.View{Leading: true, FrameworkProblem: "no"})); !strings.Contains(text, "tidemill_framework_update_refused 1\n") {
		t.Error("that Mesos refused a change is not shown")
	}
}

func TestRollouts(t *testing.T) {
	plan := proto.RolloutPlan{Steps: []uint32{10, 50, 100}}
	view := &scheduler.View{Leading: true, Rollouts: map[string]*scheduler.RolloutView{
		"stable": {
			Rollout: &proto.Rollout{To: "1.5.0", Plan: plan, Step: 1}, Until: time.Now().Add(-time.Minute),
			Tallies: []*proto.Tally{
				{Old: proto.Sample{Runs: 100, Failed: 2}, New: proto.Sample{Runs: 10, Failed: 3}},
				{Old: proto.Sample{Runs: 50}, New: proto.Sample{Runs: 5, Failed: 1}},
			},
		},
		"young": {Rollout: &proto.Rollout{To: "1.5.0", Plan: plan}, Until: time.Now().Add(time.Minute)},
		"test":  {Rollout: &proto.Rollout{To: "1.6.0", Plan: plan, State: proto.ROLLOUT_PAUSED}},
		"night": {Rollout: &proto.Rollout{To: "1.7.0", Plan: plan, State: proto.ROLLOUT_TAKEN_BACK}},
	}}
	text := scrape(t, newMetrics(view))
	for _, want := range []string{
		`tidemill_rollout_state{channel="stable",state="running",version="1.5.0"} 1`, `tidemill_rollout_state{channel="stable",state="taken_back",version="1.5.0"} 0`,
		`tidemill_rollout_share{channel="stable",version="1.5.0"} 0.5`, `tidemill_rollout_step{channel="stable",version="1.5.0"} 2`,
		`tidemill_rollout_overdue_seconds{channel="stable",version="1.5.0"} 60`, `tidemill_rollout_overdue_seconds{channel="young",version="1.5.0"} 0`,
		`tidemill_rollout_runs{channel="stable",outcome="succeeded",side="old",version="1.5.0"} 148`, `tidemill_rollout_runs{channel="stable",outcome="failed",side="old",version="1.5.0"} 2`,
		`tidemill_rollout_runs{channel="stable",outcome="succeeded",side="new",version="1.5.0"} 11`, `tidemill_rollout_runs{channel="stable",outcome="failed",side="new",version="1.5.0"} 4`,
		`tidemill_rollout_state{channel="test",state="paused",version="1.6.0"} 1`, `tidemill_rollout_share{channel="test",version="1.6.0"} 0.1`,
		`tidemill_rollout_state{channel="night",state="taken_back",version="1.7.0"} 1`,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("%q is not shown", want)
		}
	}
	for _, not := range []string{`tidemill_rollout_overdue_seconds{channel="test"`, `tidemill_rollout_share{channel="night"`, `tidemill_rollout_step{channel="night"`} {
		if strings.Contains(text, not) {
			t.Errorf("%s is shown", not)
		}
	}
	view.Leading = false
	if strings.Contains(scrape(t, newMetrics(view)), "tidemill_rollout_") {
		t.Error("a standby shows rollouts, too")
	}
}

func TestVersions(t *testing.T) {
	last := time.Unix(1_800_000_000, 500_000_000)
	view := &scheduler.View{Leading: true, Versions: map[string]*scheduler.VersionView{
		"1.4.0": {
			Runs: 2, Tasks: 5, Channels: []string{"a", "b"}, Pinned: []string{"j"},
			Use: &proto.Use{Last: &last, Succeeded: 10, Failed: 3, Cancelled: 1},
		},
		"1.5.0": {Use: &proto.Use{}},
	}}
	text := scrape(t, newMetrics(view))
	for _, want := range []string{
		`tidemill_version_runs{version="1.4.0"} 2`, `tidemill_version_tasks{version="1.4.0"} 5`, `tidemill_version_channels{version="1.4.0"} 2`, `tidemill_version_jobs_pinned{version="1.4.0"} 1`,
		`tidemill_version_runs_ended_total{outcome="succeeded",version="1.4.0"} 10`, `tidemill_version_runs_ended_total{outcome="failed",version="1.4.0"} 3`,
		`tidemill_version_runs_ended_total{outcome="cancelled",version="1.4.0"} 1`, `tidemill_version_last_use_timestamp_seconds{version="1.4.0"} 1.8000000005e+09`,
		`tidemill_version_runs_ended_total{outcome="failed",version="1.5.0"} 0`, `tidemill_version_channels{version="1.5.0"} 0`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%q is not shown", want)
		}
	}
	if strings.Contains(text, `tidemill_version_last_use_timestamp_seconds{version="1.5.0"}`) {
		t.Error("a version that was never used has a last use")
	}
	view.Leading = false
	if strings.Contains(scrape(t, newMetrics(view)), "tidemill_version_") {
		t.Error("a standby shows versions, too")
	}
}

func TestStanding(t *testing.T) {
	leading, known := true, false
	m := newMetrics(&scheduler.View{})
	m.Standing(func() (uint64, bool) { return 7, leading }, func() (time.Duration, bool) { return 1500 * time.Millisecond, known })
	m.LeaseChanged(true)
	m.Forwarded(201)
	m.Forwarded(0)
	check := func(wants []string, nots ...string) {
		t.Helper()
		text := scrape(t, m)
		for _, want := range wants {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Errorf("%s is not shown", want)
			}
		}
		for _, not := range nots {
			if strings.Contains(text, "\n"+not) {
				t.Errorf("%s is shown", not)
			}
		}
	}
	check([]string{
		`tidemill_leader_epoch 7`, `tidemill_lease_changes_total{change="acquired"} 1`, `tidemill_lease_changes_total{change="lost"} 0`,
		`tidemill_requests_forwarded_total{code="201"} 1`, `tidemill_requests_forwarded_total{code="none"} 1`,
	}, "tidemill_standby")
	leading = false
	check(nil, "tidemill_leader_epoch", "tidemill_standby")
	known = true
	check([]string{"tidemill_standby_snapshot_age_seconds 1.5"}, "tidemill_leader_epoch")
}

func TestLabelsAreBounded(t *testing.T) {
	m := newMetrics(&scheduler.View{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for job := range 2000 {
				m.Count(scheduler.Count{Metric: scheduler.MetricLaunches, Labels: []string{fmt.Sprint("job-", (job+i*500)%2000), "1.0"}, Value: 1})
			}
		})
	}
	all.Wait()
	if got := testutil.CollectAndCount(m.counters[scheduler.MetricLaunches]); got != maxValues+1 {
		t.Errorf("series: got %d, want %d", got, maxValues+1)
	}
	if !strings.Contains(scrape(t, m), `tidemill_task_launches_total{job="other",version="1.0"} 4000`) {
		t.Error("what is beyond the bound is not counted as other")
	}
}

func TestOddObservationsAreDropped(t *testing.T) {
	m := newMetrics(&scheduler.View{})
	for _, c := range []scheduler.Count{
		{Metric: "tidemill_unheard_of_total", Value: 1},
		{Metric: scheduler.MetricLaunches, Labels: []string{"one label too few"}, Value: 1},
		{Metric: scheduler.MetricLaunches, Labels: []string{"job", "1.0"}, Value: -1},
	} {
		m.Count(c)
	}
	m.Count(scheduler.Count{Metric: scheduler.MetricLaunches, Labels: []string{"\xff", "1.0"}, Value: 1})
	text := scrape(t, m)
	if !strings.Contains(text, "tidemill_observations_dropped_total 3") {
		t.Error("three observations should have been dropped")
	}
	if !strings.Contains(text, `{job="?",version="1.0"} 1`) {
		t.Error("a label that is no UTF-8 is lost")
	}
}

func TestFailures(t *testing.T) {
	m := newMetrics(&scheduler.View{})
	m.Committed(1, 1, time.Second, errors.New("disk full"))
	m.Request(http.MethodGet, "", 404, time.Millisecond)
	text := scrape(t, m)
	for _, want := range []string{`tidemill_store_commit_seconds_count{outcome="failed"} 1`, `tidemill_api_request_seconds_count{code="404",route="unknown"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not shown", want)
		}
	}
}
