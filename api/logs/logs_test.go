package logs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a sandbox whose files grow.
type agent struct {
	mu    sync.Mutex
	files map[string]string // by path
	err   error             // of every read, if set
	page  int64             // most bytes of one read; 0: as asked
}

func (a *agent) ReadAt(_ context.Context, agentURL, path string, offset, length int64) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return nil, a.err
	}
	text, ok := a.files[path]
	if !ok || agentURL != "http://10.0.0.1:5051" {
		return nil, fmt.Errorf("read %s: %w", path, mesos.ErrNoFile)
	}
	if a.page > 0 {
		length = min(length, a.page)
	}
	rest := text[min(offset, int64(len(text))):]
	return []byte(rest[:min(length, int64(len(rest)))]), nil
}

func (a *agent) write(path, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files[path] += text
}

// area is a work area with one connection.
type area struct {
	t    *testing.T
	root string
	err  error
}

func (a area) Open(_ context.Context, name string, _ storage.URI) (storage.Store, error) {
	if name != "lake" {
		a.t.Errorf("opened connection %q", name)
	}
	if a.err != nil {
		return nil, a.err
	}
	return file.Open(file.Config{Root: a.root})
}

const spec = `{"name": "flights", "kind": "aggregate", "aggregate": {"input": {"uri": "s3://flights/2013/", "format": "csv"}, "measures": {"n": {"count": "*"}}, "output": {"uri": "s3://results/flights/", "connection": "lake"}}}`

// attempt is the state that Copy asks for.
type attempt struct {
	mu    sync.Mutex
	state proto.Attempt
}

func (a *attempt) get() logs.Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	state := a.state
	return logs.Attempt{Attempt: &state, Spec: []byte(spec)}
}

func (a *attempt) change(f func(*proto.Attempt)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.state)
}

func newAttempt() *attempt {
	return &attempt{state: proto.Attempt{
		Number: 1, MesosID: "flights-1.map.0.1", Host: "mesos-1", AgentURL: "http://10.0.0.1:5051", State: proto.TASK_RUNNING, Directory: "/sandbox/tasks/1",
	}}
}

const stdout = "/sandbox/tasks/1/stdout"

func TestSandboxIsReadWhole(t *testing.T) {
	text := strings.Repeat("0123456789\xff\n", 100_000)
	sandbox := &agent{files: map[string]string{stdout: text}, page: 64 << 10}
	reader := &logs.Reader{Sandbox: sandbox, Connections: area{t: t}, Kinds: kinds.All()}
	for _, state := range []proto.TaskState{proto.TASK_RUNNING, proto.TASK_FINISHED} {
		a := newAttempt()
		a.state.State = state
		var got bytes.Buffer
		if err := reader.Copy(t.Context(), &got, a.get, "stdout", false); err != nil {
			t.Fatal(err)
		}
		if got.String() != text {
			t.Errorf("%v: got %d bytes, want %d", state, got.Len(), len(text))
		}
	}
}

// A followed log comes as it is written, and is complete when the attempt has ended.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sandbox := &agent{files: map[string]string{}}
		reader := &logs.Reader{Sandbox: sandbox, Connections: area{t: t}, Kinds: kinds.All()}
		a := newAttempt()
		a.change(func(s *proto.Attempt) { s.State, s.Directory = proto.TASK_LAUNCHING, "" })
		got := &safeBuffer{}
		done := make(chan error, 1)
		go func() { done <- reader.Copy(t.Context(), got, a.get, "stdout", true) }()
		synctest.Wait()
		if !got.begun() {
			t.Error("the client is not told that a log will come")
		}
		sandbox.write(stdout, "one\n")
		a.change(func(s *proto.Attempt) { s.State, s.Directory = proto.TASK_RUNNING, "/sandbox/tasks/1" })
		time.Sleep(time.Second)
		if got.String() != "one\n" {
			t.Errorf("got %q", got)
		}
		sandbox.write(stdout, "two\n")
		time.Sleep(time.Second)
		if got.String() != "one\ntwo\n" {
			t.Errorf("got %q", got)
		}
		sandbox.write(stdout, "three\n")
		a.change(func(s *proto.Attempt) { s.State = proto.TASK_FINISHED })
		if err := <-done; err != nil || got.String() != "one\ntwo\nthree\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &logs.Reader{Sandbox: &agent{files: map[string]string{stdout: "x"}}, Connections: area{t: t}, Kinds: kinds.All()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := reader.Copy(ctx, io.Discard, newAttempt().get, "stdout", true)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// An attempt that never runs ends a followed log without a word.
func TestFollowOfAnAttemptThatNeverRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := &logs.Reader{Sandbox: &agent{}, Connections: area{t: t}, Kinds: kinds.All()}
		a := newAttempt()
		a.change(func(s *proto.Attempt) { s.State, s.Directory = proto.TASK_LAUNCHING, "" })
		done := make(chan error, 1)
		go func() { done <- reader.Copy(t.Context(), io.Discard, a.get, "stdout", true) }()
		time.Sleep(time.Minute)
		a.change(func(s *proto.Attempt) { s.State = proto.TASK_FAILED })
		if err := <-done; err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestUploadedCopy(t *testing.T) {
	root := t.TempDir()
	store, err := file.Open(file.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storage.WriteAll(t.Context(), store, "results/_work/1/logs/a/stdout", []byte("uploaded\n"), storage.Always); err != nil {
		t.Fatal(err)
	}
	const uri = "s3://results/results/_work/1/logs/a"
	down := errors.New("dial tcp 10.0.0.1:5051: connection refused")
	tests := []struct {
		name    string
		sandbox *agent
		change  func(*proto.Attempt)
		open    error
		stream  string
		want    string
		kind    scheduler.ErrorKind
		says    string
	}{
		{name: "collected", sandbox: &agent{}, want: "uploaded\n"},
		{name: "agent gone", sandbox: &agent{err: down}, want: "uploaded\n"},
		{name: "no directory", sandbox: &agent{}, change: func(a *proto.Attempt) { a.Directory = "" }, want: "uploaded\n"},
		{name: "sandbox first", sandbox: &agent{files: map[string]string{stdout: "sandbox\n"}}, want: "sandbox\n"},
		{name: "removed", sandbox: &agent{}, stream: "stderr", kind: scheduler.NotFound, says: "removed"},
		{name: "work area down", sandbox: &agent{}, open: storage.ErrUnavailable, kind: scheduler.Unavailable, says: "work area"},
		{name: "never uploaded", sandbox: &agent{}, change: func(a *proto.Attempt) { a.LogURI = "" }, kind: scheduler.NotFound, says: "no copy"},
		{name: "agent down, not uploaded", sandbox: &agent{err: down}, change: func(a *proto.Attempt) { a.LogURI = "" }, kind: scheduler.Unavailable, says: "refused"},
		{name: "never ran", sandbox: &agent{}, change: func(a *proto.Attempt) { a.LogURI, a.Directory = "", "" }, kind: scheduler.NotFound, says: "never ran"},
		{name: "not yet", sandbox: &agent{}, change: func(a *proto.Attempt) { a.LogURI, a.Directory, a.State = "", "", proto.TASK_LAUNCHING }, kind: scheduler.NotFound, says: "yet"},
		{name: "bad URI", sandbox: &agent{}, change: func(a *proto.Attempt) { a.LogURI = "nonsense" }, kind: scheduler.Unavailable, says: "nonsense"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			reader := &logs.Reader{Sandbox: test.sandbox, Connections: area{t: t, root: root, err: test.open}, Kinds: kinds.All()}
			a := newAttempt()
			a.state.State, a.state.LogURI = proto.TASK_FAILED, uri
			if test.change != nil {
				test.change(&a.state)
			}
			stream := test.stream
			if stream == "" {
				stream = "stdout"
			}
			got := &safeBuffer{}
			err := reader.Copy(t.Context(), got, a.get, stream, false)
			var refused *scheduler.Error
			errors.As(err, &refused)
			switch {
			case test.kind == "" && (err != nil || got.String() != test.want):
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			case test.kind != "" && (refused == nil || refused.Kind != test.kind || !strings.Contains(refused.Message, test.says)):
				t.Errorf("got %v; want %s with %q", err, test.kind, test.says)
			case test.kind != "" && got.begun():
				t.Error("something was written before the refusal")
			}
		})
	}
}

// safeBuffer is a buffer that is read while it is written, and knows whether it was.
type safeBuffer struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	touched bool
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.touched = true
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func (b *safeBuffer) begun() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.touched
}
