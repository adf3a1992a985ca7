package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/tidemill/tidemill/executor/aggregate"
	"github.com/tidemill/tidemill/executor/task"
	"github.com/tidemill/tidemill/jobs"
	"github.com/tidemill/tidemill/jobs/kinds"
	"github.com/tidemill/tidemill/proto"
	"github.com/tidemill/tidemill/storage/connections"
)

func main() {
	copies := flag.Int("copies", 20, "of the twelve files")
	tasks := flag.Int("tasks", 4, "map tasks at a time: the job's parallelism")
	rounds := flag.Int("rounds", 3, "how often both are done, in turn")
	exact := flag.Bool("exact", false, "leave the approximate measures out")
	format := flag.String("format", "csv.gz", "of the input: csv.gz, csv.zst or jsonl.gz")
	data := flag.String("data", "examples/data/flights", "folder of the gzip CSV files")
	role := flag.String("role", "", "what a process that this program starts is for")
	flag.Parse()
	var err error
	switch *role {
	case "task":
		err = doTask(os.Stdin, os.Stdout)
	case "direct":
		err = direct(flag.Arg(0), *format, *exact)
	default:
		err = compare(*data, *format, *copies, *tasks, *rounds, *exact)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func compare(data, format string, copies, tasks, rounds int, exact bool) error {
	root, err := os.MkdirTemp("", "bench-aggregate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(root) }() // only scratch
	size, err := copyFiles(data, filepath.Join(root, "flights"), format, copies)
	if err != nil {
		return err
	}
	fmt.Printf("%d copies of 12 months of flights, %.0f MB as %s, %d tasks\n\n", copies, float64(size)/1e6, format, tasks)
	config := filepath.Join(root, "connections.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"connections": {"lake": {"type": "file", "root": %q}}}`, root), 0o600); err != nil {
		return err
	}
	var least [2]time.Duration
	for round := range rounds {
		fmt.Printf("round %d\n", round+1)
		ours, err := runJob(root, config, format, tasks, round, exact)
		if err != nil {
			return err
		}
		theirs, err := spawn("duckdb", nil, io.Discard, "-role=direct", "-format="+format, fmt.Sprintf("-exact=%t", exact), filepath.Join(root, "flights"))
		if err != nil {
			return err
		}
		for i, cpu := range []time.Duration{ours, theirs} {
			if least[i] == 0 || cpu < least[i] {
				least[i] = cpu
			}
		}
		fmt.Printf("  %-24s %6.2f s\n\n", "ours in all", ours.Seconds())
	}
	fmt.Printf("CPU seconds: ours %.2f, DuckDB %.2f, ratio %.2f\n", least[0].Seconds(), least[1].Seconds(), least[0].Seconds()/least[1].Seconds())
	return nil
}

func copyFiles(from, to, format string, copies int) (size int64, err error) {
	files, err := filepath.Glob(filepath.Join(from, "*.csv.gz"))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("find input at %s: %d files, %v", from, len(files), err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return 0, err
	}
	for _, name := range files {
		content, err := inFormat(name, format)
		if err != nil {
			return 0, err
		}
		for i := range copies {
			if err := os.WriteFile(filepath.Join(to, fmt.Sprintf("%03d-%s.%s", i, strings.TrimSuffix(filepath.Base(name), ".csv.gz"), format)), content, 0o644); err != nil {
				return 0, err
			}
			size += int64(len(content))
		}
	}
	return size, nil
}

// inFormat is what a gzip CSV file holds, in another format.
func inFormat(name, format string) ([]byte, error) {
	options := map[string]string{"csv.zst": "FORMAT csv, HEADER, NULLSTR 'NA', COMPRESSION zstd", "jsonl.gz": "FORMAT json, COMPRESSION gzip"}[format]
	if options == "" {
		return os.ReadFile(name)
	}
	dir, err := os.MkdirTemp("", "bench-aggregate-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only scratch
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, err
	}
	to := filepath.Join(dir, "rows")
	_, err = db.Exec(fmt.Sprintf("COPY (SELECT * FROM %s) TO '%s' (%s)", reader(name, "csv.gz"), to, options))
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(to)
}

// reader is DuckDB's reading of files of a format, with the columns declared.
func reader(files, format string) string {
	if format == "jsonl.gz" {
		return fmt.Sprintf("read_json('%s', format='newline_delimited', auto_detect=false, columns={%s})", files, columns)
	}
	return fmt.Sprintf("read_csv('%s', auto_detect=false, header=true, delim=',', quote='\"', nullstr='NA', columns={%s})", files, columns)
}

// spawn runs this program in another role and returns the CPU that it took.
func spawn(name string, in io.Reader, out io.Writer, args ...string) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("run %s: %w", name, err)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, fmt.Errorf("run %s: no usage", name)
	}
	fmt.Printf("  %-24s %6.2f s CPU %6.2f s elapsed %5d MB\n", name, cpu.Seconds(), time.Since(began).Seconds(), usage.Maxrss/1024)
	return cpu, nil
}

func section(root, format string, exact bool) string {
	approximate := `, "p95_delay": {"approx_quantile": "dep_delay", "q": 0.95}, "planes": {"approx_distinct": "tailnum"}`
	if exact {
		approximate = ""
	}
	input := `"format": "csv", "null_values": ["NA"]`
	if format == "jsonl.gz" {
		input = `"format": "jsonl"`
	}
	return fmt.Sprintf(`{
		"input": {"uri": "file://%[1]s/flights/", "connection": "lake", %[3]s},
		"group_by": [{"name": "carrier"}, {"name": "day", "expr": "make_date(year, month, day)"}],
		"measures": {"flights": {"count": "*"}, "avg_delay": {"avg": "dep_delay"}, "max_delay": {"max": "dep_delay"}, "distance": {"sum": "distance"}%[2]s},
		"output": {"uri": "file://%[1]s/results/", "connection": "lake"}}`, root, approximate, input)
}

// assignment is what a task process reads.
type assignment struct {
	Data        []byte
	Connections string
}

// runJob does a whole run and returns the CPU of all its tasks.
func runJob(root, config, format string, tasks, round int, exact bool) (total time.Duration, err error) {
	raw := fmt.Appendf(nil, `{"name": "bench", "kind": "aggregate", "parallelism": %d, "aggregate": %s}`, tasks, section(root, format, exact))
	spec, problems := jobs.Decode(raw, kinds.All())
	if len(problems) > 0 {
		return 0, fmt.Errorf("spec: %v", problems)
	}
	kind := kinds.All().Lookup(spec.Kind)
	first := kind.First(spec, nil)
	step := jobs.Step{Stage: &first}
	var earlier []jobs.StageResult
	for step.Done == nil {
		done := jobs.StageResult{Name: step.Stage.Name, Earlier: earlier}
		for i, input := range step.Stage.Inputs {
			data := &proto.TaskData{
				Run: fmt.Sprintf("bench-%d", round), Job: spec.Name, Kind: spec.Kind, Stage: step.Stage.Name, Index: uint32(i), Attempt: 1,
				Spec: raw, Input: input, RunCreated: time.Now(), Disk: 4 << 30,
			}
			message, err := json.Marshal(assignment{proto.Encode(data), config})
			if err != nil {
				return 0, err
			}
			var out strings.Builder
			cpu, err := spawn(fmt.Sprintf("%s %d", done.Name, i), strings.NewReader(string(message)), &out, "-role=task")
			if err != nil {
				return 0, err
			}
			total += cpu
			done.Outputs, done.Attempts = append(done.Outputs, []byte(out.String())), append(done.Attempts, 1)
		}
		if step, err = kind.Next(spec, done); err != nil {
			return 0, err
		}
		earlier = append(earlier, done)
	}
	return total, nil
}

func doTask(in io.Reader, out io.Writer) error {
	var a assignment
	if err := json.NewDecoder(in).Decode(&a); err != nil {
		return err
	}
	data := &proto.TaskData{}
	if err := proto.Decode(a.Data, data); err != nil {
		return err
	}
	spec, problems := jobs.Decode(data.Spec, kinds.All())
	if len(problems) > 0 {
		return fmt.Errorf("spec: %v", problems)
	}
	set, err := connections.Load(a.Connections)
	if err != nil {
		return err
	}
	defer set.Close()
	dir, err := os.MkdirTemp("", "bench-task-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only scratch
	result, err := aggregate.New().Run(context.Background(), &task.Work{
		Data: data, Spec: spec, Connections: set, Dir: dir, Memory: 358 << 20, Threads: 1, // of 512 MiB and half a CPU
		Report: func(task.Progress) {}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	_, err = out.Write(result)
	return err
}

// direct is the same aggregation as one statement.
func direct(folder, format string, exact bool) error {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	approximate := ", approx_quantile(dep_delay, 0.95), approx_count_distinct(tailnum)"
	if exact {
		approximate = ""
	}
	_, err = db.Exec(fmt.Sprintf(`COPY (
		SELECT carrier, make_date(year, month, day) AS day, count(*), avg(dep_delay), max(dep_delay), sum(distance) %s
		FROM %s
		GROUP BY ALL ORDER BY ALL) TO '%s/../direct.parquet' (FORMAT parquet, COMPRESSION zstd)`, approximate, reader(folder+"/*."+format, format), folder))
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

const columns = `'year': 'BIGINT', 'month': 'BIGINT', 'day': 'BIGINT', 'dep_time': 'BIGINT', 'sched_dep_time': 'BIGINT', 'dep_delay': 'BIGINT',
	'arr_time': 'BIGINT', 'sched_arr_time': 'BIGINT', 'arr_delay': 'BIGINT', 'carrier': 'VARCHAR', 'flight': 'BIGINT', 'tailnum': 'VARCHAR',
	'origin': 'VARCHAR', 'dest': 'VARCHAR', 'air_time': 'BIGINT', 'distance': 'BIGINT', 'hour': 'BIGINT', 'minute': 'BIGINT', 'time_hour': 'TIMESTAMP'`
