package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/executor/agent"
	"github.com/tidemill/tidemill/executor/process"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/executor/task/tasktest"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/proto"
)

const testVersion = "1.2.3-test"

var testKinds = process.Kinds{Jobs: jobs.Kinds{tasktest.Job{}}, Work: []task.Kind{tasktest.Work{}}}

// The test binary is the executor's file, too: as task process, and as an executor that can be killed.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == taskVerb:
		os.Exit(process.Serve(testKinds))
	case os.Getenv("MESOS_EXECUTOR_ID") != "":
		os.Exit(Main(testKinds))
	}
	goleak.VerifyTestMain(m)
}

// run is an executor inside the test.
type run struct {
	*scriptedAgent
	sandbox string
	work    string // folder of the work area
	stop    context.CancelFunc
	ended   chan error
}

// start runs an executor with a scripted agent.
func start(t *testing.T, change func(*scriptedAgent, *agent.Environment)) *run {
	t.Helper()
	t.Parallel()
	a := newScriptedAgent(t)
	r := &run{scriptedAgent: a, sandbox: t.TempDir(), work: t.TempDir(), ended: make(chan error, 1)}
	a.data.ConnectionsFile = filepath.Join(r.sandbox, "connections.json")
	connections := fmt.Appendf(nil, `{"connections": {"local": {"type": "file", "root": %q}}}`, r.work)
	if err := os.WriteFile(a.data.ConnectionsFile, connections, 0o600); err != nil {
		t.Fatal(err)
	}
	environment := agent.Environment{
		Endpoint: a.address, FrameworkID: "f", ExecutorID: "e", AgentID: "s", Sandbox: r.sandbox, Directory: r.sandbox,
		Checkpoint: true, RecoveryTimeout: time.Minute, SubscriptionBackoff: 50 * time.Millisecond, ShutdownGrace: 5 * time.Second,
	}
	if change != nil {
		change(a, &environment)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	e := New(Config{
		Environment: environment, Kinds: testKinds, File: "/proc/self/exe",
		Environ:     append(os.Environ(), "GORACE=atexit_sleep_ms=0", agent.TokenVariable+"=secret"),
		Description: proto.Description{Version: testVersion, ProtocolMin: 1, ProtocolMax: 2},
		Log:         slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	go func() { r.ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		r.stop()
		if r.ended != nil {
			<-r.ended
		}
	})
	return r
}

// task is the data of a task that does a script.
func (r *run) task(script string) *proto.TaskData {
	return &proto.TaskData{
		Protocol: 2, Job: "scripted", Run: "r", Kind: tasktest.Name, Stage: "run", Of: 1, Attempt: 1,
		Spec: tasktest.Spec(r.work), Input: []byte(script), Cpus: 1, Memory: 512 << 20,
	}
}

// awaitEnd waits for the executor to end by itself.
func (r *run) awaitEnd() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended = nil
		return err
	case <-time.After(deadline):
		r.t.Fatal("the executor did not end")
		return nil
	}
}

func (r *run) file(elements ...string) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

func TestTaskFinishes(t *testing.T) {
	goOn := filepath.Join(t.TempDir(), "go-on")
	r := start(t, func(a *scriptedAgent, _ *agent.Environment) { a.data.Linger = 200 * time.Millisecond })
	r.launch("r.run.0.1", r.task("echo hello\nlog careful\nprogress 0.5\nawait "+goOn+"\nfile x\noutput done"))

	var started proto.Started
	if err := proto.Decode(r.awaitState("r.run.0.1", mesos.TASK_RUNNING).Data, &started); err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(r.sandbox, "tasks", "r.run.0.1"); started.Directory != want {
		t.Errorf("got directory %q, want %q", started.Directory, want)
	}
	r.await("progress", func() bool {
		last := len(r.messages) - 1
		return last >= 0 && len(r.messages[last].Tasks) == 1 && r.messages[last].Tasks[0].Fraction == 0.5 &&
			r.messages[last].Tasks[0].MesosID == "r.run.0.1" && r.messages[last].Tasks[0].Counters.Rows == 500
	})
	before := 0
	r.await("any number of messages", func() bool { before = len(r.messages); return true })
	r.await("signs of life without news", func() bool { return len(r.messages) >= before+3 })

	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status := r.awaitState("r.run.0.1", mesos.TASK_FINISHED)
	got := result(t, status)
	if got.Failure != nil || string(got.Output) != "done" || got.Counters.Rows != 500 || got.Counters.Cpu <= 0 || got.Counters.PeakMemory <= 0 {
		t.Errorf("got %+v", got)
	}
	if status.GetMessage() != "finished" || *status.Source != mesos.SOURCE_EXECUTOR || status.ExecutorID.Value != "e" || len(status.UUID) != 16 || *status.Timestamp < 1e9 {
		t.Errorf("got status %+v", status)
	}
	if want := "file://" + r.work + "/r/logs/r.run.0.1"; got.LogURI != want {
		t.Errorf("got log URI %q, want %q", got.LogURI, want)
	}
	if got := r.file(r.work, "r/logs/r.run.0.1/stdout"); got != "hello\n" {
		t.Errorf("got uploaded standard output %q", got)
	}
	if got := r.file(r.work, "r/logs/r.run.0.1/stderr"); !strings.Contains(got, "careful") || got != r.file(r.sandbox, "tasks/r.run.0.1/stderr") {
		t.Errorf("got uploaded standard error %q", got)
	}
	if _, err := os.Stat(filepath.Join(started.Directory, "scratch")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the scratch folder is still there: %v", err)
	}
	if err := r.awaitEnd(); err != nil {
		t.Errorf("the executor ended with %v", err)
	}
	r.checkStates("r.run.0.1", "STARTING", "RUNNING", "FINISHED")
}

func TestOneTaskFailsAndItsSiblingGoesOn(t *testing.T) {
	goOn := filepath.Join(t.TempDir(), "go-on")
	r := start(t, nil)
	r.launch("sibling", r.task("await "+goOn+"\noutput fine"))
	late := r.task("wait")
	late.Timeout = 300 * time.Millisecond
	small := r.task(fmt.Sprintf("allocate %d\nhang 1m", 1<<30))
	small.Memory = 100 << 20
	for id, test := range map[string]struct {
		data  *proto.TaskData
		class proto.Class
		kind  string
		text  string
	}{
		"crash":    {r.task("log deep trouble\nexit 7"), proto.CLASS_PASSING, "internal", "status 7 and without a result"},
		"final":    {r.task("final /script/x no such column"), proto.CLASS_FINAL, "invalid", "no such column"},
		"timeout":  {late, proto.CLASS_PASSING, "timeout", "timeout of 300ms"},
		"memory":   {small, proto.CLASS_PASSING, "out_of_memory", "more than the 100 MiB asked for"},
		"bad spec": {&proto.TaskData{Kind: tasktest.Name, Stage: "run", Memory: 512 << 20}, proto.CLASS_FINAL, "invalid", "does not accept the spec"},
	} {
		r.launch(id, test.data)
		status := r.awaitState(id, mesos.TASK_FAILED)
		f := result(t, status).Failure
		if f.Class != test.class || f.Kind != test.kind || !strings.Contains(f.Message, test.text) {
			t.Errorf("%s: got %+v", id, f)
		}
		if !strings.Contains(status.GetMessage(), test.text) {
			t.Errorf("%s: got message %q", id, status.GetMessage())
		}
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.awaitState("sibling", mesos.TASK_FINISHED)
}

func TestLaunchMayComeTwice(t *testing.T) {
	r := start(t, nil)
	for range 3 {
		r.launch("t", r.task("output once"))
	}
	r.awaitState("t", mesos.TASK_FINISHED)
	r.launch("t", r.task("output again"))
	r.launch("last", r.task(""))
	r.awaitState("last", mesos.TASK_FINISHED)
	r.checkStates("t", "STARTING", "RUNNING", "FINISHED")
}

func TestLaunchesThatCannotBeDone(t *testing.T) {
	r := start(t, nil)
	r.send(launchOf("garbage", []byte("\xff\xff\xff")))
	r.launch("../../etc", r.task(""))
	r.send(&mesosexec.Event{Type: mesosexec.Event_LAUNCH_GROUP, LaunchGroup: &mesosexec.Event_LaunchGroup{
		TaskGroup: mesos.TaskGroupInfo{Tasks: []mesos.TaskInfo{{TaskID: mesos.TaskID{Value: "grouped"}}}}}})
	for id, text := range map[string]string{"garbage": "cannot be read", "../../etc": "name of a folder", "grouped": "not supported"} {
		f := result(t, r.awaitState(id, mesos.TASK_FAILED)).Failure
		if f.Class != proto.CLASS_FINAL || !strings.Contains(f.Message, text) {
			t.Errorf("%s: got %+v", id, f)
		}
	}
}

func TestWrongExecutorRefusesTasks(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*proto.ExecutorData)
		want   string
	}{
		"version":  {func(d *proto.ExecutorData) { d.Version = "9" }, `this is executor version "1.2.3-test", the scheduler wants "9"`},
		"protocol": {func(d *proto.ExecutorData) { d.Protocol = 3 }, "the executor speaks protocol 1 to 2, the scheduler chose 3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(a *scriptedAgent, _ *agent.Environment) { test.change(&a.data) })
			r.launch("t", r.task(""))
			f := result(t, r.awaitState("t", mesos.TASK_FAILED)).Failure
			if f.Class != proto.CLASS_FINAL || f.Message != test.want {
				t.Errorf("got %+v, want %q", f, test.want)
			}
		})
	}
}

func TestKill(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	r := start(t, nil)
	r.launch("gentle", r.task("wait"))
	r.launch("stubborn", r.task("ignore\ntouch "+ready+"\nhang 1m"))
	r.awaitState("gentle", mesos.TASK_RUNNING)
	r.await("the task to ignore signals", func() bool { _, err := os.Stat(ready); return err == nil })
	r.kill("gentle", time.Minute)
	r.kill("gentle", time.Minute) // may be repeated
	r.kill("stubborn", 50*time.Millisecond)
	for _, id := range []string{"gentle", "stubborn"} {
		f := result(t, r.awaitState(id, mesos.TASK_KILLED)).Failure
		if f.Class != proto.CLASS_OURS || f.Kind != "killed" {
			t.Errorf("%s: got %+v", id, f)
		}
		r.kill(id, 0)
	}
	r.kill("unknown", 0)
	r.kill("unknown", 0)
	r.awaitState("unknown", mesos.TASK_KILLED)
	r.launch("unknown", r.task("")) // overtaken by its KILL
	r.launch("last", r.task(""))
	r.awaitState("last", mesos.TASK_FINISHED)
	r.checkStates("gentle", "STARTING", "RUNNING", "KILLING", "KILLED")
	r.checkStates("stubborn", "STARTING", "RUNNING", "KILLING", "KILLED")
	r.checkStates("unknown", "KILLED")
}

func TestNoKillingStateForFrameworksThatDoNotKnowIt(t *testing.T) {
	r := start(t, func(a *scriptedAgent, _ *agent.Environment) { a.killingState = false })
	r.launch("t", r.task("wait"))
	r.awaitState("t", mesos.TASK_RUNNING)
	r.kill("t", time.Minute)
	r.awaitState("t", mesos.TASK_KILLED)
	r.checkStates("t", "STARTING", "RUNNING", "KILLED")
}

func TestShutdown(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	r := start(t, func(_ *scriptedAgent, e *agent.Environment) { e.ShutdownGrace = 2 * time.Second })
	r.launch("gentle", r.task("wait"))
	r.launch("stubborn", r.task("ignore\ntouch "+ready+"\nhang 1m"))
	r.awaitState("gentle", mesos.TASK_RUNNING)
	r.await("the task to ignore signals", func() bool { _, err := os.Stat(ready); return err == nil })
	begun := time.Now()
	r.send(&mesosexec.Event{Type: mesosexec.Event_SHUTDOWN})
	r.launch("too-late", r.task(""))
	if err := r.awaitEnd(); err != nil {
		t.Errorf("the executor ended with %v", err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v, longer than the grace period", took)
	}
	for _, id := range []string{"gentle", "stubborn"} {
		r.checkStates(id, "STARTING", "RUNNING", "KILLED")
		if f := result(t, r.awaitState(id, mesos.TASK_KILLED)).Failure; f.Class != proto.CLASS_OURS || f.Kind != "lost" {
			t.Errorf("%s: got %+v", id, f)
		}
	}
	r.checkStates("too-late", "FAILED")
}

func TestSignalIsShutdown(t *testing.T) {
	r := start(t, nil)
	r.launch("t", r.task("wait"))
	r.awaitState("t", mesos.TASK_RUNNING)
	r.stop()
	if err := r.awaitEnd(); err != nil {
		t.Errorf("the executor ended with %v", err)
	}
	r.checkStates("t", "STARTING", "RUNNING", "KILLED")
}

func TestUnacknowledgedIsNamedInSubscribe(t *testing.T) {
	r := start(t, func(a *scriptedAgent, _ *agent.Environment) {
		a.onUpdate = func(int, mesos.TaskStatus) reaction { return ignore }
	})
	r.launch("t", r.task("output done"))
	r.awaitState("t", mesos.TASK_FINISHED)
	r.mu.Lock()
	r.onUpdate = nil
	r.mu.Unlock()
	r.breakStream()
	r.await("another subscription", func() bool { return len(r.subscriptions) == 2 })
	again := r.subscriptions[1]
	var states []string
	for _, u := range again.UnacknowledgedUpdates {
		states = append(states, u.Status.State.String())
	}
	if got := fmt.Sprint(states); got != "[TASK_STARTING TASK_RUNNING TASK_FINISHED]" {
		t.Errorf("got updates %v", got)
	}
	if len(again.UnacknowledgedTasks) != 1 || again.UnacknowledgedTasks[0].TaskID.Value != "t" {
		t.Errorf("got tasks %v", again.UnacknowledgedTasks)
	}
	// All is acknowledged by now: a third subscription has nothing to say.
	r.launch("last", r.task(""))
	r.awaitState("last", mesos.TASK_FINISHED)
	r.breakStream()
	r.await("a third subscription", func() bool { return len(r.subscriptions) == 3 })
	for _, u := range r.subscriptions[2].UnacknowledgedUpdates {
		if u.Status.TaskID.Value == "t" {
			t.Errorf("got %v again", u.Status)
		}
	}
	r.checkStates("t", "STARTING", "RUNNING", "FINISHED")
}

func TestRefusedAndLostUpdatesAreSentAgain(t *testing.T) {
	for name, what := range map[string]reaction{"refused": refuse, "lost": abort} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(a *scriptedAgent, _ *agent.Environment) {
				a.onUpdate = func(nth int, _ mesos.TaskStatus) reaction {
					if nth < 2 {
						return what
					}
					return acknowledge
				}
			})
			r.launch("t", r.task("output done"))
			r.awaitState("t", mesos.TASK_FINISHED)
			r.checkStates("t", "STARTING", "RUNNING", "FINISHED")
		})
	}
}

func TestOneRefusedUpdateHoldsUpNoOtherTask(t *testing.T) {
	r := start(t, func(a *scriptedAgent, e *agent.Environment) {
		e.ShutdownGrace = time.Second
		a.onUpdate = func(_ int, status mesos.TaskStatus) reaction {
			if status.TaskID.Value == "refused" {
				return refuse
			}
			return acknowledge
		}
	})
	r.launch("refused", r.task(""))
	r.await("the first update", func() bool { return len(r.states("refused")) == 1 })
	r.launch("other", r.task(""))
	r.awaitState("other", mesos.TASK_FINISHED)
	r.checkStates("refused", "STARTING")
}

func TestTasksOutliveTheirAgent(t *testing.T) {
	goOn := filepath.Join(t.TempDir(), "go-on")
	r := start(t, nil)
	r.launch("during", r.task("await "+goOn+"\noutput done"))
	r.launch("after", r.task("wait"))
	r.awaitState("during", mesos.TASK_RUNNING)
	r.awaitState("after", mesos.TASK_RUNNING)
	r.goAway()
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// It ends while the agent is away: its log is there.
	r.await("the task to end", func() bool {
		_, err := os.Stat(filepath.Join(r.work, "r/logs/during/stderr"))
		return err == nil
	})
	r.comeBack()
	if got := result(t, r.awaitState("during", mesos.TASK_FINISHED)); string(got.Output) != "done" {
		t.Errorf("got %+v", got)
	}
	r.kill("after", time.Minute)
	r.awaitState("after", mesos.TASK_KILLED)
}

func TestAgentIsGone(t *testing.T) {
	for name, change := range map[string]func(*agent.Environment){
		"without checkpointing": func(e *agent.Environment) { e.Checkpoint = false },
		"for too long":          func(e *agent.Environment) { e.RecoveryTimeout = 300 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(_ *scriptedAgent, e *agent.Environment) { change(e) })
			r.launch("t", r.task("wait"))
			r.awaitState("t", mesos.TASK_RUNNING)
			r.goAway()
			if err := r.awaitEnd(); !errors.Is(err, errAgentGone) {
				t.Errorf("the executor ended with %v, want %v", err, errAgentGone)
			}
		})
	}
}

func TestSilentAgentIsLeft(t *testing.T) {
	r := start(t, nil)
	r.await("a subscription", func() bool { return r.stream != nil })
	for range 2 {
		r.send(&mesosexec.Event{Type: mesosexec.Event_HEARTBEAT})
	}
	r.await("another subscription", func() bool { return len(r.subscriptions) == 2 })
}

func TestErrorEventEndsTheSubscription(t *testing.T) {
	r := start(t, nil)
	r.send(&mesosexec.Event{Type: mesosexec.Event_ERROR, Error: &mesosexec.Event_Error{Message: "no"}})
	r.await("another subscription", func() bool { return len(r.subscriptions) == 2 })
	r.send(&mesosexec.Event{Type: mesosexec.Event_MESSAGE, Message: &mesosexec.Event_Message{Data: []byte("hm")}})
	r.launch("t", r.task(""))
	r.awaitState("t", mesos.TASK_FINISHED)
}

func TestLogsStayInTheSandboxWhenStorageIsDown(t *testing.T) {
	r := start(t, func(a *scriptedAgent, _ *agent.Environment) {
		down := `{"connections": {"local": {"type": "s3", "endpoint": "http://127.0.0.1:1", "region": "x", "access_key": "a", "secret_key": "b"}}}`
		if err := os.WriteFile(a.data.ConnectionsFile, []byte(down), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	data := r.task("echo kept\noutput done")
	data.Spec = []byte(strings.Replace(string(data.Spec), "file://"+r.work, "s3://bucket/work", 1))
	begun := time.Now()
	r.launch("t", data)
	got := result(t, r.awaitState("t", mesos.TASK_FINISHED))
	if got.LogURI != "" || string(got.Output) != "done" {
		t.Errorf("got %+v", got)
	}
	if took := time.Since(begun); took > uploadTimeout+5*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := r.file(r.sandbox, "tasks/t/stdout"); got != "kept\n" {
		t.Errorf("got %q", got)
	}
}

func TestShutdownDoesNotWaitForStorage(t *testing.T) {
	reached := make(chan struct{}, 100)
	storage := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-r.Context().Done() // it hangs
	}))
	t.Cleanup(storage.Close)
	r := start(t, func(a *scriptedAgent, e *agent.Environment) {
		e.ShutdownGrace = 3 * time.Second
		hung := fmt.Appendf(nil, `{"connections": {"local": {"type": "s3", "endpoint": %q, "region": "x", "access_key": "a", "secret_key": "b"}}}`, storage.URL)
		if err := os.WriteFile(a.data.ConnectionsFile, hung, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	data := r.task("output done")
	data.Spec = []byte(strings.Replace(string(data.Spec), "file://"+r.work, "s3://bucket/work", 1))
	r.launch("t", data)
	<-reached
	begun := time.Now()
	r.send(&mesosexec.Event{Type: mesosexec.Event_SHUTDOWN})
	if err := r.awaitEnd(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v, longer than the grace period", took)
	}
	r.checkStates("t", "STARTING", "RUNNING", "FINISHED")
}

func TestChecksHaveNoLogsToUpload(t *testing.T) {
	r := start(t, nil)
	data := r.task("output sound")
	data.Stage, data.Spec = jobs.StageCheck, nil
	r.launch("c", data)
	if got := result(t, r.awaitState("c", mesos.TASK_FINISHED)); got.LogURI != "" || string(got.Output) != "sound" {
		t.Errorf("got %+v", got)
	}
}

func TestOnlyTheEndOfALogIsUploaded(t *testing.T) {
	r := start(t, nil)
	line := strings.Repeat("x", 1<<20-1)
	r.launch("t", r.task(strings.Repeat("echo "+line+"\n", 5)+"echo end"))
	r.awaitState("t", mesos.TASK_FINISHED)
	got := r.file(r.work, "r/logs/t/stdout")
	if len(got) != maxLog || !strings.HasSuffix(got, "x\nend\n") {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestTaskProcessesDoNotGetTheToken(t *testing.T) {
	got := withoutToken([]string{"A=1", agent.TokenVariable + "=secret", "B=2"})
	if fmt.Sprint(got) != "[A=1 B=2]" {
		t.Errorf("got %v", got)
	}
}
