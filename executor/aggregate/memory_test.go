package aggregate_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidemill/tidemill/dev/generate"
	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
)

// Many groups in little memory: the engine spills to the scratch directory and finishes.
func TestManyGroupsSpill(t *testing.T) {
	const groups, files = 60_000, 2
	padding := strings.Repeat("of very many ", 10)
	l := newLake(t)
	for f := range files {
		var text bytes.Buffer
		text.WriteString("key,n,x\n")
		for i := range groups {
			fmt.Fprintf(&text, "group number %09d "+padding+",%d,%d.5\n", (i*7919)%groups, i%10+f, i%100)
		}
		l.put(fmt.Sprintf("in/%d.csv", f), text.String())
	}
	l.memory = 24 << 20
	l.kind, l.reduces = aggregate.NewCutting(4<<20), 2
	var spilled atomic.Bool
	l.during = func(dir string) {
		if files, err := os.ReadDir(filepath.Join(dir, "spill")); err == nil && len(files) > 0 {
			spilled.Store(true)
		}
	}
	out, err := l.run(`{
		"input": {"uri": "LAKE/in/", "format": "csv"},
		"group_by": [{"name": "key"}],
		"measures": {"rows": {"count": "*"}, "n": {"sum": "n"}, "different": {"approx_distinct": "n"}, "median": {"approx_quantile": "x", "q": 0.5}},
		"output": {"uri": "LAKE/out/"}}`, 4)
	if err != nil {
		t.Fatal(err)
	}
	if !spilled.Load() {
		t.Error("nothing was spilled: the test shows nothing")
	}
	rows := l.rows(out)
	if len(rows) != groups {
		t.Fatalf("got %d rows, want %d", len(rows), groups)
	}
	for _, row := range rows[:100] {
		if !strings.HasPrefix(row, "group number ") || strings.Split(row, "|")[1] != "2" || strings.Split(row, "|")[3] != "2" {
			t.Errorf("got %s", row)
		}
	}
}

// The engine cannot read some CSV files in buffers of more than eight million bytes.
func TestLargeBufferOfCSV(t *testing.T) {
	const rows = 700_000
	text := []byte("key,n,total,mean,most\n")
	for i := range int64(rows) {
		r := generate.Number(i)
		text = fmt.Appendf(text, "%d,1,%d,%d.5,%d.25\n", r.High, r.Amount, r.Cents, r.Cents)
	}
	l := newLake(t)
	l.put("in/1.csv", string(text))
	for _, buffer := range []int64{8_508_515, 11_044_914, 19_082_417} {
		l.memory = 16 * buffer
		out, err := l.run(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "measures": {"rows": {"count": "*"}, "n": {"sum": "n"}, "most": {"max": "most"}},
			"output": {"uri": "LAKE/out/"}}`, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.rows(out)[0]; !strings.HasPrefix(got, "700000|700000|") {
			t.Errorf("got %s", got)
		}
	}
}

func TestTooLittleDisk(t *testing.T) {
	l := newLake(t)
	var text bytes.Buffer
	text.WriteString("key\n")
	for i := range 150_000 {
		fmt.Fprintf(&text, "group number %09d and some more text to make it long\n", i)
	}
	l.put("in/1.csv", text.String())
	l.memory, l.disk = 40<<20, 1<<20
	f := l.mustFail(`{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "key"}],
		"measures": {"keys": {"approx_distinct": "key"}}, "output": {"uri": "LAKE/out/"}}`, 1)
	if f.Class != proto.CLASS_PASSING || f.Kind != "out_of_memory" || !strings.Contains(f.Message, "needs more memory or disk than the task has") {
		t.Errorf("got %s, %s: %s", f.Class, f.Kind, f.Message)
	}
}
