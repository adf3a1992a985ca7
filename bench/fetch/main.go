package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tidemill/tidemill/jobs"
)

// aimMemory is what the scheduler stays below, in bytes.
const aimMemory = 200 << 20

// options are the flags.
type options struct {
	agents int
	size   int64 // bytes of the executor's file
	rate   int64 // bytes a second that one connection takes; 0: all that comes
	dir    string
}

func main() {
	var o options
	flag.IntVar(&o.agents, "agents", 100, "how many agents")
	size := flag.String("size", "80MiB", "of the executor's file")
	objects := flag.String("objects", "directory,s3", "where the scheduler keeps it: directory, s3")
	rate := flag.Int64("rate", 0, "MiB a second that one agent's connection takes; 0: all that comes")
	flag.StringVar(&o.dir, "dir", "", "a folder for everything (default: a new one for temporary files)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bytes, wrong := jobs.ParseSize(*size)
	if wrong != "" {
		fmt.Fprintf(os.Stderr, "fetch: -size: %s\n", wrong)
		os.Exit(2)
	}
	o.size, o.rate = bytes, *rate<<20
	if err := compare(ctx, o, strings.Split(*objects, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

// compare measures with each kind of object storage, and prints all of it before it says what was not reached.
func compare(ctx context.Context, o options, kinds []string) (err error) {
	dir, err := os.MkdirTemp(o.dir, "tidemill-fetch-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	top, err := os.Getwd() // before the embedded S3 moves it
	if err != nil {
		return err
	}
	scheduler := filepath.Join(dir, "tidemill")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", scheduler, "./cmd/tidemill")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build tidemill: %w\n%s", err, said)
	}
	file := filepath.Join(dir, "executor")
	if err := makeExecutor(ctx, top, file, o.size); err != nil {
		return err
	}
	var results []result
	for _, kind := range kinds {
		l := &lab{options: o, dir: filepath.Join(dir, kind), scheduler: scheduler, executor: file}
		r, err := l.measure(ctx, kind)
		if err = errors.Join(err, os.RemoveAll(l.dir)); err != nil {
			return fmt.Errorf("measure with objects in %s: %w", kind, err)
		}
		results = append(results, r)
	}
	report(o, kinds, results)
	for i, r := range results {
		err = errors.Join(err, r.judge(o, kinds[i]))
	}
	return err
}

// judge says what was not reached.
func (r result) judge(o options, kind string) (err error) {
	if r.fetched >= aimMemory {
		err = fmt.Errorf("objects in %s: the scheduler needed %d MiB, at most 200 are allowed", kind, r.fetched>>20)
	}
	if r.gets != o.agents || r.again != 0 {
		err = errors.Join(err, fmt.Errorf("objects in %s: %d agents downloaded %d times, then %d times", kind, o.agents, r.gets, r.again))
	}
	return err
}

func report(o options, kinds []string, results []result) {
	w := table.NewWriter()
	w.SetOutputMirror(os.Stdout)
	w.SetStyle(table.StyleLight)
	w.Style().Format.Header = text.FormatDefault
	header := table.Row{fmt.Sprintf("%d agents, a file of %s", o.agents, jobs.FormatSize(o.size))}
	for _, kind := range kinds {
		header = append(header, kind)
	}
	w.AppendHeader(header)
	row := func(name string, cell func(r result) any) {
		line := table.Row{name}
		for _, r := range results {
			line = append(line, cell(r))
		}
		w.AppendRow(line)
	}
	row("seconds from the first run's start to all running", func(r result) any { return seconds(r.running) })
	row("seconds from the first GET to the end of the last", func(r result) any { return seconds(r.transfer) })
	row("MiB a second", func(r result) any {
		return fmt.Sprintf("%.0f", float64(o.size)*float64(r.gets)/(1<<20)/r.transfer.Seconds())
	})
	row("GET, HEAD requests", func(r result) any { return fmt.Sprintf("%d, %d", r.gets, r.heads) })
	row("downloads at the same time, the most", func(r result) any { return r.most })
	row("the same for as many runs again", func(r result) any { return r.again })
	row("most memory of the scheduler: started, MiB", func(r result) any { return r.started >> 20 })
	row("  file uploaded", func(r result) any { return r.uploaded >> 20 })
	row("  all agents run it", func(r result) any { return r.fetched >> 20 })
	row("CPU seconds of the scheduler", func(r result) any { return seconds(r.cpu) })
	w.Render()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }
