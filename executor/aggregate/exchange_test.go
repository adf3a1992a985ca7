package aggregate_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidemill/tidemill/dev/generate"
	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/proto"
)

const skewedSection = `{"input": {"uri": "LAKE/in/", "format": "csv"}, "group_by": [{"name": "key"}],
	"measures": {"n": {"count": "*"}, "total": {"sum": "amount"}, "mean": {"avg": "price"}, "different": {"count_distinct": "amount"}},
	"output": {"uri": "LAKE/out/"}}`

// tally is what a group must have.
type tally struct {
	n, total, cents int64
	different       map[int64]bool
}

// putSkewed writes rows with these keys to several files, and returns what each key must have.
func (l *lake) putSkewed(files int, keys []int64) map[int64]*tally {
	l.t.Helper()
	want := map[int64]*tally{}
	texts := make([]bytes.Buffer, files)
	for f := range texts {
		texts[f].WriteString("key,amount,price\n")
	}
	for i, key := range keys {
		r := generate.Number(int64(i))
		fmt.Fprintf(&texts[i%files], "%d,%d,%.2f\n", key, r.Amount, float64(r.Cents)/100)
		g := want[key]
		if g == nil {
			g = &tally{different: map[int64]bool{}}
			want[key] = g
		}
		g.n, g.total, g.cents = g.n+1, g.total+r.Amount, g.cents+r.Cents
		g.different[r.Amount] = true
	}
	for f := range texts {
		l.put(fmt.Sprintf("in/%d.csv", f), texts[f].String())
	}
	return want
}

// checkSkewed compares a result with what it must be, and that each of its files is in the order of the keys.
func (l *lake) checkSkewed(out *proto.Output, want map[int64]*tally) {
	l.t.Helper()
	rows := l.rows(out)
	if len(rows) != len(want) {
		l.t.Fatalf("got %d rows, want %d", len(rows), len(want))
	}
	for _, row := range rows {
		fields := strings.Split(row, "|")
		key, err := strconv.ParseInt(fields[0], 10, 64)
		mean, meanErr := strconv.ParseFloat(fields[3], 64)
		if err = errors.Join(err, meanErr); err != nil {
			l.t.Fatal(err)
		}
		g := want[key]
		if g == nil || fields[1] != fmt.Sprint(g.n) || fields[2] != fmt.Sprint(g.total) || fields[4] != fmt.Sprint(len(g.different)) {
			l.t.Fatalf("got %s, want %+v", row, g)
		}
		if exact := float64(g.cents) / 100 / float64(g.n); mean < exact*(1-1e-9) || mean > exact*(1+1e-9) {
			l.t.Fatalf("got %s, want the mean %v", row, exact)
		}
		delete(want, key)
	}
}

// A key that half of the rows have is merged before anything is sent, while the others, of which hardly any comes twice,
// go on as they are; little memory makes that several rounds.
func TestHotKey(t *testing.T) {
	const rows = 120_000
	keys := make([]int64, rows)
	for i := range keys {
		keys[i] = generate.Number(int64(i)).Skewed
	}
	l := newLake(t)
	want := l.putSkewed(2, keys)
	l.memory = 24 << 20
	l.kind, l.reduces = aggregate.NewCutting(1<<20), 2
	out, err := l.run(skewedSection, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.stages[1]; got == "map 1" {
		t.Errorf("got stages %s", l.stages)
	}
	l.checkSkewed(out, maps.Clone(want))
}

// Most groups are in one of the 256 partitions: it is merged by itself, and the others are not lost.
func TestOneLargePartition(t *testing.T) {
	var keys []int64
	for _, text := range query(t, "SELECT i FROM range(6000000) AS numbers(i) WHERE hash(hash(i)) >> 56 = 17 OR i % 1500 = 0") {
		key, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key, key)
	}
	l := newLake(t)
	want := l.putSkewed(3, keys)
	l.memory = 24 << 20
	l.kind, l.reduces = aggregate.NewCutting(64<<10), 3
	out, err := l.run(skewedSection, 4)
	if err != nil {
		t.Fatal(err)
	}
	l.checkSkewed(out, want)
}

// A reduce task takes the outputs of a thousand map tasks. Only one of these has been computed, the others are copies.
func TestThousandSplits(t *testing.T) {
	const splits = 1000
	l := newLake(t)
	l.kind = aggregate.NewCutting(10)
	for i := range splits {
		l.put(fmt.Sprintf("in/%d.csv", i), "a\nxxxxxxxxxxxxxxxxxxxx\nyyyyyyyyyyyyyyyyyyyy\n")
	}
	plan := l.planned(l.stepWith(splits, countSection, "plan", 0, 1, nil))
	if plan.Splits != splits {
		t.Fatalf("got %d splits, want %d", plan.Splits, splits)
	}
	if _, err := l.stepWith(splits, countSection, "map", 0, 1, &proto.AggregateMapInput{PlanURI: plan.PlanURI}); err != nil {
		t.Fatal(err)
	}
	attempts := slices.Repeat([]uint32{1}, splits)
	first, err := os.ReadFile(filepath.Join(l.root, "out/_work/test-1/map/0-1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < splits; i++ {
		l.put(fmt.Sprintf("out/_work/test-1/map/%d-1", i), string(first))
	}
	out, err := l.stepWith(splits, countSection, "reduce", 0, 1, &proto.AggregateReduceInput{PlanURI: plan.PlanURI, LastPartition: plan.Partitions, MapAttempts: attempts, Commit: true})
	var reduced proto.AggregateReduceOutput
	if err = errors.Join(err, proto.Decode(out, &reduced)); err != nil {
		t.Fatal(err)
	}
	want := []string{"xxxxxxxxxxxxxxxxxxxx|1000", "yyyyyyyyyyyyyyyyyyyy|1000"}
	if diff := cmp.Diff(want, l.rows(reduced.Committed)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
