package mesos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/dev/mesos/internal/link"
	"github.com/tidemill/tidemill/dev/mesos/internal/resource"
	"github.com/tidemill/tidemill/dev/mesos/master"
)

// played is an agent that the test plays itself: it decides when it is silent and
// what it knows when it comes back.
type played struct {
	t        *testing.T
	url      string
	info     *v1.AgentInfo
	stream   string
	commands *json.Decoder
	hangUp   func()
}

func (p *played) post(ctx context.Context, path string, body any) (*http.Response, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set(link.StreamHeader, p.stream)
	return http.DefaultClient.Do(request)
}

// register connects, with the tasks that the agent knows.
func (p *played) register(registration link.Registration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	registration.Agent, registration.PID = link.Encode(p.info), "slave(1)@127.0.0.1:1"
	response, err := p.post(ctx, link.RegisterPath, registration)
	if err != nil {
		p.t.Fatal(err)
	}
	p.commands = json.NewDecoder(response.Body)
	var beats sync.WaitGroup
	beating, stopBeats := context.WithCancel(ctx)
	p.hangUp = func() {
		stopBeats() // before the stream that they name is over
		beats.Wait()
		cancel()
		response.Body.Close() //nolint:errcheck // the connection is over either way
	}
	p.t.Cleanup(p.hangUp)
	first := link.Command{}
	if err := p.commands.Decode(&first); err != nil || first.Registered == nil {
		p.t.Fatalf("register: %v, %s", err, response.Status)
	}
	p.stream, p.info.ID = first.Registered.StreamID, &v1.AgentID{Value: first.Registered.AgentID}
	beats.Go(func() {
		ticker := time.NewTicker(first.Registered.Silence / 10)
		defer ticker.Stop()
		for {
			select {
			case <-beating.Done():
				return
			case <-ticker.C:
				p.report(link.Report{})
			}
		}
	})
}

// run waits for a task.
func (p *played) run() *link.Run {
	p.t.Helper()
	for {
		command := link.Command{}
		if err := p.commands.Decode(&command); err != nil {
			p.t.Fatal(err)
		}
		if command.Run != nil {
			return command.Run
		}
	}
}

// report may be called by any goroutine.
func (p *played) report(report link.Report) {
	p.t.Helper()
	response, err := p.post(context.Background(), link.ReportPath, report)
	if err != nil {
		p.t.Error(err)
		return
	}
	if response.Body.Close(); response.StatusCode != http.StatusAccepted {
		p.t.Errorf("report: %s", response.Status)
	}
}

func (p *played) update(framework string, status *v1.TaskStatus) {
	p.t.Helper()
	p.report(link.Report{Update: &link.Update{
		Framework: framework, Status: link.Encode(status), Latest: int32(status.GetState()),
	}})
}

// TestMasterTellsEndsOfAnUnreachableAgent: when an agent comes back, the master tells
// the state of each of its tasks in its own words first, of those too that have ended
// meanwhile; only the agent's update then has the data.
func TestMasterTellsEndsOfAnUnreachableAgent(t *testing.T) {
	resources, err := resource.Parse("cpus:4;mem:4096")
	if err != nil {
		t.Fatal(err)
	}
	for name, heardBefore := range map[string]bool{"ended meanwhile": false, "end was not acknowledged": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := startMaster(t, master.Config{
				AllocationInterval: 20 * time.Millisecond, AgentTimeout: time.Second,
				Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			c := subscribe(t, url, frameworkInfo())
			p := &played{t: t, url: url, info: &v1.AgentInfo{Hostname: "localhost", Resources: resources}}
			p.register(link.Registration{})
			c.launch(c.offer(), custom("one", "e", "run"))
			run := p.run()
			status := func(state v1.TaskState) *v1.TaskStatus {
				id := uuid.New()
				return &v1.TaskStatus{
					TaskID: v1.TaskID{Value: "one"}, State: &state, Source: v1.SOURCE_EXECUTOR.Enum(),
					AgentID: p.info.ID, ExecutorID: &v1.ExecutorID{Value: "e"}, UUID: id[:], Data: []byte("result"),
				}
			}
			p.update(c.info.ID.Value, status(v1.TASK_RUNNING))
			c.status("one", v1.TASK_RUNNING)
			finished := status(v1.TASK_FINISHED)
			if heardBefore {
				c.acknowledges = false
				p.update(c.info.ID.Value, finished)
				c.status("one", v1.TASK_FINISHED)
				c.acknowledges = true
			}
			p.hangUp()
			if heardBefore {
				c.next("FAILURE", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_FAILURE })
			} else {
				c.status("one", v1.TASK_UNREACHABLE)
			}

			p.register(link.Registration{Tasks: []link.KnownTask{{
				Framework: c.info.ID.Value, Executor: "e", Info: run.Task, Latest: link.Encode(finished),
			}}})
			told := c.status("one", v1.TASK_FINISHED)
			if told.GetSource() != v1.SOURCE_MASTER || told.GetReason() != v1.REASON_AGENT_REREGISTERED ||
				told.GetMessage() != "Unreachable agent re-reregistered" || told.GetExecutorID().GetValue() != "e" {
				t.Errorf("got %v", told)
			}
			if len(told.UUID) > 0 || len(told.Data) > 0 {
				t.Errorf("the master's own word has UUID %x, data %q", told.UUID, told.Data)
			}
			p.update(c.info.ID.Value, finished)
			if got := c.status("one", v1.TASK_FINISHED); got.GetSource() != v1.SOURCE_EXECUTOR || string(got.Data) != "result" {
				t.Errorf("got %v", got)
			}
			eventually(t, "the task is complete, once", func() bool {
				return completedTasks(t, url, "one") == 1
			})
		})
	}
}

// completedTasks counts the entries of a task among those that have ended.
func completedTasks(t *testing.T, url, id string) (n int) {
	t.Helper()
	state := struct {
		Frameworks []struct {
			Completed []struct{ ID string } `json:"completed_tasks"`
		}
	}{}
	_, body := get(t, url+"/state")
	if err := json.Unmarshal([]byte(body), &state); err != nil {
		t.Fatal(err)
	}
	for _, f := range state.Frameworks {
		for _, completed := range f.Completed {
			if completed.ID == id {
				n++
			}
		}
	}
	return n
}

// startMaster runs a master without agents until the test ends.
func startMaster(t *testing.T, cfg master.Config) (url string) {
	t.Helper()
	m, err := master.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return m.URL()
}
