package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	devs3 "github.com/tidemill/tidemill/dev/s3"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/scheduler"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/s3"
)

// fill sets every field of a record to something that is not its zero value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(`{"a":1}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"k": "v"}))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(day))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(2)
	case reflect.Uint32:
		v.SetUint(2)
	default:
		panic(fmt.Sprintf("a record has a %s", v.Type()))
	}
}

// lost names the fields that differ.
func lost(want, got any) []string {
	var out []string
	w, g := reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()
	for i := range w.NumField() {
		if !cmp.Equal(w.Field(i).Interface(), g.Field(i).Interface()) {
			out = append(out, w.Type().Field(i).Name)
		}
	}
	return out
}

// A field that is added to a record is archived, or named here as one that is not.
func TestNoFieldIsForgotten(t *testing.T) {
	var record proto.Run
	fill(reflect.ValueOf(&record).Elem())
	text, err := json.Marshal(writeSummary(&Run{Record: &record, Stages: []Stage{{Name: record.Stages[0].Name}}}))
	if err != nil {
		t.Fatal(err)
	}
	var line summary
	if err := json.Unmarshal(text, &line); err != nil {
		t.Fatal(err)
	}
	got, err := readSummary(&line)
	if err != nil {
		t.Fatal(err)
	}
	// The key is kept by the core; an archived run has been cleaned up, and moves no more.
	if names := lost(&record, got.Record); !slices.Equal(names, []string{"IdempotencyKey", "CleanUp", "MovingTo", "MovingBy"}) {
		t.Errorf("of a run these get lost: %v", names)
	}

	var taskRecord proto.Task
	fill(reflect.ValueOf(&taskRecord).Elem())
	task := throughJSON(t, *writeTask(&taskRecord))
	gotTask, err := readTask(taskRecord.Run, &task)
	if err != nil {
		t.Fatal(err)
	}
	// Only its kind understands input, output and what was handed over; what has ended has no back-off; a check is not archived.
	if names := lost(&taskRecord, gotTask); !slices.Equal(names, []string{"Input", "Output", "NotBefore", "Kind", "HandedOver"}) {
		t.Errorf("of a task these get lost: %v", names)
	}

	var revision proto.Revision
	fill(reflect.ValueOf(&revision).Elem())
	read := throughJSON(t, *writeRevision(&revision))
	// What was found by checking belongs to the job.
	if names := lost(&revision, readRevision(&read)); !slices.Equal(names, []string{"Checks", "Problems", "CheckedWith"}) {
		t.Errorf("of a revision these get lost: %v", names)
	}
}

func throughJSON[T any](t *testing.T, in T) (out T) {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A revision whose spec nobody can read keeps no run out of the archive, nor does one that is missing.
func TestOddRevisions(t *testing.T) {
	a := newArchive(newMemory())
	odd, none := run("odd", day, 1, 1), run("none", day, 2, 1)
	odd.Revision.Spec, none.Revision = []byte("not JSON"), nil
	write(t, a, odd, none)
	for _, want := range []*scheduler.RunView{odd, none} {
		got, err := a.Run(t.Context(), want.Run.ID)
		if err != nil {
			t.Fatal(err)
		}
		revision, err := a.Revision(t.Context(), got)
		if err != nil || revision.Number != 3 || string(revision.Spec) != "null" {
			t.Errorf("got %v, %v", revision, err)
		}
	}
}

// unpack gives the lines of a file.
func unpack(f *testing.F, data []byte) []byte {
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		f.Fatal(err)
	}
	lines, err := io.ReadAll(unpacked)
	if err != nil {
		f.Fatal(err)
	}
	return lines
}

func FuzzReadRuns(f *testing.F) {
	objects := newMemory()
	if err := newArchive(objects).Write(f.Context(), []*scheduler.RunView{run("flights", day, 1, 2)}); err != nil {
		f.Fatal(err)
	}
	f.Add(unpack(f, objects.objects[objects.keys(runsEnding)[0]]))
	f.Add([]byte(`{"version":1,"run":{"id":"x","state":"failed","stages":[{"tasks":9,"states":{"lost":1}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		runs, _, err := readRunLines(bytes.NewReader(data), "pair")
		if err != nil {
			return
		}
		for _, run := range runs { // what was read can be shown, and written again
			tasks := 0
			for range run.View().Tasks() {
				tasks++
			}
			want := 0
			for _, stage := range run.Record.Stages {
				want += int(stage.Tasks)
			}
			if tasks != want {
				t.Errorf("it shows %d tasks, want %d", tasks, want)
			}
			if _, err := json.Marshal(writeSummary(run)); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzReadDetails(f *testing.F) {
	objects := newMemory()
	view := run("flights", day, 1, 2)
	if err := newArchive(objects).Write(f.Context(), []*scheduler.RunView{view}); err != nil {
		f.Fatal(err)
	}
	f.Add(unpack(f, objects.objects[objects.keys(detailsEnding)[0]]))
	f.Add([]byte(`{"version":1,"run":"` + view.Run.ID + `","task":{"state":"lost","attempts":[{"state":"lost","failure":{}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := readDetailLines(bytes.NewReader(data), view.Run.ID, func(line *detailLine) error {
			if line.Task == nil {
				return nil
			}
			task, err := readTask(line.Run, line.Task)
			if err == nil && (task.Run != view.Run.ID || len(task.Attempts) != len(line.Task.Attempts)) {
				t.Errorf("got %v of %v", task, line.Task)
			}
			return err
		})
		if err == nil && len(bytes.TrimSpace(data)) > 0 && !bytes.Contains(data, []byte("{")) {
			t.Errorf("taken for lines: %q", data)
		}
	})
}

// The same over real S3: ranges, conditions and listings are its own.
func TestOverS3(t *testing.T) {
	server, err := devs3.Start(t.Context(), devs3.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := server.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	client, err := s3.NewClient(context.Background(), s3.Config{
		Endpoint: server.URL(), AccessKey: server.AccessKey(), SecretKey: storage.NewSecret(server.SecretKey()), PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	objects := storage.WithRetry(storage.Below(client.Bucket("bucket"), "tidemill/"), storage.DefaultBackoff)
	a := newArchive(objects)
	all := scatter(t, a, longAgo)
	large := run("large", longAgo, 9, 3*chunk)
	write(t, a, large)
	late := newArchive(objects)
	for _, want := range append(all, large) {
		check(t, late, want, 0)
	}
	if joined, err := a.Compact(t.Context()); err != nil || joined != 6 {
		t.Errorf("joined %d pairs, %v, want 6", joined, err)
	}
	for _, reader := range []*Archive{late, newArchive(objects)} {
		for _, want := range append(all, large) {
			check(t, reader, want, 1)
		}
	}
}
