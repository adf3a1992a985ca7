package mesos_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/recordio"
)

// demo is the executor that the recordings were made with, in Go: it writes each
// call, answer and event to the file REC_LOG, in the form of the recordings.
//
// A task's data says what it does: "finish:2" finishes after two (demo) seconds, "run"
// runs until it is killed. DEMO_SECOND is how long such a second is, DEMO_SHUTDOWN how
// long it takes to end after SHUTDOWN.
type demo struct {
	log    *os.File
	second time.Duration

	mu    sync.Mutex
	tasks map[string]bool // alive?
}

func demoExecutor() int {
	log, err := os.OpenFile(os.Getenv("REC_LOG"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	d := &demo{log: log, second: time.Second, tasks: map[string]bool{}}
	if second, err := time.ParseDuration(os.Getenv("DEMO_SECOND")); err == nil {
		d.second = second
	}
	environment := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "MESOS_") || strings.HasPrefix(name, "LIBPROCESS_") {
			environment[name] = value
		}
	}
	d.write(map[string]any{"kind": "environment", "body": environment, "pid": os.Getpid()})
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if d.subscribe() {
			d.write(map[string]any{"kind": "exit"})
			return 0
		}
		time.Sleep(50 * time.Millisecond) // the pause between two attempts
	}
	return 2
}

func (d *demo) write(line map[string]any) {
	line["actor"] = "executor"
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log.Write(append(encoded, '\n')) //nolint:errcheck // the test will miss the line
}

func (d *demo) post(kind string, body map[string]any) (*http.Response, error) {
	body["type"] = kind
	body["executor_id"] = map[string]any{"value": os.Getenv("MESOS_EXECUTOR_ID")}
	body["framework_id"] = map[string]any{"value": os.Getenv("MESOS_FRAMEWORK_ID")}
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, "http://"+os.Getenv("MESOS_AGENT_ENDPOINT")+"/api/v1/executor", bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	return http.DefaultClient.Do(request)
}

func (d *demo) call(kind string, body map[string]any) {
	response, err := d.post(kind, body)
	d.write(map[string]any{"kind": "call", "path": "/api/v1/executor", "body": body})
	if err != nil {
		return
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, _ := io.ReadAll(response.Body)
	d.write(map[string]any{"kind": "response", "to": kind, "status": response.StatusCode, "body": string(text)})
}

// subscribe stays as long as the connection lives; true means that the executor was
// told to shut down.
func (d *demo) subscribe() (done bool) {
	body := map[string]any{"subscribe": map[string]any{"unacknowledged_tasks": []any{}, "unacknowledged_updates": []any{}}}
	response, err := d.post("SUBSCRIBE", body)
	if err != nil || response.StatusCode != http.StatusOK {
		return false
	}
	defer response.Body.Close() //nolint:errcheck // it is over
	d.write(map[string]any{"kind": "call", "path": "/api/v1/executor", "body": body})
	d.write(map[string]any{"kind": "response", "to": "SUBSCRIBE", "status": response.StatusCode, "headers": map[string]any{
		"Content-Type": response.Header.Get("Content-Type"), "Transfer-Encoding": strings.Join(response.TransferEncoding, ","),
	}})
	frames := recordio.NewReader(response.Body)
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			d.write(map[string]any{"kind": "disconnected", "error": err.Error()})
			return false
		}
		event := map[string]any{}
		if json.Unmarshal(frame, &event) != nil {
			return false
		}
		d.write(map[string]any{"kind": "event", "body": event})
		if d.handle(event) {
			return true
		}
	}
}

func text(tree any, path ...string) string {
	for _, key := range path {
		object, _ := tree.(map[string]any)
		tree = object[key]
	}
	s, _ := tree.(string)
	return s
}

func (d *demo) handle(event map[string]any) (done bool) {
	switch event["type"] {
	case "LAUNCH":
		id := text(event, "launch", "task", "task_id", "value")
		data, _ := base64.StdEncoding.DecodeString(text(event, "launch", "task", "data"))
		d.setAlive(id, true)
		go d.run(id, string(data))
	case "KILL":
		id := text(event, "kill", "task_id", "value")
		d.setAlive(id, false)
		d.update(id, "TASK_KILLED", nil)
	case "MESSAGE":
		d.call("MESSAGE", map[string]any{"message": map[string]any{"data": base64.StdEncoding.EncodeToString([]byte("pong"))}})
	case "SHUTDOWN":
		d.shutdown()
		return true
	}
	return false
}

func (d *demo) setAlive(id string, alive bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks[id] = alive
}

func (d *demo) run(id, data string) {
	d.update(id, "TASK_STARTING", nil)
	d.update(id, "TASK_RUNNING", nil)
	seconds, found := strings.CutPrefix(data, "finish:")
	if !found {
		return
	}
	n, err := strconv.Atoi(seconds)
	if err != nil {
		panic(err)
	}
	time.Sleep(time.Duration(n) * d.second) // this is the task's work
	d.setAlive(id, false)
	d.update(id, "TASK_FINISHED", map[string]any{
		"message": "done", "data": base64.StdEncoding.EncodeToString([]byte("result")),
	})
}

func (d *demo) shutdown() {
	d.mu.Lock()
	var alive []string
	for id, is := range d.tasks {
		if is {
			alive = append(alive, id)
		}
	}
	d.mu.Unlock()
	for _, id := range alive {
		d.update(id, "TASK_KILLED", nil)
	}
	if pause, err := time.ParseDuration(os.Getenv("DEMO_SHUTDOWN")); err == nil {
		time.Sleep(pause) // the recorded one took a second to end
	}
}

func (d *demo) update(id, state string, more map[string]any) {
	uuid := make([]byte, 16)
	rand.Read(uuid) //nolint:errcheck // it never fails
	status := map[string]any{
		"task_id": map[string]any{"value": id}, "executor_id": map[string]any{"value": os.Getenv("MESOS_EXECUTOR_ID")},
		"state": state, "source": "SOURCE_EXECUTOR", "uuid": base64.StdEncoding.EncodeToString(uuid),
		"timestamp": float64(time.Now().UnixMicro()) / 1e6,
	}
	for key, value := range more {
		status[key] = value
	}
	d.call("UPDATE", map[string]any{"update": map[string]any{"status": status}})
}

// eatMemory takes 5 MB every 10 ms and keeps it.
func eatMemory() {
	var eaten [][]byte
	for range 400 {
		block := make([]byte, 5<<20)
		for i := range block {
			block[i] = 1
		}
		eaten = append(eaten, block)
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println(len(eaten))
}
