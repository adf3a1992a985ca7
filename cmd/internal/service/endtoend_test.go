package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
	mesosclient "github.com/tidemill/tidemill/scheduler/mesos"
	"github.com/tidemill/tidemill/storage"
)

func TestKilledInTheMiddleOfARun(t *testing.T) {
	l := newLab(t, nil)
	gate := filepath.Join(l.dir, "gate")
	url, kill := l.spawn()
	first := l.client(url)
	l.register(first)
	run := l.submit(first, gate)
	l.until(first, run.ID, "map tasks to run", mapsRun)
	before, err := first.Info(t.Context())
	if err != nil || before.FrameworkID == "" || !before.Mesos.Connected || before.Mesos.Master != l.cluster.URL() {
		t.Fatalf("info: got %+v, %v", before, err)
	}
	kill()

	// The next one finds the same port, as artefact URLs and people would.
	l.cfg.Listen = strings.TrimPrefix(url, "http://")
	url, stop := l.run()
	second := l.client(url)
	if again := l.submit(second, gate); again.ID != run.ID {
		t.Errorf("the same idempotency key: got run %s, want %s", again.ID, run.ID)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := l.until(second, run.ID, "the run's end", func(r wire.Run) bool { return r.State == "succeeded" })
	if ended.Output == nil || ended.Output.Rows != 42 || ended.Progress != 1 {
		t.Errorf("run: got %+v", ended)
	}
	after, err := second.Info(t.Context())
	if err != nil || after.FrameworkID != before.FrameworkID {
		t.Errorf("framework: got %s, %v, want %s", after.FrameworkID, err, before.FrameworkID)
	}
	l.checkTasks(second, run.ID)
	l.checkMetrics(url)
	stop()
	if all := l.frameworks(); len(all) != 1 || all[0].ID != before.FrameworkID {
		t.Errorf("frameworks at the master after the service has stopped: got %+v, want the one that is to come back", all)
	}
}

// checkTasks: nothing was launched twice, and logs can be read.
func (l *lab) checkTasks(c *client.Client, run string) {
	l.t.Helper()
	tasks := 0
	for task, err := range c.Tasks(l.t.Context(), run) {
		if err != nil {
			l.t.Fatal(err)
		}
		tasks++
		if task.State != "finished" || len(task.Attempts) != 1 {
			l.t.Errorf("task %s: %s after %d attempts, want finished after one", task.ID, task.State, len(task.Attempts))
		}
		var log bytes.Buffer
		if err := c.Logs(l.t.Context(), task.ID, client.LogOptions{Stream: "stderr"}, &log); err != nil || !strings.Contains(log.String(), "stage="+task.Stage) {
			l.t.Errorf("log of %s: got %q, %v", task.ID, log.String(), err)
		}
	}
	if tasks != splits+2 {
		l.t.Errorf("tasks: got %d, want %d", tasks, splits+2)
	}
}

func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(header) == 2 {
		request.Header.Set(header[0], header[1])
	}
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := one.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (l *lab) checkMetrics(url string) {
	l.t.Helper()
	status, text := get(l.t, url+"/metrics")
	if status != http.StatusOK {
		l.t.Errorf("metrics: got %d", status)
	}
	for _, want := range []string{
		`tidemill_runs{state="succeeded"} 1`, `tidemill_mesos_connected 1`, `tidemill_task_launches_total{job="idle"`,
		`tidemill_offer_to_launch_seconds_count`, `tidemill_store_commit_seconds_count{outcome="ok"}`, `tidemill_observations_dropped_total 0`,
		`tidemill_api_request_seconds_count{code="200",route="GET /v1/runs/{id}"}`,
	} {
		if !strings.Contains(text, want) {
			l.t.Errorf("metrics lack %s", want)
		}
	}
}

type framework struct{ ID string }

// frameworks are those that the master knows; a framework that was torn down is not among them.
func (l *lab) frameworks() []framework {
	l.t.Helper()
	var state struct{ Frameworks []framework }
	_, body := get(l.t, l.cluster.URL()+"/state")
	if err := json.Unmarshal([]byte(body), &state); err != nil {
		l.t.Fatal(err)
	}
	return state.Frameworks
}

// TestAnotherSchedulerTakesOver: two services with the same records, as after a restored backup. The one that subscribes
// last has the framework; the other one ends with a clear error and does not fight.
func TestAnotherSchedulerTakesOver(t *testing.T) {
	l := newLab(t, nil)
	url, stop := l.run()
	l.register(l.client(url))
	stop()
	records, err := os.ReadFile(filepath.Join(l.cfg.DataDir, "tidemill.db"))
	if err != nil {
		t.Fatal(err)
	}

	ended := make(chan error, 1)
	old := l.cfg
	old.Logger = slog.New(slog.DiscardHandler)
	ready := make(chan string, 1)
	old.Ready = func(url string) { ready <- url }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- Run(ctx, old) }()
	id := l.awaitFramework(l.client(<-ready))

	l.cfg.DataDir = filepath.Join(l.dir, "copy")
	if err := os.Mkdir(l.cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.write("copy/tidemill.db", string(records))
	url, _ = l.run()
	select {
	case err := <-ended:
		if !errors.Is(err, mesosclient.ErrFailedOver) {
			t.Errorf("the first service ended with %v, want %v", err, mesosclient.ErrFailedOver)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the first service goes on")
	}
	if got := l.awaitFramework(l.client(url)); got != id {
		t.Errorf("framework: got %s, want %s", got, id)
	}
}

// awaitFramework waits until the service is subscribed, and returns the framework's ID.
func (l *lab) awaitFramework(c *client.Client) string {
	l.t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for {
		info, err := c.Info(l.t.Context())
		if err == nil && info.Mesos.Connected {
			return info.FrameworkID
		}
		if time.Now().After(limit) {
			l.t.Fatalf("not subscribed: %+v, %v", info, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	l := newLab(t, nil)
	l.run()
	cfg := l.cfg
	cfg.Logger = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := Run(ctx, cfg); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("run: got %v", err)
	}
}

func TestArtifactIsServed(t *testing.T) {
	l := newLab(t, nil)
	l.cfg.Token = storage.NewSecret("t0ken")
	url, _ := l.run()
	l.register(l.client(url))
	_, content := artifact()
	sum := sha256.Sum256([]byte(content))
	status, body := get(t, url+"/artifacts/"+hex.EncodeToString(sum[:])+"/tidemill-executor")
	if status != http.StatusOK || body != content {
		t.Errorf("artefact without a token: got %d and %d bytes", status, len(body))
	}
	if status, _ := get(t, url+"/v1/jobs"); status != http.StatusUnauthorized {
		t.Errorf("jobs without a token: got %d", status)
	}
	if status, _ := get(t, url+"/v1/jobs", "Authorization", "Bearer "+l.cfg.Token.Reveal()); status != http.StatusOK {
		t.Errorf("jobs with the token: got %d", status)
	}
}
