package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidemill/tidemill/api/apitest"
	"github.com/tidemill/tidemill/cmd/internal/service"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/scheduler/store"
)

// writeBackup writes the export of a store with one run that has a task launched, and one of a newer tidemill.
func writeBackup(env *testscript.Env) error {
	records, run, err := launched()
	if err != nil {
		return err
	}
	env.Setenv("RUN_LAUNCHED", run)
	env.Setenv("RECORDS", fmt.Sprint(len(records)))
	env.Setenv("RECORDS_BUT_ONE", fmt.Sprint(len(records)-1)) // without the format
	for name, version := range map[string]uint32{"backup.jsonl": scheduler.FormatVersion, "newer.jsonl": scheduler.FormatVersion + 1} {
		records[0].Value = proto.Encode(&proto.Format{Version: version, WrittenBy: "9.0.0"})
		var out bytes.Buffer
		if err := store.Export(&out, store.Header{Version: "1.5.0", Exported: time.Unix(1, 0)}, records); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), out.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// launched are the records of a scheduler that has just launched a task. The first one is their format.
func launched() (records []scheduler.Record, run string, err error) {
	cfg := scheduler.Defaults()
	cfg.Kinds = kinds.All()
	cfg.ExecutorInfo = func(scheduler.ExecutorPlan) []byte { return []byte("executor") }
	core, err := scheduler.New(cfg, nil)
	if err != nil {
		return nil, "", err
	}
	stored := map[scheduler.Key][]byte{}
	spec := `{"name": "flights", "kind": "aggregate", "aggregate": {"input": {"uri": "s3://flights/", "format": "csv"},
		"measures": {"n": {"count": "*"}}, "output": {"uri": "s3://results/"}}}`
	for i, event := range []scheduler.Event{
		scheduler.Command{Body: scheduler.RegisterVersion{Artifact: apitest.Artifact("1.0.0", "linux", "amd64", "cafe")}},
		scheduler.Command{Body: scheduler.SetChannel{Name: "stable", Version: "1.0.0"}},
		scheduler.Command{Body: scheduler.PutJob{Spec: []byte(spec)}},
		scheduler.Command{Body: scheduler.StartRun{Job: "flights"}},
		scheduler.Subscribed{FrameworkID: "fw-0001", Master: "http://127.0.0.1:5050"},
		scheduler.Offers{Offers: []scheduler.Offer{{
			ID: "o1", AgentID: "S1", Host: "agent-1.example", Role: cfg.Roles[0], CPUs: 4, Memory: 4 << 30, Disk: 10 << 30,
		}}},
	} {
		done := core.Step(scheduler.Input{Now: time.Date(2026, 11, 23, 16, 0, i, 0, time.UTC), Random: 7, Event: event})
		for _, reply := range done.Replies {
			if reply.Err != nil {
				return nil, "", reply.Err
			}
			if started, ok := reply.Value.(scheduler.StartRunResult); ok {
				run = started.Run.ID
			}
		}
		for _, change := range done.Store {
			if stored[change.Key] = change.Value; change.Value == nil {
				delete(stored, change.Key)
			}
		}
	}
	records = []scheduler.Record{{Key: scheduler.Key{Kind: scheduler.KindFormat, ID: "format"}}}
	for key, value := range stored {
		records = append(records, scheduler.Record{Key: key, Value: value})
	}
	return records, run, nil
}

// same-records FILE FILE fails unless two exports have the same records.
func sameRecords(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same-records FILE FILE")
	}
	var all [2][]scheduler.Record
	for i, name := range args {
		_, records, err := store.Import(strings.NewReader(ts.ReadFile(name)))
		ts.Check(err)
		slices.SortFunc(records, func(a, b scheduler.Record) int {
			return strings.Compare(string(a.Key.Kind)+"/"+a.Key.ID, string(b.Key.Kind)+"/"+b.Key.ID)
		})
		all[i] = records
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		ts.Fatalf("%s and %s differ:\n%s", args[0], args[1], diff)
	}
}

// serve DIRECTORY runs a scheduler on that data directory until the script ends.
func serveFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIRECTORY")
	}
	cfg := service.Defaults()
	cfg.Listen, cfg.DataDir, cfg.Logger = "127.0.0.1:0", ts.MkAbs(args[0]), slog.New(slog.DiscardHandler)
	cfg.Mesos.Master, cfg.Mesos.User = "http://127.0.0.1:1", "nobody"
	ready, ended := make(chan struct{}), make(chan error, 1)
	cfg.Ready = func(string) { close(ready) }
	ctx, stop := context.WithCancel(context.Background())
	go func() { ended <- service.Run(ctx, cfg) }()
	ts.Defer(func() {
		stop()
		if err := <-ended; err != nil {
			ts.Logf("serve: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		ts.Fatalf("serve: %v", err)
	}
}

// A file of that name is there when all of it is, and what was there before stays until then.
func TestExportIsWholeOrNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.jsonl")
	broken := errors.New("the store went away")
	for _, test := range []struct {
		err  error
		want int
	}{{broken, 0}, {nil, 1}, {broken, 1}} {
		err := writeWhole(path, func(w io.Writer) error {
			if _, err := w.Write([]byte("half")); err != nil {
				return err
			}
			return test.err
		})
		if !errors.Is(err, test.err) {
			t.Errorf("got %v, want %v", err, test.err)
		}
		all, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
		hidden, err2 := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		if err != nil || err2 != nil || len(all) != test.want || len(hidden) != 0 {
			t.Errorf("files: got %v and %v, want %d", all, hidden, test.want)
		}
	}
}

// Every verb of the operator says in its help what it exits with, and takes the settings of serve.
func TestOperatorHelp(t *testing.T) {
	for _, args := range [][]string{{"store", "export"}, {"store", "import"}, {"framework", "show"}, {"framework", "forget"}, {"teardown"}} {
		var out bytes.Buffer
		code := execute(t.Context(), append(args, "--help"), strings.NewReader(""), &out, &out)
		for _, want := range []string{"Exit codes:", "--config", "--store ", "--data-dir"} {
			if code != exitOK || !strings.Contains(out.String(), want) {
				t.Errorf("%v --help: code %d, lacks %s: %s", args, code, want, out.String())
			}
		}
	}
}
