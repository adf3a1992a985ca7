package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/aggregate"
	"github.com/tidemill/tidemill/proto"
)

func TestReadBehaviour(t *testing.T) {
	for _, good := range []struct {
		fail, sleep, rows string
		want              behaviour
	}{
		{"", "", "", behaviour{}},
		{"50", "200ms", "1000", behaviour{50, 200 * time.Millisecond, 1000}},
		{"100", "0s", "0", behaviour{fail: 100}},
	} {
		if got, err := readBehaviour(good.fail, good.sleep, good.rows); err != nil || got != good.want {
			t.Errorf("%+v: got %+v, %v", good, got, err)
		}
	}
	for _, bad := range [][3]string{{"101", "", ""}, {"-1", "", ""}, {"x", "", ""}, {"", "5", ""}, {"", "-1s", ""}, {"", "", "-1"}} {
		if got, err := readBehaviour(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestShareOfFailures(t *testing.T) {
	for _, percent := range []uint64{0, 50, 100} {
		failed := 0
		for n := range 10_000 {
			if fails(fmt.Sprintf("run-%d", n), percent) {
				failed++
			}
		}
		if want := int(percent) * 100; failed < want-200 || failed > want+200 {
			t.Errorf("%d %%: %d of 10,000 fail", percent, failed)
		}
	}
}

func work(params map[string]string) *task.Work {
	w := &task.Work{Data: &proto.TaskData{Run: "r", Stage: aggregate.StagePlan, Params: params}, Report: func(task.Progress) {}}
	w.Spec = &jobs.Spec{Section: &aggregate.Section{Output: aggregate.Output{URI: "s3://results/short/"}}}
	return w
}

func TestRun(t *testing.T) {
	out, err := behaviour{rows: 7}.Run(t.Context(), work(nil))
	if err != nil {
		t.Fatal(err)
	}
	var plan proto.AggregatePlanOutput
	if err := proto.Decode(out, &plan); err != nil || plan.Committed == nil || plan.Committed.Rows != 7 || plan.Committed.URI != "s3://results/short/data/r/" {
		t.Errorf("got %+v, %v", plan, err)
	}
	if _, err := (behaviour{fail: 100}).Run(t.Context(), work(nil)); task.Classify(err).Class != proto.CLASS_FINAL || !strings.Contains(err.Error(), "100 %") {
		t.Errorf("got %v", err)
	}
}

func TestRunTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			b      behaviour
			params map[string]string
			want   time.Duration
		}{
			{behaviour{}, nil, 0},
			{behaviour{sleep: time.Minute}, nil, time.Minute},
			{behaviour{sleep: time.Minute}, map[string]string{"sleep": "3s"}, 3 * time.Second},
		} {
			begun := time.Now()
			if _, err := test.b.Run(t.Context(), work(test.params)); err != nil || time.Since(begun) != test.want {
				t.Errorf("%+v, %v: took %v, %v", test.b, test.params, time.Since(begun), err)
			}
		}
	})
}

func TestRunGoesOnUntilAFileIsThere(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	params := map[string]string{"until": gate}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (behaviour{}).Run(ctx, work(params)); err == nil {
		t.Error("it ended without the file")
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (behaviour{}).Run(t.Context(), work(params)); err != nil {
		t.Error(err)
	}
}
