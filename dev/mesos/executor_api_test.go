package mesos_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"
	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
)

// stand is a test that stands in for an executor, whose process only sleeps: it speaks
// protobuf with the agent.
type stand struct {
	t    *testing.T
	url  string
	call executor.Call // with the executor's IDs
}

func (s *stand) post(ctx context.Context, call *executor.Call) *http.Response {
	s.t.Helper()
	call.ExecutorID, call.FrameworkID = s.call.ExecutorID, s.call.FrameworkID
	body, err := proto.Marshal(call)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/slave(1)/api/v1/executor", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Accept", "application/x-protobuf")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	return response
}

// answer makes a call and gives status and text of the answer.
func (s *stand) answer(call *executor.Call) (int, string) {
	s.t.Helper()
	response := s.post(context.Background(), call)
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// subscribe gives a function that reads the next event, and one that hangs up.
func (s *stand) subscribe(with *executor.Call_Subscribe) (next func() *executor.Event, hangUp func()) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	response := s.post(ctx, &executor.Call{Type: executor.Call_SUBSCRIBE, Subscribe: with})
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		s.t.Fatalf("SUBSCRIBE: %s %s", response.Status, text)
	}
	frames := recordio.NewReader(response.Body)
	hangUp = func() {
		cancel()
		response.Body.Close() //nolint:errcheck // given up
	}
	s.t.Cleanup(hangUp)
	return func() *executor.Event {
		s.t.Helper()
		frame, err := frames.ReadFrame()
		if err != nil {
			s.t.Fatal(err)
		}
		event := &executor.Event{}
		if err := proto.Unmarshal(frame, event); err != nil {
			s.t.Fatal(err)
		}
		return event
	}, hangUp
}

func update(task string, state v1.TaskState) executor.Call_Update {
	id := uuid.New()
	return executor.Call_Update{Status: v1.TaskStatus{
		TaskID: v1.TaskID{Value: task}, State: &state, Source: v1.SOURCE_EXECUTOR.Enum(), UUID: id[:],
	}}
}

// sleeper launches tasks of an executor that only sleeps, and stands in for it.
func sleeper(t *testing.T, tasks ...string) (*client, *stand) {
	t.Helper()
	cluster := start(t)
	c := subscribe(t, cluster.URL(), frameworkInfo())
	var infos []v1.TaskInfo
	for _, id := range tasks {
		infos = append(infos, custom(id, "sleeper", "exec sleep 300"))
	}
	c.launch(c.offer(), infos...)
	s := &stand{t: t, url: cluster.Agents[0].URL(), call: executor.Call{
		ExecutorID: v1.ExecutorID{Value: "sleeper"}, FrameworkID: *c.info.ID,
	}}
	eventually(t, "the agent knows the executor", func() bool {
		status, _ := s.answer(&executor.Call{Type: executor.Call_HEARTBEAT})
		return status == http.StatusForbidden // not subscribed yet
	})
	return c, s
}

func TestExecutorComesBack(t *testing.T) {
	c, s := sleeper(t, "one", "two")
	c.acknowledges = false
	next, hangUp := s.subscribe(&executor.Call_Subscribe{})
	for _, want := range []executor.Event_Type{executor.Event_SUBSCRIBED, executor.Event_LAUNCH, executor.Event_LAUNCH} {
		if event := next(); event.Type != want {
			t.Fatalf("got %s, want %s", event.Type, want)
		}
	}
	running := update("one", v1.TASK_RUNNING)
	if status, text := s.answer(&executor.Call{Type: executor.Call_UPDATE, Update: &running}); status != http.StatusAccepted {
		t.Fatalf("UPDATE: %d %s", status, text)
	}
	if event := next(); event.Type != executor.Event_ACKNOWLEDGED || !bytes.Equal(event.Acknowledged.UUID, running.Status.UUID) {
		t.Fatalf("got %v", event)
	}
	hangUp()

	// It did not see the acknowledgement, and it has not got the second task.
	finished := update("one", v1.TASK_FINISHED)
	next, _ = s.subscribe(&executor.Call_Subscribe{UnacknowledgedUpdates: []executor.Call_Update{running, finished}})
	var got []string
	for range 4 {
		event := next()
		text := event.Type.String()
		if event.Launch != nil {
			text += " " + event.Launch.Task.TaskID.Value
		}
		got = append(got, text)
	}
	if want := "SUBSCRIBED ACKNOWLEDGED ACKNOWLEDGED LAUNCH two"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	// The scheduler hears of each update once.
	c.acknowledges = true
	if status := c.status("one", v1.TASK_RUNNING); !bytes.Equal(status.UUID, running.Status.UUID) {
		t.Errorf("got another update: %v", status)
	}
	if status := c.status("one", v1.TASK_FINISHED); !bytes.Equal(status.UUID, finished.Status.UUID) {
		t.Errorf("got another update: %v", status)
	}
}

func TestExecutorCallsAreChecked(t *testing.T) {
	_, s := sleeper(t, "one")
	next, _ := s.subscribe(&executor.Call_Subscribe{})
	next()
	with := func(change func(*v1.TaskStatus)) *executor.Call {
		u := update("one", v1.TASK_RUNNING)
		change(&u.Status)
		return &executor.Call{Type: executor.Call_UPDATE, Update: &u}
	}
	const failed = "Failed to validate executor::Call: "
	tests := []struct {
		call *executor.Call
		want string
	}{
		{&executor.Call{}, failed + "Expecting 'type' to be present"},
		{&executor.Call{Type: executor.Call_SUBSCRIBE}, failed + "Expecting 'subscribe' to be present"},
		{&executor.Call{Type: executor.Call_UPDATE}, failed + "Expecting 'update' to be present"},
		{&executor.Call{Type: executor.Call_MESSAGE}, failed + "Expecting 'message' to be present"},
		{with(func(s *v1.TaskStatus) { s.UUID = nil }), failed + "Expecting 'uuid' to be present"},
		{with(func(s *v1.TaskStatus) { s.UUID = []byte("short") }), failed + "Not a valid UUID"},
		{with(func(s *v1.TaskStatus) { s.ExecutorID = &v1.ExecutorID{Value: "x"} }),
			failed + "ExecutorID in Call: sleeper does not match ExecutorID in TaskStatus: x"},
		{with(func(s *v1.TaskStatus) { s.Source = v1.SOURCE_MASTER.Enum() }),
			failed + "Received Call from executor sleeper of framework " + s.call.FrameworkID.Value + " with invalid source, expecting 'SOURCE_EXECUTOR'"},
		{with(func(s *v1.TaskStatus) { s.State = v1.TASK_STAGING.Enum() }),
			failed + "Received TASK_STAGING from executor sleeper of framework " + s.call.FrameworkID.Value + " which is not allowed"},
	}
	for _, test := range tests {
		if status, text := s.answer(test.call); status != http.StatusBadRequest || text != test.want {
			t.Errorf("got %d %q, want %q", status, text, test.want)
		}
	}
	s.call.ExecutorID.Value = "stranger"
	if status, text := s.answer(&executor.Call{Type: executor.Call_HEARTBEAT}); status != http.StatusBadRequest || text != "Executor cannot be found" {
		t.Errorf("a stranger: got %d %q", status, text)
	}
	s.call.FrameworkID.Value = "stranger"
	if status, text := s.answer(&executor.Call{Type: executor.Call_HEARTBEAT}); status != http.StatusBadRequest || text != "Framework cannot be found" {
		t.Errorf("a stranger: got %d %q", status, text)
	}
}
