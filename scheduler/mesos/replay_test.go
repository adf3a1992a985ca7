package mesos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"

	"github.com/tidemill/tidemill/scheduler"
)

// take is one recorded SUBSCRIBE with its answer and, if that was a stream, what came on it.
type take struct {
	id       string // with which the scheduler came
	status   int
	location string
	text     string
	events   []map[string]any
	closed   bool // by whomever
}

// takes reads what each scheduler of a recording lived through.
func takes(t *testing.T, path string) map[string][]*take {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}()
	all, ids := map[string][]*take{}, map[string]string{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Actor, Kind, To string
			Status          int
			Headers         map[string]string
			Body            any
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil || !strings.HasPrefix(l.Actor, "scheduler") {
			continue
		}
		body, _ := l.Body.(map[string]any)
		var last *take
		if n := len(all[l.Actor]); n > 0 {
			last = all[l.Actor][n-1]
		}
		switch {
		case l.Kind == "call" && text(body, "type") == "SUBSCRIBE":
			ids[l.Actor] = text(body, "framework_id", "value")
		case l.Kind == "response" && l.To == "SUBSCRIBE":
			said, _ := l.Body.(string)
			all[l.Actor] = append(all[l.Actor], &take{id: ids[l.Actor], status: l.Status, location: l.Headers["Location"], text: said})
		case l.Kind == "event" && last != nil:
			last.events = append(last.events, body)
		case l.Kind == "stream_closed" && last != nil:
			last.closed = true
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// stage plays takes to whoever subscribes, one after the other. Redirects lead back to it.
type stage struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	takes []*take
}

func newStage(t *testing.T, takes []*take) *stage {
	s := &stage{t: t, takes: takes}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stage) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.takes)
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	s.mu.Lock()
	if len(s.takes) == 0 {
		s.mu.Unlock()
		<-r.Context().Done()
		return
	}
	next := s.takes[0]
	s.takes = s.takes[1:]
	s.mu.Unlock()
	if next.status != http.StatusOK {
		w.Header().Set("Location", strings.Replace(next.location, "localhost:5050", s.Listener.Addr().String(), 1))
		w.WriteHeader(next.status)
		if _, err := io.WriteString(w, next.text); err != nil {
			s.t.Logf("answer: %v", err)
		}
		return
	}
	out := &stream{ResponseWriter: w, request: r, t: s.t}
	out.open()
	for _, event := range next.events {
		out.record(wire(s.t, event))
	}
	if !next.closed {
		out.stay()
	}
}

// story is what the core is to hear of a take.
func (k *take) story() (lines []string, fatal error) {
	subscribed := false
	for _, e := range k.events {
		switch kind := text(e, "type"); kind {
		case "SUBSCRIBED":
			subscribed = true
			lines = append(lines, "SUBSCRIBED "+text(e, "subscribed", "framework_id", "value")+" at "+text(e, "subscribed", "master_info", "id"))
		case "OFFERS":
			for _, o := range at(e, "offers", "offers").([]any) {
				lines = append(lines, "OFFER "+text(o, "id", "value")+" "+text(o, "allocation_info", "role"))
			}
		case "INVERSE_OFFERS":
			for _, o := range at(e, "inverse_offers", "inverse_offers").([]any) {
				lines = append(lines, "INVERSE "+text(o, "id", "value")+" "+text(o, "agent_id", "value"))
			}
		case "UPDATE":
			s := at(e, "update", "status")
			lines = append(lines, "UPDATE "+text(s, "task_id", "value")+" "+text(s, "state")+" "+text(s, "reason"))
		case "FAILURE":
			lines = append(lines, "FAILURE "+text(e, "failure", "agent_id", "value")+" "+text(e, "failure", "executor_id", "value"))
		case "RESCIND", "MESSAGE":
			lines = append(lines, kind)
		case "ERROR":
			switch fatal = ErrRefused; text(e, "error", "message") {
			case "Framework failed over":
				fatal = ErrFailedOver
			case "Framework has been removed":
				fatal = ErrRemoved
			}
		}
	}
	if subscribed && (k.closed || fatal != nil) {
		lines = append(lines, "DISCONNECTED")
	}
	if k.status >= 400 && k.status < 500 {
		fatal = ErrRefused
	}
	return lines, fatal
}

// told writes events as story does.
func told(events []scheduler.Event) (lines []string) {
	for _, event := range events {
		switch e := event.(type) {
		case scheduler.Subscribed:
			lines = append(lines, "SUBSCRIBED "+e.FrameworkID+" at "+e.MasterID)
		case scheduler.Disconnected:
			lines = append(lines, "DISCONNECTED")
		case scheduler.Offers:
			for _, o := range e.Offers {
				lines = append(lines, "OFFER "+o.ID+" "+o.Role)
			}
		case scheduler.InverseOffers:
			for _, o := range e.Offers {
				lines = append(lines, "INVERSE "+o.ID+" "+o.AgentID)
			}
		case scheduler.Update:
			lines = append(lines, "UPDATE "+e.MesosID+" "+e.State+" "+e.Reason)
		case scheduler.Failure:
			lines = append(lines, "FAILURE "+e.AgentID+" "+e.ExecutorID)
		case scheduler.Rescind:
			lines = append(lines, "RESCIND")
		case scheduler.Message:
			lines = append(lines, "MESSAGE")
		default:
			lines = append(lines, fmt.Sprintf("%#v", e))
		}
	}
	return lines
}

// TestReplays plays every recorded subscription over HTTP to a Connection of ours: what real masters answered to wrong
// credentials, from standbys, before and after restarts and failovers, and what came on the streams.
func TestReplays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordings, "*.jsonl"))
	if err != nil || len(files) < 22 {
		t.Fatalf("recordings: got %d, %v", len(files), err)
	}
	outcomes := map[error]int{}
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		for _, path := range files {
			for actor, all := range takes(t, path) {
				t.Run(strings.TrimSuffix(filepath.Base(path), ".jsonl")+"/"+actor, func(t *testing.T) {
					t.Parallel()
					for rest := all; len(rest) > 0; {
						played, outcome := replay(t, rest)
						rest = rest[played:]
						mu.Lock()
						outcomes[outcome]++
						mu.Unlock()
					}
				})
			}
		}
	})
	for _, outcome := range []error{nil, ErrRefused, ErrFailedOver, ErrRemoved} {
		if outcomes[outcome] == 0 {
			t.Errorf("no recording ends with %v", outcome)
		}
	}
}

// replay runs one Connection until it gives up or nothing is left, and says how many takes that were.
func replay(t *testing.T, all []*take) (played int, outcome error) {
	t.Helper()
	var want []string
	for played < len(all) && outcome == nil {
		var lines []string
		lines, outcome = all[played].story()
		want = append(want, lines...)
		played++
	}
	s := newStage(t, all[:played])
	c, err := New(Config{Master: s.URL, Name: "recorder", User: "root", Roles: roles("data")})
	if err != nil {
		t.Fatal(err)
	}
	c.pace.backoffMin, c.pace.backoffMax = time.Millisecond, 5*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	err = c.Run(ctx, scheduler.Identity{ID: all[0].id}, func(e scheduler.Event) {
		if _, registered := e.(scheduler.FrameworkUpdated); !registered {
			got = append(got, told([]scheduler.Event{e})...)
		}
		if outcome == nil && len(got) == len(want) && s.left() == 0 {
			cancel()
		}
	})
	if outcome != nil && !errors.Is(err, outcome) || outcome == nil && err != nil {
		t.Errorf("run: got %v, want %v", err, outcome)
	}
	if outcome == nil && len(got) > len(want) && got[len(got)-1] == "DISCONNECTED" {
		got = got[:len(got)-1] // the test's own end of a stream that was not recorded to its end
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return played, outcome
}

// A real master refuses calls of a subscription that has been replaced, and calls without credentials, with these words.
func TestRecordedRefusals(t *testing.T) {
	for status, reason := range map[int]string{
		http.StatusUnauthorized: "401 Unauthorized.",
		http.StatusBadRequest:   "The stream ID '676a10b1-daf1-42e1-89d9-5e171955d6f4' included in this request didn't match the stream ID currently associated with framework ID 23907555-9897-4fdc-8e9b-58af10cb7e3e-0000",
	} {
		m := newMaster(t, good)
		m.answer = func(*sched.Call) (int, string) { return status, reason }
		s := connect(t, m.URL, nil)
		s.subscriptions(1)
		s.Send([]scheduler.Call{scheduler.Reconcile{}})
		s.until("CallFailed", func(e []scheduler.Event) bool { return len(failures(e)) == 1 })
		if got := failures(s.events())[0]; got.Status != status || got.Reason != reason {
			t.Errorf("got %+v", got)
		}
	}
}
