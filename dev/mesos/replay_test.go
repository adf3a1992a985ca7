package mesos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/recordio"
)

// patience is how long the replay waits for anything that was recorded.
const patience = 30 * time.Second

// line is one line of a recording, or of what came.
type line struct {
	T       float64           `json:"t"`
	Actor   string            `json:"actor"`
	Kind    string            `json:"kind"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    any               `json:"body"`
	Raw     *string           `json:"raw"`
	Status  int               `json:"status"`
	To      string            `json:"to"`
	Error   string            `json:"error"`
	Text    string            `json:"text"`
	PID     int               `json:"pid"`
	number  int
}

func readLines(t *testing.T, file string) []line {
	t.Helper()
	content, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var lines []line
	for text := range bytes.Lines(content) {
		if !bytes.HasSuffix(text, []byte("\n")) {
			break // it is being written
		}
		l := line{number: len(lines) + 1}
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("%s:%d: %v", file, l.number, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// came is one event of one of our streams.
type came struct {
	body  any
	taken bool
	after int // the line of the recording that was being replayed
}

// stream is one subscription of a replayed scheduler.
type stream struct {
	status  int
	header  http.Header
	refusal string
	close   func()

	mu     sync.Mutex
	events []*came
	ended  bool
}

// replay walks through a recording: it makes the calls and waits for the rest.
type replay struct {
	t        *testing.T
	lab      *lab
	bound    bindings
	lines    []line
	executor []*line // what our executors wrote, nil where it was matched
	read     int     // how much of their log was read
	streams  map[string]*stream
	answers  map[string][]line // of calls, by actor and type, in order
	again    func() line       // asks the newest view anew
	at       int               // the line that is being replayed
	mu       sync.Mutex
}

func (r *replay) run() {
	before := r.lines[0].T
	for _, l := range r.lines {
		if l.Kind == "call" && l.T-before >= 1 && r.lab.scaleRefusals {
			r.lab.letRoundsPass(l.T - before) // what comes now must not
		}
		if typeOf(l) != "HEARTBEAT" {
			before = l.T
		}
		r.mu.Lock()
		r.at = l.number
		r.mu.Unlock()
		switch {
		case l.Kind == "note":
			r.lab.note(l.Text, r)
		case l.Actor == "artefact-server":
			r.lab.request(r.t, l)
		case l.Actor == "executor":
			r.expectOfExecutor(l)
		case l.Kind == "call" && l.Actor == "operator":
			r.operator(l)
		case l.Kind == "call" && strings.HasPrefix(typeOf(l), "SUBSCRIBE"):
			r.subscribe(l)
		case l.Kind == "call":
			r.call(l)
		case l.Kind == "response":
			r.expectResponse(l)
		case l.Kind == "event":
			r.expectEvent(l)
		case l.Kind == "stream_closed":
			r.expectEnd(l)
		default:
			r.t.Fatalf("line %d: no idea how to replay %s of %s", l.number, l.Kind, l.Actor)
		}
	}
	r.expectNothingElse()
}

func typeOf(l line) string {
	if body, ok := l.Body.(map[string]any); ok {
		return text(body, "type")
	}
	return "X"
}

// request makes an HTTP request out of a recorded call, with our values in it.
func (r *replay) request(ctx context.Context, url string, l line) *http.Request {
	var body string
	if l.Raw != nil {
		body = r.bound.text(*l.Raw)
	} else {
		encoded, err := json.Marshal(r.lab.ourCall(l.Body))
		if err != nil {
			r.t.Fatal(err)
		}
		body = r.bound.text(string(encoded))
	}
	method := l.Method
	if method == "" {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, url+l.Path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for key, value := range l.Headers {
		request.Header.Set(key, r.bound.text(value))
	}
	return request
}

func (r *replay) subscribe(l line) {
	if r.recordedStatus(l) == http.StatusOK {
		r.lab.elect()
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	response, err := r.lab.client.Do(r.request(ctx, r.lab.url(), l))
	if err != nil {
		r.t.Fatalf("line %d: %v", l.number, err)
	}
	s := &stream{status: response.StatusCode, header: response.Header, close: cancel}
	r.streams[l.Actor] = s
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		s.refusal = string(text)
		cancel()
		return
	}
	r.lab.background.Go(func() {
		defer response.Body.Close() //nolint:errcheck // it is over
		frames := recordio.NewReader(response.Body)
		for {
			frame, err := frames.ReadFrame()
			s.mu.Lock()
			if err != nil {
				s.ended = true
				s.mu.Unlock()
				return
			}
			var body any
			if err := json.Unmarshal(frame, &body); err != nil {
				r.t.Errorf("event is no JSON: %v: %s", err, frame)
			}
			r.mu.Lock()
			s.events = append(s.events, &came{body: body, after: r.at})
			r.mu.Unlock()
			s.mu.Unlock()
		}
	})
}

// recordedStatus is how a recorded call was answered.
func (r *replay) recordedStatus(call line) int {
	for _, l := range r.lines[call.number:] {
		if l.Actor == call.Actor && l.Kind == "response" {
			return l.Status
		}
	}
	return 0
}

func (r *replay) call(l line) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	answer := r.do(r.request(ctx, r.lab.url(), l))
	key := l.Actor + " " + typeOf(l)
	if l.Method == http.MethodGet && l.Body == nil && strings.HasSuffix(l.Path, "/redirect") {
		key = l.Actor + " " + l.Path
	}
	r.answers[key] = append(r.answers[key], answer)
}

func (r *replay) do(request *http.Request) line {
	response, err := r.lab.client.Do(request)
	if err != nil {
		r.t.Fatalf("line %d: %v", r.at, err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatalf("line %d: %v", r.at, err)
	}
	answer := line{Status: response.StatusCode, Body: string(text), Headers: map[string]string{}}
	for key := range response.Header {
		answer.Headers[key] = response.Header.Get(key)
	}
	return answer
}

func (r *replay) operator(l line) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	key := "operator " + l.Path
	if l.Path == "/api/v1" {
		call := struct{ Type string }{}
		if err := json.Unmarshal([]byte(*l.Raw), &call); err != nil {
			r.t.Fatal(err)
		}
		key = "operator " + call.Type
	}
	r.answers[key] = append(r.answers[key], r.do(r.request(ctx, r.lab.operatorURL(l), l)))
	r.again = nil
	if l.Method == http.MethodGet {
		r.again = func() line { return r.do(r.request(r.t.Context(), r.lab.operatorURL(l), l)) }
	}
}

// expectResponse compares an answer: status, headers, and body.
func (r *replay) expectResponse(l line) {
	var got line
	if l.To == "SUBSCRIBE" {
		s := r.streams[l.Actor]
		got = line{Status: s.status, Body: s.refusal, Headers: map[string]string{}}
		for key := range s.header {
			got.Headers[key] = s.header.Get(key)
		}
		got.Headers["Transfer-Encoding"] = "chunked" // Go's client takes it away
	} else {
		key := l.Actor + " " + l.To
		if len(r.answers[key]) == 0 {
			r.t.Fatalf("line %d: no answer to %s", l.number, key)
		}
		got, r.answers[key] = r.answers[key][0], r.answers[key][1:]
	}
	if got.Status != l.Status {
		r.t.Errorf("line %d: answer to %s: status %d, recorded %d: %v", l.number, l.To, got.Status, l.Status, got.Body)
	}
	for name, value := range l.Headers {
		ours, ok := got.Headers[http.CanonicalHeaderKey(name)]
		if !ok {
			r.t.Errorf("line %d: answer to %s: no header %s", l.number, l.To, name)
		} else if err := r.bound.match(value, ours); err != nil {
			r.t.Errorf("line %d: answer to %s: header %s: %v", l.number, l.To, name, err)
		}
	}
	if _, recorded := l.Headers["Content-Type"]; !recorded && got.Headers["Content-Type"] != "" {
		r.t.Errorf("line %d: answer to %s: unrecorded content type %q", l.number, l.To, got.Headers["Content-Type"])
	}
	if recorded, ok := l.Body.(string); ok {
		err := r.compareBodies(l, recorded, got.Body.(string))
		// A view shows what has gone from process to process, each at its own pace.
		if err != nil && l.Actor == "operator" && r.again != nil {
			r.await("answer to "+l.To, func() error { return r.compareBodies(l, recorded, r.again().Body.(string)) })
			return
		}
		if err != nil {
			r.t.Errorf("line %d: answer to %s: %v", l.number, l.To, err)
		}
	}
}

func (r *replay) compareBodies(l line, recorded, got string) error {
	var want, ours any = recorded, got
	if strings.HasPrefix(recorded, "{") || strings.HasPrefix(recorded, "[") {
		if json.Unmarshal([]byte(recorded), &want) != nil || json.Unmarshal([]byte(got), &ours) != nil {
			r.t.Fatalf("line %d: answer to %s is no JSON: %s", l.number, l.To, got)
		}
		want, ours = r.lab.comparableView(want), r.lab.comparableView(ours)
	}
	return r.bound.match(want, ours)
}

// await polls until done, which gives the reason why not.
func (r *replay) await(what string, done func() error) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("line %d: %s: %v", r.at, what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// expectEvent waits for a recorded event and takes it. Events of one subject must
// come in the recorded order, and never before the call that brought them about.
func (r *replay) expectEvent(l line) {
	s := r.streams[l.Actor]
	if typeOf(l) == "HEARTBEAT" && !r.lab.heartbeats && r.afterFirst(l) {
		return
	}
	r.await(fmt.Sprintf("event %s of %s", describe(l.Body), l.Actor), func() error {
		if strings.HasSuffix(typeOf(l), "OFFERS") {
			r.lab.round()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		problem := fmt.Errorf("it did not come, out of %d", len(s.events))
		for _, event := range s.events {
			if event.taken || subject(event.body) != subject(l.Body) {
				continue
			}
			// The first of this subject must be it.
			if err := r.bound.match(r.lab.recordedEvent(l.Body), event.body); err != nil {
				return fmt.Errorf("instead came %s: %w", describe(event.body), err)
			}
			if cause := r.cause(l); event.after < cause {
				r.t.Errorf("line %d: %s came before the call of line %d", l.number, describe(l.Body), cause)
			}
			event.taken = true
			return nil
		}
		return problem
	})
}

// afterFirst says whether the heartbeat is not the one that follows SUBSCRIBED.
func (r *replay) afterFirst(l line) bool { return typeOf(r.lines[l.number-2]) != "SUBSCRIBED" }

// subject groups events whose order is fixed.
func subject(body any) string {
	kind := text(body, "type")
	switch kind {
	case "UPDATE":
		return "task " + text(body, "update", "status", "task_id", "value") + text(body, "update", "status", "reason")
	case "FAILURE":
		return "failure " + text(body, "failure", "executor_id", "value")
	case "LAUNCH":
		return "task " + text(body, "launch", "task", "task_id", "value")
	case "ACKNOWLEDGED":
		return "acknowledged " + text(body, "acknowledged", "task_id", "value")
	}
	return kind
}

func describe(body any) string {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err.Error()
	}
	if len(encoded) > 900 {
		encoded = append(encoded[:900], "…"...)
	}
	return string(encoded)
}

// cause is the last call before an event that it cannot have come before: for offers
// one that asks for or gives back offers, for an executor's update the acknowledgement
// of the one before, for what the master says itself any call.
func (r *replay) cause(l line) int {
	kind := typeOf(l)
	status, _ := l.Body.(map[string]any)["update"].(map[string]any)
	for i := l.number - 2; i >= 0; i-- {
		before := r.lines[i]
		if before.Kind != "call" || before.Actor != l.Actor {
			continue
		}
		switch call := typeOf(before); {
		case kind == "OFFERS":
			if call == "ACCEPT" || call == "DECLINE" || call == "REVIVE" || call == "SUBSCRIBE" {
				return before.number
			}
		case kind == "UPDATE" && text(status, "status", "source") == "SOURCE_EXECUTOR" && text(status, "status", "reason") == "":
			if call == "ACKNOWLEDGE" && text(before.Body, "acknowledge", "task_id", "value") == text(status, "status", "task_id", "value") {
				return before.number
			}
		case kind == "UPDATE" || kind == "ERROR":
			if call != "ACKNOWLEDGE" {
				return before.number
			}
		default:
			return 0
		}
	}
	return 0
}

// expectEnd waits for the end of a stream; one that ended in the middle of a record was
// cut off by the end of the recording, or of the master.
func (r *replay) expectEnd(l line) {
	if l.Error == "IncompleteRead" && !r.lab.masterDied {
		return
	}
	s := r.streams[l.Actor]
	r.await("end of the stream of "+l.Actor, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended {
			return fmt.Errorf("it lives")
		}
		return nil
	})
}

// expectNothingElse fails for every event that was not recorded.
func (r *replay) expectNothingElse() {
	for actor, s := range r.streams {
		s.mu.Lock()
		for _, event := range s.events {
			if !event.taken && !r.tolerates(actor, event.body) {
				r.t.Errorf("%s got what was not recorded (after line %d): %s", actor, event.after, describe(event.body))
			}
		}
		s.mu.Unlock()
	}
	for _, l := range r.executor {
		if l != nil && l.Kind == "event" && !r.tolerates("executor", l.Body) {
			r.t.Errorf("executor got what was not recorded: %s", describe(l.Body))
		}
	}
}

// expectOfExecutor waits until one of our executors wrote what the recorded one did.
func (r *replay) expectOfExecutor(l line) {
	r.await("executor's "+l.Kind+" "+describe(l.Body), func() error {
		r.readExecutorLog()
		problem := fmt.Errorf("nothing like it was written")
		for i, got := range r.executor {
			if got == nil || got.Kind != l.Kind || got.To != l.To || got.Status != l.Status || subject(got.Body) != subject(l.Body) {
				continue
			}
			if l.Kind != "disconnected" && l.Kind != "exit" {
				if err := r.bound.match(r.lab.recordedEvent(l.Body), got.Body); err != nil {
					problem = fmt.Errorf("instead came %s: %w", describe(got.Body), err)
					continue
				}
			}
			for name, value := range l.Headers {
				if got.Headers[name] != value {
					return fmt.Errorf("header %s: recorded %q, got %q", name, value, got.Headers[name])
				}
			}
			r.executor[i] = nil
			return nil
		}
		return problem
	})
}

func (r *replay) readExecutorLog() {
	lines := readLines(r.t, filepath.Join(r.lab.dir, "executor.log"))
	for i := r.read; i < len(lines); i++ {
		r.executor = append(r.executor, &lines[i])
		if lines[i].Kind == "environment" {
			r.lab.executorPID = lines[i].PID
		}
	}
	r.read = len(lines)
}
