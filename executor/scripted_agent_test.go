package executor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	mesosexec "github.com/mesos/mesos-go/api/v1/lib/executor"

	"github.com/tidemill/tidemill/proto"
)

// deadline is for what should take milliseconds.
const deadline = 20 * time.Second

// scriptedAgent is an agent of which a test says what it does. It keeps all that it is told.
type scriptedAgent struct {
	t       *testing.T
	address string
	server  *httptest.Server

	mu            sync.Mutex
	data          proto.ExecutorData // in SUBSCRIBED
	killingState  bool               // the framework's capability
	onUpdate      func(nth int, status mesos.TaskStatus) reaction
	subscriptions []mesosexec.Call_Subscribe
	updates       []mesos.TaskStatus // as they came, repeated ones too
	messages      []proto.Progress
	stream        chan *mesosexec.Event // of the living subscription; nil without one
	hangUp        context.CancelFunc
}

// reaction is what the agent does with an update.
type reaction int

const (
	acknowledge reaction = iota
	ignore               // takes it and never acknowledges
	refuse               // answers 503
	abort                // closes the connection without an answer
)

func newScriptedAgent(t *testing.T) *scriptedAgent {
	a := &scriptedAgent{
		t: t, killingState: true,
		data: proto.ExecutorData{
			Protocol: 2, ExecutorID: "e", Owner: "r", Version: testVersion, Linger: time.Minute,
			ProgressInterval: 50 * time.Millisecond, KillGrace: 5 * time.Second,
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.address = listener.Addr().String()
	a.serve(listener)
	t.Cleanup(func() { a.goAway() })
	return a
}

func (a *scriptedAgent) serve(listener net.Listener) {
	a.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: a}}
	a.server.Start()
}

// goAway ends the agent, as a crash would.
func (a *scriptedAgent) goAway() {
	a.server.CloseClientConnections()
	a.server.Close()
}

// comeBack starts an agent at the same address.
func (a *scriptedAgent) comeBack() {
	a.t.Helper()
	var listener net.Listener
	a.await("the address to be free", func() (ok bool) {
		var err error
		listener, err = net.Listen("tcp", a.address)
		return err == nil
	})
	a.serve(listener)
}

func (a *scriptedAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it went away
	}
	var call mesosexec.Call
	if err := call.Unmarshal(body); err != nil {
		a.t.Errorf("decode call: %v", err)
		return
	}
	switch call.Type {
	case mesosexec.Call_SUBSCRIBE:
		a.subscribe(w, r, call.Subscribe)
	case mesosexec.Call_UPDATE:
		a.update(w, call.Update.Status)
	case mesosexec.Call_MESSAGE:
		var progress proto.Progress
		if err := proto.Decode(call.Message.Data, &progress); err != nil {
			a.t.Error(err)
		}
		a.mu.Lock()
		a.messages = append(a.messages, progress)
		a.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}
}

func (a *scriptedAgent) subscribe(w http.ResponseWriter, r *http.Request, call *mesosexec.Call_Subscribe) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream := make(chan *mesosexec.Event, 1000)
	a.mu.Lock()
	a.subscriptions = append(a.subscriptions, *call)
	stream <- a.subscribed()
	for _, u := range call.UnacknowledgedUpdates {
		a.take(u.Status, stream)
	}
	a.stream, a.hangUp = stream, cancel
	a.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-stream:
			data, err := event.Marshal()
			if err != nil {
				a.t.Error(err)
			}
			if _, err := fmt.Fprintf(w, "%d\n%s", len(data), data); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
}

func (a *scriptedAgent) subscribed() *mesosexec.Event {
	framework := mesos.FrameworkInfo{User: "root", Name: "test"}
	if a.killingState {
		framework.Capabilities = []mesos.FrameworkInfo_Capability{{Type: mesos.FrameworkInfo_Capability_TASK_KILLING_STATE}}
	}
	return &mesosexec.Event{Type: mesosexec.Event_SUBSCRIBED, Subscribed: &mesosexec.Event_Subscribed{
		ExecutorInfo:  mesos.ExecutorInfo{ExecutorID: mesos.ExecutorID{Value: "e"}, Data: proto.Encode(&a.data)},
		FrameworkInfo: framework, AgentInfo: mesos.AgentInfo{Hostname: "localhost"},
	}}
}

func (a *scriptedAgent) update(w http.ResponseWriter, status mesos.TaskStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.take(status, a.stream) {
	case refuse:
		http.Error(w, "later", http.StatusServiceUnavailable)
	case abort:
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// take records an update and acknowledges it or not; the caller holds the lock.
func (a *scriptedAgent) take(status mesos.TaskStatus, stream chan<- *mesosexec.Event) reaction {
	what := acknowledge
	if a.onUpdate != nil {
		what = a.onUpdate(len(a.updates), status)
	}
	a.updates = append(a.updates, status)
	if what == acknowledge && stream != nil {
		stream <- &mesosexec.Event{Type: mesosexec.Event_ACKNOWLEDGED,
			Acknowledged: &mesosexec.Event_Acknowledged{TaskID: status.TaskID, UUID: status.UUID}}
	}
	return what
}

// send puts an event on the living subscription, waiting for one.
func (a *scriptedAgent) send(event *mesosexec.Event) {
	a.t.Helper()
	a.await("a subscription", func() bool { return a.stream != nil })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream <- event
}

// breakStream ends the living subscription.
func (a *scriptedAgent) breakStream() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hangUp != nil {
		a.hangUp()
		a.stream = nil
	}
}

func (a *scriptedAgent) launch(id string, data *proto.TaskData) {
	a.t.Helper()
	a.send(launchOf(id, proto.Encode(data)))
}

func launchOf(id string, data []byte) *mesosexec.Event {
	return &mesosexec.Event{Type: mesosexec.Event_LAUNCH, Launch: &mesosexec.Event_Launch{Task: mesos.TaskInfo{
		Name: id, TaskID: mesos.TaskID{Value: id}, AgentID: mesos.AgentID{Value: "s"}, Data: data,
	}}}
}

func (a *scriptedAgent) kill(id string, grace time.Duration) {
	a.t.Helper()
	a.send(&mesosexec.Event{Type: mesosexec.Event_KILL, Kill: &mesosexec.Event_Kill{
		TaskID:     mesos.TaskID{Value: id},
		KillPolicy: &mesos.KillPolicy{GracePeriod: &mesos.DurationInfo{Nanoseconds: int64(grace)}},
	}})
}

// await polls until the condition holds; it is asked with the lock held.
func (a *scriptedAgent) await(what string, holds func() bool) {
	a.t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(2 * time.Millisecond) {
		a.mu.Lock()
		ok := holds()
		a.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(end) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.t.Fatalf("waited for %s in vain; updates so far: %s", what, describeUpdates(a.updates))
		}
	}
}

func describeUpdates(updates []mesos.TaskStatus) string {
	var b strings.Builder
	for _, u := range updates {
		fmt.Fprintf(&b, "\n  %s %s %s", u.TaskID.Value, u.State, u.GetMessage())
	}
	return b.String()
}

// states are the states of a task in the order in which they came, without repetitions of one update.
func (a *scriptedAgent) states(id string) []string {
	var states []string
	var seen [][]byte
	for _, u := range a.updates {
		if u.TaskID.Value != id || slices.ContainsFunc(seen, func(uuid []byte) bool { return bytes.Equal(uuid, u.UUID) }) {
			continue
		}
		seen = append(seen, u.UUID)
		states = append(states, strings.TrimPrefix(u.State.String(), "TASK_"))
	}
	return states
}

// awaitState waits for a task to get to a state and gives that update.
func (a *scriptedAgent) awaitState(id string, state mesos.TaskState) mesos.TaskStatus {
	a.t.Helper()
	var found mesos.TaskStatus
	a.await(fmt.Sprintf("%s of %s", state, id), func() bool {
		i := slices.IndexFunc(a.updates, func(u mesos.TaskStatus) bool { return u.TaskID.Value == id && *u.State == state })
		if i >= 0 {
			found = a.updates[i]
		}
		return i >= 0
	})
	return found
}

// checkStates compares the whole story of a task.
func (a *scriptedAgent) checkStates(id string, want ...string) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if got := a.states(id); !slices.Equal(got, want) {
		a.t.Errorf("%s: got states %v, want %v", id, got, want)
	}
}

// result decodes what a terminal update carries.
func result(t *testing.T, status mesos.TaskStatus) *proto.TaskResult {
	t.Helper()
	r := &proto.TaskResult{}
	if err := proto.Decode(status.Data, r); err != nil {
		t.Fatal(err)
	}
	return r
}
