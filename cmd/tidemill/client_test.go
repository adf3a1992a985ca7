package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/access"
	"github.com/tidemill/tidemill/api/apitest"
	"github.com/tidemill/tidemill/api/logs"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
)

// The test binary is tidemill, too: scripts run it as a process, with real exit codes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tidemill": main})
}

// Each script in testdata has a service of its own, in this process, whose scheduler is apitest's.
func TestVerbs(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               startService,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"progress":  changeRun(func(run *scheduler.RunView) { run.Progress = 0.8 }),
			"succeed":   changeRun(succeedRun),
			"fail":      changeRun(failRun),
			"has-token": hasToken,

			"later":       later,
			"interrupted": interrupted,
			"narrow":      narrow,

			"same-records": sameRecords,
			"serve":        serveFor,
		},
	})
}

const token = "s3cret-of-the-test"

type serviceKey struct{}

func startService(env *testscript.Env) error {
	fake := apitest.New(kinds.All())
	now := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	fake.Check = func(spec *jobs.Spec) (proto.CheckState, []jobs.Problem) {
		for _, expression := range spec.Section.Expressions() {
			if strings.Contains(expression.Text, "SELECT") {
				return proto.CHECKS_FAILED, []jobs.Problem{{Pointer: expression.Pointer, Detail: "a subquery is not allowed"}}
			}
		}
		return proto.CHECKS_PASSED, nil
	}
	for state, id := range fake.Example(now) {
		env.Setenv("RUN_"+state, id)
	}
	seen := &looks{seen: map[string]int{}}
	env.Values[looksKey{}] = seen
	if err := errors.Join(pushScript(env), manualScript(env)); err != nil {
		return err
	}
	for name, secret := range map[string]storage.Secret{"TIDEMILL_SERVER": {}, "GUARDED": storage.NewSecret(token), "FLAKY": {}} {
		guard, err := access.Open(access.Config{Token: secret})
		if err != nil {
			return err
		}
		handler := api.New(api.Config{
			Scheduler: fake, Kinds: kinds.All(), Artifacts: &apitest.Artifacts{}, Logs: cannedLogs{},
			Info: wire.Info{Version: "1.5.0", Leader: "http://127.0.0.1:8080"}, Access: guard,
		})
		server := httptest.NewUnstartedServer(handler)
		server.Config = handler.Server()
		server.Config.Handler = seen.watched(handler, name == "FLAKY")
		server.Config.ErrorLog = nil
		server.Start()
		env.Defer(server.Close)
		env.Setenv(name, server.URL)
	}
	if err := startTLS(env, fake); err != nil {
		return err
	}
	env.Values[serviceKey{}] = fake
	env.Setenv("TZ", "UTC")
	return writeBackup(env)
}

// startTLS starts a service whose certificate an authority has signed that no system trusts.
func startTLS(env *testscript.Env, fake *apitest.Scheduler) error {
	handler := api.New(api.Config{Scheduler: fake, Kinds: kinds.All(), Artifacts: &apitest.Artifacts{}, Logs: cannedLogs{}, Info: wire.Info{Version: "1.5.0"}})
	server := httptest.NewUnstartedServer(handler)
	server.Config = handler.Server()
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the client that does not trust it
	server.StartTLS()
	env.Defer(server.Close)
	ca := filepath.Join(env.WorkDir, "ca.pem")
	env.Setenv("TLS", server.URL)
	env.Setenv("TLS_CA", ca)
	return os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600)
}

type cannedLogs struct{}

func (cannedLogs) Copy(_ context.Context, w io.Writer, attempt func() logs.Attempt, stream string, follow bool) error {
	_, err := fmt.Fprintf(w, "%s of %s, follow %v\n", stream, attempt().MesosID, follow)
	return err
}

// exits CODE COMMAND... runs a command that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// changeRun makes a command that changes the run that it is given.
func changeRun(change func(*scheduler.RunView)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Value(serviceKey{}).(*apitest.Scheduler).UpdateRun(args[0], change)
	}
}

func succeedRun(run *scheduler.RunView) {
	ended := run.Run.Created.Add(20 * time.Second)
	run.Run.State, run.Run.Ended, run.Progress, run.Waiting = proto.RUN_SUCCEEDED, &ended, 1, nil
	run.Run.Output = &proto.Output{URI: "s3://results/x/data/1/", Manifest: "s3://results/x/data/_manifest.json", Rows: 12_345, Files: 2, Bytes: 2048}
}

func failRun(run *scheduler.RunView) {
	ended := run.Run.Created.Add(20 * time.Second)
	run.Run.State, run.Run.Ended, run.Waiting = proto.RUN_FAILED, &ended, nil
	run.Run.Error = &proto.RunError{Kind: "not_found", Message: "there is no bucket \"fligths\"", Pointer: "/aggregate/input/uri", Task: run.Run.ID + ".plan.0"}
}

// has-token fails if what the last command printed holds the token.
func hasToken(ts *testscript.TestScript, neg bool, _ []string) {
	if strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), token) == neg {
		ts.Fatalf("the token is printed: %v", !neg)
	}
}

// A watch that is interrupted says so, be it while it reads, or while it waits to try again.
func TestInterruptedWatch(t *testing.T) {
	fake := apitest.New(kinds.All())
	run := fake.Example(time.Now())["running"]
	handler := api.New(api.Config{Scheduler: fake, Kinds: kinds.All(), Artifacts: &apitest.Artifacts{}, Logs: cannedLogs{}})
	server := httptest.NewServer(handler)
	defer server.Close()
	var interrupt context.CancelFunc
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		interrupt()
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer busy.Close()
	for _, address := range []string{server.URL, busy.URL} {
		var ctx context.Context
		ctx, interrupt = context.WithCancel(t.Context())
		out := &firstWrite{do: interrupt}
		code := execute(ctx, []string{"watch", run, "--server", address}, strings.NewReader(""), io.Discard, out)
		if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); code != exitInterrupted || lines[len(lines)-1] != "tidemill: interrupted" {
			t.Errorf("%s: code %d, %q", address, code, out.String())
		}
	}
}

// firstWrite does something once it has been written to.
type firstWrite struct {
	bytes.Buffer
	do func()
}

func (w *firstWrite) Write(p []byte) (int, error) {
	defer w.do()
	return w.Buffer.Write(p)
}

func TestRunBar(t *testing.T) {
	for _, state := range []string{"succeeded", "failed", ""} {
		var out bytes.Buffer
		bar := newRunBar(&out)
		run := wire.Run{ID: "x", State: "running", Progress: 0.5, Stages: []wire.Stage{{Name: "map", Tasks: wire.TaskCounts{Finished: 1, Running: 1}}}}
		if err := bar.show(run); err != nil {
			t.Fatal(err)
		}
		run.State = state
		if state != "" {
			if err := bar.show(run); err != nil {
				t.Fatal(err)
			}
		}
		bar.end(run)
		if !strings.Contains(out.String(), "map 1/2") {
			t.Errorf("%q: got %q", state, out.String())
		}
	}
}

// A line is written when something else is worth saying, not for each percent.
func TestRunLines(t *testing.T) {
	var out bytes.Buffer
	lines := &runLines{out: &out}
	run := wire.Run{State: "pending", Waiting: "needs 64 cpus; the largest offer so far had 8"}
	show := func(change func()) {
		change()
		if err := lines.show(run); err != nil {
			t.Fatal(err)
		}
	}
	show(func() {})
	show(func() { run.Waiting = "needs 64 cpus; the largest offer so far had 9" })
	show(func() { run.State, run.Waiting, run.Progress = "running", "", 0.11 })
	show(func() { run.Progress = 0.12 })
	show(func() { run.Progress = 0.25 })
	show(func() { run.Stages = []wire.Stage{{Name: "plan", Tasks: wire.TaskCounts{Finished: 1}}} })
	show(func() {
		run.Stages[0].Tasks, run.Waiting = wire.TaskCounts{Running: 3, Pending: 93}, "waits for its parallelism (3 of 3 run)"
	})
	show(func() {
		run.Stages[0].Tasks, run.Waiting = wire.TaskCounts{Running: 3, Pending: 92}, "waits for more offers"
	})
	show(func() { run.Stages[0].Tasks, run.Waiting = wire.TaskCounts{Finished: 1}, "" })
	show(func() { run.State, run.Progress = "succeeded", 1 })
	want := `  0 %  pending  (needs 64 cpus; the largest offer so far had 8)
 11 %  running
 25 %  running
 25 %  running  plan 1/1
100 %  succeeded  plan 1/1
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestFormats(t *testing.T) {
	for got, want := range map[string]string{
		formatBytes(0): "0 B", formatBytes(1023): "1023 B", formatBytes(1 << 20): "1.0 MiB", formatBytes(1 << 62): "4096.0 PiB",
		formatCount(0): "0", formatCount(999): "999", formatCount(1234567): "1,234,567", formatCount(-1234): "-1,234", formatCount(-123): "-123",
		formatDuration(90 * time.Millisecond): "0.1s", formatDuration(75 * time.Second): "1m15s", formatDuration(3*time.Hour + 59*time.Second): "3h1m",
		formatPercent(0.999): "99 %", formatPercent(1): "100 %",
		listReasons([]wire.Turndown{{Offers: 12, Text: "zone: all"}, {Text: "parallelism: 4 of 4 run"}}): "\n      12  zone: all\n          parallelism: 4 of 4 run",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Every verb says in its help what it exits with.
func TestHelpNamesExitCodes(t *testing.T) {
	for _, command := range newClientCommands() {
		var out bytes.Buffer
		code := execute(t.Context(), []string{command.Name(), "--help"}, strings.NewReader(""), &out, &out)
		if code != exitOK || !strings.Contains(out.String(), "3  the server cannot be reached") {
			t.Errorf("%s --help: code %d, %s", command.Name(), code, out.String())
		}
	}
	var help bytes.Buffer
	if execute(t.Context(), []string{"run", "--help"}, strings.NewReader(""), &help, &help); !strings.Contains(strings.Join(strings.Fields(help.String()), " "), "kind aggregate uses none") {
		t.Errorf("run --help does not say what parameters are for: %s", help.String())
	}
	if os.Getenv("TIDEMILL_SERVER") == "" {
		var out bytes.Buffer
		execute(t.Context(), []string{"info", "--help"}, strings.NewReader(""), &out, &out)
		if !strings.Contains(out.String(), "http://127.0.0.1:8080") {
			t.Errorf("the default address is not in the help: %s", out.String())
		}
	}
}

// A run of a rollout says on which side it is.
func TestFormatRunOfRollout(t *testing.T) {
	for _, test := range []struct {
		run               wire.Run
		version, followed string
	}{
		{wire.Run{ExecutorVersion: "1.4.0"}, "1.4.0", ""},
		{wire.Run{ExecutorVersion: "1.4.0", Channel: "stable"}, "1.4.0", "stable"},
		{wire.Run{ExecutorVersion: "1.4.0", Channel: "stable", Rollout: 3}, "1.4.0", "stable, rollout 3"},
		{wire.Run{ExecutorVersion: "1.5.0", Channel: "stable", Rollout: 3, Canary: true}, "1.5.0, canary of stable", "stable, rollout 3, canary"},
	} {
		if version, followed := formatVersion(test.run), formatFollowed(test.run); version != test.version || followed != test.followed {
			t.Errorf("%+v: got %q, %q", test.run, version, followed)
		}
	}
}
