package mesos

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mesosgo "github.com/mesos/mesos-go/api/v1/lib"
	sched "github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/scheduler"
)

var plan = scheduler.ExecutorPlan{
	ID:            "flights-1_1.4.0_1",
	Name:          "tidemill-executor 1.4.0",
	FrameworkID:   "fw-1",
	Role:          "data/batch",
	Version:       "1.4.0",
	URL:           "http://127.0.0.1:8080/artifacts/abc/tidemill-executor",
	SHA256:        strings.Repeat("ab", 32),
	CPUs:          0.1,
	Memory:        64 << 20,
	Data:          []byte{1, 2, 3},
	Labels:        [][2]string{{"tidemill.version", "1.4.0"}, {"tidemill.run", "flights-1"}},
	ShutdownGrace: 10 * time.Second,
}

func TestExecutorInfo(t *testing.T) {
	data := ExecutorInfo(plan)
	if !bytes.Equal(data, ExecutorInfo(plan)) {
		t.Error("the same plan gives other bytes")
	}
	info, err := decodeExecutor(data)
	if err != nil {
		t.Fatal(err)
	}
	if info.Type != mesosgo.ExecutorInfo_CUSTOM || info.ExecutorID.Value != plan.ID || info.FrameworkID.Value != plan.FrameworkID {
		t.Errorf("identity: got %v", info)
	}
	uri := info.Command.URIs[0]
	if uri.Value != plan.URL || !uri.GetCache() || !uri.GetExecutable() || uri.GetExtract() || uri.GetOutputFile() != "tidemill-executor" {
		t.Errorf("uri: got %v", uri)
	}
	if !info.Command.GetShell() || len(info.Command.URIs) != 1 || info.Command.Environment != nil {
		t.Errorf("command: got %v", info.Command)
	}
	checkScalars(t, info.Resources, map[string]float64{"cpus": 0.1, "mem": 64})
	if info.ShutdownGracePeriod.Nanoseconds != plan.ShutdownGrace.Nanoseconds() || !bytes.Equal(info.Data, plan.Data) {
		t.Errorf("grace or data: got %v", info)
	}
}

func checkScalars(t *testing.T, got []mesosgo.Resource, want map[string]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("resources: got %v, want %v", got, want)
	}
	for _, r := range got {
		if r.Scalar.GetValue() != want[r.Name] || r.GetType() != mesosgo.SCALAR {
			t.Errorf("%s: got %v, want %v", r.Name, r.Scalar.GetValue(), want[r.Name])
		}
		if r.AllocationInfo.GetRole() != "data/batch" || r.Role != nil {
			t.Errorf("%s: allocated to %q with role %v", r.Name, r.AllocationInfo.GetRole(), r.Role)
		}
	}
}

// TestLaunchCommand runs the command as an agent would: in a shell, in the sandbox; with and without openssl.
func TestLaunchCommand(t *testing.T) {
	bare := t.TempDir()
	path, err := exec.LookPath("sha256sum")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(bare, "sha256sum")); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"this machine's tools": os.Getenv("PATH"), "no openssl": bare} {
		t.Run(name, func(t *testing.T) { launchCommandIn(t, path) })
	}
}

func launchCommandIn(t *testing.T, path string) {
	const content = "#!/bin/sh\necho ran\n"
	sandbox := t.TempDir()
	file := filepath.Join(sandbox, "tidemill-executor")
	if err := os.WriteFile(file, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(sum string) (string, string, error) {
		command := exec.Command("/bin/sh", "-c", launchCommand(sum))
		command.Dir = sandbox
		command.Env = []string{"PATH=" + path}
		var stdout, stderr bytes.Buffer
		command.Stdout, command.Stderr = &stdout, &stderr
		err := command.Run()
		return stdout.String(), stderr.String(), err
	}
	right, wrong := fmt.Sprintf("%x", sha256.Sum256([]byte(content))), strings.Repeat("0", 64)
	if out, text, err := run(right); err != nil || out != "ran\n" || text != "" {
		t.Errorf("right sum: got %q, %q, %v", out, text, err)
	}
	if out, text, err := run(wrong); err == nil || out != "" || !strings.Contains(text, "SHA-256 of the fetched file is not "+wrong) {
		t.Errorf("wrong sum: got %q, %q, %v", out, text, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if out, text, err := run(right); err == nil || out != "" || !strings.Contains(text, "refusing to run") {
		t.Errorf("no file: got %q, %q, %v", out, text, err)
	}
}

func TestCalls(t *testing.T) {
	for name, test := range map[string]struct {
		call  scheduler.Call
		check func(*sched.Call) bool
	}{
		"DECLINE": {scheduler.Decline{OfferIDs: []string{"o1", "o2"}, Refuse: time.Hour, Reason: "no_demand"}, func(c *sched.Call) bool {
			return len(c.Decline.OfferIDs) == 2 && c.Decline.Filters.GetRefuseSeconds() == 3600
		}},
		"KILL": {scheduler.Kill{MesosID: "t", AgentID: "a"}, func(c *sched.Call) bool {
			return c.Kill.TaskID.Value == "t" && c.Kill.AgentID.Value == "a"
		}},
		"ACKNOWLEDGE": {scheduler.Acknowledge{MesosID: "t", AgentID: "a", UUID: []byte("u")}, func(c *sched.Call) bool {
			return c.Acknowledge.TaskID.Value == "t" && c.Acknowledge.AgentID.Value == "a" && string(c.Acknowledge.UUID) == "u"
		}},
		"MESSAGE": {scheduler.SendMessage{AgentID: "a", ExecutorID: "e", Data: []byte("d")}, func(c *sched.Call) bool {
			return c.Message.AgentID.Value == "a" && c.Message.ExecutorID.Value == "e" && string(c.Message.Data) == "d"
		}},
		"RECONCILE": {scheduler.Reconcile{Tasks: []scheduler.TaskRef{{MesosID: "t1", AgentID: "a"}, {MesosID: "t2"}}}, func(c *sched.Call) bool {
			tasks := c.Reconcile.Tasks
			return len(tasks) == 2 && tasks[0].AgentID.Value == "a" && tasks[1].AgentID == nil && tasks[1].TaskID.Value == "t2"
		}},
		"SUPPRESS": {scheduler.Suppress{Roles: []string{"r"}}, func(c *sched.Call) bool { return slices.Equal(c.Suppress.Roles, []string{"r"}) }},
		"REVIVE":   {scheduler.Revive{Roles: []string{"r"}}, func(c *sched.Call) bool { return slices.Equal(c.Revive.Roles, []string{"r"}) }},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := message(test.call, "fw-1")
			if err != nil {
				t.Fatal(err)
			}
			if m.Type.String() != name || m.FrameworkID.Value != "fw-1" {
				t.Errorf("got %v of framework %v", m.Type, m.FrameworkID)
			}
			if _, err := m.Marshal(); err != nil {
				t.Fatal(err)
			}
			if !test.check(m) {
				t.Errorf("got %v", m)
			}
		})
	}
}

func TestAccept(t *testing.T) {
	call := scheduler.Accept{
		OfferIDs: []string{"o1", "o2"},
		AgentID:  "agent-1",
		Refuse:   time.Hour,
		Launches: []scheduler.Launch{{
			MesosID: "run.map.3.1", Name: "flights map 4/12", Role: "data/batch",
			Labels:       [][2]string{{"tidemill.job", "flights"}, {"tidemill.attempt", "1"}},
			Resources:    jobs.Resources{CPUs: 0.29, Memory: 500_000_000, Disk: 1 << 30},
			ExecutorInfo: ExecutorInfo(plan),
			Data:         []byte("data"),
		}, {
			MesosID: "run.map.4.1", Name: "flights map 5/12", Role: "data/batch",
			Resources:    jobs.Resources{CPUs: 1, Memory: 1 << 30},
			ExecutorInfo: ExecutorInfo(plan),
		}},
	}
	m, err := message(call, "fw-1")
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var sent sched.Call
	if err := sent.Unmarshal(data); err != nil {
		t.Fatal(err)
	}
	accept := sent.Accept
	if len(accept.OfferIDs) != 2 || accept.Filters.GetRefuseSeconds() != 3600 || len(accept.Operations) != 1 {
		t.Fatalf("got %v", accept)
	}
	tasks := accept.Operations[0].Launch.TaskInfos
	if accept.Operations[0].Type != mesosgo.Offer_Operation_LAUNCH || len(tasks) != 2 {
		t.Fatalf("got %v", accept.Operations)
	}
	first := tasks[0]
	if first.TaskID.Value != "run.map.3.1" || first.Name != "flights map 4/12" || first.AgentID.Value != "agent-1" || string(first.Data) != "data" {
		t.Errorf("got %v", first)
	}
	if l := first.Labels.Labels; len(l) != 2 || l[0].Key != "tidemill.job" || l[0].GetValue() != "flights" {
		t.Errorf("labels: got %v", l)
	}
	checkScalars(t, first.Resources, map[string]float64{"cpus": 0.29, "mem": 476.837, "disk": 1024})
	checkScalars(t, tasks[1].Resources, map[string]float64{"cpus": 1, "mem": 1024})
	executor, err := first.Executor.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(executor, ExecutorInfo(plan)) {
		t.Error("the executor info changed on its way")
	}

	call.Launches[1].ExecutorInfo = hostile
	if _, err := message(call, "fw-1"); err == nil {
		t.Error("a damaged executor info: got no error")
	}
}

// What is asked for never exceeds what was counted, however it is cut.
func TestResourcesNeverGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := jobs.Resources{
			CPUs:   rapid.Float64Range(0.01, 1024).Draw(t, "cpus"),
			Memory: rapid.Int64Range(1<<20, 1<<45).Draw(t, "memory"),
		}
		for _, got := range resources(r, "r") {
			asked, counted := got.Scalar.Value, r.CPUs
			if got.Name == "mem" {
				counted = float64(r.Memory) / mebibyte
			}
			if asked > counted+1e-6 || asked < counted-0.001001 {
				t.Fatalf("%s: asked for %v, counted %v", got.Name, asked, counted)
			}
		}
	})
}
