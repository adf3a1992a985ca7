package executor

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	devmesos "github.com/tidemill/tidemill/dev/mesos"
	mesosagent "github.com/tidemill/tidemill/dev/mesos/agent"
	"github.com/tidemill/tidemill/dev/mesos/master"
	own "github.com/tidemill/tidemill/executor/describe"
	"github.com/tidemill/tidemill/executor/task/tasktest"
	"github.com/tidemill/tidemill/proto"
)

// framework is a scheduler of a few lines: it launches what it is told on the first offer and acknowledges everything.
type framework struct {
	t   *testing.T
	url string

	background sync.WaitGroup

	mu       sync.Mutex
	id       mesos.FrameworkID
	stream   string
	offer    *mesos.Offer
	updates  []mesos.TaskStatus
	failures []scheduler.Event_Failure
	progress int
}

func register(t *testing.T, url string) *framework {
	t.Helper()
	f := &framework{t: t, url: url + "/api/v1/scheduler"}
	failover := float64(60)
	response := f.post(&scheduler.Call{Type: scheduler.Call_SUBSCRIBE, Subscribe: &scheduler.Call_Subscribe{
		FrameworkInfo: &mesos.FrameworkInfo{User: "root", Name: "test", Roles: []string{"tidemill"}, Checkpoint: ref(true),
			FailoverTimeout: &failover, Capabilities: []mesos.FrameworkInfo_Capability{
				{Type: mesos.FrameworkInfo_Capability_MULTI_ROLE}, {Type: mesos.FrameworkInfo_Capability_PARTITION_AWARE},
				{Type: mesos.FrameworkInfo_Capability_TASK_KILLING_STATE},
			}}}})
	f.stream = response.Header.Get("Mesos-Stream-Id")
	f.background.Go(func() { f.listen(response.Body) })
	t.Cleanup(func() {
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		f.background.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	f.await("the subscription", func() bool { return f.id.Value != "" })
	return f
}

func ref[T any](value T) *T { return &value }

func (f *framework) post(call *scheduler.Call) *http.Response {
	f.t.Helper()
	body, err := call.Marshal()
	if err != nil {
		f.t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Accept", "application/x-protobuf")
	if f.stream != "" {
		request.Header.Set("Mesos-Stream-Id", f.stream)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	return response
}

func (f *framework) call(call *scheduler.Call) {
	f.t.Helper()
	f.mu.Lock()
	call.FrameworkID = &f.id
	f.mu.Unlock()
	response := f.post(call)
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusAccepted {
		f.t.Errorf("%s: got %s %s, %v", call.Type, response.Status, text, err)
	}
	if err := response.Body.Close(); err != nil {
		f.t.Error(err)
	}
}

// listen handles events until the stream closes.
func (f *framework) listen(body io.Reader) {
	stream := bufio.NewReader(body)
	for {
		line, err := stream.ReadString('\n')
		if err != nil {
			return
		}
		size, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			f.t.Error(err)
			return
		}
		record := make([]byte, size)
		if _, err := io.ReadFull(stream, record); err != nil {
			return
		}
		var event scheduler.Event
		if err := event.Unmarshal(record); err != nil {
			f.t.Error(err)
			return
		}
		f.handle(&event)
	}
}

func (f *framework) handle(event *scheduler.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch event.Type {
	case scheduler.Event_SUBSCRIBED:
		f.id = *event.Subscribed.FrameworkID
	case scheduler.Event_OFFERS:
		f.offer = &event.Offers.Offers[0]
	case scheduler.Event_FAILURE:
		f.failures = append(f.failures, *event.Failure)
	case scheduler.Event_MESSAGE:
		f.progress++
	case scheduler.Event_UPDATE:
		status := event.Update.Status
		f.updates = append(f.updates, status)
		if status.UUID != nil {
			f.background.Go(func() {
				f.call(&scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE, Acknowledge: &scheduler.Call_Acknowledge{
					AgentID: *status.AgentID, TaskID: status.TaskID, UUID: status.UUID}})
			})
		}
	}
}

// await polls until the condition, which is asked with the lock held, holds.
func (f *framework) await(what string, holds func() bool) {
	f.t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(2 * time.Millisecond) {
		f.mu.Lock()
		ok := holds()
		f.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("waited for %s in vain; updates so far: %s", what, describeUpdates(f.updates))
		}
	}
}

func (f *framework) awaitState(id string, state mesos.TaskState) (found mesos.TaskStatus) {
	f.t.Helper()
	f.await(fmt.Sprintf("%s of %s", state, id), func() bool {
		i := slices.IndexFunc(f.updates, func(u mesos.TaskStatus) bool { return u.TaskID.Value == id && *u.State == state })
		if i >= 0 {
			found = f.updates[i]
		}
		return i >= 0
	})
	return found
}

// launch starts a script for each ID, all in one executor.
func (f *framework) launch(linger time.Duration, scripts map[string]string, work string) {
	f.t.Helper()
	var offer *mesos.Offer
	f.await("an offer", func() bool { offer = f.offer; return offer != nil })
	file, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	resources := func(cpus, memory float64) []mesos.Resource {
		scalar := func(name string, value float64) mesos.Resource {
			return mesos.Resource{Name: name, Type: mesos.SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: value},
				AllocationInfo: &mesos.Resource_AllocationInfo{Role: ref("tidemill")}}
		}
		return []mesos.Resource{scalar("cpus", cpus), scalar("mem", memory)}
	}
	data := proto.ExecutorData{Protocol: 2, ExecutorID: "e", Owner: "r", Version: own.Own().Version, Linger: linger}
	info := &mesos.ExecutorInfo{
		Type: mesos.ExecutorInfo_CUSTOM, ExecutorID: mesos.ExecutorID{Value: "e"}, FrameworkID: &f.id,
		Command:   &mesos.CommandInfo{Value: ref("exec " + file), Shell: ref(true)},
		Resources: resources(0.1, 64), Data: proto.Encode(&data),
	}
	var tasks []mesos.TaskInfo
	for id, script := range scripts {
		tasks = append(tasks, mesos.TaskInfo{
			Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: offer.AgentID, Executor: info, Resources: resources(0.1, 256),
			Data: proto.Encode(&proto.TaskData{
				Protocol: 2, Job: "scripted", Run: "r", Kind: tasktest.Name, Stage: "run", Of: 1, Attempt: 1,
				Spec: tasktest.Spec(work), Input: []byte(script), Cpus: 0.1, Memory: 256 << 20,
			}),
		})
	}
	f.call(&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{
		OfferIDs: []mesos.OfferID{offer.ID},
		Operations: []mesos.Offer_Operation{{Type: mesos.Offer_Operation_LAUNCH,
			Launch: &mesos.Offer_Operation_Launch{TaskInfos: tasks}}},
	}})
}

func agentConfig(url, dir string) mesosagent.Config {
	return mesosagent.Config{
		Master: url, WorkDir: dir, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		ExecutorEnvironment: map[string]string{"GORACE": "atexit_sleep_ms=0"},
	}
}

func TestOnMesos(t *testing.T) {
	t.Parallel()
	cluster, err := devmesos.StartCluster(devmesos.ClusterConfig{
		Dir: t.TempDir(), Agent: agentConfig("", ""), Master: master.Config{AllocationInterval: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := register(t, cluster.URL())
	goOn := filepath.Join(t.TempDir(), "go-on")
	f.launch(0, map[string]string{"good": "echo hello\nawait " + goOn + "\noutput done", "killed": "wait", "bad": "exit 3", "moved": "output offset 7\nhand-over"}, t.TempDir())

	var started proto.Started
	if err := proto.Decode(f.awaitState("good", mesos.TASK_RUNNING).Data, &started); err != nil {
		t.Fatal(err)
	}
	status := f.awaitState("killed", mesos.TASK_RUNNING)
	f.call(&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: status.TaskID, AgentID: status.AgentID}})
	f.awaitState("killed", mesos.TASK_KILLING)
	f.awaitState("killed", mesos.TASK_KILLED)
	f.awaitState("bad", mesos.TASK_FAILED)
	status = f.awaitState("moved", mesos.TASK_RUNNING)
	f.call(&scheduler.Call{Type: scheduler.Call_MESSAGE, Message: &scheduler.Call_Message{AgentID: *status.AgentID,
		ExecutorID: *status.ExecutorID, Data: proto.Encode(&proto.Request{HandOver: []string{"moved"}})}})
	if got := result(t, f.awaitState("moved", mesos.TASK_FINISHED)); !got.HandedOver || string(got.Output) != "offset 7" {
		t.Errorf("got %+v", got)
	}
	f.await("progress", func() bool { return f.progress > 0 })
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := result(t, f.awaitState("good", mesos.TASK_FINISHED)); string(got.Output) != "done" {
		t.Errorf("got %+v", got)
	}
	if got, err := os.ReadFile(filepath.Join(started.Directory, "stdout")); err != nil || string(got) != "hello\n" {
		t.Errorf("got log %q, %v", got, err)
	}
	f.await("the executor to end by itself", func() bool { return len(f.failures) == 1 })
	if status := f.failures[0].Status; status == nil || *status != 0 {
		t.Errorf("the executor ended with %v", status)
	}
}

// An agent that is started again finds its executor at work, and hears what happened meanwhile.
func TestMesosAgentStartsAgain(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	m, err := master.New(master.Config{AllocationInterval: 20 * time.Millisecond, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	stopMaster := inBackground(t, m.Run)
	defer stopMaster()
	dir := t.TempDir()
	runAgent := func(keep bool) (stop func()) {
		config := agentConfig(m.URL(), dir)
		config.KeepExecutors = keep
		a, err := mesosagent.New(config)
		if err != nil {
			t.Fatal(err)
		}
		return inBackground(t, a.Run)
	}
	stopAgent := runAgent(true)
	f := register(t, m.URL())
	ready, goOn, work := filepath.Join(t.TempDir(), "ready"), filepath.Join(t.TempDir(), "go-on"), t.TempDir()
	f.launch(time.Minute, map[string]string{"during": "touch " + ready + "\nawait " + goOn + "\noutput done", "after": "wait"}, work)
	f.awaitState("during", mesos.TASK_RUNNING)
	f.awaitState("after", mesos.TASK_RUNNING)
	stopAgent()
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stopAgent = runAgent(false)
	defer func() { stopAgent() }()
	f.awaitState("during", mesos.TASK_FINISHED)
	status := f.awaitState("after", mesos.TASK_RUNNING)
	// The master knows by that update that the agent is back, so the KILL arrives.
	f.call(&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: status.TaskID, AgentID: status.AgentID}})
	f.awaitState("after", mesos.TASK_KILLED)
}

// inBackground runs something until stop is called, and checks how it ended.
func inBackground(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
}
