package agent

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{5 * time.Second, "5secs"}, {time.Minute, "1mins"}, {15 * time.Minute, "15mins"}, {90 * time.Second, "1.5mins"},
		{2 * time.Hour, "2hrs"}, {48 * time.Hour, "2days"}, {14 * 24 * time.Hour, "2weeks"},
		{100 * time.Millisecond, "100ms"}, {3 * time.Microsecond, "3us"}, {7, "7ns"}, {0, "0ns"},
	}
	for _, test := range tests {
		if got := duration(test.d); got != test.want {
			t.Errorf("%v: got %s, want %s", test.d, got, test.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	tests := []struct {
		status syscall.WaitStatus
		want   string
	}{
		{0, "TASK_FINISHED Command exited with status 0"},
		{3 << 8, "TASK_FAILED Command exited with status 3"},
		{9, "TASK_FAILED Command terminated with signal Killed"},
		{fromShell(0), "TASK_FINISHED Command exited with status 0"},
		{fromShell(3), "TASK_FAILED Command exited with status 3"},
		{fromShell(128 + 15), "TASK_FAILED Command terminated with signal Terminated"},
		{0xffffffff, "TASK_FAILED Command ended while no agent was there to see it"},
	}
	for _, test := range tests {
		state, message := outcome(test.status)
		if got := state.String() + " " + message; got != test.want {
			t.Errorf("%#x: got %s, want %s", uint32(test.status), got, test.want)
		}
	}
}

// TestBrokenRecordsAreNamed: an agent that cannot read what it kept says so instead of
// forgetting its executors.
func TestBrokenRecordsAreNamed(t *testing.T) {
	for name, file := range map[string]string{"agent": "meta/agent.json", "container": "meta/containers/x.json"} {
		dir := t.TempDir()
		for path, content := range map[string]string{"meta/agent.json": `{"id":"a","listen":"127.0.0.1:0"}`, file: `{"id":`} {
			target := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(target, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := New(Config{Master: "http://127.0.0.1:1", WorkDir: dir})
		if err == nil || !strings.HasPrefix(err.Error(), "recover "+name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
