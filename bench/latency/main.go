package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tidemill/tidemill/api/client"
	"github.com/tidemill/tidemill/api/wire"
)

func main() {
	runs := flag.Int("runs", 15, "runs at each allocation interval")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, os.Stdout, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

// intervals are the allocation intervals that are compared; the second is short enough not to count.
var intervals = []time.Duration{time.Second, 5 * time.Millisecond}

func compare(ctx context.Context, out io.Writer, runs int) error {
	dir, err := os.MkdirTemp("", "tidemill-latency-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "tidemill-dev")
	if data, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/tidemill-dev").CombinedOutput(); err != nil {
		return fmt.Errorf("build tidemill-dev: %w\n%s", err, data)
	}
	w := table.NewWriter()
	w.SetOutputMirror(out)
	w.SetStyle(table.StyleLight)
	w.AppendHeader(table.Row{"median of " + fmt.Sprint(runs) + " runs, ms", "interval " + intervals[0].String(), "interval " + intervals[1].String()})
	var columns [][]time.Duration
	for _, interval := range intervals {
		medians, err := measure(ctx, program, interval, runs)
		if err != nil {
			return err
		}
		columns = append(columns, medians)
	}
	for i, name := range steps {
		w.AppendRow(table.Row{name, millis(columns[0][i]), millis(columns[1][i])})
	}
	w.Render()
	return nil
}

func millis(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)) }

// steps name what is measured, in the order of sample.
var steps = []string{
	"submit to running", "submit to done",
	"  request to stored", "  stored to launched (offer)", "  launched to running (verify, start, subscribe)",
	"  running to finished (the work)", "  finished to succeeded",
}

// measure starts a platform and returns the medians by step.
func measure(ctx context.Context, program string, interval time.Duration, runs int) (medians []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "up", "--listen", "127.0.0.1:0", "--allocation-interval", interval.String())
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start platform: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start platform: %w", err)
	}
	defer func() {
		if stopErr := cmd.Process.Signal(os.Interrupt); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
		err = errors.Join(err, cmd.Wait())
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("wait for the platform: %w", err)
	}
	c, err := client.New(client.Config{Server: strings.TrimSpace(strings.TrimPrefix(line, "ready "))})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	spec, err := os.ReadFile("examples/requests-by-status.json")
	if err != nil {
		return nil, fmt.Errorf("read example spec: %w", err)
	}
	if _, _, err := c.Submit(ctx, spec); err != nil {
		return nil, err
	}
	samples := make([][]time.Duration, len(steps))
	for i := range runs + 4 { // the first ones fill the agents' caches
		sample, err := once(ctx, c, "requests-by-status")
		if err != nil {
			return nil, err
		}
		if i < 4 {
			continue
		}
		for j, d := range sample {
			samples[j] = append(samples[j], d)
		}
	}
	for _, s := range samples {
		slices.Sort(s)
		medians = append(medians, s[len(s)/2])
	}
	return medians, nil
}

// once runs the job and returns the durations of steps.
func once(ctx context.Context, c *client.Client, job string) ([]time.Duration, error) {
	begun := time.Now()
	run, err := c.Start(ctx, job, nil, "")
	if err != nil {
		return nil, err
	}
	run, err = c.Watch(ctx, run.ID, func(wire.Run) error { return nil })
	if err != nil {
		return nil, err
	}
	if run.State != "succeeded" {
		return nil, fmt.Errorf("run %s %s: %+v", run.ID, run.State, run.Error)
	}
	for task, err := range c.Tasks(ctx, run.ID) {
		if err != nil {
			return nil, err
		}
		a := task.Attempts[len(task.Attempts)-1]
		if task.Of != 1 || len(task.Attempts) != 1 || a.Running == nil || a.Ended == nil {
			return nil, fmt.Errorf("run %s is not one task with one attempt: %+v", run.ID, task)
		}
		return []time.Duration{
			a.Running.Sub(begun), run.Ended.Sub(begun),
			run.Created.Sub(begun), a.Launched.Sub(run.Created), a.Running.Sub(a.Launched),
			a.Ended.Sub(*a.Running), run.Ended.Sub(*a.Ended),
		}, nil
	}
	return nil, fmt.Errorf("run %s has no task", run.ID)
}
