package mesos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos"
	"github.com/tidemill/tidemill/dev/mesos/agent"
)

// start starts a quiet, quick cluster of one agent and closes it with the test.
func start(t *testing.T, configure ...func(*mesos.ClusterConfig)) *mesos.Cluster {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := mesos.ClusterConfig{Dir: t.TempDir()}
	cfg.Master.Logger, cfg.Agent.Logger = quiet, quiet
	cfg.Master.AllocationInterval = 50 * time.Millisecond
	cfg.Agent.MemoryPollInterval = -1
	for _, change := range configure {
		change(&cfg)
	}
	cluster, err := mesos.StartCluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return cluster
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pidFrom waits for a file that a process wrote its PID to.
func pidFrom(t *testing.T, file string) int {
	t.Helper()
	pid := 0
	eventually(t, file, func() bool {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

// lives says whether a process is there; one that nobody has reaped yet is not.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, found := strings.Cut(string(stat), ") ")
	return err == nil && found && !strings.HasPrefix(state, "Z")
}

func TestCloseLeavesNoProcess(t *testing.T) {
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	dir := t.TempDir()
	c.launch(c.offer(), command("runaway", fmt.Sprintf(
		`cd %s; echo $$ > shell; sleep 300 & echo $! > child; (setsid sh -c 'echo $$ > orphan; exec sleep 300' &); wait`, dir)))
	var pids []int
	for _, name := range []string{"shell", "child", "orphan"} {
		pids = append(pids, pidFrom(t, filepath.Join(dir, name)))
	}
	if err := cluster.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if lives(pid) {
			t.Errorf("process %d lives", pid)
		}
	}
}

func TestMemoryLimitTakesAllOfTheExecutor(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Agent.MemoryPollInterval = 20 * time.Millisecond })
	c := subscribe(t, cluster.URL(), frameworkInfo())
	log := filepath.Join(t.TempDir(), "log")
	// 64 MB for the executor and 64 MB for each task are not enough for it.
	text := fmt.Sprintf("REC_LOG=%s %s demo-executor & exec %s eat-memory", log, self(t), self(t))
	c.launch(c.offer(), custom("one", "greedy", text), custom("two", "greedy", text))
	failure := c.next("FAILURE", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_FAILURE })
	if got := failure.Failure.GetStatus(); got != int32(syscall.SIGKILL) {
		t.Errorf("the executor ended with %d, want SIGKILL", got)
	}
	for _, id := range []string{"one", "two"} {
		status := c.status(id, v1.TASK_FAILED)
		if status.GetReason() != v1.REASON_CONTAINER_LIMITATION_MEMORY || status.GetSource() != v1.SOURCE_AGENT {
			t.Errorf("%s: got %s of %s", id, status.GetReason(), status.GetSource())
		}
		if !strings.HasPrefix(status.GetMessage(), "Memory limit exceeded: Requested: 192MB Maximum Used: ") {
			t.Errorf("%s: got %q", id, status.GetMessage())
		}
		if held := status.GetLimitation().GetResources(); len(held) != 1 || held[0].Name != "mem" || held[0].Scalar.Value <= 192 {
			t.Errorf("%s: got limitation %v", id, held)
		}
	}
}

func TestCommandEnds(t *testing.T) {
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	dir := t.TempDir()
	// Each says when its trap is set.
	loop := "; echo $$ > " + dir + "/%s; while :; do sleep 0.01; done"
	patient := command("patient", "trap 'exit 7' TERM"+fmt.Sprintf(loop, "patient"))
	stubborn := command("stubborn", "trap '' TERM"+fmt.Sprintf(loop, "stubborn"))
	stubborn.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: int64(100 * time.Millisecond)}}
	c.launch(c.offer(), command("signalled", "kill -9 $$"), patient, stubborn)
	if got := c.status("signalled", v1.TASK_FAILED).GetMessage(); got != "Command terminated with signal Killed" {
		t.Errorf("signalled: got %q", got)
	}
	for id, want := range map[string]string{
		"patient": "Command exited with status 7", "stubborn": "Command terminated with signal Killed",
	} {
		pidFrom(t, filepath.Join(dir, id))
		c.kill(id)
		if got := c.status(id, v1.TASK_KILLED).GetMessage(); got != want {
			t.Errorf("%s: got %q, want %q", id, got, want)
		}
	}
}

func TestExecutorThatDoesNotListen(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) {
		cfg.Agent.ExecutorRegistrationTimeout = 2 * time.Second
		cfg.Agent.ShutdownGracePeriod = 100 * time.Millisecond
	})
	c := subscribe(t, cluster.URL(), frameworkInfo())
	deaf := "trap '' TERM; sleep 300"
	c.launch(c.offer(), custom("late", "never", deaf))
	status := c.status("late", v1.TASK_FAILED)
	if status.GetReason() != v1.REASON_EXECUTOR_REGISTRATION_TIMEOUT ||
		status.GetMessage() != "Executor did not register within 2secs" {
		t.Errorf("late: got %s, %q", status.GetReason(), status.GetMessage())
	}
	offer := c.offer()
	c.launch(offer, custom("shut", "deaf", deaf))
	c.must(&scheduler.Call{Type: scheduler.Call_SHUTDOWN, Shutdown: &scheduler.Call_Shutdown{
		AgentID: offer.AgentID, ExecutorID: v1.ExecutorID{Value: "deaf"},
	}})
	if status := c.status("shut", v1.TASK_FAILED); status.GetReason() == v1.REASON_EXECUTOR_REGISTRATION_TIMEOUT {
		t.Errorf("shut: got %s", status.GetReason())
	}
	// A task that its executor never got is killed without it, and the executor with it.
	c.launch(c.offer(), custom("queued", "idle", deaf))
	c.kill("queued")
	if status := c.status("queued", v1.TASK_KILLED); status.GetReason() != v1.REASON_TASK_KILLED_DURING_LAUNCH {
		t.Errorf("queued: got %s", status.GetReason())
	}
	c.next("FAILURE", func(e *scheduler.Event) bool {
		return e.Type == scheduler.Event_FAILURE && e.Failure.GetExecutorID().GetValue() == "idle"
	})
}

func TestFailoverTimeoutEndsAFramework(t *testing.T) {
	cluster := start(t)
	info, soon := frameworkInfo(), 0.05
	info.FailoverTimeout = &soon
	c := subscribe(t, cluster.URL(), info)
	file := filepath.Join(t.TempDir(), "pid")
	c.launch(c.offer(), command("orphan", "echo $$ > "+file+"; sleep 300"))
	pid := pidFrom(t, file)
	c.close()
	eventually(t, "the task is killed", func() bool { return !lives(pid) })
	again := connect(t, cluster.URL(), info)
	event := again.next("ERROR", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_ERROR })
	if got := event.Error.Message; got != "Framework has been removed" {
		t.Errorf("got %q", got)
	}
}

func TestReleasedIsOfferedAtOnce(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Master.AllocationInterval = time.Hour })
	c := subscribe(t, cluster.URL(), frameworkInfo())
	c.launch(c.offer(), command("short", "true"))
	c.status("short", v1.TASK_FINISHED)
	if got := c.offer().Resources; len(got) != 4 { // what was left comes along: it was not refused
		t.Errorf("got %v", got)
	}
}

func TestRoles(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Agents = 2 })
	info := frameworkInfo()
	info.Roles = []string{"a", "b"}
	c := subscribe(t, cluster.URL(), info)
	byRole := map[string]v1.Offer{}
	for len(byRole) < 2 { // each agent goes to the role that has less
		event := c.next("offers", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_OFFERS })
		for _, offer := range event.Offers.Offers {
			byRole[offer.AllocationInfo.GetRole()] = offer
		}
	}
	task := command("both", "true")
	task.AgentID = byRole["a"].AgentID
	c.must(&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{
		OfferIDs: []v1.OfferID{byRole["a"].ID, byRole["b"].ID},
		Operations: []v1.Offer_Operation{{
			Type: v1.Offer_Operation_LAUNCH, Launch: &v1.Offer_Operation_Launch{TaskInfos: []v1.TaskInfo{task}},
		}},
	}})
	if status := c.status("both", v1.TASK_DROPPED); status.GetReason() != v1.REASON_INVALID_OFFERS ||
		!strings.HasPrefix(status.GetMessage(), "Task launched with invalid offers: Aggregated offers must ") {
		t.Errorf("got %s, %q", status.GetReason(), status.GetMessage())
	}
	var ofA v1.Offer
	c.next("an offer for a", func(e *scheduler.Event) bool {
		offers := e.GetOffers().GetOffers()
		i := slices.IndexFunc(offers, func(o v1.Offer) bool { return o.AllocationInfo.GetRole() == "a" })
		if i >= 0 {
			ofA = offers[i]
		}
		return i >= 0
	})
	// Without a role there is nothing to offer for it, and what was offered is taken back.
	info.Roles = []string{"b"}
	if status, text := c.call(&scheduler.Call{Type: scheduler.Call_UPDATE_FRAMEWORK, UpdateFramework: &scheduler.Call_UpdateFramework{FrameworkInfo: *info}}); status != http.StatusOK {
		t.Fatalf("UPDATE_FRAMEWORK: %d %s", status, text)
	}
	if got := c.event(scheduler.Event_RESCIND).Rescind.OfferID; got != ofA.ID {
		t.Errorf("rescinded %v, want %v", got, ofA.ID)
	}
	c.next("an offer of the same agent for b", func(e *scheduler.Event) bool {
		return slices.ContainsFunc(e.GetOffers().GetOffers(), func(o v1.Offer) bool {
			return o.AllocationInfo.GetRole() == "b" && o.AgentID == ofA.AgentID
		})
	})
	other := *info
	other.User = "somebody else"
	if status, text := c.call(&scheduler.Call{Type: scheduler.Call_UPDATE_FRAMEWORK, UpdateFramework: &scheduler.Call_UpdateFramework{FrameworkInfo: other}}); status != http.StatusBadRequest {
		t.Errorf("another user: %d %s", status, text)
	}
}

// TestExecutorsOutliveAnAgent stops an agent in order, with its executors kept, and
// starts another one on its directory.
func TestExecutorsOutliveAnAgent(t *testing.T) {
	dir := t.TempDir()
	keep := func(cfg *mesos.ClusterConfig) {
		cfg.Dir, cfg.Agent.KeepExecutors = dir, true
		// What the agent reports before the scheduler is back comes again soon.
		cfg.Agent.UpdateRetryInterval = 50 * time.Millisecond
	}
	first := start(t, keep)
	c := subscribe(t, first.URL(), frameworkInfo())
	pidFile, gate := filepath.Join(dir, "pid"), filepath.Join(dir, "gate")
	c.launch(c.offer(),
		command("waits", fmt.Sprintf("echo $$ > %s; while [ ! -e %s ]; do sleep 0.01; done; exit 3", pidFile, gate)),
		command("ends", fmt.Sprintf("while [ ! -e %s ]; do sleep 0.01; done; touch %s.ended; exit 4", gate+"0", gate)))
	pid := pidFrom(t, pidFile)
	c.status("ends", v1.TASK_RUNNING)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if !lives(pid) {
		t.Fatal("the command ended with its agent")
	}
	// One ends while there is no agent.
	touch(t, gate+"0")
	eventually(t, "the other ends", func() bool { _, err := os.Stat(gate + ".ended"); return err == nil })

	second := start(t, keep, func(cfg *mesos.ClusterConfig) { cfg.Agent.KeepExecutors = false }) // a new master, too
	c = subscribe(t, second.URL(), c.info)
	if got := c.status("ends", v1.TASK_FAILED).GetMessage(); got != "Command exited with status 4" {
		t.Errorf("ends: got %q", got)
	}
	touch(t, gate)
	if got := c.status("waits", v1.TASK_FAILED).GetMessage(); got != "Command exited with status 3" {
		t.Errorf("waits: got %q", got)
	}
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, request)
}

// do makes a request and gives status and text of the answer.
func do(t *testing.T, request *http.Request) (int, string) {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// TestPagesLeadToTheSandbox goes where a person would click.
func TestPagesLeadToTheSandbox(t *testing.T) {
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	task := command("talk", "echo '<b>hello</b>'; ln -s /etc/hostname out; mkdir inner; echo deep > inner/file")
	value := "1.2.3"
	task.Labels = &v1.Labels{Labels: []v1.Label{{Key: "version", Value: &value}}}
	c.launch(c.offer(), task)
	c.status("talk", v1.TASK_FINISHED)

	var page string
	eventually(t, "the page shows the task", func() bool {
		_, page = get(t, cluster.URL()+"/")
		return strings.Contains(page, `class="state TASK_FINISHED"`)
	})
	for _, want := range []string{"name of talk", "version: 1.2.3", "localhost", c.info.ID.Value, "connected"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	link := regexp.MustCompile(`href="([^"]*/sandbox\?[^"]*)"`).FindStringSubmatch(page)
	if link == nil {
		t.Fatalf("no link to the sandbox in %s", page)
	}
	_, sandbox := get(t, strings.ReplaceAll(link[1], "&amp;", "&"))
	entry := regexp.MustCompile(`href="(/sandbox\?path=[^"]*stdout)"`).FindStringSubmatch(sandbox)
	if entry == nil || !strings.Contains(sandbox, "inner") {
		t.Fatalf("no stdout or inner in %s", sandbox)
	}
	if _, text := get(t, cluster.Agents[0].URL()+entry[1]); !strings.Contains(text, "&lt;b&gt;hello&lt;/b&gt;") {
		t.Errorf("stdout is not shown, or not escaped: %s", text)
	}
}

// TestSandboxesAreCollected: those of ended executors go, one that runs stays, and so
// does one whose last update nobody has acknowledged.
func TestSandboxesAreCollected(t *testing.T) {
	cluster := start(t, func(cfg *mesos.ClusterConfig) { cfg.Agent.GCDelay = 20 * time.Millisecond })
	c := subscribe(t, cluster.URL(), frameworkInfo())
	c.launch(c.offer(), command("runs", "sleep 300"))
	c.status("runs", v1.TASK_RUNNING)
	running := sandboxOf(t, cluster.Agents[0].URL(), "runs")
	c.launch(c.offer(), command("done", "true"))
	c.status("done", v1.TASK_FINISHED)
	done := filepath.Join(running, "../../../done")
	gone := func(dir string) bool { _, err := os.Stat(dir); return os.IsNotExist(err) }
	eventually(t, "the sandbox of done goes", func() bool { return gone(done) })

	c.launch(c.offer(), command("waits", "true"))
	c.status("waits", v1.TASK_RUNNING)
	c.acknowledges = false
	unheard := c.status("waits", v1.TASK_FINISHED)
	waiting := sandboxOf(t, cluster.Agents[0].URL(), "waits")
	c.acknowledges = true
	c.launch(c.offer(), command("next", "true")) // there is another collection
	c.status("next", v1.TASK_FINISHED)
	eventually(t, "the sandbox of next goes", func() bool { return gone(filepath.Join(running, "../../../next")) })
	if gone(running) || gone(waiting) {
		t.Errorf("gone: running %v, unacknowledged %v", gone(running), gone(waiting))
	}
	c.must(&scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE, Acknowledge: &scheduler.Call_Acknowledge{
		AgentID: *unheard.AgentID, TaskID: unheard.TaskID, UUID: unheard.UUID,
	}})
	eventually(t, "the sandbox of waits goes", func() bool { return gone(waiting) })
}

// sandboxOf finds an executor's directory as Mesos' own page does.
func sandboxOf(t *testing.T, agentURL, executor string) string {
	t.Helper()
	type executors []struct{ ID, Directory string }
	state := struct {
		Frameworks []struct {
			Executors executors
			Completed executors `json:"completed_executors"`
		}
	}{}
	_, body := get(t, agentURL+"/state")
	if err := json.Unmarshal([]byte(body), &state); err != nil {
		t.Fatal(err)
	}
	for _, f := range state.Frameworks {
		for _, e := range append(f.Executors, f.Completed...) {
			if e.ID == executor {
				return e.Directory
			}
		}
	}
	t.Fatalf("no executor %q in %s", executor, body)
	return ""
}

func TestFilesStayInside(t *testing.T) {
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	offer := c.offer()
	c.launch(offer, command("talk", "echo hello; ln -s /etc/hostname out; mkdir inner; echo deep > inner/file"))
	c.status("talk", v1.TASK_FINISHED)
	at := cluster.Agents[0].URL() + "/files/"
	sandbox := sandboxOf(t, cluster.Agents[0].URL(), "talk")
	ask := func(verb, path, more string) (int, string) {
		return get(t, at+verb+"?path="+url.QueryEscape(path)+more)
	}
	tests := []struct{ verb, path, more, want string }{
		{"read", sandbox + "/stdout", "&offset=0", `{"data":"hello\n","offset":0}`},
		{"read", sandbox + "/stdout", "&offset=1&length=2", `{"data":"el","offset":1}`},
		{"read", sandbox + "/stdout", "", `{"data":"","offset":6}`},
		{"download", sandbox + "/inner/file", "", "deep\n"},
	}
	for _, test := range tests {
		if status, got := ask(test.verb, test.path, test.more); status != http.StatusOK || got != test.want {
			t.Errorf("%s %s%s: got %d %s, want %s", test.verb, test.path, test.more, status, got, test.want)
		}
	}
	if status, got := ask("browse", sandbox, ""); status != http.StatusOK || !strings.Contains(got, `/inner"`) {
		t.Errorf("browse: got %d %s", status, got)
	}
	meta := filepath.Join(strings.Split(sandbox, "/slaves/")[0], "meta", "agent.json")
	for _, path := range []string{
		"/etc/hostname", sandbox + "/out", sandbox + "/../../../../../../../../meta/agent.json", meta, "stdout", sandbox + "/none",
	} {
		for _, verb := range []string{"read", "browse", "download"} {
			if status, got := ask(verb, path, "&offset=0"); status != http.StatusNotFound {
				t.Errorf("%s %s: got %d %s, want 404", verb, path, status, got)
			}
		}
	}
	for _, query := range []string{"read", "read?path=" + url.QueryEscape(sandbox+"/inner"), "read?offset=x&path=" + url.QueryEscape(sandbox+"/stdout")} {
		if status, got := get(t, at+query); status != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, want 400", query, status, got)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	good := agent.Config{Master: "http://127.0.0.1:1", WorkDir: t.TempDir()}
	for name, change := range map[string]func(*agent.Config){
		"master":     func(c *agent.Config) { c.Master = "nowhere" },
		"work dir":   func(c *agent.Config) { c.WorkDir = "" },
		"resources":  func(c *agent.Config) { c.Resources = "cpus" },
		"attributes": func(c *agent.Config) { c.Attributes = "zone" },
		"gc delay":   func(c *agent.Config) { c.GCDelay = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := agent.New(cfg); err == nil || !strings.HasPrefix(err.Error(), "configure agent: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
