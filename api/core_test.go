package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemill/tidemill/api"
	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/loop"
	"github.com/tidemill/tidemill/scheduler/store"
)

// agentless is a master whose one agent does every task at once, without a process: checks refuse subqueries, plans
// commit a result. It holds tasks back while held is set.
type agentless struct {
	mu      sync.Mutex
	deliver func(scheduler.Event)
	held    bool
	waiting []scheduler.Launch
	offers  int
}

func (m *agentless) Run(ctx context.Context, _ scheduler.Identity, deliver func(scheduler.Event)) error {
	m.mu.Lock()
	m.deliver = deliver
	m.mu.Unlock()
	deliver(scheduler.Subscribed{FrameworkID: "framework-1", Master: "http://127.0.0.1:5050", MasterID: "m"})
	m.offer()
	<-ctx.Done()
	return nil
}

func (m *agentless) Send(calls []scheduler.Call) {
	for _, call := range calls {
		switch c := call.(type) {
		case scheduler.Revive:
			go m.offer()
		case scheduler.Accept:
			go m.launch(c.Launches)
		}
	}
}

func (m *agentless) offer() {
	m.mu.Lock()
	m.offers++
	id := fmt.Sprint("offer-", m.offers)
	m.mu.Unlock()
	m.deliver(scheduler.Offers{Offers: []scheduler.Offer{{
		ID: id, AgentID: "agent-1", Host: "localhost", AgentURL: "http://127.0.0.1:5051", Role: "tidemill", CPUs: 4, Memory: 8 << 30, Disk: 100 << 30,
	}}})
}

func (m *agentless) launch(launches []scheduler.Launch) {
	m.mu.Lock()
	if m.held {
		m.waiting = append(m.waiting, launches...)
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	for _, l := range launches {
		m.finish(l)
	}
	m.offer()
}

// release lets held tasks go on.
func (m *agentless) release() {
	m.mu.Lock()
	m.held = false
	waiting := m.waiting
	m.waiting = nil
	m.mu.Unlock()
	m.launch(waiting)
}

func (m *agentless) finish(l scheduler.Launch) {
	data := &proto.TaskData{}
	if err := proto.Decode(l.Data, data); err != nil {
		panic(err)
	}
	update := scheduler.Update{MesosID: l.MesosID, AgentID: "agent-1", State: "TASK_RUNNING", Source: "SOURCE_EXECUTOR", UUID: []byte(l.MesosID + "r")}
	update.Data = proto.Encode(&proto.Started{Directory: "/sandbox/" + l.MesosID})
	m.deliver(update)
	result := &proto.TaskResult{Counters: proto.Counters{Rows: 100, Bytes: 1000}}
	if data.Stage == jobs.StageCheck {
		result.Output = checkOutput(data.Input)
	} else {
		result.Output = proto.Encode(&proto.AggregatePlanOutput{Committed: &proto.Output{URI: "s3://results/x/data/r/1/", Manifest: "s3://results/x/data/r/_manifest.json", Rows: 16, Files: 1}})
	}
	update.State, update.UUID, update.Data = "TASK_FINISHED", []byte(l.MesosID+"f"), proto.Encode(result)
	m.deliver(update)
}

func checkOutput(input []byte) []byte {
	in, out := &proto.CheckInput{}, &proto.CheckOutput{}
	if err := proto.Decode(input, in); err != nil {
		panic(err)
	}
	for _, e := range in.Expressions {
		if strings.Contains(e.Text, "SELECT") {
			out.Problems = append(out.Problems, proto.Problem{Pointer: e.Pointer, Detail: "a subquery is not allowed"})
		}
	}
	return proto.Encode(out)
}

type noObserver struct{}

func (noObserver) Count(scheduler.Count)                    {}
func (noObserver) Committed(int, int, time.Duration, error) {}

// startCore runs the real core, loop and store.
func startCore(t *testing.T) (*loop.Loop, *agentless) {
	t.Helper()
	records, err := store.Open(filepath.Join(t.TempDir(), "tidemill.db"))
	if err != nil {
		t.Fatal(err)
	}
	master := &agentless{}
	cfg := scheduler.Defaults()
	cfg.Kinds, cfg.ArtifactURL = kinds.All(), "http://127.0.0.1:8080/artifacts"
	cfg.ExecutorInfo = func(plan scheduler.ExecutorPlan) []byte { return []byte(plan.ID) }
	l, err := loop.Open(t.Context(), loop.Config{
		Core:  func(stored []scheduler.Record) (loop.Core, error) { return scheduler.New(cfg, stored) },
		Store: records, Master: master, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run loop: %v", err)
		}
		if err := records.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return l, master
}

// serveCore is a service on the real core, loop and store, with an executor version in the channel stable.
func serveCore(t *testing.T, options ...option) (*service, *agentless) {
	t.Helper()
	l, master := startCore(t)
	s := serve(t, append([]option{func(cfg *api.Config) { cfg.Scheduler, cfg.CheckWait = l, 10*time.Second }}, options...)...)
	const executor = "an executor"
	want[wire.Executor](t, s.do("PUT", "/v1/executors/1.4.0/linux-amd64", executor, "X-Checksum-Sha256", sha256Of(executor)), 201)
	want[wire.Channel](t, s.do("PUT", "/v1/channels/stable", `{"version": "1.4.0"}`), 200)
	return s, master
}

// The whole way through the real core: submit, check, run, follow, read, remove.
func TestJobOnTheCore(t *testing.T) {
	s, _ := serveCore(t)
	a := s.do("POST", "/v1/jobs", specOf("flights"))
	if job := want[wire.Job](t, a, 201); job.Checks != "passed" {
		t.Errorf("got checks %q", job.Checks)
	}
	want[wire.Job](t, s.do("POST", "/v1/jobs", " "+specOf("flights")), 200) // spaces make no difference
	bad := strings.Replace(specOf("other"), `"group_by"`, `"where": "month = (SELECT 1)", "group_by"`, 1)
	for _, call := range []string{"POST /v1/jobs", "PUT /v1/jobs/other", "POST /v1/jobs?dry_run=true"} {
		method, path, _ := strings.Cut(call, " ")
		if refused := want[wire.Error](t, s.do(method, path, bad), 422); len(refused.Errors) != 1 || refused.Errors[0].Pointer != "/aggregate/where" {
			t.Errorf("%s: got %+v", call, refused)
		}
	}
	for field, spec := range map[string]string{
		"/executor/channel": strings.Replace(specOf("other"), `"kind"`, `"executor": {"channel": "stabel"}, "kind"`, 1),
		"/executor/version": strings.Replace(specOf("other"), `"kind"`, `"executor": {"version": "1.4.1"}, "kind"`, 1),
	} {
		if refused := want[wire.Error](t, s.do("POST", "/v1/jobs", spec), 422); len(refused.Errors) != 1 || refused.Errors[0].Pointer != field {
			t.Errorf("%s: got %+v", field, refused)
		}
	}

	run := want[wire.Run](t, s.do("POST", "/v1/jobs/flights/runs", "", "Idempotency-Key", "k"), 202)
	next, _ := s.stream(t.Context(), run.ID)
	for {
		name, data := next()
		if name == "" {
			t.Fatal("the stream ended without the run's end")
		}
		if name == "done" {
			if !strings.Contains(data, `"state":"succeeded"`) {
				t.Errorf("got %s", data)
			}
			break
		}
	}
	run = want[wire.Run](t, s.get("/v1/runs/"+run.ID), 200)
	if run.Progress != 1 || run.Output.Rows != 16 || run.Stages[0].Tasks.Finished != 1 || run.Stages[0].Rows != 100 || run.Ended == nil {
		t.Errorf("got %+v", run)
	}
	if again := want[wire.Run](t, s.do("POST", "/v1/jobs/flights/runs", "", "Idempotency-Key", "k"), 202); again.ID != run.ID {
		t.Errorf("the same key gave run %s", again.ID)
	}
	want[wire.Error](t, s.do("DELETE", "/v1/executors/1.4.0", ""), 409)
	want[wire.Job](t, s.do("DELETE", "/v1/jobs/flights", ""), 200)
	if a := s.get("/v1/tasks/" + run.ID + ".plan.0/logs"); a.status != 200 {
		t.Errorf("the log of a removed job's run: got %d %s", a.status, a.body)
	}
}

// Checks that take too long do not hold a job back; their outcome shows on it and on its runs.
func TestSlowChecksOnTheCore(t *testing.T) {
	s, master := serveCore(t, func(cfg *api.Config) { cfg.CheckWait = 20 * time.Millisecond })
	master.mu.Lock()
	master.held = true
	master.mu.Unlock()
	bad := strings.Replace(specOf("slow"), `"group_by"`, `"where": "month = (SELECT 1)", "group_by"`, 1)
	if job := want[wire.Job](t, s.do("POST", "/v1/jobs", bad), 201); job.Checks != "pending" {
		t.Errorf("got checks %q", job.Checks)
	}
	run := want[wire.Run](t, s.do("POST", "/v1/jobs/slow/runs", ""), 202)
	if explanation := want[wire.Explanation](t, s.get("/v1/runs/"+run.ID+"/explain"), 200); !strings.Contains(explanation.Summary, "check") {
		t.Errorf("got %+v", explanation)
	}
	until(t, "the check is launched", func() bool {
		master.mu.Lock()
		defer master.mu.Unlock()
		return len(master.waiting) > 0
	})
	master.release()
	until(t, "the run has failed", func() bool {
		run = want[wire.Run](t, s.get("/v1/runs/"+run.ID), 200)
		return run.State == "failed"
	})
	if run.Error == nil || run.Error.Pointer != "/aggregate/where" {
		t.Errorf("got error %+v", run.Error)
	}
	job := want[wire.Job](t, s.get("/v1/jobs/slow"), 200)
	if job.Checks != "failed" || len(job.Problems) != 1 || job.Problems[0].Pointer != "/aggregate/where" {
		t.Errorf("got %+v", job)
	}
	want[wire.Error](t, s.do("POST", "/v1/jobs/slow/runs", ""), 422)
}

// until polls for something that must come true soon.
func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come true: %s", what)
		}
	}
}
