package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	agents := flag.String("agents", "1000,10000", "how many agents, one measurement after the other")
	tasks := flag.Int("tasks", 100_000, "how many tasks")
	stores := flag.String("store", "file,zookeeper", "where the records are: file, zookeeper")
	dir := flag.String("dir", "", "a folder for the records, on the disk that counts (default: a new one for temporary files)")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	verbose := flag.Bool("v", false, "log what the scheduler says")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	if *verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	err := profiled(*profile, func() error {
		return compare(ctx, *agents, *tasks, *stores, *dir, log)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// profiled runs work and writes a profile of it to path, if there is one.
func profiled(path string, work func() error) (err error) {
	if path == "" {
		return work()
	}
	out, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := pprof.StartCPUProfile(out); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	return work()
}

// compare measures each number of agents with each store and prints a table for each number.
func compare(ctx context.Context, agents string, tasks int, stores, dir string, log *slog.Logger) error {
	for text := range strings.SplitSeq(agents, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-agents: %q is not a number", text)
		}
		l, err := newLoad(n, tasks)
		if err != nil {
			return err
		}
		core, err := decide(l)
		if err != nil {
			return fmt.Errorf("measure the core: %w", err)
		}
		names := strings.Split(stores, ",")
		var results []result
		for _, name := range names {
			r, err := measureWith(ctx, l, name, dir, log)
			if err != nil {
				return fmt.Errorf("measure with %s: %w", name, err)
			}
			results = append(results, r)
		}
		report(os.Stdout, l, core, names, results)
	}
	return nil
}

// measureWith measures with a new store of that name.
func measureWith(ctx context.Context, l load, name, dir string, log *slog.Logger) (r result, err error) {
	if dir, err = os.MkdirTemp(dir, "tidemill-scale-"); err != nil {
		return r, fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return r, err
	}
	switch name {
	case "file":
		return measure(ctx, l, inFile(dir), log)
	case "zookeeper":
		open, server, failed := inZooKeeper(ctx, dir, log)
		if failed != nil {
			return r, failed
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		return measure(ctx, l, open, log)
	}
	return r, fmt.Errorf("-store: %q is neither file nor zookeeper", name)
}
