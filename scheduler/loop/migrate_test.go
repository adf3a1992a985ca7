package loop_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/loop"
	"github.com/tidemill/tidemill/scheduler/store"
)

// TestFormat1 goes on with a store that the last version without plans has written; see testdata/format1. Everything in
// it comes to its end.
func TestFormat1(t *testing.T) {
	file := openFormat1(t)
	cluster := &workers{}
	l, stop := openLoop(t, file, cluster)
	before := l.View()
	if n := states(before.Runs[runOf(t, before, "wide")], "map")[proto.TASK_PENDING]; n != 60 {
		t.Errorf("wide: %d maps wait, want 60", n)
	}
	if got := states(before.Runs[runOf(t, before, "stopped")], "plan"); got[proto.TASK_KILLED] != 1 {
		t.Errorf("stopped: got tasks %v, want a killed one", got)
	}
	view := before
	for settled := 0; settled < len(view.Runs); {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		next, err := l.Wait(ctx, view.Sequence)
		cancel()
		if err != nil {
			t.Fatalf("%d of %d runs are settled: %v", settled, len(view.Runs), err)
		}
		view, settled = next, 0
		for _, run := range view.Runs {
			if run.Settled {
				settled++
			}
		}
	}
	for job, want := range map[string]proto.RunState{
		"succeeded": proto.RUN_SUCCEEDED, "gone": proto.RUN_SUCCEEDED, "stopped": proto.RUN_CANCELLED, "failed": proto.RUN_FAILED,
		"cancelled": proto.RUN_CANCELLED, "ending": proto.RUN_CANCELLED, "busy": proto.RUN_SUCCEEDED, "wide": proto.RUN_SUCCEEDED, "checking": proto.RUN_SUCCEEDED,
	} {
		if run := view.Runs[runOf(t, view, job)].Run; run.State != want {
			t.Errorf("%s ended as %s with error %v, want %s", job, run.State, run.Error, want)
		}
	}
	if got := states(view.Runs[runOf(t, view, "wide")], "map"); got[proto.TASK_FINISHED] != 60 {
		t.Errorf("wide: got maps %v, want 60 that finished", got)
	}
	again, err := l.Do(t.Context(), scheduler.StartRun{Job: "busy", IdempotencyKey: "tuesday", Params: map[string]string{"day": "2013-07-04"}})
	if err != nil || !again.(scheduler.StartRunResult).Repeat || again.(scheduler.StartRunResult).Run.ID != runOf(t, view, "busy") {
		t.Errorf("the same idempotency key gave %+v, %v", again, err)
	}
	stop()
	records := loadAll(t, file)
	if changes, err := scheduler.Migrate(records, "1.0"); err != nil || len(changes) > 0 {
		t.Errorf("migrate again: %d changes, %v", len(changes), err)
	}
	kinds := map[scheduler.RecordKind]int{}
	for _, r := range records {
		kinds[r.Key.Kind]++
	}
	if kinds[scheduler.KindPlan] == 0 || kinds[scheduler.KindKey] != 4 || kinds[scheduler.KindFormat] != 1 {
		t.Errorf("got %v, want plans, 4 keys and a format", kinds)
	}
}

// TestNewerFormat: a store that a newer version has written is refused, and stays as it is.
func TestNewerFormat(t *testing.T) {
	file := openFormat1(t)
	format := scheduler.Change{
		Key:   scheduler.Key{Kind: scheduler.KindFormat, ID: "format"},
		Value: proto.Encode(&proto.Format{Version: scheduler.FormatVersion + 1, WrittenBy: "9.0.0"}),
	}
	if err := file.Commit(t.Context(), []scheduler.Change{format}); err != nil {
		t.Fatal(err)
	}
	before := loadAll(t, file)
	_, err := loop.Open(t.Context(), loopConfig(file, &workers{}))
	if err == nil || !strings.Contains(err.Error(), `written by version "9.0.0"`) {
		t.Errorf("got error %v", err)
	}
	if !reflect.DeepEqual(before, loadAll(t, file)) {
		t.Error("the records have changed")
	}
}

// TestMigrationThatFails: what cannot be understood is an error, and nothing is changed.
func TestMigrationThatFails(t *testing.T) {
	file := openFormat1(t)
	damaged := scheduler.Change{Key: scheduler.Key{Kind: scheduler.KindTask, ID: "damaged"}, Value: []byte{0xff}}
	if err := file.Commit(t.Context(), []scheduler.Change{damaged}); err != nil {
		t.Fatal(err)
	}
	before := loadAll(t, file)
	_, err := loop.Open(t.Context(), loopConfig(file, &workers{}))
	if err == nil || !strings.Contains(err.Error(), `migrate task "damaged"`) {
		t.Errorf("got error %v", err)
	}
	if !reflect.DeepEqual(before, loadAll(t, file)) {
		t.Error("the records have changed")
	}
}

func openFormat1(t *testing.T) *store.File {
	t.Helper()
	packed, err := os.Open("testdata/format1/tidemill.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tidemill.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	return file
}

func loadAll(t *testing.T, file *store.File) []scheduler.Record {
	t.Helper()
	records, err := file.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func loopConfig(file *store.File, master loop.Master) loop.Config {
	cfg := scheduler.Defaults()
	cfg.Kinds, cfg.ArtifactURL = kinds.All(), "http://127.0.0.1:8080/artifacts"
	cfg.ExecutorInfo = func(plan scheduler.ExecutorPlan) []byte { return []byte(plan.ID) }
	return loop.Config{
		Version:  "1.0",
		Core:     func(stored []scheduler.Record) (loop.Core, error) { return scheduler.New(cfg, stored) },
		Store:    file,
		Master:   master,
		Observer: &commits{},
		Log:      slog.New(slog.DiscardHandler),
	}
}

// openLoop runs a loop until stop is called.
func openLoop(t *testing.T, file *store.File, master loop.Master) (l *loop.Loop, stop func()) {
	t.Helper()
	l, err := loop.Open(t.Context(), loopConfig(file, master))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return l, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run loop: %v", err)
		}
	}
}

// runOf is the only run of a job.
func runOf(t *testing.T, view *scheduler.View, job string) string {
	t.Helper()
	for id, run := range view.Runs {
		if run.Run.Job == job {
			return id
		}
	}
	t.Fatalf("there is no run of job %q", job)
	return ""
}

func states(run *scheduler.RunView, stage string) map[proto.TaskState]int {
	counts := map[proto.TaskState]int{}
	for task := range run.Tasks() {
		if task.Task.Stage == stage {
			counts[task.Task.State]++
		}
	}
	return counts
}

// workers are a master and agents, one for each job, that do everything at once: also what an earlier scheduler has
// launched, as soon as they are asked about it.
type workers struct {
	deliver atomic.Pointer[func(scheduler.Event)]
	offers  atomic.Int64
}

func (w *workers) Run(ctx context.Context, identity scheduler.Identity, deliver func(scheduler.Event)) error {
	if identity.ID != "framework-1" {
		return errors.New("the framework ID is lost")
	}
	w.deliver.Store(&deliver)
	deliver(scheduler.Subscribed{FrameworkID: identity.ID, Master: "http://127.0.0.1:5050"})
	<-ctx.Done()
	return nil
}

func (w *workers) Send(calls []scheduler.Call) {
	deliver := *w.deliver.Load()
	go func() { // what is delivered may have to wait for the loop, which must not wait for this
		for _, call := range calls {
			switch c := call.(type) {
			case scheduler.Revive:
				deliver(w.offer())
			case scheduler.Reconcile:
				for _, ref := range c.Tasks {
					deliver(finished(ref.MesosID, ref.AgentID))
				}
			case scheduler.Kill:
				deliver(finished(c.MesosID, c.AgentID))
			case scheduler.Accept:
				for _, l := range c.Launches {
					deliver(finished(l.MesosID, c.AgentID))
				}
				deliver(w.offer())
			}
		}
	}()
}

func (w *workers) offer() scheduler.Offers {
	var all scheduler.Offers
	for _, job := range []string{"busy", "wide", "checking", "ending", "failed", "cancelled"} {
		all.Offers = append(all.Offers, scheduler.Offer{
			ID: fmt.Sprint("offer-", w.offers.Add(1)), AgentID: "agent-" + job, Host: job, AgentURL: "http://127.0.0.1:5051", Role: "tidemill",
			CPUs: 4, Memory: 8 << 30, Disk: 100 << 30, Attributes: map[string]string{"job": job},
		})
	}
	return all
}

// finished is the update of a task that did what its stage does.
func finished(id, agent string) scheduler.Update {
	task, _, err := jobs.ParseMesosTaskID(id)
	if err != nil {
		panic(err)
	}
	_, stage, _, err := jobs.ParseTaskID(task)
	if err != nil {
		panic(err)
	}
	committed := &proto.Output{URI: "s3://results/x/", Manifest: "s3://results/x/_manifest.json", Rows: 16, Files: 1}
	outputs := map[string]proto.Marshaler{
		"check":  &proto.CheckOutput{},
		"clean":  &proto.CleanOutput{},
		"plan":   &proto.AggregatePlanOutput{Committed: committed},
		"map":    &proto.AggregateMapOutput{Bytes: 10, Groups: 3},
		"reduce": &proto.AggregateReduceOutput{Committed: committed},
	}
	return scheduler.Update{
		MesosID: id, AgentID: agent, State: "TASK_FINISHED", Source: "SOURCE_EXECUTOR", UUID: []byte(id),
		Data: proto.Encode(&proto.TaskResult{Output: proto.Encode(outputs[stage])}),
	}
}
