package mesos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	v1 "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/recordio"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// client is a small scheduler that speaks protobuf. Its events come in order.
type client struct {
	t      *testing.T
	url    string
	info   *v1.FrameworkInfo
	http   *http.Client
	stream string
	events chan *scheduler.Event // closed when the stream has ended
	close  func()
	offers []v1.Offer // that came while something else was waited for
	// acknowledges says whether updates are acknowledged as they are taken.
	acknowledges bool
}

func frameworkInfo() *v1.FrameworkInfo {
	yes, week := true, 7*24*3600.0
	return &v1.FrameworkInfo{
		User: "root", Name: "test", Roles: []string{"data"}, Checkpoint: &yes, FailoverTimeout: &week,
		Capabilities: []v1.FrameworkInfo_Capability{
			{Type: v1.FrameworkInfo_Capability_MULTI_ROLE}, {Type: v1.FrameworkInfo_Capability_PARTITION_AWARE},
		},
	}
}

// subscribe subscribes and takes SUBSCRIBED.
func subscribe(t *testing.T, url string, info *v1.FrameworkInfo) *client {
	t.Helper()
	return connect(t, url, info).subscribed()
}

func (c *client) subscribed() *client {
	c.t.Helper()
	if event := c.next("SUBSCRIBED", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_SUBSCRIBED }); event != nil {
		c.info.ID = event.Subscribed.FrameworkID
	}
	return c
}

// connect sends SUBSCRIBE and leaves all events to be taken.
func connect(t *testing.T, url string, info *v1.FrameworkInfo) *client {
	t.Helper()
	return connectWith(t, http.DefaultClient, url, info)
}

func connectWith(t *testing.T, by *http.Client, url string, info *v1.FrameworkInfo) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{
		t: t, http: by, url: url, info: info, events: make(chan *scheduler.Event, 1000), acknowledges: true,
	}
	response := c.post(ctx, &scheduler.Call{
		Type: scheduler.Call_SUBSCRIBE, FrameworkID: info.ID, Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: info},
	})
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Fatalf("SUBSCRIBE: %s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	c.stream = response.Header.Get("Mesos-Stream-Id")
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(c.events)
		frames := recordio.NewReader(response.Body)
		for {
			frame, err := frames.ReadFrame()
			if err != nil {
				return
			}
			event := &scheduler.Event{}
			if err := proto.Unmarshal(frame, event); err != nil {
				t.Error(err)
				return
			}
			c.events <- event
		}
	}()
	c.close = func() {
		cancel()
		response.Body.Close() //nolint:errcheck // given up
		<-read
	}
	t.Cleanup(c.close)
	return c
}

func (c *client) post(ctx context.Context, call *scheduler.Call) *http.Response {
	c.t.Helper()
	body, err := proto.Marshal(call)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/api/v1/scheduler", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Accept", "application/x-protobuf")
	if c.stream != "" {
		request.Header.Set("Mesos-Stream-Id", c.stream)
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatalf("%s: %v", call.Type, err)
	}
	return response
}

// call makes a call of the framework and gives status and text of the answer.
func (c *client) call(call *scheduler.Call) (int, string) {
	c.t.Helper()
	call.FrameworkID = c.info.ID
	response := c.post(context.Background(), call)
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// must makes a call that has to be accepted.
func (c *client) must(call *scheduler.Call) {
	c.t.Helper()
	if status, text := c.call(call); status != http.StatusAccepted {
		c.t.Fatalf("%s: %d %s", call.Type, status, text)
	}
}

var errEnded = errors.New("the stream has ended")

// take waits for the next event that fits; those before it are passed over.
func (c *client) take(fits func(*scheduler.Event) bool) (*scheduler.Event, error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case <-deadline.C:
			return nil, fmt.Errorf("nothing within %v", patience)
		case event, open := <-c.events:
			if !open {
				return nil, errEnded
			}
			if status := event.GetUpdate(); status != nil && c.acknowledges && len(status.Status.UUID) > 0 {
				c.must(&scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE, Acknowledge: &scheduler.Call_Acknowledge{
					AgentID: *status.Status.AgentID, TaskID: status.Status.TaskID, UUID: status.Status.UUID,
				}})
			}
			if fits(event) {
				return event, nil
			}
			c.offers = append(c.offers, event.GetOffers().GetOffers()...)
		}
	}
}

func (c *client) next(what string, fits func(*scheduler.Event) bool) *scheduler.Event {
	c.t.Helper()
	event, err := c.take(fits)
	if err != nil {
		c.t.Fatalf("wait for %s: %v", what, err)
	}
	return event
}

// event waits for the next event of a type.
func (c *client) event(kind scheduler.Event_Type) *scheduler.Event {
	c.t.Helper()
	return c.next(kind.String(), func(e *scheduler.Event) bool { return e.Type == kind })
}

// reconcile asks for the state of one task.
func (c *client) reconcile(task string, agent v1.AgentID) {
	c.t.Helper()
	c.must(&scheduler.Call{Type: scheduler.Call_RECONCILE, Reconcile: &scheduler.Call_Reconcile{
		Tasks: []scheduler.Call_Reconcile_Task{{TaskID: v1.TaskID{Value: task}, AgentID: &agent}},
	}})
}

// offer gives the oldest offer of some size that was not used yet, or waits for one.
func (c *client) offer() v1.Offer {
	c.t.Helper()
	for {
		for i, offer := range c.offers {
			for _, r := range offer.Resources {
				if r.Name == "cpus" && r.Scalar.Value >= 1 {
					c.offers = append(c.offers[:i:i], c.offers[i+1:]...)
					return offer
				}
			}
		}
		event := c.next("an offer", func(e *scheduler.Event) bool { return e.Type == scheduler.Event_OFFERS })
		c.offers = append(c.offers, event.Offers.Offers...)
	}
}

// status waits until a task reports a state.
func (c *client) status(task string, state v1.TaskState) *v1.TaskStatus {
	c.t.Helper()
	event := c.next(task+" to be "+state.String(), func(e *scheduler.Event) bool {
		if e.Type != scheduler.Event_UPDATE || e.Update.Status.TaskID.Value != task {
			return false
		}
		if got := e.Update.Status.GetState(); got != state && ended(got) {
			c.t.Fatalf("%s is %s, want %s: %s", task, got, state, e.Update.Status.GetMessage())
		}
		return e.Update.Status.GetState() == state
	})
	return &event.Update.Status
}

func ended(state v1.TaskState) bool {
	switch state {
	case v1.TASK_FINISHED, v1.TASK_FAILED, v1.TASK_KILLED, v1.TASK_ERROR, v1.TASK_DROPPED, v1.TASK_GONE, v1.TASK_LOST:
		return true
	}
	return false
}

// launch accepts an offer with tasks; the rest of it is not refused.
func (c *client) launch(offer v1.Offer, tasks ...v1.TaskInfo) {
	c.t.Helper()
	nothing := 0.0
	for i := range tasks {
		tasks[i].AgentID = offer.AgentID
	}
	c.must(&scheduler.Call{Type: scheduler.Call_ACCEPT, Accept: &scheduler.Call_Accept{
		OfferIDs: []v1.OfferID{offer.ID}, Filters: &v1.Filters{RefuseSeconds: &nothing},
		Operations: []v1.Offer_Operation{{
			Type: v1.Offer_Operation_LAUNCH, Launch: &v1.Offer_Operation_Launch{TaskInfos: tasks},
		}},
	}})
}

func (c *client) kill(task string) {
	c.t.Helper()
	c.must(&scheduler.Call{Type: scheduler.Call_KILL, Kill: &scheduler.Call_Kill{TaskID: v1.TaskID{Value: task}}})
}

func scalar(name string, value float64) v1.Resource {
	return v1.Resource{Name: name, Type: v1.SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: value}}
}

// command is a task that runs a shell command.
func command(id, text string) v1.TaskInfo {
	return v1.TaskInfo{
		Name: "name of " + id, TaskID: v1.TaskID{Value: id}, Command: &v1.CommandInfo{Value: &text},
		Resources: []v1.Resource{scalar("cpus", 0.1), scalar("mem", 64)},
	}
}

// custom is a task of an executor that a shell command starts.
func custom(id, executor, text string) v1.TaskInfo {
	task := command(id, "")
	task.Command = nil
	task.Executor = &v1.ExecutorInfo{
		Type: v1.ExecutorInfo_CUSTOM, ExecutorID: v1.ExecutorID{Value: executor}, Command: &v1.CommandInfo{Value: &text},
		Resources: []v1.Resource{scalar("cpus", 0.1), scalar("mem", 64)},
	}
	return task
}
