//go:build endtoend

package endtoend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/api/wire"
	"github.com/tidemill/tidemill/dev/generate"
	"github.com/tidemill/tidemill/storage"
	"github.com/tidemill/tidemill/storage/connections"
)

// reach makes the S3 of `tidemill-dev up` the cluster's.
func (c *cluster) reach() {
	c.t.Helper()
	var info wire.Info
	c.must(http.MethodGet, "/v1/info", nil, &info)
	if info.S3 == nil {
		c.t.Fatal("the platform tells of no S3")
	}
	data, err := json.Marshal(map[string]any{"connections": map[string]any{"s3": map[string]any{
		"type": "s3", "endpoint": info.S3.Endpoint, "region": info.S3.Region, "path_style": true,
		"access_key": info.S3.AccessKey, "secret_key": info.S3.SecretKey,
	}}})
	if err != nil {
		c.t.Fatal(err)
	}
	file := c.t.TempDir() + "/connections.json"
	if err := os.WriteFile(file, data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if c.objects, err = connections.Load(file); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.objects.Close)
}

// generated is what a job must find in generated rows.
type generated struct {
	rows, amount, zeros int64 // zeros: rows of the key 0
	keys                int64 // different ones
}

// putRows writes rows as JSON lines below a URI, until they have so many bytes, and says what is in their column skewed.
func (c *cluster) putRows(uri string, bytes int64) (all generated) {
	c.t.Helper()
	const rowsPerFile = 300_000 // some 48 MB
	seen := make([]uint64, generate.High/64+1)
	var mu sync.Mutex
	var written int64
	store, prefix := c.store(uri)
	var group errgroup.Group
	group.SetLimit(2)
	for file := int64(0); ; file++ {
		mu.Lock()
		enough := written >= bytes
		mu.Unlock()
		if enough {
			break
		}
		group.Go(func() error {
			data := generate.AppendJSON(make([]byte, 0, 52<<20), file*rowsPerFile, (file+1)*rowsPerFile)
			key := fmt.Sprintf("%spart-%04d.jsonl", prefix, file)
			if _, err := storage.WriteAll(c.t.Context(), store, key, data, storage.Always); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			written += int64(len(data))
			for i := file * rowsPerFile; i < (file+1)*rowsPerFile; i++ {
				r := generate.Number(i)
				all.rows++
				all.amount += r.Amount
				if r.Skewed == 0 {
					all.zeros++
				}
				if bit := uint64(1) << (r.Skewed % 64); seen[r.Skewed/64]&bit == 0 {
					seen[r.Skewed/64] |= bit
					all.keys++
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		c.t.Fatal(err)
	}
	return all
}

// TestMemoryStaysWithinWhatIsAskedFor aggregates far more than fits into the memory of its tasks, by a key that half of the
// rows share and that is nearly always new in the others. No task may ever have held more than it asked for. What comes
// out is aggregated once more, to look at all of it.
func TestMemoryStaysWithinWhatIsAskedFor(t *testing.T) {
	const memory = 512 << 20
	input, limit := int64(1e9), 4*time.Minute
	if *soak {
		input, limit = 1e10, 40*time.Minute
	}
	c := &cluster{t: t, dir: t.TempDir()}
	t.Cleanup(c.checkLeftovers)
	_, c.api = start(t, "tidemill-dev", nil, true, "up", "--listen", "127.0.0.1:0", "--data-dir", c.dir, "--agents", "1",
		"--agent-resources", "cpus:2;mem:2048;disk:40960", "--allocation-interval", "100ms", "--executor-linger", "1s")
	c.reach()
	begun := time.Now()
	want := c.putRows("s3://results/generated/", input)
	t.Logf("%d rows, %d keys, written in %s", want.rows, want.keys, time.Since(begun).Round(time.Second))

	job := func(name, section string) wire.Run {
		c.putJob(fmt.Sprintf(`{"name": %q, "kind": "aggregate", "parallelism": 2, "resources": {"cpus": 1, "memory": "512MiB", "disk": "8GiB"},
			"aggregate": %s}`, name, section))
		begun := time.Now()
		run := c.await(c.startRun(name, "once").ID, limit)
		if run.State != "succeeded" {
			t.Fatalf("%s: %s: %+v", name, run.State, run.Error)
		}
		tasks := c.withinMemory(run, memory)
		t.Logf("%s took %s, %s", name, time.Since(begun).Round(time.Second), tasks)
		return run
	}
	grouped := job("grouped", `{"input": {"uri": "s3://results/generated/", "format": "jsonl"}, "group_by": [{"name": "skewed"}],
		"measures": {"n": {"count": "*"}, "total": {"sum": "amount"}, "mean": {"avg": "price"}, "most": {"max": "price"}},
		"output": {"uri": "s3://results/grouped/", "format": "csv"}}`)
	if grouped.Output.Rows != want.keys {
		t.Errorf("got %d rows, want %d", grouped.Output.Rows, want.keys)
	}
	checked := job("checked", fmt.Sprintf(`{"input": {"uri": %q, "format": "csv"},
		"measures": {"keys": {"count": "*"}, "rows": {"sum": "n"}, "amount": {"sum": "total"}, "zeros": {"max": "n"}},
		"output": {"uri": "s3://results/checked/"}}`, grouped.Output.URI))
	row := c.result(checked.Output.Manifest).Rows[0]
	got := strings.Join(row, " ")
	if want := fmt.Sprint(want.keys, want.rows, want.amount, want.zeros); got != want {
		t.Errorf("the result has %s keys, rows, amount and rows of the key 0; want %s", got, want)
	}
}

// withinMemory fails the test if a task of the run held more than so many bytes at any time. It returns the most that
// tasks of each stage held, and the CPU of all.
func (c *cluster) withinMemory(run wire.Run, bytes int64) string {
	c.t.Helper()
	most := map[string]int64{}
	cpu := 0.0
	var stages, said []string
	for cursor := ""; ; {
		var tasks wire.List[wire.Task]
		c.must(http.MethodGet, "/v1/runs/"+run.ID+"/tasks?limit=100&cursor="+cursor, nil, &tasks)
		for _, task := range tasks.Items {
			peak := task.Counters.PeakMemory
			if peak == 0 || peak > bytes {
				c.t.Errorf("task %s held %d MiB, want at most %d", task.ID, peak>>20, bytes>>20)
			}
			if most[task.Stage] == 0 {
				stages = append(stages, task.Stage)
			}
			most[task.Stage] = max(most[task.Stage], peak)
			cpu += task.Counters.CPUSeconds
		}
		if cursor = tasks.Next; cursor == "" {
			break
		}
	}
	for _, stage := range stages {
		said = append(said, fmt.Sprintf("%s %d MiB", stage, most[stage]>>20))
	}
	return fmt.Sprintf("%.1f s CPU, peak memory of tasks: %s", cpu, strings.Join(said, ", "))
}
